package audit

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// past is what an earlier boot epoch left behind.
type past struct {
	epoch  uint64
	dir    string
	origin string
	size   uint64
	root   tree.Hash
	tree   *tree.Tree

	altered *kms.Error // it is damaged, and an operator ordered to go on
}

// Recovery of an epoch, at the start after it (docs/formats-audit.md, "Recovery"):
//
//	what follows the last batch that fits          meaning            what is done
//	nothing, or zeros                              a clean end        -
//	bytes that are no batch, no later cover        a torn write       cut there
//	a later batch, a later segment or a
//	checkpoint over more records                   altered            refuse
//	a batch that is whole but nobody was told of   durable            keep
//
// Only the last two segments are read; what is before them is covered by the chain, the tree and their checks.
func (l *Log) recover(epoch uint64) (*past, error) {
	p := &past{epoch: epoch, dir: filepath.Join(l.node, epochFolder(epoch)), origin: Origin(l.cfg.Cluster, l.cfg.Node, epoch)}
	cut, err := p.scan()
	if err == nil {
		err = p.compare()
	}
	if err == nil {
		if err = l.clean(p, cut); err != nil {
			return nil, failure("recover the audit log", err)
		}
		return p, nil
	}
	var altered *alteration
	if !errors.As(err, &altered) {
		return nil, failure("recover the audit log", err)
	}
	refusal := kms.Errorf(kms.CodeLogAltered, "%s", altered.Error())
	if !l.cfg.SealAndRoll {
		return nil, refusal
	}
	l.cfg.Logger.Error("altered audit log sealed by order", "epoch", epoch, "error", altered)
	p.altered = refusal
	if p.tree == nil { // what can still be read is committed to; otherwise that nothing can be
		p.size, p.root = 0, tree.EmptyRoot()
	}
	return p, nil
}

// alteration says where a log is not what was acknowledged.
type alteration struct {
	epoch uint64
	file  string
	seq   uint64
	why   string
}

func (a *alteration) Error() string {
	return fmt.Sprintf("epoch %d, file %s, record %d: %s", a.epoch, filepath.Base(a.file), a.seq, a.why)
}

func (p *past) altersAt(file string, seq uint64, format string, args ...any) error {
	return &alteration{p.epoch, file, seq, fmt.Sprintf(format, args...)}
}

// cut is where the last segment ends.
type cut struct {
	file segment.File
	end  int64
	size int64 // of the segment
	torn bool
}

// scan finds the end of the epoch in its last two segments.
func (p *past) scan() (*cut, error) {
	files, gone, err := p.segments()
	if err != nil {
		return nil, err
	}
	if gone != nil {
		p.size = gone.Next
	}
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // there is no segment to cut
	}
	w := walk{p: p, files: files, gone: gone, from: max(0, len(files)-2)}
	if err := w.run(nil); err != nil {
		return nil, err
	}
	p.size = w.next
	return &cut{files[len(files)-1], w.end, w.size, w.dirty >= 0}, nil
}

// compare holds what was found against the newest checkpoint, without its signature: that is checked when the server is unsealed.
func (p *past) compare() error {
	c, signed := newestCheckpoint(p.dir)
	if signed && c.Origin == p.origin && c.Size > p.size {
		return p.altersAt(checkpointName, p.size, "a checkpoint covers %d records, but only %d are there", c.Size, p.size)
	}
	if p.size == 0 {
		p.root = tree.EmptyRoot()
		return nil
	}
	fits := func() bool {
		if !signed || c.Origin != p.origin {
			return true
		}
		root, err := p.tree.Reader().RootAt(c.Size)
		return err == nil && root == c.Root
	}
	t, err := loadTree(p.dir, p.size)
	if p.tree = t; err != nil || !fits() { // tiles are not synced and not believed
		if err := p.rebuild(); err != nil {
			return err
		}
		if !fits() {
			return p.altersAt(checkpointName, c.Size, "the records do not lead to the root of the checkpoint")
		}
	}
	p.root = p.tree.Root()
	return nil
}

