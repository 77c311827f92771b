package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// rewrapStream is one stream under way.
type rewrapStream struct {
	app    *app
	by     rewrapper
	id     string   // of the keys between which it moves
	field  []string // of JSON lines; none: the line is the ciphertext
	report rewrapReport
	read   uint64               // bytes of the input that are done
	after  func([][]byte) error // every batch but the last, if set: with its lines as they were read

	version uint32 // that ciphertexts are moved to; 0: whichever it is
}

// A rewrapper knows ciphertexts of one kind, and moves them.
type rewrapper interface {
	sort(text string) (sorted, uint32)                               // what a text is, and by which version
	move(ctx context.Context, olds []rewrapOld) ([]rewrapNew, error) // the error is one of all
}

// sorted says what a text is.
type sorted uint8

const (
	notCiphertext sorted = iota
	ofAnother            // key
	upToDate
	toMove
)

// rewrapOld is a ciphertext that moves.
type rewrapOld struct {
	line    int // in its batch
	whole   []byte
	at      place
	text    string
	version uint32
}

// rewrapNew is what comes in its place.
type rewrapNew struct {
	text string
	err  error // it stays as it is
}

func (s *rewrapStream) run(ctx context.Context, in io.Reader, out string) error {
	if out == "" {
		return s.copy(ctx, in, s.app.out)
	}
	f, err := newFile(out, 0o600)
	if err != nil {
		return err
	}
	if err := s.copy(ctx, in, f); err != nil {
		return errors.Join(err, f.abandon())
	}
	return f.keep()
}

func (s *rewrapStream) copy(ctx context.Context, in io.Reader, out io.Writer) error {
	total := sizeOf(in)
	r, w := bufio.NewReaderSize(in, rewrapLine), bufio.NewWriter(out)
	p := s.app.progress("re-wrapping")
	defer p.end()
	for {
		lines, err := readLines(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		asRead := slices.Clone(lines)
		if failed := s.move(ctx, lines); failed != nil {
			return failed
		}
		for i, line := range lines {
			if _, err := w.Write(line); err != nil {
				return err
			}
			s.read += uint64(len(asRead[i]))
		}
		p.show(s.read, total, size)
		if err != nil {
			return w.Flush()
		}
		if s.after != nil {
			if err := errors.Join(w.Flush(), s.after(asRead)); err != nil {
				return err
			}
		}
	}
}

// sizeOf is how much there is to read, where that is known.
func sizeOf(in io.Reader) uint64 {
	f, ok := in.(*os.File)
	if !ok {
		return 0
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0
	}
	return uint64(st.Size()) //nolint:gosec // G115: not negative
}

// readLines reads the next lines with their ends; io.EOF comes with the last ones.
func readLines(r *bufio.Reader) (lines [][]byte, err error) {
	for len(lines) < rewrapBatch {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			lines = append(lines, bytes.Clone(line))
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, refusal(kms.CodeTooLarge, "give one ciphertext, or one JSON object, a line", "a line has more than %d bytes", rewrapLine)
		}
		if err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// place is where a ciphertext stands in a line.
type place struct{ from, to int }

// ciphertext finds the text in a line that can be one.
func (s *rewrapStream) ciphertext(line []byte) (place, string, bool) {
	if len(s.field) == 0 {
		text := bytes.TrimSpace(line)
		from := bytes.Index(line, text)
		return place{from, from + len(text)}, string(text), true
	}
	return fieldOf(line, s.field)
}

// move puts the new ciphertext in the place of each that is to move.
func (s *rewrapStream) move(ctx context.Context, lines [][]byte) error {
	var olds []rewrapOld
	before := s.report.Lines
	for i, line := range lines {
		s.report.Lines++
		at, text, ok := s.ciphertext(line)
		what, version := notCiphertext, uint32(0)
		if ok {
			what, version = s.by.sort(text)
		}
		switch what {
		case notCiphertext:
			s.report.NotOfThese++
		case ofAnother:
			s.report.OtherKeys++
		case upToDate:
			s.report.Kept++
		case toMove:
			olds = append(olds, rewrapOld{i, line, at, text, version})
		}
	}
	if len(olds) == 0 {
		return ctx.Err()
	}
	done, err := s.by.move(ctx, olds)
	if err != nil {
		return err
	}
	for i, r := range done {
		o := olds[i]
		if r.err != nil {
			s.report.fail(before+uint64(o.line)+1, r.err) //nolint:gosec // G115: not negative
			continue
		}
		s.report.Moved[o.version]++
		moved := append(bytes.Clone(o.whole[:o.at.from]), r.text...)
		lines[o.line] = append(moved, o.whole[o.at.to:]...)
	}
	return nil
}

// ownRewrapper moves Keyhold's ciphertexts of a key to its primary version, in base64. Plaintexts do not leave the server.
type ownRewrapper struct {
	app     *app
	client  *client.Client
	key     client.Key
	context client.Context
}

func (o *ownRewrapper) sort(text string) (sorted, uint32) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return notCiphertext, 0
	}
	h, _, err := blob.Parse(b)
	switch {
	case err != nil:
		return notCiphertext, 0
	case h.Key.String() != o.key.ID:
		return ofAnother, 0
	case h.Version == o.key.PrimaryVersion:
		return upToDate, h.Version
	}
	return toMove, h.Version
}

func (o *ownRewrapper) move(ctx context.Context, olds []rewrapOld) ([]rewrapNew, error) {
	items := make([]client.ReEncryptInput, len(olds))
	for i, old := range olds {
		b, err := base64.StdEncoding.DecodeString(old.text)
		if err != nil {
			return nil, err
		}
		items[i] = client.ReEncryptInput{Ciphertext: b, FromKey: o.key.ID, ToKey: o.key.ID, FromContext: o.context, ToContext: o.context}
	}
	done, err := o.client.ReEncryptBatch(ctx, items, o.app.options()...)
	if err != nil {
		return nil, err
	}
	news := make([]rewrapNew, len(done))
	for i, r := range done {
		if news[i].err = r.Err; r.Err == nil {
			news[i].text = base64.StdEncoding.EncodeToString(r.Value.Ciphertext)
		}
	}
	return news, nil
}
