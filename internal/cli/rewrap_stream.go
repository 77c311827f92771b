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
	app     *app
	client  *client.Client
	key     client.Key
	context client.Context
	field   []string // of JSON lines; none: the line is the ciphertext
	report  rewrapReport
	read    uint64               // bytes of the input that are done
	after   func([][]byte) error // every batch but the last, if set: with its lines as they were read
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

// place is where a ciphertext stands in a line, in base64.
type place struct{ from, to int }

// ciphertext finds what a line holds.
func (s *rewrapStream) ciphertext(line []byte) (place, []byte, bool) {
	if len(s.field) == 0 {
		text := bytes.TrimSpace(line)
		from := bytes.Index(line, text)
		b, err := base64.StdEncoding.DecodeString(string(text))
		return place{from, from + len(text)}, b, err == nil
	}
	at, text, ok := fieldOf(line, s.field)
	if !ok {
		return at, nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	return at, b, err == nil
}

// move puts the new ciphertext in the place of each that an older version made.
func (s *rewrapStream) move(ctx context.Context, lines [][]byte) error {
	type old struct {
		line    int
		at      place
		version uint32
	}
	var items []client.ReEncryptInput
	var olds []old
	before := s.report.Lines
	for i, line := range lines {
		s.report.Lines++
		at, b, ok := s.ciphertext(line)
		h, _, bad := blob.Parse(b)
		switch {
		case !ok || bad != nil:
			s.report.NotOfThese++
		case h.Key.String() != s.key.ID:
			s.report.OtherKeys++
		case h.Version == s.key.PrimaryVersion:
			s.report.Kept++
		default:
			items = append(items, client.ReEncryptInput{Ciphertext: b, FromKey: s.key.ID, ToKey: s.key.ID, FromContext: s.context, ToContext: s.context})
			olds = append(olds, old{i, at, h.Version})
		}
	}
	if len(items) == 0 {
		return ctx.Err()
	}
	done, err := s.client.ReEncryptBatch(ctx, items, s.app.options()...)
	if err != nil {
		return err
	}
	for i, r := range done {
		o := olds[i]
		if r.Err != nil {
			s.report.fail(before+uint64(o.line)+1, r.Err) //nolint:gosec // G115: not negative
			continue
		}
		s.report.Moved[o.version]++
		line := lines[o.line]
		moved := base64.StdEncoding.AppendEncode(bytes.Clone(line[:o.at.from]), r.Value.Ciphertext)
		lines[o.line] = append(moved, line[o.at.to:]...)
	}
	return nil
}
