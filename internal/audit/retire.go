package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// retire drops the data of full segments that are older than the retention, oldest first and without a gap. What remains of a dropped record is its leaf hash,
// so that every proof about the others stands; a record tells of it.
func (k *keeper) retire() error {
	keys := k.l.keys.Load()
	if k.l.cfg.Retention <= 0 || keys == nil { // without the keys nobody could tell whether a checkpoint is one
		return nil
	}
	full, err := k.full()
	if err != nil {
		return err
	}
	for _, s := range full {
		old, err := k.expired(s)
		if err != nil || !old {
			return err
		}
		c, err := k.l.covering(keys, s)
		if err != nil {
			return err
		}
		if c.Size < s.stop {
			return nil
		}
		last := Position{k.l.cfg.Node, s.epoch, s.stop - 1}
		if may := k.l.cfg.MayDrop; may != nil && !may(last) {
			return nil
		}
		if err := k.drop(s, c); err != nil {
			return fmt.Errorf("drop the records of %s: %w", filepath.Base(s.Path), err)
		}
	}
	return nil
}

// expired tells, from the indexes, whether all records of a segment are older than the retention. Dropping looks at the records themselves.
func (k *keeper) expired(s sealed) (bool, error) {
	for at := s.First; at < s.stop; {
		p := k.l.lookup.at(s.dir, at)
		if p == nil {
			return false, nil
		}
		h, err := p.load([]segment.File{s.File})
		if err != nil {
			return false, nil //nolint:nilerr // the next round makes it anew
		}
		if !k.old(time.Unix(0, h.Newest)) {
			return false, nil
		}
		at = h.Next
	}
	return true, nil
}

func (k *keeper) old(t time.Time) bool {
	now, ok := k.l.cfg.Trusted()
	return ok && now.Sub(t) > k.l.cfg.Retention
}

// covering is the newest signed checkpoint of a segment's epoch.
func (l *Log) covering(k *Keys, s sealed) (tree.Checkpoint, error) {
	if s.epoch == l.epoch {
		l.pub.mu.Lock()
		defer l.pub.mu.Unlock()
		return l.pub.signed, nil
	}
	msg, _, ok := newestNote(s.dir)
	if !ok {
		return tree.Checkpoint{}, nil
	}
	c, err := tree.Open(msg, k.Verifiers)
	if err == nil && c.Origin != Origin(l.cfg.Cluster, l.cfg.Node, s.epoch) {
		err = fmt.Errorf("epoch %d: the checkpoint is of %s", s.epoch, c.Origin)
	}
	return c, err
}

// drop drops a segment: hashes durable first, then the record, then the note, then the data. After a crash in between the next round goes on.
func (k *keeper) drop(s sealed, c tree.Checkpoint) error {
	gone, err := k.hashes(s)
	if err != nil {
		return err
	}
	if gone.Origin != c.Origin {
		return fmt.Errorf("the checkpoint is of %s", c.Origin)
	}
	if err := k.l.leads(gone, s.epoch, c); err != nil {
		return fmt.Errorf("the records do not lead to the signed checkpoint: %w", err)
	}
	gone.Rule = "retention of " + k.l.cfg.Retention.String()
	if gone.Record, err = k.l.Append(k.l.retireRecord(s, gone)); err != nil {
		return err
	}
	fs := k.l.cfg.FS
	if err := writeWhole(fs, filepath.Join(s.dir, retiredName), gone.Text()); err != nil {
		return err
	}
	k.l.catalog.forget(s.dir)
	k.l.cfg.Logger.Info("audit records dropped", "origin", gone.Origin, "before", gone.Next, "record", gone.Record.String())
	return k.sweep(s.dir)
}

// leads checks that the tree of a checkpoint begins with the records that are to be dropped.
func (l *Log) leads(gone *Retired, epoch uint64, c tree.Checkpoint) error {
	if gone.Next == c.Size {
		if gone.Root != c.Root {
			return tree.ErrProof
		}
		return nil
	}
	_, err := l.withTree(epoch, c, func(r *tree.Reader) ([]tree.Hash, error) {
		hashes, err := r.Extend(gone.Next, c.Size)
		if err != nil {
			return nil, err
		}
		return nil, tree.CheckExtension(hashes, gone.Next, gone.Root, c.Size, c.Root)
	})
	return err
}

