package verify

import (
	"fmt"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/receipt"
	"github.com/keyhold/keyhold/internal/kms"
)

// Destroyed is a destruction whose receipt holds.
type Destroyed struct {
	receipt.Receipt
	Proven *Proven // its record in the log
}

// Receipt checks the receipt of a destruction with the public key alone: the signature, the proof that the record of the destruction is in the log, and
// that the record says what the receipt does. If the keys name witnesses, the proof's checkpoint must have cosignatures of a quorum of them.
//
// What a receipt cannot show is that the server which signed it told the truth; the log in which the record stands can be held against its anchors.
func Receipt(text []byte, k Keys) (*Destroyed, error) {
	r, err := receipt.Open(text, k.Verifiers)
	if err != nil {
		return nil, err
	}
	if r.Cluster != k.Cluster {
		return nil, fmt.Errorf("the receipt is of cluster %s, the key of cluster %s", clip(r.Cluster), k.Cluster)
	}
	p, err := Proof(r.Proof, k)
	if err != nil {
		return nil, fmt.Errorf("the proof in the receipt: %w", err)
	}
	action, rec := kms.DestroyKey, &p.Record
	if r.What == receipt.OfNamespace {
		action = kms.DestroyNamespace
	}
	switch {
	case p.Position.String() != r.Position || rec.ID != r.Record:
		return nil, fmt.Errorf("the receipt names the record %s, and proves %s", clip(r.Position), p.Position)
	case rec.Action != action || rec.Outcome != audit.OK || !rec.Change:
		return nil, fmt.Errorf("the record that the receipt proves is of %s: %s", rec.Action, rec.Outcome)
	case rec.Namespace != r.Namespace || !rec.Time.Equal(r.Erased):
		return nil, fmt.Errorf("the record that the receipt proves is of namespace %q at %s", clip(string(rec.Namespace)), rec.Time)
	case r.What == receipt.OfKey && (len(rec.Keys) != 1 || rec.Keys[0].Key != r.Key):
		return nil, fmt.Errorf("the record that the receipt proves is of another key")
	case r.What == receipt.OfNamespace && rec.Resource != string(r.Namespace):
		return nil, fmt.Errorf("the record that the receipt proves is of another namespace")
	}
	return &Destroyed{Receipt: *r, Proven: p}, nil
}

// clip shortens a text of a file for a message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
