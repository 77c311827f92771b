// Package disktest makes a file system fail on purpose, call by call, with and without the call's effect.
package disktest

import (
	"sync"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
)

// Op is a call that can fail.
type Op string

// The calls.
const (
	Write    Op = "write"
	Sync     Op = "sync"
	Create   Op = "create"
	Open     Op = "open"
	Rename   Op = "rename"
	Remove   Op = "remove"
	SyncDir  Op = "sync-dir"
	Truncate Op = "truncate"
)

// Fault is how a call fails.
type Fault struct {
	Err     error         // nil: EIO
	Persist bool          // the call has its effect all the same
	Half    bool          // of a write: the first half takes place
	Skip    bool          // of a sync: it succeeds without being done; for tests of contents, not of durability
	Delay   time.Duration // it succeeds, and takes that much longer
}

// FS fails when its Rule says so. The zero value with a Rule works on the operating system's file system.
type FS struct {
	mu   sync.Mutex // guards rule
	rule func(op Op, path string) *Fault
	disk.OS
}

// Set changes the rule; nil: nothing fails. The rule is called for each call, from several goroutines, one at a time.
func (fs *FS) Set(rule func(op Op, path string) *Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.rule = rule
}

func (fs *FS) fault(op Op, path string) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.rule == nil {
		return nil
	}
	return fs.rule(op, path)
}

func (f *Fault) error() error {
	if f.Err == nil {
		return syscall.EIO
	}
	return f.Err
}

// do calls a function unless it is to fail.
func (fs *FS) do(op Op, path string, call func() error) error {
	f := fs.fault(op, path)
	if f == nil {
		return call()
	}
	if f.Delay > 0 { // outside the mutex, for the clock of a test
		time.Sleep(f.Delay)
		return call()
	}
	if f.Skip {
		return nil
	}
	if f.Persist {
		_ = call()
	}
	return f.error()
}

// Create implements disk.FS.
func (fs *FS) Create(path string) (disk.File, error) { return fs.open(Create, path, fs.OS.Create) }

// Open implements disk.FS.
func (fs *FS) Open(path string) (disk.File, error) { return fs.open(Open, path, fs.OS.Open) }

func (fs *FS) open(op Op, path string, call func(string) (disk.File, error)) (disk.File, error) {
	var f disk.File
	err := fs.do(op, path, func() (err error) { f, err = call(path); return err })
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	return &file{fs: fs, path: path, f: f}, nil
}

// Rename implements disk.FS.
func (fs *FS) Rename(from, to string) error {
	return fs.do(Rename, to, func() error { return fs.OS.Rename(from, to) })
}

// Remove implements disk.FS.
func (fs *FS) Remove(path string) error {
	return fs.do(Remove, path, func() error { return fs.OS.Remove(path) })
}

// SyncDir implements disk.FS.
func (fs *FS) SyncDir(dir string) error {
	return fs.do(SyncDir, dir, func() error { return fs.OS.SyncDir(dir) })
}

type file struct {
	fs   *FS
	path string
	f    disk.File
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	fault := f.fs.fault(Write, f.path)
	if fault == nil {
		return f.f.WriteAt(p, off)
	}
	n := 0
	if fault.Persist {
		n = len(p)
	} else if fault.Half {
		n = len(p) / 2
	}
	if n > 0 {
		if n, err := f.f.WriteAt(p[:n], off); err != nil {
			return n, err
		}
	}
	if fault.Persist {
		return 0, fault.error()
	}
	return n, fault.error()
}

func (f *file) Truncate(size int64) error {
	return f.fs.do(Truncate, f.path, func() error { return f.f.Truncate(size) })
}

func (f *file) Sync() error  { return f.fs.do(Sync, f.path, f.f.Sync) }
func (f *file) Close() error { return f.f.Close() }
