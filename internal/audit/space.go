package audit

import (
	"errors"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/audit/disk"
)

// step does one piece of work and tells whether there is more.
func (w *filler) step() (more, urgent bool, err error) {
	w.mu.Lock()
	retired := w.retired
	w.retired = nil
	seg, ready := w.seg, w.ready
	reserved := w.reserved || w.l.cfg.ReserveBytes == 0
	w.mu.Unlock()
	for _, a := range retired {
		w.seal(a)
	}
	if seg == nil || seg.reserve || w.l.Healthy() != nil {
		return false, false, nil //nolint:nilerr // a full disk is the committer's to probe
	}
	whole, err := seg.fill(w.l.cfg.FS)
	switch {
	case err != nil:
		return true, false, err
	case !whole && w.pressing():
		return true, true, nil
	case !reserved:
		return true, false, w.makeReserve()
	case !whole:
		return true, false, nil
	case ready || seg.end.Load() < seg.limit/2:
		return false, false, nil
	}
	return true, w.pressing(), w.fillSpare()
}

// pressing tells whether the committer will soon want what is not ready.
func (w *filler) pressing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil || w.seg.reserve {
		return false
	}
	ahead, left := w.seg.ahead(), w.seg.limit-w.seg.end.Load()
	return ahead < min(fillAhead, left/2) || !w.ready && left < w.seg.limit/4
}

// fill writes one chunk of zeros ahead. It tells whether the segment is filled.
func (a *active) fill(fs disk.FS) (whole bool, err error) {
	a.mu.Lock()
	from := a.filled
	to := min(from+fillChunk, a.limit)
	if a.done || from >= to {
		a.mu.Unlock()
		return true, nil
	}
	a.busy, a.from = true, from
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.busy = false
		if err == nil {
			a.filled = max(a.filled, to)
		}
		a.idle.Broadcast()
		a.mu.Unlock()
	}()
	if a.zero == nil {
		if a.zero, err = fs.Open(a.path); err != nil {
			return false, err
		}
	}
	if err = zero(a.zero, from, to); err != nil {
		return false, err
	}
	return to == a.limit, a.zero.Sync()
}

// zero writes zeros, page by page: of a page cache that was filled in larger pieces, Linux 6.16 and later count (proc_pid_io(5),
// write_bytes) all of a piece for every batch that is written into it.
func zero(f disk.File, from, to int64) error {
	for from < to {
		n, err := f.WriteAt(zeros[:min(fillPage, to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

func (a *active) ahead() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.filled - a.end.Load()
}

// makeReserve fills the reserve aside and puts it in its place by a rename, so that it is never there in part.
func (w *filler) makeReserve() error {
	fs, path := w.l.cfg.FS, filepath.Join(w.l.node, reserveName)
	temp := path + ".new"
	_ = fs.Remove(temp)
	f, err := fs.Create(temp)
	if err != nil {
		return err
	}
	for at := int64(0); at < w.l.cfg.ReserveBytes && err == nil; at += fillChunk {
		err = zero(f, at, min(at+fillChunk, w.l.cfg.ReserveBytes))
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fs.Rename(temp, path)
	}
	if err == nil {
		err = fs.SyncDir(w.l.node)
	}
	if err != nil {
		_ = fs.Remove(temp)
		return err
	}
	w.mu.Lock()
	w.reserved = true
	w.mu.Unlock()
	return nil
}

// fillSpare adds a chunk to the spare segment.
func (w *filler) fillSpare() error {
	fs, path := w.l.cfg.FS, filepath.Join(w.l.home, spareName)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ready {
		return nil
	}
	var err error
	if w.spare == nil {
		_ = fs.Remove(path)
		w.spared = 0
		if w.spare, err = fs.Create(path); err != nil {
			w.spare = nil
			return err
		}
	}
	to := min(w.spared+fillChunk, w.l.cfg.SegmentBytes)
	if err = zero(w.spare, w.spared, to); err == nil {
		err = w.spare.Sync()
	}
	if err != nil {
		_ = w.spare.Close()
		_ = fs.Remove(path)
		w.spare = nil
		return err
	}
	w.spared, w.ready = to, to == w.l.cfg.SegmentBytes
	return nil
}

// clear ends the filler's work when the log closes.
func (w *filler) clear() {
	w.mu.Lock()
	retired, spare := w.retired, w.spare
	w.retired, w.spare, w.ready = nil, nil, false
	w.mu.Unlock()
	for _, a := range retired {
		w.seal(a)
	}
	if spare != nil {
		_ = spare.Close()
		_ = w.l.cfg.FS.Remove(filepath.Join(w.l.home, spareName))
	}
}
