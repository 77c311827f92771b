package tree

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Extension shows that the tree of a checkpoint starts with the tree of an older one, in the form in which witnesses are asked for their
// cosignature (C2SP tlog-witness, add-checkpoint).
type Extension struct {
	Old        uint64 // size of the older tree; 0: nothing is shown
	Hashes     []Hash
	Checkpoint []byte // a signed note
}

// MaxExtension is the size of the largest one, in bytes.
const MaxExtension = MaxNote + 4<<10

// Text is the extension as text.
func (x *Extension) Text() []byte {
	b := bytes.NewBufferString("old " + strconv.FormatUint(x.Old, 10) + "\n")
	for i := range x.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(x.Hashes[i][:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(x.Checkpoint)
	return b.Bytes()
}

// ParseExtension reads what Text writes, and no other form. The checkpoint is not looked at.
func ParseExtension(text []byte) (*Extension, error) {
	bad := func(why string) (*Extension, error) { return nil, fmt.Errorf("%w: %s", ErrProof, why) }
	if len(text) > MaxExtension {
		return bad("it is too long")
	}
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		return bad("it has no checkpoint")
	}
	lines := strings.Split(head, "\n")
	x := &Extension{Checkpoint: []byte(checkpoint)}
	number, has := strings.CutPrefix(lines[0], "old ")
	var err error
	if x.Old, err = strconv.ParseUint(number, 10, 63); !has || err != nil || strconv.FormatUint(x.Old, 10) != number {
		return bad("its old size is not a number")
	}
	if x.Hashes, err = parseHashes(lines[1:]); err != nil {
		return nil, err
	}
	return x, nil
}

func parseHashes(lines []string) ([]Hash, error) {
	if len(lines) > maxHashes {
		return nil, fmt.Errorf("%w: want at most %d hashes", ErrProof, maxHashes)
	}
	var all []Hash
	for _, line := range lines {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize || strings.ContainsAny(line, "\r\n") {
			return nil, fmt.Errorf("%w: a line is not a hash", ErrProof)
		}
		all = append(all, Hash(h))
	}
	return all, nil
}

// Check verifies the checkpoint's signature and that its tree starts with the one of an older checkpoint of the same log.
func (x *Extension) Check(from Checkpoint, known note.Verifiers) (Checkpoint, error) {
	c, err := Open(x.Checkpoint, known)
	switch {
	case err != nil:
		return Checkpoint{}, err
	case c.Origin != from.Origin:
		return Checkpoint{}, fmt.Errorf("%w: it leads from %q to %q", ErrProof, from.Origin, c.Origin)
	case x.Old != from.Size:
		return Checkpoint{}, fmt.Errorf("%w: it begins at %d records, not at %d", ErrProof, x.Old, from.Size)
	}
	return c, CheckExtension(x.Hashes, from.Size, from.Root, c.Size, c.Root)
}
