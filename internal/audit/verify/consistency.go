package verify

import (
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Way is a consistency of which it was proved that it holds.
type Way struct {
	From, To     tree.Checkpoint
	Epochs       int      // boot epochs that it leads over, the first and the last included
	Cosigned     []Vouch  // who cosigned the later checkpoint
	CosignedFrom []Vouch  // who cosigned the earlier one
	Notes        []string // what is to be known of it
}

// IsConsistency tells a consistency proof from the proof of a record.
func IsConsistency(text []byte) bool { return tree.IsConsistency(text) }

// Consistency checks a proof as audit.Log.Consistency gives it, with public keys alone: the signatures, the way between checkpoints of a boot
// epoch, and the first record of each further epoch, which commits to the end of the one before. If the keys name witnesses,
// the later checkpoint must have cosignatures of a quorum of them.
func Consistency(text []byte, k Keys) (*Way, error) {
	p, err := tree.ParseConsistency(text)
	if err != nil {
		return nil, err
	}
	at, err := tree.Open(p.From, k.Verifiers)
	if err != nil {
		return nil, err
	}
	cluster, node, epoch, ok := audit.ParseOrigin(at.Origin)
	if !ok || cluster != k.Cluster {
		return nil, fmt.Errorf("the checkpoint is of %q, not of a log of cluster %s", at.Origin, k.Cluster)
	}
	out := &Way{From: at, Epochs: 1}
	if out.CosignedFrom, err = k.Witnesses.vouch(p.From); err != nil {
		return nil, err
	}
	last := p.From
	for _, s := range p.Steps {
		if s.Extension != nil {
			at, err = s.Extension.Check(at, k.Verifiers)
			last = s.Extension.Checkpoint
		} else {
			epoch++
			at, err = out.cross(s.Link, at, audit.Origin(cluster, node, epoch), k)
			last = s.Link.Checkpoint
		}
		if err != nil {
			return nil, err
		}
	}
	out.To = at
	if out.Cosigned, err = k.Witnesses.vouch(last); err != nil {
		return nil, err
	}
	return out, k.Witnesses.require(out.Cosigned)
}

// cross checks a link: the first record of the next boot epoch commits to the end of the one before.
func (w *Way) cross(p *tree.Proof, at tree.Checkpoint, origin string, k Keys) (tree.Checkpoint, error) {
	frame, rest, err := segment.Cut(p.Extra)
	if err != nil || len(rest) != 0 || p.Index != 0 {
		return at, errors.New("a link does not carry the first record of a boot epoch")
	}
	c, err := p.Check(frame.Leaf(), k.Verifiers)
	if err != nil {
		return at, err
	}
	if c.Origin != origin {
		return at, fmt.Errorf("a link leads from %s to %q, not to the next boot epoch", at.Origin, c.Origin)
	}
	r, err := audit.DecodeBody(frame.Body())
	if err != nil {
		return at, err
	}
	if r.Action != kms.StartServer {
		return at, fmt.Errorf("the first record of %s is %s, not StartServer", c.Origin, r.Action)
	}
	if r.Prev != (audit.Link{Origin: at.Origin, Size: at.Size, Root: at.Root}) {
		return at, fmt.Errorf("%s commits to %d records of %q and not to those that are proved", c.Origin, r.Prev.Size, r.Prev.Origin)
	}
	if r.Code == kms.CodeLogAltered {
		w.Notes = append(w.Notes, fmt.Sprintf("%s was begun by an operator's order after an altered epoch: %s", c.Origin, r.Reason))
	}
	w.Epochs++
	return c, nil
}
