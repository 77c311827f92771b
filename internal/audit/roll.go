package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

// active is the segment that is being written. The filler writes zeros ahead of the committer; the two never touch the same bytes.
type active struct {
	f       disk.File // the committer's
	zero    disk.File // the filler's: a sync that fails must be told to both, and the kernel tells each open file once
	path    string
	end     atomic.Int64 // of what is acknowledged; set by the committer
	limit   int64
	reserve bool
	broken  bool // a write or sync failed; the committer's own

	mu     sync.Mutex // guards the fields below
	idle   sync.Cond  // no chunk is being filled
	busy   bool
	from   int64 // of the chunk that is being filled
	filled int64 // zeros or batches reach to here
	done   bool  // no more filling
}

func newActive(f disk.File, path string, filled, limit int64) *active {
	a := &active{f: f, path: path, filled: filled, limit: limit}
	a.idle.L = &a.mu
	return a
}

// write puts a sealed batch behind the last one and syncs it.
func (a *active) write(raw []byte) error {
	end := a.end.Load()
	to := end + int64(len(raw))
	a.mu.Lock()
	for a.busy && to > a.from {
		a.idle.Wait()
	}
	a.filled = max(a.filled, to)
	a.mu.Unlock()
	n, err := a.f.WriteAt(raw, end)
	if err == nil && n != len(raw) {
		err = fmt.Errorf("wrote %d bytes of %d", n, len(raw))
	}
	if err == nil {
		err = a.f.Sync()
	}
	if err != nil {
		return err
	}
	a.end.Store(to)
	return nil
}

// fits tells whether a batch may go into the segment. The first one always may, except into the reserve, which cannot grow.
func (a *active) fits(size int64) bool {
	end := a.end.Load()
	return end+size <= a.limit || end == 0 && !a.reserve
}

// roll begins the next segment: the spare one if it is ready, on a full disk the reserve.
func (l *Log) roll(full bool) error {
	if full {
		l.abandon()
		return l.useReserve()
	}
	seg, err := l.fromSpare()
	if seg == nil && err == nil {
		seg, err = l.newSegment(false)
	}
	if err != nil {
		return err
	}
	l.abandon()
	l.adopt(seg)
	return nil
}

func (l *Log) adopt(seg *active) {
	l.seg = seg
	l.catalog.forget(l.home)
	l.counters.segments.Add(1)
	l.fill.use(seg)
	l.keep.nudge()
}

// fromSpare makes the file that was filled ahead the next segment. Without one it gives nil.
func (l *Log) fromSpare() (*active, error) {
	f, path, err := l.fill.takeSpare(l.free)
	if err != nil || f == nil {
		return nil, err //nolint:nilnil // no spare is not an error
	}
	if err := l.cfg.FS.SyncDir(l.home); err != nil {
		_ = f.Close()
		return nil, err
	}
	return newActive(f, path, l.cfg.SegmentBytes, l.cfg.SegmentBytes), nil
}

// free is the name of the next segment. An earlier file of the same first record was given up before anything in it was acknowledged;
// attempts only count up, even past files that were removed since, because a removal that was not synced can come undone and of
// several files the last attempt is the one that counts.
func (l *Log) free() (string, error) {
	if l.tried.first != l.next {
		l.tried = attempts{first: l.next}
	}
	for l.tried.n <= segment.MaxAttempt {
		path := filepath.Join(l.home, segment.Name(l.next, l.tried.n))
		l.tried.n++
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("record %d: no attempt is left", l.next)
}

// attempts counts the segments that were begun with one record.
type attempts struct {
	first uint64
	n     int
}

// newSegment creates the next segment. With prove it first fills a part of it, so that a disk that is still full or failing is found out
// before callers wait for it.
func (l *Log) newSegment(prove bool) (*active, error) {
	path, err := l.free()
	if err != nil {
		return nil, err
	}
	f, err := l.cfg.FS.Create(path)
	if err != nil {
		return nil, err
	}
	var filled int64
	if prove {
		filled = min(fillChunk, l.cfg.SegmentBytes)
		if err = zero(f, 0, filled); err == nil {
			err = f.Sync()
		}
	}
	if err == nil {
		err = l.cfg.FS.SyncDir(l.home)
	}
	if err != nil {
		_ = f.Close()
		_ = l.cfg.FS.Remove(path)
		return nil, err
	}
	return newActive(f, path, filled, l.cfg.SegmentBytes), nil
}

// useReserve makes the reserve the next segment. Its space is allocated already, so that a full disk does not matter.
func (l *Log) useReserve() error {
	if !l.fill.takeReserve() {
		return fmt.Errorf("the reserve is used up: %w", errFull)
	}
	path, err := l.free()
	if err != nil {
		return err
	}
	if err := l.cfg.FS.Rename(filepath.Join(l.node, reserveName), path); err != nil {
		return err
	}
	if err := errors.Join(l.cfg.FS.SyncDir(l.home), l.cfg.FS.SyncDir(l.node)); err != nil {
		return err
	}
	f, err := l.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	seg := newActive(f, path, l.cfg.ReserveBytes, l.cfg.ReserveBytes)
	seg.reserve = true
	l.adopt(seg)
	l.cfg.Logger.Warn("audit log uses its reserve: the disk is full", "origin", l.origin)
	return nil
}
