package pebble

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fence is the file system of one opening of the database. It stands between the engine and the disk because the
// engine takes the whole process down when the disk fails it: a failed write or sync of its log or manifest ends in
// Logger.Fatalf, and one while the log is being rotated in a panic under locks that cannot be recovered from.
//
// So the engine never learns of such a failure. At the first one the fence trips, keeps the cause, and from then on
// everything that would change the disk is answered with success and not done: the disk stays as it was at the moment of
// the failure, which is a state that recovery knows, as after a power cut. Who commits looks at the fence after every
// commit; a tripped one means that the outcome is unknown. The opening is then closed, which touches nothing, and the
// directory opened again behind a new fence; recovery writes what the log held into new files and syncs them, so that it
// does not rest on pages the kernel may have dropped after a failed sync.
//
// Two kinds of failure do reach the engine, because it bears them: reading, and writing the output of a compaction, which
// it throws away and tries again. The fence slows that down, since the engine itself tries again at once.
type fence struct {
	vfs.FS // reading goes straight through

	mu      sync.RWMutex  // held for reading by everything that may be changing the disk
	down    atomic.Bool   // set before tripped is closed
	tripped chan struct{} // closed at the first failure
	once    sync.Once     // guards cause
	cause   error         // why; read it only after tripped is closed

	read    atomic.Pointer[string] // the file that was opened last to be read
	crowded atomic.Int64           // until when compactions are taken to be out of room, in nanoseconds of the wall clock
	leaving chan struct{}          // closed when the opening is being closed: nobody should pause any more
	leave   sync.Once              // closes leaving
}

// The categories under which the engine writes the output of compactions.
const (
	categoryCompaction  vfs.DiskWriteCategory = "pebble-compaction"
	categoryBlobRewrite vfs.DiskWriteCategory = "pebble-blob-file-rewrite"
)

const (
	compactionPause   = time.Second      // how long a failed write of a compaction holds up the next try
	compactionCrowded = 10 * time.Second // how long after one commits are refused, unless a compaction succeeds
)

func newFence(disk vfs.FS) *fence {
	return &fence{FS: disk, tripped: make(chan struct{}), leaving: make(chan struct{})}
}

// trip closes the way to the disk for good.
func (f *fence) trip(cause error) {
	f.once.Do(func() {
		f.cause = cause
		f.down.Store(true)
		close(f.tripped)
	})
}

// drain returns when nothing that began before the fence tripped is still changing the disk.
func (f *fence) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

// hurry ends every pause, now and later.
func (f *fence) hurry() { f.leave.Do(func() { close(f.leaving) }) }

// change does what changes the disk, unless the fence is down; its failure trips the fence.
func (f *fence) change(what, name string, do func() error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.down.Load() {
		return
	}
	if err := do(); err != nil {
		f.trip(fmt.Errorf("%s %s: %w", what, name, err))
	}
}

// bearable does what changes the disk, unless the fence is down, and answers its error.
func (f *fence) bearable(do func() error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.down.Load() {
		return nil
	}
	return do()
}

// compaction is bearable for the output of a compaction.
func (f *fence) compaction(do func() error) error {
	err := f.bearable(do)
	if err != nil {
		f.crowded.Store(time.Now().Add(compactionCrowded).UnixNano())
		pause := time.NewTimer(compactionPause)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-f.leaving:
		case <-f.tripped:
		}
	}
	return err
}

// compacted says that a compaction has succeeded.
func (f *fence) compacted() { f.crowded.Store(0) }

// isCrowded tells whether compactions fail.
func (f *fence) isCrowded() bool {
	until := f.crowded.Load()
	return until != 0 && time.Now().UnixNano() < until
}

func (f *fence) write(category vfs.DiskWriteCategory, what, name string, do func() error) error {
	if category == categoryCompaction || category == categoryBlobRewrite {
		return f.compaction(do)
	}
	f.change(what, name, do)
	return nil
}

// file makes a fenced file of what open answers, or one that swallows everything.
func (f *fence) file(category vfs.DiskWriteCategory, what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.write(category, what, name, func() (err error) {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if file == nil {
		file = swallower{name: f.PathBase(name)}
	}
	return &fencedFile{File: file, fence: f, name: name, category: category}, nil
}

func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(c, "create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *fence) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(c, "open", name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(c, "reuse", newname, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, c) })
}

// Open remembers the name, because the engine's errors about its log do not say it.
func (f *fence) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f.read.Store(&name)
	return f.FS.Open(name, opts...)
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: d, fence: f, name: name}, nil
}

func (f *fence) Link(oldname, newname string) error {
	f.change("link", newname, func() error { return f.FS.Link(oldname, newname) })
	return nil
}

func (f *fence) Rename(oldname, newname string) error {
	f.change("rename", newname, func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	f.change("make", dir, func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

// Remove is borne: what cannot be removed now is removed at the next opening.
func (f *fence) Remove(name string) error {
	return f.bearable(func() error { return f.FS.Remove(name) })
}

// RemoveAll is borne like Remove.
func (f *fence) RemoveAll(name string) error {
	return f.bearable(func() error { return f.FS.RemoveAll(name) })
}

// Lock does nothing: the store holds the lock of the directory itself, across all openings.
func (f *fence) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *fence) Unwrap() vfs.FS { return f.FS }
