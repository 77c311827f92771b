package audit

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyhold/keyhold/internal/audit/index"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

const (
	indexBlock = 64 << 10 // bytes of a segment that an index tells apart
	indexStep  = 1 << 20  // bytes between two pauses
)

// index makes the indexes that a segment lacks.
func (k *keeper) index(s sealed) error {
	for at := s.First; at < s.stop; {
		if p := k.l.lookup.at(s.dir, at); p != nil {
			if h, err := p.load([]segment.File{s.File}); err == nil && p.good() {
				at = h.Next
				continue
			}
		}
		data, next, err := k.build(s, at)
		if err == nil {
			err = writeDerived(indexPath(s.dir, at), data)
		}
		if err != nil {
			return fmt.Errorf("index record %d of epoch %d: %w", at, s.epoch, err)
		}
		k.l.lookup.add(s.dir, at)
		at = next
	}
	return nil
}

// mend has an index made anew that could not be used.
func (k *keeper) mend(p *part, err error) {
	k.l.cfg.Logger.Warn("audit index not used; it is made anew", "path", p.path, "error", err)
	k.nudge()
}

// build makes the index of a segment from a record on, which begins a batch, over as many records as one index holds.
func (k *keeper) build(s sealed, from uint64) (data []byte, next uint64, err error) {
	blocks, err := k.l.shelf.blocks(s.File, from+1)
	if err != nil {
		return nil, 0, err
	}
	if len(blocks) == 0 {
		return nil, 0, segment.ErrNotBatch
	}
	start := blocks[len(blocks)-1]
	src, err := segment.Open(s.File)
	if err != nil {
		return nil, 0, err
	}
	defer src.Close() //nolint:errcheck // read only
	r := segment.NewReader(src, start.Off, src.Size(), start.First, segment.Tag{})
	var b *index.Builder
	var begun int64 // of the present block
	paused, began := start.Off, time.Now()
	for r.Expect() < s.stop {
		batch, err := r.Next()
		if errors.Is(err, io.EOF) {
			err = segment.ErrTruncated
		}
		if err != nil {
			return nil, 0, err
		}
		if batch.First < from {
			continue
		}
		if b == nil {
			b = index.NewBuilder(batch.Tag, from)
		}
		if b.Records() == 0 || batch.Offset-begun >= indexBlock {
			if b.Full() {
				break
			}
			b.Block(batch.Offset)
			begun = batch.Offset
		}
		if err := addBatch(b, &batch); err != nil {
			return nil, 0, err
		}
		if batch.Offset-paused >= indexStep {
			if err := k.rest(began); err != nil {
				return nil, 0, err
			}
			paused, began = batch.Offset, time.Now()
		}
	}
	if b == nil {
		return nil, 0, segment.ErrNotBatch
	}
	return b.Finish(), from + b.Records(), nil
}

func addBatch(b *index.Builder, batch *segment.Batch) error {
	rest := batch.Raw[segment.HeaderSize:]
	see := func(kind byte, value []byte) {
		if kind == byRequest {
			b.Unique(kind, value)
			return
		}
		b.Term(kind, value)
	}
	for range batch.Count {
		f, tail, err := segment.Cut(rest)
		if err != nil {
			return err
		}
		r, err := DecodeBody(f.Body())
		if err != nil {
			return err
		}
		b.Add(r.Time.UnixNano())
		eachTerm(&r, see)
		rest = tail
	}
	b.Batch(batch.Offset, segment.HashOf(batch.Raw))
	return nil
}
