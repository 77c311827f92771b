package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/keyhold/keyhold/internal/config"
)

// Limits of the examination of a data directory.
const (
	maxLooked    = 20000 // files
	maxOpenFiles = 10    // named one by one
	syncSlow     = 100 * time.Millisecond
)

// directory examines a data directory where it lies.
func (d *diagnosis) directory(dir string) {
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		d.add("data directory", findingFailed, "check --data, and run it as the server's user", "%v", err)
		return
	case !st.IsDir():
		d.add("data directory", findingFailed, "check --data", "%s is not a directory", dir)
		return
	}
	d.permissions(dir)
	d.space(dir)
	d.durable(dir)
}

// permissions looks for what others than the owner may read or write. Certificates and what is meant to be seen lie in
// tls; the directory's own mode keeps others out of everything below it.
func (d *diagnosis) permissions(dir string) {
	st, err := os.Stat(dir)
	if err != nil {
		d.add("permissions", findingFailed, "run it as the server's user", "%v", err)
		return
	}
	if st.Mode().Perm()&0o077 == 0 {
		d.add("permissions", findingOK, "", "only the owner of %s may look into it", dir)
		return
	}
	looked, open := 0, 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if looked++; looked > maxLooked {
			return fs.SkipAll
		}
		if e.IsDir() || path == dir {
			return nil
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a running server makes and removes files
		}
		if err != nil {
			return err
		}
		secret := i.Mode().Perm()&0o007 != 0 && filepath.Ext(path) != ".pem" && filepath.Ext(path) != ".crt"
		if i.Mode().Perm()&0o002 != 0 || secret && reachable(dir, path) {
			if open++; open <= maxOpenFiles {
				d.add("permissions", findingFailed, "chmod o-rwx "+path, "others may use %s (mode %04o)", path, i.Mode().Perm())
			}
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		d.add("permissions", findingFailed, "run it as the server's user", "%v", err)
	case open > maxOpenFiles:
		d.add("permissions", findingFailed, "chmod -R o-rwx "+dir, "and %d more", open-maxOpenFiles)
	case open == 0:
		d.add("permissions", findingWarning, "chmod 700 "+dir, "others may look into %s (mode %04o), though not read what lies there", dir, st.Mode().Perm())
	}
}

// reachable tells whether others may go through every directory between.
func reachable(dir, path string) bool {
	for at := filepath.Dir(path); ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if at == dir || len(at) <= len(dir) {
			return true
		}
	}
}

// space compares the free space with what the server keeps free by default.
func (d *diagnosis) space(dir string) {
	free, ok := freeSpace(dir)
	if !ok {
		d.add("free space", findingSkipped, "", "this system does not tell")
		return
	}
	set := config.Default()
	least := uint64(set.Store.MinFreeBytes + set.Audit.ReserveBytes) //nolint:gosec // G115: checked by config
	switch {
	case free < least:
		d.add("free space", findingFailed, "free space on the disk of "+dir, "%s are free; below %s changes are refused", size(free), size(least))
	case free < 4*least:
		d.add("free space", findingWarning, "free space on the disk of "+dir, "%s are free; below %s changes are refused", size(free), size(least))
	default:
		d.add("free space", findingOK, "", "%s", size(free))
	}
}

// durable writes a file and asks the disk to keep it, as the server does for every record.
func (d *diagnosis) durable(dir string) {
	f, err := os.CreateTemp(dir, ".keyhold-doctor-*")
	if err != nil {
		d.add("fsync", findingFailed, "run it as the server's user, and check that the disk can be written", "%v", err)
		return
	}
	began := time.Now()
	_, err = f.Write(make([]byte, 4096))
	err = errors.Join(err, f.Sync())
	took := time.Since(began)
	err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	switch {
	case err != nil:
		d.add("fsync", findingFailed, "check the disk and its file system", "what is written does not reach the disk: %v", err)
	case took > syncSlow:
		d.add("fsync", findingWarning, "use a disk with a faster write cache that survives a power cut: every record waits for it", "it took %s", took.Round(time.Millisecond))
	default:
		d.add("fsync", findingOK, "", "%s", took.Round(10*time.Microsecond))
	}
}
