package tree

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Limits of a checkpoint, in bytes.
const (
	MaxNote    = 16 << 10
	maxLine    = 4 << 10
	maxOrigin  = 255
	maxNoteSig = 64 // signature lines: the log's own and witnesses'
)

// Checkpoint is the state of a log at one size (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
}

// ErrCheckpoint says that a text is not a checkpoint.
var ErrCheckpoint = errors.New("not a checkpoint")

// Text is the note's text: origin, size and root, a line each.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// ParseText reads a note's text. Extension lines after the third are allowed and ignored.
func ParseText(text string) (Checkpoint, error) {
	if len(text) > MaxNote {
		return Checkpoint{}, fmt.Errorf("%w: too long", ErrCheckpoint)
	}
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" || len(lines[0]) > maxOrigin {
		return Checkpoint{}, fmt.Errorf("%w: want origin, size and root", ErrCheckpoint)
	}
	c := Checkpoint{Origin: lines[0]}
	var err error
	if c.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil || strconv.FormatUint(c.Size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: the size is not a number", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return Checkpoint{}, fmt.Errorf("%w: the root is not a hash", ErrCheckpoint)
	}
	c.Root = Hash(root)
	return c, nil
}

// Sign makes the signed note of a checkpoint.
func (c Checkpoint) Sign(s note.Signer) ([]byte, error) {
	msg, err := note.Sign(&note.Note{Text: c.Text()}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return msg, nil
}

// Open verifies a signed note by at least one of the known keys and reads the checkpoint in it.
func Open(msg []byte, known note.Verifiers) (Checkpoint, error) {
	if len(msg) > MaxNote {
		return Checkpoint{}, fmt.Errorf("%w: too long", ErrCheckpoint)
	}
	n, err := note.Open(msg, known)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint's signature: %w", err)
	}
	return ParseText(n.Text)
}

// Unverified reads a checkpoint without looking at its signatures.
func Unverified(msg []byte) (Checkpoint, error) {
	text, sigs, ok := strings.Cut(string(msg), "\n\n")
	if !ok || sigs == "" {
		return Checkpoint{}, fmt.Errorf("%w: it is not a signed note", ErrCheckpoint)
	}
	return ParseText(text + "\n")
}

// Notes reads signed notes that stand one after the other, each followed by an empty line.
type Notes struct {
	r   *bufio.Reader
	off int64
	end int64
}

// NewNotes reads notes.
func NewNotes(r io.Reader) *Notes { return &Notes{r: bufio.NewReaderSize(r, maxLine)} }

// End is the offset after the last whole note.
func (n *Notes) End() int64 { return n.end }

// Next gives the next note. io.EOF: no more. ErrCheckpoint: what stands at End is not a whole note.
func (n *Notes) Next() ([]byte, error) {
	var msg []byte
	blanks, sigs := 0, 0
	for {
		line, err := n.r.ReadSlice('\n')
		n.off += int64(len(line))
		if errors.Is(err, io.EOF) && len(line) == 0 && len(msg) == 0 {
			return nil, io.EOF
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		if err != nil || len(msg)+len(line) > MaxNote {
			return nil, fmt.Errorf("%w: cut short or too long", ErrCheckpoint)
		}
		if len(line) == 1 {
			if blanks++; blanks == 2 {
				break
			}
		} else if blanks == 1 {
			if sigs++; !strings.HasPrefix(string(line), "— ") || sigs > maxNoteSig {
				return nil, fmt.Errorf("%w: a signature was expected", ErrCheckpoint)
			}
		}
		msg = append(msg, line...)
	}
	if sigs == 0 {
		return nil, fmt.Errorf("%w: it has no signature", ErrCheckpoint)
	}
	n.end = n.off
	return msg, nil
}
