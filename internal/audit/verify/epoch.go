package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// The work is cut into blocks of whole batches. One goroutine reads headers and cuts, workers hash, one goroutine joins the results in order.
const blockBytes = 1 << 20

var buffers = sync.Pool{New: func() any { return new([blockBytes]byte) }}

// block is a run of batches on its way through a worker.
type block struct {
	file string
	data []byte // headers, frames and padding
	from uint64 // number of the first record
	next uint64 // number of the record after the last
	due  []*due // checkpoints whose size lies in the block, by size

	done chan struct{} // closed when the result is there
	result
}

// due is a checkpoint to be held against the tree.
type due struct {
	tree.Checkpoint
	file   string
	signed []byte // the note; nil: its signature was verified
	anchor *anchor
	bad    error      // of the signature
	part   tree.Range // the block's records before the checkpoint
}

// result is what a worker found.
type result struct {
	prev, last segment.Hash // of the batch before, and of the last one
	tree       tree.Range
	batches    uint64
	unkeyed    uint64
	erased     uint64
	altered    []uint64 // records whose annex was changed
	err        error    // what is wrong with a batch
	at         uint64   // its first record
}

// run verifies the epoch.
func (e *epoch) run(ctx context.Context) error {
	files, given, err := segment.List(e.dir)
	if err != nil {
		return err
	}
	for _, f := range given {
		e.note("%s was given up before anything in it was acknowledged", f.Path)
	}
	for _, a := range e.anchors {
		a.judged = len(files) > 0
	}
	marks := e.checkpoints()
	defer marks.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blocks := make(chan *block, 2*e.o.Workers)  // to the workers
	inOrder := make(chan *block, 2*e.o.Workers) // to the joiner
	for range e.o.Workers {
		go work(blocks, e.o)
	}
	c := &cutter{e: e, files: files, marks: marks, blocks: blocks, inOrder: inOrder}
	go c.run(ctx)
	j := joiner{e: e, prev: segment.Seed(e.out.Origin)}
	for b := range inOrder {
		<-b.done
		e.progress.add(int64(len(b.data)))
		j.join(b)
		if cap(b.data) == blockBytes {
			buffers.Put((*[blockBytes]byte)(b.data[:blockBytes]))
		}
		if e.broken {
			cancel()
			break
		}
	}
	for range inOrder { // let the cutter end
	}
	if c.err != nil {
		return c.err
	}
	if err := ctx.Err(); err != nil && !e.broken {
		return err
	}
	e.out.Segments = len(files)
	e.out.Records, e.out.root = j.whole.Next, j.whole.Root()
	if e.broken {
		return nil
	}
	if c.fault != nil {
		e.broken = true
		e.rep.find(*c.fault)
	}
	for _, n := range c.notes {
		e.note("%s", n)
	}
	return e.rest(marks)
}

// rest judges the checkpoints that are left when the records have ended: they cover records that are not there.
func (e *epoch) rest(marks *checkpoints) error {
	for {
		d, err := marks.next()
		if err != nil {
			return err
		}
		if d == nil {
			break
		}
		if d.Size == 0 {
			continue // the tree before the first record
		}
		if d.anchor != nil {
			d.anchor.used = true
		}
		if d.signed != nil {
			if _, err := tree.Open(d.signed, e.o.Keys.Verifiers); err != nil {
				e.wrong(d.file, d.Size, "%v", err)
				continue
			}
		}
		e.wrong(d.file, e.out.Records, "%s covers %d records, but only %d are there", d.kind(), d.Size, e.out.Records)
		e.broken = true
	}
	for _, f := range marks.findings {
		e.rep.find(f)
	}
	if marks.torn != "" {
		e.note("%s", marks.torn)
	}
	return nil
}

func (d *due) kind() string {
	if d.anchor != nil {
		return "the anchor"
	}
	return "a checkpoint"
}

// joiner puts the results of blocks together.
type joiner struct {
	e     *epoch
	prev  segment.Hash
	whole tree.Range
}

func (j *joiner) join(b *block) {
	e := j.e
	if b.err == nil || b.batches > 0 {
		if b.prev != j.prev {
			e.fatal(b.file, b.from, "the batch does not follow from the one before: something before it was changed, removed or put in")
			return
		}
	}
	if b.from == 0 && b.tree.Next > 0 {
		if err := e.readFirst(b); err != nil {
			e.fatal(b.file, 0, "the first record cannot be read: %v", err)
			return
		}
	}
	for _, d := range b.due {
		if d.Size > b.tree.Next {
			break // the block is damaged before it
		}
		j.hold(d)
	}
	if err := j.whole.Merge(&b.tree); err != nil {
		e.fatal(b.file, b.from, "%v", err)
		return
	}
	j.prev = b.last
	e.out.Batches += b.batches
	e.out.Unkeyed += b.unkeyed
	e.out.Erased += b.erased
	for _, seq := range b.altered {
		e.wrong(b.file, seq, "the annex (who and from where) was changed: it is not the one that the record commits to")
	}
	if b.err != nil {
		e.fatal(b.file, b.at, "%v", b.err)
	}
}

// hold compares the tree with a checkpoint.
func (j *joiner) hold(d *due) {
	e := j.e
	if d.anchor != nil {
		d.anchor.used = true
	}
	if d.bad != nil {
		e.wrong(d.file, d.Size, "%v", d.bad)
		return
	}
	at := j.whole.Clone()
	if err := at.Merge(&d.part); err != nil || at.Root() != d.Root {
		e.wrong(d.file, d.Size, "%s over %d records has another root than the records that are there: at least one of them was changed", d.kind(), d.Size)
		return
	}
	if d.anchor != nil {
		e.out.Anchored = max(e.out.Anchored, d.Size)
		return
	}
	e.out.Checkpoints++
	e.out.Signed = max(e.out.Signed, d.Size)
}

func (e *epoch) readFirst(b *block) error {
	f, _, err := segment.Cut(b.data[segment.HeaderSize:])
	if err != nil {
		return err
	}
	e.firstFile = b.file
	e.first, err = audit.DecodeBody(f.Body())
	return err
}

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
	f, err := os.Open(file.Path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	off := int64(0)
	for c.next < stop && off < file.Size {
		buf := buffers.Get().(*[blockBytes]byte)[:min(blockBytes, file.Size-off)] //nolint:forcetypeassert,errcheck // the pool holds nothing else
		n, err := f.ReadAt(buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		b := &block{file: file.Path, from: c.next, done: make(chan struct{})}
		size, need, why := c.cut(buf[:n], stop, file.Size-off)
		if size == 0 && need > n && off+int64(need) <= file.Size { // one batch that is larger than a block
			buf = make([]byte, need)
			if n, err = f.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			size, _, why = c.cut(buf[:n], stop, file.Size-off)
		}
		if size > 0 {
			b.data, b.next = buf[:size], c.next
			if err := c.attach(b); err != nil {
				return err
			}
			select {
			case c.inOrder <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			c.blocks <- b
			off += int64(size)
			continue
		}
		if why == nil { // stop was reached
			break
		}
		if c.fault == nil {
			return c.tail(f, file, off, last, why)
		}
		return nil
	}
	if !last && off < file.Size {
		return c.tail(f, file, off, last, nil)
	}
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
func (c *cutter) tail(f *os.File, file segment.File, off int64, last bool, why error) error {
	if why != nil && !damage(why) {
		return why
	}
	dirty, later, err := segment.Rest(f, off, file.Size, c.next, c.tag)
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
