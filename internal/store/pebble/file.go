package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fencedFile is a file whose changes go through the fence.
type fencedFile struct {
	vfs.File
	fence    *fence
	name     string
	category vfs.DiskWriteCategory
}

func (f *fencedFile) change(what string, do func() error) error {
	return f.fence.write(f.category, what, f.name, do)
}

func (f *fencedFile) Write(p []byte) (int, error) {
	err := f.change("write", func() error { _, err := f.File.Write(p); return err })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.change("write", func() error { _, err := f.File.WriteAt(p, off); return err })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) Sync() error     { return f.change("sync", f.File.Sync) }
func (f *fencedFile) SyncData() error { return f.change("sync", f.File.SyncData) }

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	err = f.change("sync", func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Preallocate is a hint: what it cannot have is found by the write.
func (f *fencedFile) Preallocate(offset, length int64) error {
	_ = f.fence.bearable(func() error { return f.File.Preallocate(offset, length) })
	return nil
}

// Close reaches the file behind a tripped fence too, or its descriptor would leak. It changes nothing: the engine syncs
// what it needs before.
func (f *fencedFile) Close() error {
	if f.fence.down.Load() {
		_ = f.File.Close()
		return nil
	}
	return f.change("close", f.File.Close)
}

// Stat may not fail: the engine asks in the middle of rotating its log.
func (f *fencedFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.fence.trip(fmt.Errorf("stat %s: %w", f.name, err))
		return noInfo{name: f.fence.PathBase(f.name)}, nil
	}
	return info, nil
}

// errSwallowed is what reading answers from a file that was never made.
var errSwallowed = errors.New("pebble: the store is closed to writing")

// swallower stands for a file that could not be made.
type swallower struct{ name string }

func (s swallower) Close() error                              { return nil }
func (s swallower) Read([]byte) (int, error)                  { return 0, errSwallowed }
func (s swallower) ReadAt([]byte, int64) (int, error)         { return 0, errSwallowed }
func (s swallower) Write(p []byte) (int, error)               { return len(p), nil }
func (s swallower) WriteAt(p []byte, _ int64) (int, error)    { return len(p), nil }
func (s swallower) Preallocate(int64, int64) error            { return nil }
func (s swallower) Stat() (vfs.FileInfo, error)               { return noInfo(s), nil }
func (s swallower) Sync() error                               { return nil }
func (s swallower) SyncTo(int64) (bool, error)                { return false, nil }
func (s swallower) SyncData() error                           { return nil }
func (s swallower) Prefetch(offset int64, length int64) error { return nil }
func (s swallower) Fd() uintptr                               { return vfs.InvalidFd }

// noInfo describes a file that was never made: empty.
type noInfo struct{ name string }

func (i noInfo) Name() string           { return i.name }
func (i noInfo) Size() int64            { return 0 }
func (i noInfo) Mode() fs.FileMode      { return 0 }
func (i noInfo) ModTime() time.Time     { return time.Time{} }
func (i noInfo) IsDir() bool            { return false }
func (i noInfo) Sys() any               { return nil }
func (i noInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
