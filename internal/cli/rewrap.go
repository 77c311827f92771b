package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// Limits of a stream of ciphertexts.
const (
	rewrapLine  = 256 << 10 // bytes of one line
	rewrapBatch = 256       // lines that go to the server at a time
)

// rewrapReport is the JSON of what became of the ciphertexts of a stream.
type rewrapReport struct {
	Lines      uint64            `json:"lines"`
	Moved      map[uint32]uint64 `json:"moved"` // from which versions
	Kept       uint64            `json:"kept"`  // under the primary version already
	OtherKeys  uint64            `json:"other_keys"`
	NotOfThese uint64            `json:"not_ciphertexts"`
	Failed     uint64            `json:"failed"` // did not open, and were left as they are
}

func (a *app) rewrapCommand() *cobra.Command {
	var key, out string
	var bound pairs
	cmd := &cobra.Command{
		Use: "rewrap --key KEY [FILE] [flags]", Short: "Move a stream of ciphertexts to the newest version of their key", GroupID: groupUse,
		Long: `Read ciphertexts of KEY from FILE, or standard input, one a line in base64, and write them to standard output or --out, those that an older version
made moved to the primary version. All other lines are written as they are. Plaintexts do not leave the server.

What was done is told on standard error, with a count for each version. --out is replaced as a whole, or not at all: run it again after an interruption.
The exit status is 1 if a ciphertext of KEY did not open; its line stays as it was.`,
		Example: "  keyhold rewrap --key orders column.b64 --out column.new\n" +
			"  keyhold rewrap --key orders --context table=cards column.b64",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(key); err != nil {
				return err
			}
			if a.json() && out == "" {
				return usagef("--out FILE takes the ciphertexts", "with -o json standard output is for the report")
			}
			in, _, err := a.input(args)
			if err != nil {
				return err
			}
			defer in.Close()
			k, err := c.DescribeKey(ctx, key, a.options()...)
			if err != nil {
				return err
			}
			s := &rewrapStream{app: a, client: c, key: k, context: client.Context(bound), report: rewrapReport{Moved: map[uint32]uint64{}}}
			if err := s.run(ctx, in, out); err != nil {
				return err
			}
			return s.tell()
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &key, "key: id, name or alias/NAME")
	bound.flag(cmd, "context", "context that all of the ciphertexts were made with; can be repeated")
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	must(cmd.RegisterFlagCompletionFunc("out", files))
	return cmd
}

// rewrapStream is one stream under way.
type rewrapStream struct {
	app     *app
	client  *client.Client
	key     client.Key
	context client.Context
	report  rewrapReport
	why     error // of the first that failed
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
	r, w := bufio.NewReaderSize(in, rewrapLine), bufio.NewWriter(out)
	p := s.app.progress("lines")
	defer p.end()
	for {
		lines, err := readLines(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if done := s.move(ctx, lines); done != nil {
			return done
		}
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		p.show(s.report.Lines, 0, count)
		if err != nil {
			return w.Flush()
		}
	}
}

// readLines reads the next lines with their ends; io.EOF comes with the last ones.
func readLines(r *bufio.Reader) (lines [][]byte, err error) {
	for len(lines) < rewrapBatch {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			lines = append(lines, bytes.Clone(line))
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, refusal(kms.CodeTooLarge, "give one ciphertext a line, in base64", "a line has more than %d bytes", rewrapLine)
		}
		if err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// move puts the new ciphertext in the place of each that an older version made.
func (s *rewrapStream) move(ctx context.Context, lines [][]byte) error {
	var items []client.ReEncryptInput
	var at []int
	var from []uint32
	for i, line := range lines {
		s.report.Lines++
		b, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		h, _, bad := blob.Parse(b)
		switch {
		case err != nil || bad != nil:
			s.report.NotOfThese++
		case h.Key.String() != s.key.ID:
			s.report.OtherKeys++
		case h.Version == s.key.PrimaryVersion:
			s.report.Kept++
		default:
			items = append(items, client.ReEncryptInput{Ciphertext: b, FromKey: s.key.ID, ToKey: s.key.ID, FromContext: s.context, ToContext: s.context})
			at, from = append(at, i), append(from, h.Version)
		}
	}
	if len(items) == 0 {
		return nil
	}
	done, err := s.client.ReEncryptBatch(ctx, items, s.app.options()...)
	if err != nil {
		return err
	}
	for i, r := range done {
		if r.Err != nil {
			s.report.Failed++
			s.why = cmp.Or(s.why, r.Err)
			continue
		}
		s.report.Moved[from[i]]++
		old := lines[at[i]]
		end := old[len(bytes.TrimRight(old, "\r\n")):]
		lines[at[i]] = append(base64.StdEncoding.AppendEncode(nil, r.Value.Ciphertext), end...)
	}
	return nil
}

func (s *rewrapStream) tell() error {
	r := &s.report
	if s.app.json() {
		if err := s.app.writeJSON(r); err != nil {
			return err
		}
	} else {
		for _, v := range slices.Sorted(maps.Keys(r.Moved)) {
			fmt.Fprintf(s.app.stderr, "%d moved from version %d to %d\n", r.Moved[v], v, s.key.PrimaryVersion)
		}
		fmt.Fprintf(s.app.stderr, "%d under version %d already, %d of other keys, %d not ciphertexts\n", r.Kept, s.key.PrimaryVersion, r.OtherKeys, r.NotOfThese)
	}
	if r.Failed == 0 {
		return nil
	}
	fmt.Fprintf(s.app.stderr, "%d did not open: %s\n", r.Failed, printable(s.why.Error()))
	return errAnswered
}
