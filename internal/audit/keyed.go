package audit

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Keyed is called when the server is unsealed, and again when the audit keys change. The first call checks with the keys what earlier boots
// left and no checkpoint covers: a tail that was edited while the server was down gives CodeLogAltered, and the log stays without keys. Then
// the earlier epochs get their last checkpoint, and from here on batches carry a MAC and checkpoints are signed.
func (l *Log) Keyed(k Keys) error {
	if err := k.check(l.cfg.Cluster); err != nil {
		return kms.Errorf(kms.CodeAuditUnavailable, "the audit keys cannot be used").Because(err)
	}
	l.keyedMu.Lock()
	defer l.keyedMu.Unlock()
	if !l.vetted {
		if err := l.vet(&k); err != nil {
			return err
		}
		l.vetted = true
	}
	// No batch is between its sealing and its acknowledgement now, so that every batch behind the next checkpoint has a MAC.
	l.keying.Lock()
	l.keys.Store(&k)
	l.keying.Unlock()
	l.pub.keys.Store(&k)
	if err := l.pub.cover(l.Size(), false); err != nil {
		l.cfg.Logger.Warn("audit checkpoint not written", "error", err)
	}
	return nil
}

// Unkeyed is called when the server is sealed: it writes the record that says so in the last batch with a MAC, signs a checkpoint over it and
// lets go of the keys. If the record cannot be written the log keeps them, since batches without a MAC may not follow; ending the
// process seals the server in any case.
func (l *Log) Unkeyed(r *Record) (Position, error) {
	l.keyedMu.Lock()
	defer l.keyedMu.Unlock()
	g := new(group)
	g.reset()
	if err := g.add(r); err != nil {
		return Position{}, err
	}
	g.part = l.keys.Load() != nil
	first, err := l.write(g)
	if err != nil {
		return Position{}, err
	}
	if err := l.pub.cover(first+1, true); err != nil {
		l.cfg.Logger.Warn("audit checkpoint not written", "error", err)
	}
	return l.position(first), nil
}

// vet checks the earlier epochs, newest first, until one is found whose checkpoint covers all of it: it commits to everything before.
func (l *Log) vet(k *Keys) error {
	var open []*past
	for p := l.past; p != nil && p.altered == nil; { // an altered one was left by an operator's order, which the present epoch's first record tells
		covered, err := p.vet(k)
		if err == nil && covered {
			break
		}
		var before *past
		rolled := false
		if err == nil {
			before, rolled, err = p.before(l.cfg.Cluster, l.cfg.Node, l.node)
		}
		if err != nil {
			if err := l.judge(p, err); err != nil {
				return err
			}
			break
		}
		open = append(open, p)
		if rolled {
			break
		}
		p = before
	}
	// Nothing is signed before everything was checked, and the oldest first: a checkpoint ends the search of the next unsealing.
	for _, p := range slices.Backward(open) {
		if err := p.conclude(k); err != nil {
			return failure("sign the last checkpoint of an earlier boot epoch", err)
		}
	}
	return nil
}

// judge refuses an altered log, or records it where an operator ordered to go on.
func (l *Log) judge(p *past, err error) error {
	var altered *alteration
	if !errors.As(err, &altered) {
		return failure("check the earlier audit log", err)
	}
	refusal := kms.Errorf(kms.CodeLogAltered, "%s", altered.Error())
	if !l.cfg.SealAndRoll {
		return refusal
	}
	r := l.startRecord()
	r.Prev = Link{Origin: p.origin, Size: p.size, Root: p.root}
	r.Outcome, r.Code = Failed, kms.CodeLogAltered
	r.Reason = clip("sealed and rolled by an operator's order: "+altered.Error(), MaxReason)
	if _, err := l.Append(r); err != nil {
		return err
	}
	return nil
}

// vet checks one epoch against its newest checkpoint and the MACs of what that does not cover.
func (p *past) vet(k *Keys) (covered bool, err error) {
	msg, c, ok := newestNote(p.dir)
	var from uint64
	if ok {
		signed, err := tree.Open(msg, k.Verifiers)
		var unknown *note.UnverifiedNoteError
		switch {
		case errors.As(err, &unknown): // signed by a key that is not known any more: the MACs decide
		case err != nil:
			return false, p.altersAt(checkpointName, c.Size, "the checkpoint's signature does not verify")
		case signed.Origin != p.origin || signed.Size > p.size:
			return false, p.altersAt(checkpointName, p.size, "the checkpoint is of %s with %d records", signed.Origin, signed.Size)
		default:
			from = signed.Size
			if err := p.matches(signed); err != nil {
				return false, err
			}
		}
	}
	if from == p.size && from > 0 {
		return true, nil
	}
	return false, p.macs(k, from)
}

// matches compares the tree with a signed checkpoint, and the tree's final root with the one that the next epoch committed to.
func (p *past) matches(c tree.Checkpoint) error {
	check := func() bool {
		if p.tree == nil || p.tree.Root() != p.root {
			return false
		}
		root, err := p.tree.Reader().RootAt(c.Size)
		return err == nil && root == c.Root
	}
	if p.tree == nil {
		p.tree, _ = loadTree(p.dir, p.size) //nolint:errcheck // then it is rebuilt
	}
	if check() {
		return nil
	}
	if err := p.rebuild(); err != nil {
		return err
	}
	if !check() {
		return p.altersAt(checkpointName, c.Size, "the records do not lead to the signed root")
	}
	return nil
}

