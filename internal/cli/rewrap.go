package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a stream of ciphertexts.
const (
	rewrapLine   = 256 << 10 // bytes of one line
	rewrapBatch  = 256       // lines that go to the server at a time
	rewrapListed = 1000      // ciphertexts that did not open of which the line is told
	rewrapShown  = 20        // of them on a terminal
)

// rewrapReport is the JSON of what became of the ciphertexts of a stream.
type rewrapReport struct {
	Lines      uint64            `json:"lines"`
	Moved      map[uint32]uint64 `json:"moved"` // from which versions
	Kept       uint64            `json:"kept"`  // under the primary version already
	OtherKeys  uint64            `json:"other_keys"`
	NotOfThese uint64            `json:"not_ciphertexts"`
	Failed     uint64            `json:"failed"`             // did not open, and were left as they are
	Failures   []rewrapFailure   `json:"failures,omitempty"` // the first thousand of them
}

// rewrapFailure is a ciphertext that did not open.
type rewrapFailure struct {
	Line  uint64 `json:"line"` // from 1
	Code  string `json:"code"`
	Error string `json:"error"`
}

func (a *app) rewrapCommand() *cobra.Command {
	var key, out, field string
	var resume bool
	var bound pairs
	cmd := &cobra.Command{
		Use: "rewrap --key KEY [FILE] [flags]", Short: "Move a stream of ciphertexts to the newest version of their key", GroupID: groupUse,
		Long: `Read ciphertexts of KEY from FILE, or standard input, one a line in base64, and write them to standard output or --out, those that an older version
made moved to the primary version. With --field each line is a JSON object, and the ciphertext is the text of that field; nothing else of the line
changes. All other lines are written as they are. Plaintexts do not leave the server.

What was done is told on standard error, with a count for each version and the lines that did not open. --out is replaced as a whole, or not at all.
With --resume what is done is kept meanwhile in OUT.part and OUT.progress: after an interruption the same command goes on from there, if FILE is as
it was. Lines that were moved already are never moved again.
The exit status is 1 if a ciphertext of KEY did not open; its line stays as it was.`,
		Example: "  keyhold rewrap --key orders column.b64 --out column.new\n" +
			"  keyhold rewrap --key orders --context table=cards column.b64\n" +
			"  keyhold rewrap --key cards --field card.number dump.jsonl --out dump.new --resume",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(key); err != nil {
				return err
			}
			if a.json() && out == "" {
				return usagef("--out FILE takes the ciphertexts", "with -o json standard output is for the report")
			}
			if resume && (out == "" || len(args) == 0 || args[0] == stdStream) {
				return usagef("name the file that is read, and --out FILE", "--resume goes on in files that are still there")
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
			s := &rewrapStream{app: a, by: &ownRewrapper{a, c, k, client.Context(bound)}, id: k.ID, version: k.PrimaryVersion}
			if err := s.all(ctx, in, field, out, resume); err != nil {
				return err
			}
			return s.tell(fmt.Sprintf(" to %d", k.PrimaryVersion), fmt.Sprintf("%d under version %d already, %d of other keys, ", s.report.Kept, k.PrimaryVersion, s.report.OtherKeys))
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &key, "key: id, name or alias/NAME")
	bound.flag(cmd, "context", "context that all of the ciphertexts were made with; can be repeated")
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	must(cmd.RegisterFlagCompletionFunc("out", files))
	cmd.Flags().StringVar(&field, "field", "", "lines are JSON objects, and this field of them holds the ciphertext: a name, or names with dots between them")
	must(cmd.RegisterFlagCompletionFunc("field", fixed()))
	cmd.Flags().BoolVar(&resume, "resume", false, "keep what is done, and go on from what an interrupted run has kept")
	return cmd
}

// all moves the stream.
func (s *rewrapStream) all(ctx context.Context, in io.Reader, field, out string, resume bool) (err error) {
	s.report.Moved = map[uint32]uint64{}
	if s.field, err = parseField(field); err != nil {
		return err
	}
	if f, ok := in.(*os.File); ok && resume {
		return s.resume(ctx, f, out)
	}
	return s.run(ctx, in, out)
}

// tell says what became of the stream: to where what moved, and what else there was beside it.
func (s *rewrapStream) tell(to, beside string) error {
	r := &s.report
	if s.app.json() {
		if err := s.app.writeJSON(r); err != nil {
			return err
		}
	} else {
		for _, v := range slices.Sorted(maps.Keys(r.Moved)) {
			fmt.Fprintf(s.app.stderr, "%d moved from version %d%s\n", r.Moved[v], v, to)
		}
		fmt.Fprintf(s.app.stderr, "%s%d not ciphertexts\n", beside, r.NotOfThese)
	}
	if r.Failed == 0 {
		return nil
	}
	fmt.Fprintf(s.app.stderr, "%d did not open and stay as they are:\n", r.Failed)
	for _, f := range r.Failures[:min(len(r.Failures), rewrapShown)] {
		fmt.Fprintf(s.app.stderr, "  line %d: %s\n", f.Line, printable(f.Error))
	}
	if r.Failed > rewrapShown {
		fmt.Fprintf(s.app.stderr, "  and %d more: -o json lists the first %d\n", r.Failed-rewrapShown, rewrapListed)
	}
	return errAnswered
}

// failed notes a ciphertext that did not open.
func (r *rewrapReport) fail(line uint64, err error) {
	if r.Failed++; len(r.Failures) >= rewrapListed {
		return
	}
	f := rewrapFailure{Line: line, Error: err.Error()}
	var remote *client.Error
	var local *kms.Error
	switch {
	case errors.As(err, &remote):
		f.Code = remote.Code
	case errors.As(err, &local):
		f.Code = local.Code.String()
	}
	r.Failures = append(r.Failures, f)
}
