package verify

import (
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Proven is a record of which it was proved that it stands in the log.
type Proven struct {
	Position   audit.Position
	Record     audit.Record
	Checkpoint tree.Checkpoint
	Cosigned   []Vouch // who cosigned the checkpoint
}

// Proof checks a proof as audit.Log.Prove gives it, with the public key alone: the checkpoint's signature, the path from the record to its root, and
// the record's annex. If the keys name witnesses, it must have cosignatures of a quorum of them.
func Proof(text []byte, k Keys) (*Proven, error) {
	p, err := tree.ParseProof(text)
	if err != nil {
		return nil, err
	}
	frame, rest, err := segment.Cut(p.Extra)
	if err != nil || len(rest) != 0 {
		return nil, errors.New("the proof does not carry a record")
	}
	c, err := p.Check(frame.Leaf(), k.Verifiers)
	if err != nil {
		return nil, err
	}
	cluster, node, epoch, ok := audit.ParseOrigin(c.Origin)
	if !ok || cluster != k.Cluster {
		return nil, fmt.Errorf("the checkpoint is of %q, not of a log of cluster %s", c.Origin, k.Cluster)
	}
	r, err := audit.Decode(frame.Body(), frame.Annex)
	if err != nil {
		return nil, fmt.Errorf("the record is in the log, but what the proof carries beside it is wrong: %w", err)
	}
	by, err := k.Witnesses.vouch(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	return &Proven{Position: audit.Position{Node: node, Epoch: epoch, Seq: p.Index}, Record: r, Checkpoint: c, Cosigned: by}, k.Witnesses.require(by)
}
