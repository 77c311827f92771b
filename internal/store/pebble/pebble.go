// Package pebble is the embedded store: github.com/cockroachdb/pebble behind one committer.
//
// It promises what package store promises, on one machine and for one process. One goroutine commits: it takes the
// transactions that are waiting, checks their conditions against the state and against each other, and makes one durable
// commit of them; no timer holds back a transaction that comes alone. Readers see the state as of the last durable
// commit and nothing newer, through snapshots that only the committer replaces.
//
// A full or failing disk does not end the process. Commits are refused (store.ErrFull) while less than a reserve is
// free; a failed write makes the outcome of the commits in flight unknown (store.ErrUnknown) and everything after it
// unavailable, while the store closes and opens its database again until that works.
//
// It refuses a directory that another process uses (store.ErrInUse), damaged files (store.ErrDamaged, with the file
// named), and formats it does not know. It knows nothing of the meaning of the bytes and does not check the disk
// against its own records except by the engine's checksums: values are sealed above.
//
// Invariants: what is readable is durable; every revision has a row in the feed; the head never goes back.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/store"
)

// What a zero setting means.
const (
	DefaultCacheBytes = 32 << 20         // block cache
	DefaultMinFree    = 64 << 20         // bytes of free disk
	DefaultRetain     = 1 << 18          // revisions of feed and tokens
	DefaultRetainFor  = 15 * time.Minute // of feed and tokens, whatever their number …
	retainMost        = 16               // … up to this many times Retain
)

// Config says where a store is and what it may use.
type Config struct {
	Dir        string // made, with mode 0700, if it does not exist
	CacheBytes int64  // of block cache; 0: DefaultCacheBytes

	// MinFree is how many bytes of the disk must be free for a commit that writes; 0: DefaultMinFree. Below it
	// Commit answers store.ErrFull. It leaves room for the engine's own work and for an orderly recovery.
	MinFree uint64

	// Feed and tokens are kept for the newest Retain revisions, and for what is younger than RetainFor up to
	// 16 times as many. 0: DefaultRetain, DefaultRetainFor. A negative RetainFor: no time.
	Retain    int
	RetainFor time.Duration

	Logger *slog.Logger // nil: nothing is logged
	FS     vfs.FS       // nil: the disk; tests pass others

	memTable uint64 // bytes; 0: memTableBytes. Tests make it small to see the engine flush and compact
}

func (c Config) complete() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("open store: no directory is given")
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	if c.Retain <= 0 {
		c.Retain = DefaultRetain
	}
	if c.RetainFor == 0 {
		c.RetainFor = DefaultRetainFor
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.memTable == 0 {
		c.memTable = memTableBytes
	}
	return c, nil
}

// Store is an open store.
type Store struct {
	cfg  Config
	lock io.Closer // of the directory

	queue    chan *request
	stop     chan struct{} // closed by Close
	gone     chan struct{} // closed when the committer takes no more requests
	done     chan struct{} // closed when everything is closed
	stopOnce sync.Once     // closes stop
	closeErr error         // read it only after done is closed

	old sync.WaitGroup // openings that failed and are still being closed
	com committer      // owned by the goroutine in run

	mu   sync.Mutex    // guards what follows, and the references of views
	cur  *view         // what readers see; nil while nothing can be served
	down error         // why cur is nil
	turn chan struct{} // closed and replaced when cur or down changes
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory, and makes one where there is none.
// Errors: store.ErrInUse, store.ErrDamaged, store.ErrFull; a format that is newer than this program.
func Open(c Config) (*Store, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(&c)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", c.Dir, err)
	}
	e, at, err := start(&c)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open store %s: %w", c.Dir, err)
	}
	s := &Store{
		cfg:   c,
		lock:  lock,
		queue: make(chan *request, groupMax),
		stop:  make(chan struct{}),
		gone:  make(chan struct{}),
		done:  make(chan struct{}),
		turn:  make(chan struct{}),
	}
	s.mark(at.head)
	s.com.init(s)
	s.publish(e, at)
	go s.run()
	return s, nil
}

// lockDir makes the directory and takes its lock, for as long as the store is open.
func lockDir(c *Config) (io.Closer, error) {
	if _, err := c.FS.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, classify(err)
		}
		parent, err := c.FS.OpenDir(c.FS.PathDir(c.Dir))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return nil, classify(err)
		}
	}
	lock, err := c.FS.Lock(c.FS.PathJoin(c.Dir, "LOCK"))
	if err == nil {
		return lock, nil
	}
	// The file cannot be made, or the kernel cannot lock: that says nothing about another process.
	var path *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &path) || errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES {
		return nil, classify(err)
	}
	return nil, fmt.Errorf("%w: %w", store.ErrInUse, err)
}

// Close waits for what is being committed and read, and closes the store. A second Close does nothing.
func (s *Store) Close() error {
	s.stopOnce.Do(func() { close(s.stop) })
	<-s.done
	return s.closeErr
}

// run is the committer's life.
func (s *Store) run() {
	defer close(s.done)
	for {
		select {
		case r := <-s.queue:
			runtime.Gosched() // whoever can commit now may join: see gather
			runtime.Gosched() // and who was about to
			s.com.commit(s.com.gather(r))
		case <-s.com.view.eng.fence.tripped: // something in the background
		case <-s.stop:
			s.finish()
			return
		}
		if s.com.view.eng.fence.down.Load() && !s.heal() {
			s.finish()
			return
		}
	}
}

// finish refuses what is waiting, waits for readers, and closes everything.
func (s *Store) finish() {
	v := s.retire(store.ErrClosed)
	close(s.gone)
	s.refuseQueued(store.ErrClosed)
	if v != nil {
		v.eng.readers.Wait()
		if s.closeErr = v.eng.close(); s.closeErr == nil && v.eng.failure() == nil {
			s.mark(v.at.head)
		}
	}
	s.old.Wait()
	s.closeErr = errors.Join(s.closeErr, s.lock.Close())
	if s.closeErr != nil {
		s.closeErr = fmt.Errorf("close store %s: %w", s.cfg.Dir, s.closeErr)
	}
}

// refuseQueued answers everything that is waiting.
func (s *Store) refuseQueued(err error) {
	for {
		select {
		case r := <-s.queue:
			r.refuse(err)
		default:
			return
		}
	}
}

// Confirm implements store.Store: the process that holds the directory's lock is the only one that can commit.
func (s *Store) Confirm(ctx context.Context) (store.Head, error) {
	if err := ctx.Err(); err != nil {
		return store.Head{}, err
	}
	v, err := s.acquire()
	if err != nil {
		return store.Head{}, err
	}
	defer s.release(v)
	return v.at.head, nil
}
