package tree

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that a record stands in a log, in the form of C2SP tlog-proof. Extra carries the record itself.
type Proof struct {
	Extra      []byte
	Index      uint64
	Hashes     []Hash
	Checkpoint []byte // a signed note
}

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	maxHashes   = 63
	// MaxProof is the size of the largest proof, in bytes.
	MaxProof = 128 << 10
)

// ErrProof says that a text is not a proof, or that it does not prove.
var ErrProof = errors.New("not a proof")

// Text is the proof as text.
func (p *Proof) Text() []byte {
	var b bytes.Buffer
	b.WriteString(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	b.WriteString("index " + strconv.FormatUint(p.Index, 10) + "\n")
	for i := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(p.Hashes[i][:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads what Text writes, and no other form.
func ParseProof(text []byte) (*Proof, error) {
	bad := func(why string) (*Proof, error) { return nil, fmt.Errorf("%w: %s", ErrProof, why) }
	if len(text) > MaxProof {
		return bad("it is too long")
	}
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		return bad("it has no checkpoint")
	}
	lines := strings.Split(head, "\n")
	if lines[0] != proofHeader {
		return bad("it does not start with " + proofHeader)
	}
	lines = lines[1:]
	p := &Proof{Checkpoint: []byte(checkpoint)}
	strict := base64.StdEncoding.Strict()
	var err error
	if len(lines) > 0 {
		if extra, has := strings.CutPrefix(lines[0], "extra "); has {
			if p.Extra, err = strict.DecodeString(extra); err != nil || len(p.Extra) == 0 {
				return bad("its extra data is not base64")
			}
			lines = lines[1:]
		}
	}
	if len(lines) == 0 {
		return bad("it has no index")
	}
	number, has := strings.CutPrefix(lines[0], "index ")
	if p.Index, err = strconv.ParseUint(number, 10, 63); !has || err != nil || strconv.FormatUint(p.Index, 10) != number {
		return bad("its index is not a number")
	}
	if p.Hashes, err = parseHashes(lines[1:]); err != nil {
		return nil, err
	}
	if !bytes.Equal(p.Text(), text) {
		return bad("it is not in canonical form")
	}
	return p, nil
}

// Check verifies the checkpoint's signature and that a leaf stands at the proof's index.
func (p *Proof) Check(leaf Hash, known note.Verifiers) (Checkpoint, error) {
	c, err := Open(p.Checkpoint, known)
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Index >= c.Size {
		return Checkpoint{}, fmt.Errorf("%w: record %d is not among the %d that the checkpoint covers", ErrProof, p.Index, c.Size)
	}
	if err := CheckInclusion(p.Hashes, c.Size, c.Root, p.Index, leaf); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// Include proves that record index stands in the tree of a size.
func (r *Reader) Include(size, index uint64) ([]Hash, error) {
	if index >= size || size > r.size {
		return nil, fmt.Errorf("%w: no record %d in a tree of %d", ErrProof, index, size)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(index), r) //nolint:gosec // G115: bounded by the size of the disk
	if err != nil {
		return nil, err
	}
	return hashes(proof), nil
}

// Extend proves that the tree of size next starts with the tree of size prev.
func (r *Reader) Extend(prev, next uint64) ([]Hash, error) {
	if prev == 0 || prev > next || next > r.size {
		return nil, fmt.Errorf("%w: no way from a tree of %d to one of %d", ErrProof, prev, next)
	}
	proof, err := tlog.ProveTree(int64(next), int64(prev), r) //nolint:gosec // G115: bounded by the size of the disk
	if err != nil {
		return nil, err
	}
	return hashes(proof), nil
}

// CheckInclusion verifies what Include proves.
func CheckInclusion(proof []Hash, size uint64, root Hash, index uint64, leaf Hash) error {
	if size > 1<<62 || index >= size {
		return ErrProof
	}
	if err := tlog.CheckRecord(records(proof), int64(size), root, int64(index), leaf); err != nil { //nolint:gosec // G115: checked
		return fmt.Errorf("%w: the hashes do not lead from the record to the root", ErrProof)
	}
	return nil
}

// CheckExtension verifies what Extend proves.
func CheckExtension(proof []Hash, prev uint64, prevRoot Hash, next uint64, nextRoot Hash) error {
	if prev == 0 || next > 1<<62 || prev > next {
		return ErrProof
	}
	if err := tlog.CheckTree(tlog.TreeProof(records(proof)), int64(next), nextRoot, int64(prev), prevRoot); err != nil { //nolint:gosec // G115: checked
		return fmt.Errorf("%w: the later tree does not start with the earlier one", ErrProof)
	}
	return nil
}

func hashes(in []tlog.Hash) []Hash {
	out := make([]Hash, len(in))
	for i := range in {
		out[i] = Hash(in[i])
	}
	return out
}

func records(in []Hash) tlog.RecordProof {
	out := make(tlog.RecordProof, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}
