package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

// The keeper's pace. What it does can wait; callers cannot.
const (
	keepFirst = 2 * time.Second // after the start
	keepEvery = time.Minute     // between two rounds if nothing is asked for
	keepShare = 4               // it works one part of so many of the time
	keepNap   = time.Second     // at most, at once
)

// keeper looks after the segments that are full: it makes their indexes, compresses them and drops what retention does not keep. It is one goroutine, never in
// the way of a record, and what it was doing when the server stopped is done again.
type keeper struct {
	l    *Log
	wake chan struct{}
	quit chan struct{}
	once sync.Once

	round  sync.Mutex          // held during a round; guards the fields below
	eager  bool                // no pauses
	broken map[string]struct{} // segments that are damaged
}

func (k *keeper) init(l *Log) {
	k.l = l
	k.broken = map[string]struct{}{}
	k.wake = make(chan struct{}, 1)
	k.quit = make(chan struct{})
}

func (k *keeper) stop() { k.once.Do(func() { close(k.quit) }) }

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	timer := time.NewTimer(keepFirst)
	defer timer.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-k.wake:
		case <-timer.C:
		}
		if err := k.keep(false); err != nil && !errors.Is(err, errQuit) {
			k.l.cfg.Logger.Warn("audit segments not kept", "error", err)
		}
		timer.Reset(keepEvery)
	}
}

var errQuit = errors.New("the audit log closes")

// Keep does at once, and without pauses, what is done in the background for segments that are full: it makes indexes, compresses, and drops what retention does
// not keep.
func (l *Log) Keep() error { return l.keep.keep(true) }

// keep is one round. What fails does not keep the rest from being done.
func (k *keeper) keep(eager bool) error {
	k.round.Lock()
	defer k.round.Unlock()
	k.eager = eager
	full, err := k.full()
	if err != nil {
		return err
	}
	if err = k.each(full, k.index); errors.Is(err, errQuit) {
		return err
	}
	err = errors.Join(err, k.retire())
	if full, again := k.full(); again == nil {
		return errors.Join(err, k.each(full, k.pack))
	}
	return err
}

// each does a task for every full segment, the newest first, since that is asked for most. It ends early, without an error, when a segment has become full
// meanwhile: the next round begins with it.
func (k *keeper) each(full []sealed, task func(sealed) error) (err error) {
	for _, s := range slices.Backward(full) {
		if !k.eager && len(k.wake) > 0 {
			return err
		}
		if _, known := k.broken[s.Path]; known {
			continue
		}
		one := task(s)
		if errors.Is(one, errQuit) {
			return one
		}
		if damaged(one) { // said once: it does not get better
			k.broken[s.Path] = struct{}{}
		}
		err = errors.Join(err, one)
	}
	return err
}

// sealed is a segment that is not written to any more.
type sealed struct {
	segment.File
	epoch uint64
	dir   string
	stop  uint64 // number of the record after its last
}

// full lists the segments that are not written to, oldest first.
func (k *keeper) full() (all []sealed, err error) {
	epochs, err := listEpochs(k.l.node)
	if err != nil {
		return nil, err
	}
	for _, e := range epochs {
		if err := k.sweep(filepath.Join(k.l.node, epochFolder(e))); err != nil {
			return nil, err
		}
		dir, size, ok, err := k.l.epochSize(e)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		files, err := k.l.catalog.segments(dir)
		if err != nil {
			return nil, err
		}
		for i, f := range files {
			s := sealed{File: f, epoch: e, dir: dir, stop: size}
			if i+1 < len(files) {
				s.stop = files[i+1].First
			} else if e == k.l.epoch {
				break // it is written to
			}
			if s.stop > s.First {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// rest lets others work after a piece of work that began at a time. It fails when the log closes.
func (k *keeper) rest(began time.Time) error {
	if k.eager {
		return nil
	}
	t := time.NewTimer(min((keepShare-1)*time.Since(began), keepNap))
	defer t.Stop()
	select {
	case <-k.quit:
		return errQuit
	case <-t.C:
		return nil
	}
}

// writeWhole puts a file in place whole and durable, or not at all.
func writeWhole(fs disk.FS, path string, data []byte) error {
	temp := path + newEnd
	_ = fs.Remove(temp)
	f, err := fs.Create(temp)
	if err != nil {
		return err
	}
	w := writer{f: f, buf: data}
	if err = w.flush(); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temp, path)
	}
	if err != nil {
		_ = fs.Remove(temp)
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// writeDerived puts a derived file in place by a rename, without a sync.
func writeDerived(path string, data []byte) error {
	temp := path + ".tmp"
	err := os.WriteFile(temp, data, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(temp, data, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}
