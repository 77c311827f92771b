package audit

import (
	"context"
	"errors"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Checkpoint is the newest signed checkpoint of the present boot epoch: a signed note (C2SP tlog-checkpoint), with the cosignatures that it has. Keeping a
// copy elsewhere anchors everything before it. It is nil before unsealing.
func (l *Log) Checkpoint() []byte {
	msg, c, _ := l.newestOf(l.epoch)
	return l.withCosignatures(c, msg)
}

// Prove gives the proof that a record stands in the log: a text (C2SP tlog-proof) that verify.Proof checks with the public key alone. For a record that
// no checkpoint covers yet it waits for the next one, a second at most. A checkpoint that was witnessed is preferred to a newer one. Errors: CodeNotFound, CodeSealed, CodeCancelled, CodeLogAltered,
// CodeAuditUnavailable.
func (l *Log) Prove(ctx context.Context, p Position) ([]byte, error) {
	body, annex, err := l.ReadEncoded(p)
	if err != nil {
		return nil, err
	}
	out := tree.Proof{Extra: segment.AppendFrame(nil, body, annex), Index: p.Seq}
	var c tree.Checkpoint
	if w, ok := l.vouched(p.Epoch); ok && w.Size > p.Seq {
		c, out.Checkpoint = w.Checkpoint, w.note
	} else if p.Epoch == l.epoch {
		c, out.Checkpoint, err = l.awaitCheckpoint(ctx, p.Seq)
		out.Checkpoint = l.withCosignatures(c, out.Checkpoint)
	} else {
		c, out.Checkpoint, err = l.pastCheckpoint(p)
	}
	if err != nil {
		return nil, err
	}
	out.Hashes, err = l.withTree(p.Epoch, c, func(r *tree.Reader) ([]tree.Hash, error) {
		hashes, err := r.Include(c.Size, p.Seq)
		if err != nil {
			return nil, err
		}
		return hashes, tree.CheckInclusion(hashes, c.Size, c.Root, p.Seq, LeafHash(body))
	})
	if err != nil {
		return nil, unreadable(p, err)
	}
	return out.Text(), nil
}

// Extension proves that the tree of an epoch with next records starts with the tree it was with prev records (RFC 6962 §2.1.2); tree.CheckExtension verifies it.
func (l *Log) Extension(epoch, prev, next uint64) ([]tree.Hash, error) {
	at := Position{l.cfg.Node, epoch, next}
	_, size, ok, err := l.epochSize(epoch)
	if err != nil {
		return nil, unreadable(at, err)
	}
	if !ok || prev == 0 || prev > next || next > size {
		return nil, kms.Errorf(kms.CodeNotFound, "the audit log has no tree of %d and %d records in boot epoch %d", prev, next, epoch)
	}
	if epoch == l.epoch {
		l.pub.reach(next)
	}
	hashes, err := l.withTree(epoch, tree.Checkpoint{}, func(r *tree.Reader) ([]tree.Hash, error) { return r.Extend(prev, next) })
	if err != nil {
		return nil, unreadable(at, err)
	}
	return hashes, nil
}

// reach waits until the tree has n records, which were acknowledged.
func (p *publisher) reach(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.tree.Size() < n {
		p.grown.Wait()
	}
}

// awaitCheckpoint waits for a checkpoint of the present epoch that covers a record.
func (l *Log) awaitCheckpoint(ctx context.Context, seq uint64) (tree.Checkpoint, []byte, error) {
	p := &l.pub
	for {
		p.mu.Lock()
		c, msg, fresh := p.signed, p.note, p.fresh
		p.mu.Unlock()
		if c.Size > seq {
			return c, msg, nil
		}
		if p.keys.Load() == nil {
			return c, nil, kms.Errorf(kms.CodeSealed, "checkpoints are signed while the server is unsealed")
		}
		p.request()
		select {
		case <-fresh:
		case <-ctx.Done():
			return c, nil, kms.Errorf(kms.CodeCancelled, "no checkpoint covers the record yet").Because(ctx.Err())
		case <-p.ended:
			p.mu.Lock()
			c, msg = p.signed, p.note
			p.mu.Unlock()
			if c.Size > seq {
				return c, msg, nil
			}
			return c, nil, kms.Errorf(kms.CodeStopping, "the audit log is closed")
		}
	}
}

func (l *Log) pastCheckpoint(p Position) (tree.Checkpoint, []byte, error) {
	dir, _, _, err := l.epochSize(p.Epoch)
	if err != nil {
		return tree.Checkpoint{}, nil, unreadable(p, err)
	}
	msg, c, ok := newestNote(dir)
	if !ok || c.Size <= p.Seq {
		return c, nil, kms.Errorf(kms.CodeSealed, "no checkpoint covers the record yet: boot epochs that ended without one get it at the next unsealing")
	}
	return c, msg, nil
}

// withTree reads the tree of an epoch. Tiles are derived and unsynced: what fails with them is tried once more with tiles made from the segments.
func (l *Log) withTree(epoch uint64, c tree.Checkpoint, use func(*tree.Reader) ([]tree.Hash, error)) ([]tree.Hash, error) {
	if epoch == l.epoch {
		l.pub.mu.Lock()
		r := l.pub.tree.Reader()
		l.pub.mu.Unlock()
		out, err := use(r)
		if err == nil || !derived(err) {
			return out, err
		}
		return l.withRebuilt(epoch, l.home, r.Size(), use)
	}
	dir, size, _, err := l.epochSize(epoch)
	if err != nil {
		return nil, err
	}
	size = max(size, c.Size)
	t, err := loadTree(dir, size)
	if err == nil {
		var out []tree.Hash
		if out, err = use(t.Reader()); err == nil {
			return out, nil
		}
	}
	if !derived(err) {
		return nil, err
	}
	return l.withRebuilt(epoch, dir, size, use)
}

func derived(err error) bool { return errors.Is(err, tree.ErrTile) || errors.Is(err, tree.ErrProof) }

func (l *Log) withRebuilt(epoch uint64, dir string, size uint64, use func(*tree.Reader) ([]tree.Hash, error)) ([]tree.Hash, error) {
	p := &past{epoch: epoch, dir: dir, origin: Origin(l.cfg.Cluster, l.cfg.Node, epoch)}
	t, err := rebuildTree(p, size)
	if err != nil {
		return nil, err
	}
	return use(t.Reader())
}