// rebuild makes the tree from the segments alone.
func (p *past) rebuild() error {
	t, err := rebuildTree(p, p.size)
	if err != nil {
		return err
	}
	p.tree = t
	return nil
}

func rebuildTree(p *past, size uint64) (*tree.Tree, error) {
	files, gone, err := p.segments()
	if err != nil {
		return nil, err
	}
	t := tree.New(p.dir)
	if gone != nil {
		if err := appendLeaves(t, p.dir, 0, min(gone.Next, size)); err != nil {
			return nil, p.altersAt(retiredName, t.Size(), "the leaf hashes of dropped records: %v", err)
		}
	}
	if t.Size() == size {
		return t, nil
	}
	if len(files) == 0 {
		return nil, p.altersAt("", t.Size(), "%d records were expected", size)
	}
	w := walk{p: p, files: files, gone: gone}
	err = w.run(func(_ *segment.Batch, _ segment.Hash, leaves []byte) error {
		for i := 0; i < len(leaves) && t.Size() < size; i += 32 {
			t.Append(tree.Hash(leaves[i:]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t.Size() != size {
		return nil, p.altersAt("", t.Size(), "%d records were expected", size)
	}
	return t, nil
}

// loadTree loads a tree from its tiles and the leaf hashes of the newest records.
func loadTree(dir string, size uint64) (*tree.Tree, error) {
	return tree.Load(dir, size, func(from uint64) ([]tree.Hash, error) {
		var out []tree.Hash
		gone, err := ReadRetired(dir)
		if err != nil {
			return nil, err
		}
		if gone != nil && gone.Next > from {
			err := tree.Leaves(dir, from, min(gone.Next, size), func(_ uint64, leaves []byte) error {
				for ; len(leaves) > 0; leaves = leaves[32:] {
					out = append(out, tree.Hash(leaves))
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			from = min(gone.Next, size)
		}
		err = eachFrame(dir, from, size, func(_ uint64, f segment.Frame) bool {
			out = append(out, f.Leaf())
			return true
		})
		return out, err
	})
}

// clean cuts a torn or unused tail and removes what is not needed any more.
func (l *Log) clean(p *past, c *cut) error {
	_ = l.cfg.FS.Remove(filepath.Join(p.dir, spareName))
	if c == nil || c.end >= c.size || c.file.Packed {
		return nil
	}
	if c.torn {
		l.cfg.Logger.Warn("torn end of the audit log cut", "epoch", p.epoch, "size", p.size)
	}
	f, err := l.cfg.FS.Open(c.file.Path)
	if err != nil {
		return err
	}
	if err = f.Truncate(c.end); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// findHead looks for the newest store head in the log, back over the boot epochs.
func (l *Log) findHead(epochs []uint64) (Head, error) {
	for i := len(epochs) - 1; i >= 0; i-- {
		files, _, err := segment.List(filepath.Join(l.node, epochFolder(epochs[i])))
		if err != nil {
			return Head{}, err
		}
		for k := len(files) - 1; k >= 0; k-- {
			head, err := headIn(files[k])
			if err != nil {
				return Head{}, err
			}
			if !head.At.IsZero() {
				return head, nil
			}
		}
	}
	return Head{}, nil
}

func headIn(file segment.File) (Head, error) {
	src, err := segment.Open(file)
	if err != nil {
		return Head{}, err
	}
	defer src.Close() //nolint:errcheck // read only
	var head Head
	r := segment.NewReader(src, 0, src.Size(), file.First, segment.Tag{})
	for {
		b, err := r.Next()
		if err != nil {
			return head, nil
		}
		if b.HeadRev != 0 {
			head = Head{Rev: kms.Rev(b.HeadRev), Hash: b.HeadHash, At: b.Time}
		}
	}
}
