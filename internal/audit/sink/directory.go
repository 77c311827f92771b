package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// directory writes files into a folder: local, on a network or a bucket that is mounted. A file is written beside and renamed, and never changed
// afterwards; its name says which records it has. Checkpoints lie beside.
type directory struct {
	root    string
	folder  string // root and cluster
	log     *audit.Log
	busy    chan struct{}   // held while the disk works
	synced  map[string]bool // folders whose names are durable
	last    audit.Position
	covered audit.Position // the first record that the newest checkpoint which was copied does not cover
}

// line is a line of a file.
type line struct {
	Origin string `json:"origin"`
	Record Record `json:"record"`
	Frame  []byte `json:"frame"` // as it stands in the log (docs/formats-audit.md, "Segment"): its leaf hash is in the tree
}

func newDirectory(cfg *Config, s *Sink) (*directory, error) {
	if s.Folder == "" {
		return nil, errors.New("want a folder")
	}
	return &directory{root: s.Folder, folder: filepath.Join(s.Folder, cfg.Cluster), log: cfg.Log, busy: make(chan struct{}, 1), synced: make(map[string]bool)}, nil
}

func (d *directory) settle() time.Duration { return 0 }
func (d *directory) close()                {}

func (d *directory) send(ctx context.Context, b *batch) error {
	text, err := fileText(b)
	if err != nil {
		return err
	}
	if err := d.within(ctx, func() error { return d.write(b, text) }); err != nil {
		return err
	}
	d.last = b.last()
	return nil
}

// within does work on the disk, which nothing can interrupt. When the time is over it is left alone, and the next work waits for it: a
// mount that hangs costs one goroutine.
func (d *directory) within(ctx context.Context, work func() error) error {
	hangs := fmt.Errorf("the folder %s does not answer", d.root)
	select {
	case d.busy <- struct{}{}:
	case <-ctx.Done():
		return hangs
	}
	done := make(chan error, 1)
	go func() {
		err := work()
		<-d.busy
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return hangs
	}
}

// check copies the newest checkpoint, until one covers everything that was written.
func (d *directory) check(ctx context.Context) error {
	note := d.log.Checkpoint()
	if d.last.IsZero() || note == nil {
		return nil
	}
	c, err := tree.Unverified(note)
	if err != nil {
		return nil //nolint:nilerr // the log's own; nothing is lost
	}
	_, node, epoch, ok := audit.ParseOrigin(c.Origin)
	covers := audit.Position{Node: node, Epoch: epoch, Seq: c.Size}
	if !ok || d.last.Before(d.covered) || !d.covered.Before(covers) {
		return nil
	}
	name := fmt.Sprintf("%s-%06d-%020d.checkpoint", node, epoch, c.Size)
	err = d.within(ctx, func() error {
		dir, err := d.below(checkpoints)
		if err != nil {
			return err
		}
		err = place(dir, name, note)
		if errors.Is(err, errOther) {
			err = nil // the same tree, with other cosignatures
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("copy a checkpoint: %w", err)
	}
	d.covered = covers
	return nil
}

const (
	checkpoints = "checkpoints"
	maxSynced   = 8 // folders that are remembered
)

var errOther = errors.New("is there with other content and is not overwritten")

// fileText is the content of a file.
func fileText(b *batch) ([]byte, error) {
	var all bytes.Buffer
	for i := range b.entries {
		r := b.entries[i].Record // encoding sets the commitment
		body, annex, err := audit.Encode(&r)
		if err != nil {
			return nil, err
		}
		text, err := encode(line{b.origin, b.records[i], segment.AppendFrame(nil, body, annex)})
		if err != nil {
			return nil, err
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.Bytes(), nil
}

// below makes a folder below the cluster's, durably. The configured one must be there: what is not mounted must not fill the disk below.
func (d *directory) below(name string) (string, error) {
	if st, err := os.Stat(d.root); err != nil || !st.IsDir() {
		return "", errors.Join(fmt.Errorf("there is no folder %s", d.root), err)
	}
	dir := filepath.Join(d.folder, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if d.synced[dir] {
		return dir, nil
	}
	for _, parent := range []string{d.root, d.folder} {
		if err := syncFolder(parent); err != nil {
			return "", err
		}
	}
	if len(d.synced) > maxSynced {
		clear(d.synced)
	}
	d.synced[dir] = true
	return dir, nil
}

// write makes the file of a batch.
func (d *directory) write(b *batch, text []byte) error {
	day, err := d.below(b.entries[0].Time.UTC().Format(time.DateOnly))
	if err != nil {
		return err
	}
	first, last := b.first(), b.last()
	return place(day, fmt.Sprintf("%s-%06d-%020d-%020d.ndjson", first.Node, first.Epoch, first.Seq, last.Seq), text)
}

// place puts a file into a folder: written beside, synced, renamed. A file of that name and content is there if the server stopped before it moved
// its cursor.
func place(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	switch there, err := same(path, text); {
	case err != nil:
		return err
	case there:
		return nil
	}
	temp := filepath.Join(dir, "."+name+".new")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // G304: below a folder from the configuration
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes names durable. Not every file system that a folder can be on syncs folders.
func syncFolder(dir string) error {
	err := syncDir(dir)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// same tells whether a file is there with the same content; with another one it is refused.
func same(path string, text []byte) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // G304: as above
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // read only
	got, err := io.ReadAll(io.LimitReader(f, int64(len(text))+1))
	if err == nil && !bytes.Equal(got, text) {
		err = refused(fmt.Errorf("%s %w: move it away", path, errOther))
	}
	return err == nil, err
}