// macs checks the MAC of every batch from the segment of a record on. Batches without one are the first of an epoch, or follow one that
// says so; after a checkpoint there is one in any case.
func (p *past) macs(k *Keys, from uint64) error {
	files, gone, err := p.segments()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return p.altersAt("", 0, "%d records were expected, and there is no segment", p.size)
	}
	w := walk{p: p, files: files, gone: gone}
	for w.from+1 < len(files) && files[w.from+1].First <= from {
		w.from++
	}
	if w.from > 0 && from > 0 { // whether batches without a MAC may stand here is known from the segment's first batch only
		if keyed, err := firstIsKeyed(files[w.from]); err != nil || !keyed {
			w.from = 0
		}
	}
	bare := w.from == 0 && from == 0 // batches without a MAC are allowed from the start, but not behind a checkpoint
	err = w.run(func(b *segment.Batch, sum segment.Hash, _ []byte) error {
		if b.Flags&segment.Keyed == 0 {
			if !bare && b.First >= from {
				return p.altersAt("", b.First, "a batch has no MAC, though the server was unsealed")
			}
			return nil
		}
		mac, err := k.MAC(b.KeyEpoch, sum[:])
		if err != nil {
			return fmt.Errorf("MAC of record %d: %w", b.First, err)
		}
		if !hmac.Equal(mac[:], b.MAC[:]) {
			return p.altersAt("", b.First, "the batch's MAC does not match: it was written or changed by somebody else")
		}
		bare = b.Flags&segment.Parting != 0
		return nil
	})
	if err != nil {
		return err
	}
	if w.next < p.size {
		return p.altersAt("", w.next, "%d records were expected", p.size)
	}
	if p.tree == nil {
		if p.tree, err = loadTree(p.dir, p.size); err != nil || p.tree.Root() != p.root {
			if err := p.rebuild(); err != nil {
				return err
			}
		}
	}
	if p.tree.Root() != p.root {
		return p.altersAt("", p.size, "the records do not lead to the root that the next boot epoch committed to")
	}
	return nil
}

func firstIsKeyed(file segment.File) (bool, error) {
	src, err := segment.Open(file)
	if err != nil {
		return false, err
	}
	defer src.Close() //nolint:errcheck // read only
	b, err := segment.NewReader(src, 0, src.Size(), file.First, segment.Tag{}).Next()
	return err == nil && b.Flags&segment.Keyed != 0, err
}

// before reads from an epoch's first record which epoch came before it, and whether that one was given up by an operator's order.
func (p *past) before(cluster, node, dir string) (q *past, rolled bool, err error) {
	r, err := p.first()
	if err != nil {
		return nil, false, p.altersAt("", 0, "the first record cannot be read: %v", err)
	}
	if r.Prev == (Link{}) {
		return nil, false, nil
	}
	c, n, epoch, ok := ParseOrigin(r.Prev.Origin)
	if !ok || c != cluster || n != node || epoch >= p.epoch {
		return nil, false, p.altersAt("", 0, "the first record names %q as the epoch before", clip(r.Prev.Origin, 80))
	}
	q = &past{epoch: epoch, dir: filepath.Join(dir, epochFolder(epoch)), origin: r.Prev.Origin, size: r.Prev.Size, root: r.Prev.Root}
	if _, err := os.Stat(q.dir); errors.Is(err, os.ErrNotExist) {
		return nil, false, nil // expired: retention is not the log's business
	}
	return q, r.Code == kms.CodeLogAltered, nil
}

// first is the first record of the epoch. If its data was dropped, its body was kept.
func (p *past) first() (r Record, err error) {
	_, gone, err := p.segments()
	if err != nil {
		return r, err
	}
	if gone != nil {
		return DecodeBody(gone.First)
	}
	bad := error(nil)
	err = eachFrame(p.dir, 0, 1, func(_ uint64, f segment.Frame) bool {
		r, bad = DecodeBody(f.Body())
		return false
	})
	return r, errors.Join(err, bad)
}

// conclude signs the last checkpoint of an epoch that ended without one.
func (p *past) conclude(k *Keys) error {
	msg, err := tree.Checkpoint{Origin: p.origin, Size: p.size, Root: p.root}.Sign(k.Signer)
	if err != nil {
		return err
	}
	var length int64
	if f, err := os.Open(filepath.Join(p.dir, checkpointsName)); err == nil {
		notes := tree.NewNotes(f)
		for {
			if _, err := notes.Next(); err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, tree.ErrCheckpoint) {
					return errors.Join(err, f.Close())
				}
				break
			}
		}
		length = notes.End()
		if err := f.Close(); err != nil {
			return err
		}
	}
	if p.tree != nil {
		_ = p.tree.WriteEdge() //nolint:errcheck // tiles are derived
	}
	_, err = writeCheckpoint(p.dir, msg, length, true)
	return err
}
