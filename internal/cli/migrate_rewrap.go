package cli

import (
	"context"
	"encoding/base64"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/internal/migrate"
)

// migrateRewrap is what is said of ciphertexts whose key cannot move.
type migrateRewrap struct {
	file, key, to, out, field string
	resume                    bool
	context, data             binary
	contextField              string
}

func (r *migrateRewrap) flags(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.file, "rewrap", "", "file of ciphertexts of a key that cannot move, one a line; -: standard input")
	f.StringVarP(&r.key, "key", "k", "", "with --rewrap: their key at the source")
	f.StringVar(&r.to, "to", "", "with --rewrap: the key here that they move to (default: that of the same name)")
	f.StringVar(&r.out, "out", "", "with --rewrap: file to write to (default: standard output)")
	f.StringVar(&r.field, "field", "", "with --rewrap: lines are JSON objects, and this field of them holds the ciphertext: a name, or names with dots between them")
	f.BoolVar(&r.resume, "resume", false, "with --rewrap: keep what is done, and go on from what an interrupted run has kept")
	f.Var(&r.context, "context", "with --rewrap: the context that all of them were made with, of a derived key")
	f.StringVar(&r.contextField, "context-field", "", "with --rewrap and --field: field that holds the context of its line, in base64")
	f.Var(&r.data, "associated-data", "with --rewrap: the associated data that all of them were made with")
	cmd.MarkFlagsMutuallyExclusive("context", "context-field")
	for _, name := range []string{"rewrap", "out"} {
		must(cmd.RegisterFlagCompletionFunc(name, files))
	}
	must(cmd.RegisterFlagCompletionFunc("to", a.completeKeys))
}

// given tells whether a flag was given that only counts beside a file.
func (r *migrateRewrap) given() bool {
	return r.key+r.to+r.out+r.field+r.contextField != "" || r.resume || r.context != nil || r.data != nil
}

// binary is a flag in base64.
type binary []byte

func (b *binary) String() string { return base64.StdEncoding.EncodeToString(*b) }

// Type is the form that the help shows.
func (b *binary) Type() string { return "BASE64" }

// Set reads base64.
func (b *binary) Set(s string) (err error) {
	*b, err = base64.StdEncoding.DecodeString(s)
	return err
}

// rewrapFile moves a file of ciphertexts.
func (m *migration) rewrapFile(ctx context.Context, args []string) error {
	r := &m.rewrap
	switch {
	case len(args) > 0:
		return usagef("--key names the key of the ciphertexts", "keys are moved, or ciphertexts, not both at once")
	case r.key == "":
		return usagef("for example --key cards", "it is not known which key of the source the ciphertexts have")
	case m.dryRun:
		return usagef("leave one of them out", "--rewrap writes a file and changes no server: there is nothing to --dry-run")
	case m.json() && r.out == "":
		return usagef("--out FILE takes the ciphertexts", "with -o json standard output is for the report")
	case r.resume && (r.out == "" || r.file == stdStream):
		return usagef("name the file that is read, and --out FILE", "--resume goes on in files that are still there")
	case r.contextField != "" && r.field == "":
		return usagef("--field names the field of the ciphertext", "--context-field is for lines that are JSON objects")
	}
	source, done, err := m.source()
	if err != nil {
		return err
	}
	defer done()
	target, done, err := m.target(false)
	if err != nil {
		return err
	}
	defer done()
	by := &foreignRewrapper{rewrap: &migrate.Rewrap{Source: source, Target: target, From: r.key, To: or(r.to, m.prefix+r.key)}, flags: r}
	if by.field, err = parseField(r.contextField); err != nil {
		return err
	}
	in, _, err := m.input([]string{r.file})
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	if err := by.rewrap.Ready(ctx); err != nil {
		return err
	}
	s := &rewrapStream{app: m.app, by: by, id: by.rewrap.ID()}
	if err := s.all(ctx, in, r.field, r.out, r.resume); err != nil {
		return err
	}
	return s.tell(" of the source", "")
}

// foreignRewrapper moves ciphertexts of a key of another server.
type foreignRewrapper struct {
	rewrap *migrate.Rewrap
	flags  *migrateRewrap
	field  []string // of the context
}

func (f *foreignRewrapper) sort(text string) (sorted, uint32) {
	n, err := migrate.Version(text)
	if err != nil {
		return notCiphertext, 0
	}
	return toMove, n
}

func (f *foreignRewrapper) move(ctx context.Context, olds []rewrapOld) ([]rewrapNew, error) {
	items := make([]migrate.Ciphertext, len(olds))
	for i, old := range olds {
		items[i] = migrate.Ciphertext{Text: old.text, Context: f.flags.context, Data: f.flags.data}
		if len(f.field) > 0 {
			if _, text, ok := fieldOf(old.whole, f.field); ok {
				items[i].Context, _ = base64.StdEncoding.DecodeString(text) // none: the source refuses that line, and says why
			}
		}
	}
	done, err := f.rewrap.Move(ctx, items)
	if err != nil {
		return nil, err
	}
	news := make([]rewrapNew, len(done))
	for i, d := range done {
		news[i] = rewrapNew{d.Text, d.Err}
	}
	return news, nil
}
