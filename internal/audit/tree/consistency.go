package tree

import (
	"bytes"
	"fmt"
	"strings"
)

// Consistency shows that a later state of a log contains an earlier one, over any number of boot epochs, each of which is a tree of its own
// (docs/formats-audit.md, "Consistency").
type Consistency struct {
	From  []byte // the earlier checkpoint, a signed note
	Steps []Step
}

// Step is one of the two.
type Step struct {
	Extension *Extension // to a later checkpoint of the same boot epoch
	Link      *Proof     // to the next boot epoch: its first record, which commits to the end of the epoch before
}

const (
	consistencyHeader = "keyhold/audit-consistency@v1"
	// MaxSteps bounds the boot epochs that one proof leads over.
	MaxSteps = 1024
	// MaxConsistency is the size of the largest proof, in bytes.
	MaxConsistency = 8 << 20
)

// Text is the proof as text.
func (c *Consistency) Text() []byte {
	b := bytes.NewBufferString(consistencyHeader + "\n\n")
	b.Write(c.From)
	for _, s := range c.Steps {
		b.WriteByte('\n')
		if s.Extension != nil {
			b.Write(s.Extension.Text())
		} else {
			b.Write(s.Link.Text())
		}
	}
	return b.Bytes()
}

// ParseConsistency reads what Text writes, and no other form.
func ParseConsistency(text []byte) (*Consistency, error) {
	bad := func(why string) (*Consistency, error) { return nil, fmt.Errorf("%w: %s", ErrProof, why) }
	if len(text) > MaxConsistency {
		return bad("it is too long")
	}
	// Everything in it comes in paragraphs: the header, then the text and the signatures of the first checkpoint, then for each step what
	// it shows, and text and signatures of the checkpoint it shows it of.
	parts := strings.SplitN(string(text), "\n\n", 3*(MaxSteps+2))
	switch {
	case parts[0] != consistencyHeader:
		return bad("it does not start with " + consistencyHeader)
	case len(parts)%3 != 0:
		return bad("a part of it is missing")
	case len(parts) > 3*(MaxSteps+1):
		return bad(fmt.Sprintf("it has more than %d steps", MaxSteps))
	}
	last := len(parts) - 1
	end, whole := strings.CutSuffix(parts[last], "\n")
	if !whole {
		return bad("it is cut short")
	}
	parts[last] = end
	c := &Consistency{From: []byte(parts[1] + "\n\n" + parts[2] + "\n")}
	for i := 3; i < len(parts); i += 3 {
		step := []byte(parts[i] + "\n\n" + parts[i+1] + "\n\n" + parts[i+2] + "\n")
		var s Step
		var err error
		if strings.HasPrefix(parts[i], "old ") {
			s.Extension, err = ParseExtension(step)
		} else {
			s.Link, err = ParseProof(step)
		}
		if err != nil {
			return nil, err
		}
		c.Steps = append(c.Steps, s)
	}
	if !bytes.Equal(c.Text(), text) {
		return bad("it is not in canonical form")
	}
	return c, nil
}

// IsConsistency tells a consistency proof from the proof of a record.
func IsConsistency(text []byte) bool { return bytes.HasPrefix(text, []byte(consistencyHeader+"\n")) }
