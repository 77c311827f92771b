package verify

import (
	"context"
	"errors"
	"fmt"
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
	data []byte // headers, frames and padding; of records that were dropped, their leaf hashes
	gone bool   // the records were dropped
	from uint64 // number of the first record
	next uint64 // number of the record after the last
	due  []*due // checkpoints whose size lies in the block, by size

	done chan struct{} // closed when the result is there
	result
}

// result is what a worker found.
type result struct {
	prev, last segment.Hash // of the batch before, and of the last one
	claims     []claim      // of dropped records
	first      tree.Hash    // of dropped records, the first leaf hash
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
	files, err := e.files()
	if err != nil || e.broken {
		return err
	}
	for _, a := range e.anchors {
		a.judged = len(files) > 0 || e.gone != nil
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

// files lists the segments to read, and notes what is not read.
func (e *epoch) files() ([]segment.File, error) {
	files, gone, left, err := audit.LiveSegments(e.dir)
	if err == nil && gone != nil && gone.Origin != e.out.Origin {
		err = fmt.Errorf("%w: it is of %s", audit.ErrRetired, gone.Origin)
	}
	if errors.Is(err, audit.ErrRetired) {
		e.fatal(e.dir, 0, "%v", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, given, err := segment.List(e.dir)
	for _, f := range given {
		e.note("%s was given up before anything in it was acknowledged", f.Path)
	}
	for _, f := range left {
		e.note("%s was not read: its records were dropped, and the server stopped before the file was removed", f.Path)
	}
	for _, f := range files {
		if f.Twin != "" {
			e.note("%s was not read: it is the compressed form of %s, which is there, too", f.Twin, f.Path)
		}
	}
	if e.gone = gone; gone != nil {
		e.out.Retired = gone.Next
	}
	return files, err
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
		if d.check(&e.o.Keys); d.bad != nil {
			e.wrong(d.file, d.Size, "%v", d.bad)
			continue
		}
		e.wrong(d.file, e.out.Records, "%s covers %d records, but only %d are there", d.kind(), d.Size, e.out.Records)
		e.broken = true
	}
	for _, f := range marks.findings {
		e.rep.find(f)
	}
	for _, t := range marks.torn {
		e.note("%s", t)
	}
	return nil
}

// joiner puts the results of blocks together.
type joiner struct {
	e     *epoch
	prev  segment.Hash
	whole tree.Range
}

func (j *joiner) join(b *block) {
	e := j.e
	if b.gone {
		j.joinGone(b)
		return
	}
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
	for _, c := range b.claims {
		c.by.Node, c.by.Epoch = e.out.Node, e.out.Epoch
		e.claims.add(c)
	}
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

// joinGone adds leaf hashes of records that were dropped. They are believed as far as the checkpoints behind them commit to them.
func (j *joiner) joinGone(b *block) {
	e, gone := j.e, j.e.gone
	if b.from == 0 {
		if audit.LeafHash(gone.First) != b.first {
			e.fatal(b.file, 0, "the first record that was kept is not the one that was dropped")
			return
		}
		e.firstFile = b.file
		e.first, _ = audit.DecodeBody(gone.First) //nolint:errcheck // it was decoded when the file was read
	}
	for _, d := range b.due {
		j.hold(d)
	}
	if err := j.whole.Merge(&b.tree); err != nil {
		e.fatal(b.file, b.from, "%v", err)
		return
	}
	if b.next < gone.Next {
		return
	}
	if j.whole.Root() != gone.Root {
		e.fatal(b.file, gone.Next, "the leaf hashes of the records that were dropped do not lead to the root that was noted")
		return
	}
	j.prev = gone.Chain
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
		split := ""
		if len(d.by) > 0 {
			split = ". SPLIT VIEW: the witnesses were shown another history than this one"
		}
		e.wrong(d.file, d.Size, "%s over %d records has another root than the records that are there: at least one of them was changed%s", d.kind(), d.Size, split)
		return
	}
	e.held(d)
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