// hashes reads a segment and makes its leaf hashes durable. It gives all that is to be known of it and of what was dropped before, but the record and the rule.
func (k *keeper) hashes(s sealed) (*Retired, error) {
	before, err := ReadRetired(s.dir)
	if err != nil {
		return nil, err
	}
	origin := Origin(k.l.cfg.Cluster, k.l.cfg.Node, s.epoch)
	if before == nil {
		before = &Retired{Origin: origin, Root: tree.EmptyRoot(), Chain: segment.Seed(origin)}
	}
	if before.Origin != origin || before.Next != s.First {
		return nil, fmt.Errorf("%w: records before %d of %s were dropped, and the segment begins with %d", ErrRetired, before.Next, before.Origin, s.First)
	}
	t, err := keptTree(s.dir, before)
	if err != nil {
		return nil, err
	}
	after := &Retired{Origin: origin, Next: s.stop, First: before.First}
	chain := before.Chain
	var newest time.Time
	err = k.eachBatch(s, func(b *segment.Batch) error {
		if b.Prev != chain {
			return fmt.Errorf("%w: record %d does not follow from what was before it", segment.ErrNotBatch, b.First)
		}
		chain = segment.HashOf(b.Raw)
		rest := b.Raw[segment.HeaderSize:]
		for seq := b.First; seq < b.Next(); seq++ {
			f, tail, err := segment.Cut(rest)
			if err != nil {
				return err
			}
			r, err := DecodeBody(f.Body())
			if err != nil {
				return fmt.Errorf("record %d: %w", seq, err)
			}
			if seq == 0 {
				after.First = append([]byte(nil), f.Body()...)
			}
			if r.Time.After(newest) {
				newest = r.Time
			}
			t.Append(f.Leaf())
			rest = tail
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !k.old(newest) {
		return nil, fmt.Errorf("a record of %s is younger than its index says", newest.Format(time.RFC3339))
	}
	if err := errors.Join(t.TileError(), t.WriteEdge()); err != nil {
		return nil, err
	}
	after.Root, after.Chain = t.Root(), chain
	return after, tree.SyncLeaves(s.dir, s.First, s.stop)
}

// keptTree is the tree over the records that were dropped.
func keptTree(dir string, gone *Retired) (*tree.Tree, error) {
	t, err := loadTree(dir, gone.Next)
	if err != nil || t.Root() != gone.Root { // tiles above the lowest level are derived
		t = tree.New(dir)
		err = appendLeaves(t, dir, 0, gone.Next)
	}
	if err == nil && t.Root() != gone.Root {
		err = fmt.Errorf("%w: the leaf hashes of dropped records were changed", ErrRetired)
	}
	return t, err
}

// appendLeaves adds leaf hashes that stand in tiles to a tree.
func appendLeaves(t *tree.Tree, dir string, from, to uint64) error {
	return tree.Leaves(dir, from, to, func(_ uint64, leaves []byte) error {
		for ; len(leaves) > 0; leaves = leaves[32:] {
			t.Append(tree.Hash(leaves))
		}
		return nil
	})
}

// retireRecord tells of what is dropped: the tree over all records of the epoch whose data is gone. It speaks for what is older, too, since nothing is dropped
// before everything before it.
func (l *Log) retireRecord(s sealed, gone *Retired) *Record {
	now := l.cfg.Now()
	var random [10]byte
	rand.Read(random[:]) //nolint:errcheck // never fails since Go 1.24
	return &Record{
		ID: kms.NewID(now, random), Time: now, Action: kms.RetireAudit, Outcome: OK, Method: kms.AuthSystem, Namespace: kms.SystemNamespace,
		Resource: gone.Origin, Prev: Link{Origin: gone.Origin, Size: gone.Next, Root: gone.Root},
		Detail: clip(fmt.Sprintf("records %d to %d: %s", s.First, s.stop-1, gone.Rule), MaxDetail),
	}
}

// sweep removes what is left of an epoch's segments and indexes whose records were dropped, also what a crash kept from going.
func (k *keeper) sweep(dir string) error {
	gone, err := ReadRetired(dir)
	if err != nil || gone == nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, e := range entries {
		if first, _, ok := segment.ParseName(e.Name()); ok && first < gone.Next {
			removed = true
			if err := k.l.cfg.FS.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if !removed {
		return nil
	}
	parts, err := k.l.lookup.of(dir)
	for _, p := range parts {
		if p.first < gone.Next {
			err = errors.Join(err, os.Remove(p.path))
		}
	}
	k.l.lookup.forget(dir)
	k.l.catalog.forget(dir)
	return errors.Join(err, k.l.cfg.FS.SyncDir(dir))
}
