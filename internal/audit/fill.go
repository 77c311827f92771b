package audit

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
)

// Pace of filling. A zero-filled file has no metadata to commit when a batch is synced, which halves the time of the sync; but the filling
// competes with it, so that it goes slowly while there is room ahead.
const (
	fillChunk  = 256 << 10 // bytes between syncs
	fillPage   = 4 << 10   // bytes of one write
	fillAhead  = 4 << 20   // bytes; with less room than this there is no pause
	fillPause  = 20 * time.Millisecond
	fillResume = time.Second // after an error
)

var zeros [fillPage]byte

var errFull error = syscall.ENOSPC

// filler readies space ahead of the committer, seals segments behind it and keeps the reserve.
type filler struct {
	l    *Log
	wake chan struct{}
	quit chan struct{}
	once sync.Once

	mu       sync.Mutex // guards the fields below
	seg      *active
	retired  []*active
	spare    disk.File
	spared   int64 // bytes filled of the spare
	ready    bool  // the spare may be taken
	reserved bool  // the reserve is there
}

func (w *filler) init(l *Log) {
	w.l = l
	w.wake = make(chan struct{}, 1)
	w.quit = make(chan struct{})
	if st, err := os.Stat(filepath.Join(l.node, reserveName)); err == nil && l.cfg.ReserveBytes > 0 {
		w.reserved = st.Size() == l.cfg.ReserveBytes
	}
}

func (w *filler) stop() { w.once.Do(func() { close(w.quit) }) }

func (w *filler) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *filler) use(a *active) {
	w.mu.Lock()
	w.seg = a
	w.mu.Unlock()
	w.nudge()
}

// retire takes a segment that will not be written any more. The filler cuts and closes it, unless it is broken: then the cut happens here and now.
func (w *filler) retire(a *active) {
	w.mu.Lock()
	if w.seg == a {
		w.seg = nil
	}
	broken := a.broken
	if !broken {
		w.retired = append(w.retired, a)
	}
	w.mu.Unlock()
	if broken {
		w.seal(a)
	}
	w.nudge()
}

// seal cuts a segment at the end of what was acknowledged and closes it. Failing to is harmless: zeros, and batches that nobody was told of, count for nothing.
func (w *filler) seal(a *active) {
	a.mu.Lock()
	a.done = true
	for a.busy {
		a.idle.Wait()
	}
	a.mu.Unlock()
	end := a.end.Load()
	err := a.f.Truncate(end)
	if err == nil {
		err = a.f.Sync()
	}
	err = errors.Join(err, a.f.Close())
	if a.zero != nil {
		err = errors.Join(err, a.zero.Close())
	}
	if end == 0 {
		err = errors.Join(err, w.l.cfg.FS.Remove(a.path))
		w.l.catalog.forget(w.l.home)
	}
	if err != nil {
		w.l.cfg.Logger.Warn("audit segment not cut to its size", "path", a.path, "error", err)
	}
}

// takeSpare gives the spare segment its name and hands out its file, if it is whole; otherwise it gives nil. The filler makes and removes
// the spare under the same mutex, so that the name and the open file are always of one file.
func (w *filler) takeSpare(name func() (string, error)) (disk.File, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ready {
		return nil, "", nil
	}
	f, fs, spare := w.spare, w.l.cfg.FS, filepath.Join(w.l.home, spareName)
	w.spare, w.spared, w.ready = nil, 0, false
	path, err := name()
	if err == nil {
		err = fs.Rename(spare, path)
	}
	if err != nil {
		_ = f.Close()
		_ = fs.Remove(spare)
		return nil, "", err
	}
	return f, path, nil
}

// takeReserve tells whether there was a reserve; it counts as gone from here on.
func (w *filler) takeReserve() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	had := w.reserved
	w.reserved = false
	return had
}

func (w *filler) hasReserve() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reserved
}

// run does the most pressing piece of work, then pauses. A batch that was written ends the pause only if there is need.
func (w *filler) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer w.clear()
	for pausing := true; ; {
		select {
		case <-w.quit:
			return
		case <-w.wake:
			if pausing && !w.pressing() {
				continue
			}
		case <-timer.C:
		}
		more, urgent, err := w.step()
		pausing = more || err != nil
		switch {
		case err != nil:
			w.l.cfg.Logger.Warn("audit space not readied", "error", err)
			timer.Reset(fillResume)
		case more && urgent:
			timer.Reset(0)
		case more:
			timer.Reset(fillPause)
		}
	}
}
