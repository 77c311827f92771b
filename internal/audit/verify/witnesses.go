package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Witnesses are whose cosignatures count, and how many of them are wanted (C2SP tlog-cosignature).
type Witnesses struct {
	Known  []*tree.Witness
	Quorum int // 0: all of them
}

// Vouch says that a witness cosigned a checkpoint: at that time it was the newest that it had seen of the log, and contained every earlier
// one that it had.
type Vouch struct {
	Witness string    `json:"witness"`
	Time    time.Time `json:"time"`
}

func (v Vouch) String() string { return v.Witness + " at " + v.Time.Format(time.RFC3339) }

// ParseWitnesses reads verifier keys of witnesses, one a line, and a quorum (0: all).
func ParseWitnesses(text []byte, quorum int) (Witnesses, error) {
	if len(text) > maxKeyFile {
		return Witnesses{}, fmt.Errorf("the file of witnesses has more than %d bytes", maxKeyFile)
	}
	all, err := tree.ParseWitnesses(text)
	if err != nil {
		return Witnesses{}, err
	}
	if quorum < 0 || quorum > len(all) {
		return Witnesses{}, fmt.Errorf("a quorum of %d: want 1 to %d, the number of witnesses", quorum, len(all))
	}
	return Witnesses{all, quorum}, nil
}

// Wanted is the number of cosignatures that make an anchor; 0: no witness is known.
func (w *Witnesses) Wanted() int {
	if w.Quorum == 0 {
		return len(w.Known)
	}
	return w.Quorum
}

// vouch finds who cosigned a note.
func (w *Witnesses) vouch(msg []byte) ([]Vouch, error) {
	all, err := tree.Cosignatures(msg, w.Known)
	if err != nil {
		return nil, err
	}
	var out []Vouch
	for _, c := range all {
		out = append(out, Vouch{c.Witness.Name(), c.At})
	}
	return out, nil
}

// met tells whether there are enough cosignatures for an anchor.
func (w *Witnesses) met(by []Vouch) bool { return len(w.Known) > 0 && len(by) >= w.Wanted() }

// require refuses what too few witnesses cosigned, if any are wanted.
func (w *Witnesses) require(by []Vouch) error {
	if len(w.Known) == 0 || w.met(by) {
		return nil
	}
	return fmt.Errorf("the checkpoint has cosignatures of %d of the witnesses, %d are wanted", len(by), w.Wanted())
}

// Names lists who vouches, for people.
func Names(by []Vouch) string {
	var all []string
	for _, v := range by {
		all = append(all, v.String())
	}
	return strings.Join(all, ", ")
}
