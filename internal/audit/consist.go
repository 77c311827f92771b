package audit

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Mark names a checkpoint by its log's origin and its size.
type Mark struct {
	Origin string
	Size   uint64 // 0: the newest of the origin
}

// point is a state of an epoch's tree that is signed.
type point struct {
	tree.Checkpoint
	epoch uint64
	note  []byte
}

// Consistency proves that the log at a later checkpoint contains everything that it held at an earlier one: over boot epochs, by the first
// record of each, which commits to the end of the one before. verify.Consistency checks the text that it gives, with the public key alone.
//
// from is the earlier checkpoint itself, a signed note; if it is empty, mark names it. A zero to stands for the newest checkpoint.
// Errors: CodeBadRequest, CodeNotFound for a checkpoint that this log did not sign, CodeLogAltered if it was signed with the log's key and does not
// fit the records, or if an operator ordered to go on behind an altered epoch in between, CodeSealed, CodeCancelled, CodeAuditUnavailable.
func (l *Log) Consistency(ctx context.Context, from []byte, mark, to Mark) ([]byte, error) {
	at, err := l.startOf(from, mark)
	if err != nil {
		return nil, err
	}
	end, err := l.endAt(to)
	if err != nil {
		return nil, err
	}
	if at.epoch > end.epoch || at.epoch == end.epoch && at.Size > end.Size {
		return nil, kms.Errorf(kms.CodeBadRequest, "the way leads from an earlier checkpoint to a later one: %s with %d records is not behind %s with %d", end.Origin, end.Size, at.Origin, at.Size)
	}
	if end.epoch-at.epoch >= tree.MaxSteps {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d boot epochs lie between the checkpoints; a proof leads over %d: ask for it in parts", end.epoch-at.epoch, tree.MaxSteps-1)
	}
	if at.Checkpoint == end.Checkpoint {
		at.note = end.note // with the cosignatures that it has since
	}
	out := tree.Consistency{From: at.note}
	for at.epoch < end.epoch && err == nil {
		if err = ctx.Err(); err != nil {
			return nil, kms.Errorf(kms.CodeCancelled, "the proof was not finished").Because(err)
		}
		at, err = l.cross(&out, at, end)
	}
	if err == nil {
		_, err = l.extend(&out, at, end)
	}
	if err != nil {
		return nil, l.unproven(err)
	}
	text := out.Text()
	if len(text) > tree.MaxConsistency {
		return nil, kms.Errorf(kms.CodeTooLarge, "the proof would have more than %d bytes: ask for it in parts", tree.MaxConsistency)
	}
	return text, nil
}

func (l *Log) unproven(err error) error {
	var known *kms.Error
	if errors.As(err, &known) {
		return err
	}
	if damaged(err) || errors.As(err, new(*alteration)) {
		return kms.Errorf(kms.CodeLogAltered, "the audit log is damaged between the checkpoints").Because(err)
	}
	return kms.Errorf(kms.CodeAuditUnavailable, "the audit log cannot be read").Because(err)
}

// startOf finds the earlier checkpoint and holds it against the records.
func (l *Log) startOf(msg []byte, m Mark) (point, error) {
	if len(msg) == 0 {
		p, err := l.signed(m)
		if err != nil {
			return p, err
		}
		p.note = l.withVouched(p)
		return p, l.fits(p)
	}
	c, err := tree.Unverified(msg)
	if err != nil {
		return point{}, kms.Errorf(kms.CodeBadRequest, "this is not a checkpoint: want the signed note, whole").Because(err)
	}
	epoch, err := l.epochOf(c.Origin)
	if err != nil {
		return point{}, err
	}
	k := l.pub.keys.Load()
	if k == nil {
		return point{}, kms.Errorf(kms.CodeSealed, "the log's keys are known while the server is unsealed")
	}
	if _, err := tree.Open(msg, k.Verifiers); err != nil {
		return point{}, kms.Errorf(kms.CodeNotFound, "no key of this log signed the checkpoint").Because(err)
	}
	p := point{c, epoch, bytes.Clone(msg)}
	return p, l.fits(p)
}

// fits holds a signed checkpoint against the records.
func (l *Log) fits(p point) error {
	if err := l.Holds(p.Checkpoint); err != nil {
		var altered *alteration
		if errors.As(err, &altered) {
			return kms.Errorf(kms.CodeLogAltered, "the checkpoint is signed with the log's key and does not fit the log: keep it, it proves that one of the two was changed: %s", altered.Error())
		}
		return l.unproven(err)
	}
	return nil
}

// Holds tells whether the log contains everything that a checkpoint of it covers. It trusts the checkpoint, whose signature it does not look at.
func (l *Log) Holds(c tree.Checkpoint) error {
	epoch, err := l.epochOf(c.Origin)
	if err != nil {
		return err
	}
	p := &past{epoch: epoch, origin: c.Origin}
	_, size, _, err := l.epochSize(epoch)
	if err != nil {
		return err
	}
	if c.Size > size {
		return p.altersAt(checkpointName, size, "a checkpoint covers %d records, but only %d are there", c.Size, size)
	}
	if epoch == l.epoch {
		l.pub.reach(c.Size)
	}
	_, err = l.withTree(epoch, c, func(r *tree.Reader) ([]tree.Hash, error) {
		if root, err := r.RootAt(c.Size); err != nil || root != c.Root {
			return nil, errors.Join(err, tree.ErrProof) // tiles are not believed: asked again of those that are rebuilt
		}
		return nil, nil
	})
	if errors.Is(err, tree.ErrProof) {
		return p.altersAt(checkpointName, c.Size, "the records do not lead to the root of the checkpoint")
	}
	return err
}

