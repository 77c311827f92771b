package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of the texts of one command.
const (
	maxTexts     = 100_000
	maxTextBytes = 16 << 20
)

func (a *app) formatCommand() *cobra.Command {
	return group(groupUse, "format", "Encrypt text to text of the same form",
		`Encrypt text, such as card numbers, to text of the same length and alphabet (FF1, NIST SP 800-38G), where the form cannot change.

It is deterministic: the same text under the same tweak gives the same result, so that equal texts can be told. Nothing detects a
change: whatever has the form decrypts to something. Use keyhold encrypt wherever the form may change.`,
		a.formatEncrypt(), a.formatDecrypt())
}

// texts are the flags and the input that both directions have.
type texts struct {
	in    client.FormatInput
	tweak string
	out   string
}

func (t *texts) flags(a *app, cmd *cobra.Command, version string) {
	f := cmd.Flags()
	a.keyFlag(cmd, &t.in.Key, "key: id, name or alias/NAME")
	choice(cmd, &t.in.Alphabet, "alphabet", "name of an alphabet, or its characters; default: digits", alphabetNames)
	f.StringVar(&t.tweak, "tweak", "", "what keeps texts apart, the same to decrypt as to encrypt; not secret")
	f.BoolVar(&t.in.PreserveOthers, "preserve-others", false, "leave characters outside the alphabet where they are, instead of refusing them")
	f.Uint32Var(&t.in.Version, "version", 0, version)
	f.StringVar(&t.out, "out", "", "file to write to (mode 0600), instead of standard output")
	must(cmd.RegisterFlagCompletionFunc("out", files))
}

var alphabetNames = []string{"digits", "hex-lower", "hex-upper", "letters", "letters-lower", "letters-upper", "alphanumeric", "alphanumeric-lower", "alphanumeric-upper"}

type textResults = []client.Result[client.FormatOutput]

// run sends the lines of the input as one batch and writes the answers line by line, all of them or none.
func (t *texts) run(ctx context.Context, a *app, args []string, send func(context.Context, []client.FormatInput, ...client.Option) (textResults, error)) error {
	if err := needKey(t.in.Key); err != nil {
		return err
	}
	data, name, err := a.read(args, maxTextBytes)
	if err != nil {
		return err
	}
	defer clear(data)
	t.in.Tweak = []byte(t.tweak)
	items := make([]client.FormatInput, 0, min(maxTexts, bytes.Count(data, []byte("\n"))+1))
	for line := range bytes.Lines(data) {
		if len(items) == maxTexts {
			return refusal(kms.CodeTooLarge, "split it", "%s has more than %d lines", name, maxTexts)
		}
		it := t.in
		it.Text = string(bytes.TrimRight(line, "\r\n"))
		items = append(items, it)
	}
	if len(items) == 0 {
		return refusal(kms.CodeBadRequest, "give one text a line", "%s is empty", name)
	}
	results, err := send(ctx, items, a.options()...)
	if err != nil {
		return err
	}
	if err := firstFailure(results, name); err != nil {
		return err
	}
	return t.write(a, results)
}

// firstFailure names the first line that failed; what failed for all lines alike was not a line's fault.
func firstFailure(results textResults, name string) error {
	i := slices.IndexFunc(results, func(r client.Result[client.FormatOutput]) bool { return r.Err != nil })
	if i < 0 {
		return nil
	}
	first := results[i].Err
	var e *client.Error
	alike := !slices.ContainsFunc(results, func(r client.Result[client.FormatOutput]) bool { return r.Err == nil || r.Err.Error() != first.Error() })
	if alike || !errors.As(first, &e) {
		return first
	}
	told := *e
	told.What = fmt.Sprintf("%s, line %d: %s", name, i+1, e.What)
	return &told
}

func (t *texts) write(a *app, results textResults) error {
	var out []byte
	defer func() { clear(out) }()
	for _, r := range results {
		out = append(append(out, r.Value.Text...), '\n')
	}
	if t.out != "" {
		if err := writeFile(t.out, out, 0o600); err != nil || !a.json() {
			return err
		}
		return a.writeJSON(written{Out: t.out, Bytes: len(out), KeyID: results[0].Value.KeyID, Version: results[0].Value.Version})
	}
	if a.json() {
		all := make([]client.FormatOutput, 0, len(results))
		for _, r := range results {
			all = append(all, r.Value)
		}
		return listing(a, "texts", 0, each(all), []string{"TEXT"}, func(o client.FormatOutput) []cell { return []cell{plain(o.Text)} })
	}
	_, err := a.out.Write(out)
	return err
}

func (a *app) formatEncrypt() *cobra.Command {
	var t texts
	cmd := &cobra.Command{
		Use: "encrypt --key KEY [FILE] [flags]", Short: "Encrypt texts, one a line",
		Long: `Encrypt each line of FILE, or standard input, to a line of the same length and alphabet. A line has at least so many characters of
the alphabet that there are 1,000,000 texts of its length (6 digits), and at most 1,024.

The result does not tell which version of the key made it: keep the version (-o json shows it) beside it before you rotate.`,
		Example: "  keyhold format encrypt --key cards --preserve-others --tweak shop-1 cards.txt --out cards.enc\n" +
			"  keyhold format encrypt --key cards --alphabet alphanumeric names.txt -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			return t.run(ctx, a, args, c.EncryptFormatBatch)
		}),
		ValidArgsFunction: first(files),
	}
	t.flags(a, cmd, "version of the key; 0: the primary version")
	return cmd
}

func (a *app) formatDecrypt() *cobra.Command {
	var t texts
	cmd := &cobra.Command{
		Use: "decrypt --key KEY [FILE] [flags]", Short: "Decrypt texts, one a line",
		Long: `Decrypt each line of FILE, or standard input. Alphabet, tweak and --preserve-others must be those of the encryption, and so must the
version once the key was rotated: with others, other texts come out, and nothing tells.`,
		Example: "  keyhold format decrypt --key cards --preserve-others --tweak shop-1 cards.enc\n" +
			"  keyhold format decrypt --key cards --version 1 --preserve-others --tweak shop-1 cards.enc --out cards.txt",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			return t.run(ctx, a, args, c.DecryptFormatBatch)
		}),
		ValidArgsFunction: first(files),
	}
	t.flags(a, cmd, "version of the key that made them; needed once the key was rotated")
	return cmd
}
