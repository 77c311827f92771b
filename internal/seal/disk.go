package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// disk does the few things that epochs need of files, each step of which can be made to fail by a test: with every
// change, a state that open understands must lie on the disk after each step.
type disk struct {
	fault func(step, path string, do func() error) error // nil: no faults
}

// Limits of what is read.
const (
	maxSealFile = 64 << 10 // bytes of an epoch or escrow file
	maxDirNames = 4096     // entries of a directory
	tmpSuffix   = ".tmp"
)

func (d disk) step(name, path string, do func() error) error {
	if d.fault != nil {
		return d.fault(name, path, do)
	}
	return do()
}

// mkdir makes a directory that only its owner may enter, and refuses one that others may.
func (d disk) mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return closed(dir)
}

// errOpenToOthers says that somebody else may read what lies there.
var errOpenToOthers = errors.New("others may read it")

func closed(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", filepath.Base(path), err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: %w", filepath.Base(path), info.Mode().Perm(), errOpenToOthers)
	}
	return nil
}

// write puts a file of mode 0600 in place, whole or not at all, durably. What it replaces is overwritten where it lies,
// as well as that can be done: a power failure at the wrong moment, or a disk that writes elsewhere, keeps a residue.
func (d disk) write(path string, data []byte) error {
	tmp := path + tmpSuffix
	if err := d.step("create", tmp, func() error { return create(tmp, data) }); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(tmp), err)
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open what is replaced: %w", err)
	}
	if old != nil {
		defer old.Close() //nolint:errcheck // synced by scrub
	}
	if err := d.rename(tmp, path); err != nil || old == nil {
		return err
	}
	return d.step("overwrite", path, func() error { return scrub(old) })
}

func create(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by an interrupted write
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (d disk) rename(from, to string) error {
	if err := d.step("rename", to, func() error { return os.Rename(from, to) }); err != nil {
		return fmt.Errorf("rename %s: %w", filepath.Base(from), err)
	}
	return d.syncDir(filepath.Dir(to))
}

func (d disk) syncDir(dir string) error {
	err := d.step("sync directory", dir, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// destroy overwrites a file with random bytes, cuts it to nothing and unlinks it, each step made durable. A file that is
// not there is destroyed already. See Epochs.Retire for what this can promise.
func (d disk) destroy(path string) error {
	if err := d.step("overwrite", path, func() error { return overwrite(path) }); err != nil {
		return fmt.Errorf("overwrite %s: %w", filepath.Base(path), err)
	}
	err := d.step("unlink", path, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unlink %s: %w", filepath.Base(path), err)
	}
	return d.syncDir(filepath.Dir(path))
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // synced by scrub
	return scrub(f)
}

// scrub writes random bytes over a file and cuts it to nothing, both durably.
func scrub(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	noise := make([]byte, min(info.Size(), maxSealFile))
	rand.Read(noise) //nolint:errcheck // never fails since Go 1.24
	if _, err := f.WriteAt(noise, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return errors.Join(f.Truncate(0), f.Sync())
}

// read reads a small file that only its owner may read.
func (d disk) read(path string) ([]byte, error) {
	if err := closed(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxSealFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if len(data) > maxSealFile {
		return nil, fmt.Errorf("%s has more than %d bytes", filepath.Base(path), maxSealFile)
	}
	return data, nil
}

// names lists a directory.
func (d disk) names(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	names, err := f.Readdirnames(maxDirNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	if len(names) == maxDirNames {
		return nil, fmt.Errorf("directory has %d entries or more", maxDirNames)
	}
	return names, nil
}

func (d disk) exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