// epochOf is the boot epoch of an origin of this log.
func (l *Log) epochOf(origin string) (uint64, error) {
	cluster, node, epoch, ok := ParseOrigin(origin)
	if !ok || cluster != l.cfg.Cluster || node != l.cfg.Node || epoch > l.epoch {
		return 0, kms.Errorf(kms.CodeNotFound, "%q is not an epoch of this log", clip(origin, maxShown))
	}
	return epoch, nil
}

const maxShown = 80 // bytes of what a caller sent, in an error

// signed finds a checkpoint of this log.
func (l *Log) signed(m Mark) (point, error) {
	epoch, err := l.epochOf(m.Origin)
	if err != nil {
		return point{}, err
	}
	msg, c, ok := l.newestOf(epoch)
	if ok && m.Size != 0 && m.Size != c.Size {
		if msg, ok = noteAt(filepath.Join(l.node, epochFolder(epoch)), m.Size); ok {
			c, err = tree.Unverified(msg)
			ok = err == nil && c.Origin == m.Origin
		}
	}
	if !ok {
		return point{}, kms.Errorf(kms.CodeNotFound, "there is no checkpoint of %s over %d records", m.Origin, m.Size)
	}
	return point{c, epoch, msg}, nil
}

// newestOf is the newest checkpoint of an epoch.
func (l *Log) newestOf(epoch uint64) ([]byte, tree.Checkpoint, bool) {
	if epoch != l.epoch {
		return newestNote(filepath.Join(l.node, epochFolder(epoch)))
	}
	l.pub.mu.Lock()
	defer l.pub.mu.Unlock()
	return l.pub.note, l.pub.signed, l.pub.note != nil
}

// withVouched is the last checkpoint of a way as it is given out: with cosignatures, if it has some.
func (l *Log) withVouched(p point) []byte {
	if w, ok := l.vouched(p.epoch); ok && w.Checkpoint == p.Checkpoint {
		return w.note
	}
	if p.epoch == l.epoch {
		return l.withCosignatures(p.Checkpoint, p.note)
	}
	return p.note
}

func (l *Log) endAt(to Mark) (point, error) {
	if to.Origin == "" {
		to.Origin = l.origin
	}
	p, err := l.signed(to)
	if err == nil {
		p.note = l.withVouched(p)
	}
	return p, err
}

// cross leads to the next boot epoch: to the end of the present one, and by the link to the last checkpoint of the next, or to the end of the way.
func (l *Log) cross(out *tree.Consistency, at, end point) (point, error) {
	pos := Position{Node: l.cfg.Node, Epoch: at.epoch + 1}
	body, annex, err := l.ReadEncoded(pos)
	if err != nil {
		return at, err
	}
	first, err := DecodeBody(body)
	if err != nil {
		return at, err
	}
	last := tree.Checkpoint{Origin: first.Prev.Origin, Size: first.Prev.Size, Root: first.Prev.Root}
	final, err := l.signed(Mark{Origin: at.Origin, Size: last.Size})
	if err != nil || final.Checkpoint != last {
		why := ""
		if first.Code == kms.CodeLogAltered {
			why = ": an operator ordered to go on behind an altered log"
		}
		return at, kms.Errorf(kms.CodeLogAltered, "boot epoch %d does not begin where epoch %d ended%s", pos.Epoch, at.epoch, why).Because(err)
	}
	if _, err = l.extend(out, at, final); err != nil {
		return at, err
	}
	next := end
	if pos.Epoch != end.epoch {
		if next, err = l.signed(Mark{Origin: Origin(l.cfg.Cluster, l.cfg.Node, pos.Epoch)}); err != nil {
			return at, err
		}
	}
	link := &tree.Proof{Extra: segment.AppendFrame(nil, body, annex), Checkpoint: next.note}
	link.Hashes, err = l.withTree(next.epoch, next.Checkpoint, func(r *tree.Reader) ([]tree.Hash, error) {
		hashes, err := r.Include(next.Size, 0)
		if err != nil {
			return nil, err
		}
		return hashes, tree.CheckInclusion(hashes, next.Size, next.Root, 0, LeafHash(body))
	})
	out.Steps = append(out.Steps, tree.Step{Link: link})
	return next, err
}

// extend leads to a later checkpoint of the same epoch. Where it is the same checkpoint there is nothing to show.
func (l *Log) extend(out *tree.Consistency, at, to point) (point, error) {
	if at.Checkpoint == to.Checkpoint {
		return to, nil
	}
	hashes, err := l.withTree(at.epoch, to.Checkpoint, func(r *tree.Reader) ([]tree.Hash, error) {
		hashes, err := r.Extend(at.Size, to.Size)
		if err != nil {
			return nil, err
		}
		return hashes, tree.CheckExtension(hashes, at.Size, at.Root, to.Size, to.Root)
	})
	out.Steps = append(out.Steps, tree.Step{Extension: &tree.Extension{Old: at.Size, Hashes: hashes, Checkpoint: to.note}})
	return to, err
}
