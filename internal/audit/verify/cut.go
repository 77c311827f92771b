package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// cutter reads segments and cuts them into blocks. It judges what headers tell: tag, numbering, and what follows the last batch.
type cutter struct {
	e       *epoch
	files   []segment.File
	marks   *checkpoints
	blocks  chan<- *block
	inOrder chan<- *block

	next    uint64
	tag     segment.Tag
	keyed   bool
	parted  bool
	pending *due

	err   error    // of reading; these are read when inOrder is closed
	fault *Finding // behind the last block
	notes []string
}

func (c *cutter) run(ctx context.Context) {
	defer close(c.inOrder)
	defer close(c.blocks)
	if c.e.gone != nil {
		if err := c.leaves(ctx, c.e.gone.Next); err != nil {
			if ctx.Err() == nil {
				c.err = err
			}
			return
		}
	}
	if c.fault != nil {
		return
	}
	for i, file := range c.files {
		if file.First != c.next {
			c.wrong(file.Path, "the segment begins with record %d, but the one before ends with %d: records are missing or damaged", file.First, c.next)
			return
		}
		stop := uint64(1) << 62
		if i+1 < len(c.files) {
			stop = c.files[i+1].First
		}
		if err := c.file(ctx, file, stop, i+1 == len(c.files)); err != nil {
			if ctx.Err() == nil {
				c.err = err
			}
			return
		}
		if c.fault != nil {
			return
		}
	}
	if c.pending != nil { // it covers more than there is: rest judges it
		c.marks.unread(c.pending)
		c.pending = nil
	}
}

func (c *cutter) wrong(file string, format string, args ...any) {
	if c.pending != nil {
		c.marks.unread(c.pending)
		c.pending = nil
	}
	c.fault = &Finding{File: file, Node: c.e.out.Node, Epoch: c.e.out.Epoch, Sequence: c.next, What: fmt.Sprintf(format, args...)}
}

func (c *cutter) file(ctx context.Context, file segment.File, stop uint64, last bool) error {
	src, err := segment.Open(file)
	if errors.Is(err, segment.ErrPacked) {
		c.wrong(file.Path, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	off, end := int64(0), src.Size()
	for c.next < stop && off < end {
		buf := buffers.Get().(*[blockBytes]byte)[:min(blockBytes, end-off)] //nolint:forcetypeassert,errcheck // the pool holds nothing else
		n, err := src.ReadAt(buf, off)
		if errors.Is(err, segment.ErrPacked) && n == 0 { // otherwise what comes before the damage is judged first
			c.wrong(file.Path, "%v", err)
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, segment.ErrPacked) {
			return err
		}
		b := &block{file: file.Path, from: c.next, done: make(chan struct{})}
		size, need, why := c.cut(buf[:n], stop, end-off)
		if size == 0 && need > n && off+int64(need) <= end { // one batch that is larger than a block
			buf = make([]byte, need)
			if n, err = src.ReadAt(buf, off); errors.Is(err, segment.ErrPacked) {
				c.wrong(file.Path, "%v", err)
				return nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			size, _, why = c.cut(buf[:n], stop, end-off)
		}
		if size > 0 {
			b.data, b.next = buf[:size], c.next
			if err := c.give(ctx, b); err != nil {
				return err
			}
			off += int64(size)
			continue
		}
		if why == nil { // stop was reached
			break
		}
		return c.tail(src, file, off, last, why)
	}
	if !last && off < end {
		return c.tail(src, file, off, last, nil)
	}
	return nil
}

// give sends a block on its way, with the checkpoints whose size lies in it.
func (c *cutter) give(ctx context.Context, b *block) error {
	if err := c.attach(b); err != nil {
		return err
	}
	select {
	case c.inOrder <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.blocks <- b
	return nil
}

// cut finds how many bytes of whole batches stand at the start of buf. need is what the next batch would take; why says what stands there instead.
func (c *cutter) cut(buf []byte, stop uint64, left int64) (size, need int, why error) {
	for c.next < stop {
		at := buf[size:]
		if int64(size) >= left {
			return size, 0, nil
		}
		if len(at) < segment.HeaderSize {
			if int64(size+segment.HeaderSize) > left {
				return size, 0, segment.ErrTruncated
			}
			return size, segment.HeaderSize, nil
		}
		h, err := segment.ParseHeader(at)
		if err != nil {
			return size, 0, err
		}
		if c.tag != (segment.Tag{}) && h.Tag != c.tag {
			return size, 0, fmt.Errorf("%w of this log", segment.ErrNotBatch)
		}
		if h.First != c.next {
			return size, 0, fmt.Errorf("%w: it begins with record %d", segment.ErrNotBatch, h.First)
		}
		whole := h.Size()
		if int64(size)+whole > left {
			if whole = segment.HeaderSize + int64(h.Length); int64(size)+whole > left {
				return size, 0, segment.ErrTruncated
			}
		}
		if whole > int64(len(at)) {
			return size, int(whole), nil
		}
		if err := c.flags(&h); err != nil {
			return size, 0, err
		}
		c.tag, c.next = h.Tag, h.Next()
		size += int(whole)
	}
	return size, 0, nil
}

// flags holds a batch to the rule that a MAC, once there, stays until the keys are put away.
func (c *cutter) flags(h *segment.Header) error {
	if h.Flags&segment.Keyed == 0 {
		if c.keyed && !c.parted {
			return fmt.Errorf("%w: it has no MAC, though the server was unsealed", segment.ErrNotBatch)
		}
		return nil
	}
	c.keyed, c.parted = true, h.Flags&segment.Parting != 0
	return nil
}

// attach gives a block the checkpoints whose size lies in it.
func (c *cutter) attach(b *block) error {
	for {
		if c.pending == nil {
			var err error
			if c.pending, err = c.marks.next(); err != nil || c.pending == nil {
				return err
			}
		}
		if c.pending.Size > b.next {
			return nil
		}
		if c.pending.Size > 0 {
			b.due = append(b.due, c.pending)
		}
		c.pending = nil
	}
}

// tail judges what follows the last batch of a segment.
func (c *cutter) tail(src *segment.Source, file segment.File, off int64, last bool, why error) error {
	if why != nil && !damage(why) {
		return why
	}
	if file.Packed { // only what was whole is compressed
		c.wrong(file.Path, "behind record %d stands something else", c.next)
		return nil
	}
	dirty, later, err := segment.Rest(src, off, src.Size(), c.next, c.tag)
	if err != nil {
		return err
	}
	switch {
	case !last:
		// The next segment's number shows whether anything is missing.
		if dirty >= 0 {
			c.notes = append(c.notes, fmt.Sprintf("%s has bytes behind its last record that were never acknowledged", file.Path))
		}
	case later != nil:
		c.wrong(file.Path, "%v, yet a later batch begins with record %d: the log was changed here", why, later.First)
	case dirty >= 0 && !c.e.newest:
		c.wrong(file.Path, "%v, but something else", why)
	case dirty >= 0:
		c.notes = append(c.notes, fmt.Sprintf("%s ends with a batch that is not whole: the server is running, or was stopped by force and not started again", file.Path))
	}
	return nil
}
