package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// maxWrappedFile bounds a ciphertext that is read from a file, in bytes.
const maxWrappedFile = 1 << 20

// managedCommands are the subcommands of keyhold datakey, about data keys that the server keeps.
func (a *app) managedCommands() []*cobra.Command {
	return []*cobra.Command{a.managedCreate(), a.managedShow(), a.managedOpen(), a.managedList(), a.managedRevoke()}
}

// managedChange is the JSON of a managed data key after a change.
type managedChange struct {
	client.ManagedDataKey
	DryRun bool `json:"dry_run,omitempty"` // nothing was changed
}

func (a *app) managedCreate() *cobra.Command {
	var ch change
	var in client.RegisterDataKeyInput
	var bound, labels pairs
	var e encoding
	var from, fingerprint string
	cmd := &cobra.Command{
		Use: "create KEY [NAME] [flags]", Short: "Make a data key that the server keeps, and re-wraps when KEY is rotated",
		Long: `Make a data key that the server keeps, wrapped under KEY. When KEY is rotated, a campaign brings it under the new version by itself. The
data key is not shown, unless --out or --base64 asks for it; keyhold datakey open shows it later.

With --from FILE the data key of a ciphertext is taken over, which keyhold datakey made before. With --fingerprint FILE the server keeps
nothing but the SHA-256 of a ciphertext that stays where it is, so that the version that made it is known to be needed; --version says which
one it is.`,
		Example: "  keyhold datakey create orders backups/2026 --algorithm aes-256-gcm\n" +
			"  keyhold datakey create orders disk-7 --bytes 64 --out disk-7.key\n" +
			"  keyhold datakey create orders --from dek.enc",
		Args: cobra.RangeArgs(1, 2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			in.Key = args[0]
			if len(args) > 1 {
				in.Name = args[1]
			}
			if in.Algorithm != "" {
				if err := oneOf("an algorithm", in.Algorithm, algorithms()); err != nil {
					return err
				}
			}
			in.Context, in.Labels = client.Context(bound), labels
			in.WithPlaintext = e.out != "" || e.base64
			for _, f := range []string{from, fingerprint} {
				if f == "" {
					continue
				}
				if in.WithPlaintext || from != "" && fingerprint != "" {
					return usagef("keyhold datakey open shows the data key afterwards", "--from, --fingerprint and showing the data key exclude each other")
				}
				b, err := readSmall(f, maxWrappedFile)
				if err != nil {
					return err
				}
				if in.Ciphertext = b; f == fingerprint {
					sum := sha256.Sum256(b)
					in.Ciphertext, in.Fingerprint = nil, sum[:]
				}
			}
			d, err := c.RegisterDataKey(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			defer clear(d.Plaintext)
			if len(d.Plaintext) > 0 {
				return a.deliver(e, "data key", d.Plaintext, managedChange{d, ch.dryRun}, d.KeyID, d.Version)
			}
			return a.managedChanged(d, ch, "registered data key %s under version %d of key %s", nameOf(d), d.Version, in.Key)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	choice(cmd, &in.Algorithm, "algorithm", "what it is for; decides its length", algorithms())
	cmd.Flags().Uint32Var(&in.Bytes, "bytes", 0, "length, 1 to 1024 (default: the algorithm's, or 32)")
	bound.flag(cmd, "context", "encryption context; can be repeated")
	labels.flag(cmd, "label", "label; can be repeated, at most 16")
	cmd.Flags().StringVar(&from, "from", "", "file of a ciphertext to take over")
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "file of a ciphertext to note the SHA-256 of")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "with --fingerprint: version of KEY that made the ciphertext")
	for _, f := range []string{"from", "fingerprint"} {
		must(cmd.RegisterFlagCompletionFunc(f, files))
	}
	e.flags(cmd, "show the data key, as base64")
	ch.flags(cmd)
	return cmd
}

func (a *app) managedChanged(d client.ManagedDataKey, ch change, format string, args ...any) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(managedChange{d, ch.dryRun})
	}
	said := fmt.Sprintf(format, args...)
	if ch.dryRun {
		said = "would be: " + said
	}
	_, err := fmt.Fprintln(a.out, printable(said))
	return err
}

// nameOf is how a person names a data key.
func nameOf(d client.ManagedDataKey) string {
	switch {
	case d.Name != "" && d.ID != "":
		return d.Name + " (" + d.ID + ")"
	case d.Name != "":
		return d.Name
	}
	return d.ID
}

func (a *app) managedShow() *cobra.Command {
	return &cobra.Command{
		Use: "show KEY DATAKEY [flags]", Short: "Show a data key that the server keeps, as it is wrapped",
		Long: "Show a data key that the server keeps, by its name or id, without its plaintext. With -o json also its ciphertext, an ordinary one of KEY.",
		Example: "  keyhold datakey show orders backups/2026\n" +
			"  keyhold datakey show orders backups/2026 -o json",
		Args: cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.ReadDataKey(ctx, args[0], args[1], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(d)
			}
			t := a.table("FIELD", "VALUE")
			for _, row := range [][2]string{
				{"id", d.ID}, {"name", d.Name}, {"state", d.State}, {"version", strconv.FormatUint(uint64(d.Version), 10)}, {"held", holder(d)},
				{"algorithm", d.Algorithm}, {"bytes", strconv.FormatUint(uint64(d.Bytes), 10)}, {"created", moment(d.CreatedAt) + " by " + d.CreatedBy},
				{"re-wrapped", rewrapped(d)}, {"revoked", revokedAt(d)},
			} {
				if row[1] == "" {
					continue
				}
				if err := t.add(plain(row[0]), plain(row[1])); err != nil {
					return err
				}
			}
			return t.flush()
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
}

func holder(d client.ManagedDataKey) string {
	if len(d.Fingerprint) > 0 {
		return fmt.Sprintf("elsewhere, SHA-256 %x", d.Fingerprint)
	}
	return "by the server"
}

func rewrapped(d client.ManagedDataKey) string {
	if d.Rewraps == 0 {
		return "never"
	}
	return fmt.Sprintf("%d times, last at %s", d.Rewraps, moment(d.RewrappedAt))
}

func revokedAt(d client.ManagedDataKey) string {
	if d.RevokedAt.IsZero() {
		return ""
	}
	return moment(d.RevokedAt) + " by " + d.RevokedBy
}

func (a *app) managedOpen() *cobra.Command {
	var e encoding
	cmd := &cobra.Command{
		Use: "open KEY DATAKEY [flags]", Short: "Show a data key that the server keeps, in the clear",
		Long: "Write a data key that the server keeps to standard output or --out: use it, then erase it.",
		Example: "  keyhold datakey open orders backups/2026 --out dek.bin\n" +
			"  keyhold datakey open orders backups/2026 --base64",
		Args: cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.ready(e, "data key"); err != nil {
				return err
			}
			d, err := c.OpenDataKey(ctx, args[0], args[1], a.options()...)
			if err != nil {
				return err
			}
			defer clear(d.Plaintext)
			return a.deliver(e, "data key", d.Plaintext, d, d.KeyID, d.Version)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	e.flags(cmd, "write base64")
	return cmd
}

func (a *app) managedList() *cobra.Command {
	var f client.DataKeyFilter
	var limit int
	var counts bool
	cmd := &cobra.Command{
		Use: "list KEY [flags]", Short: "List the data keys that the server keeps under a key",
		Long: `List the data keys that the server keeps under KEY, in order of their making. With --version those that are under one version and active;
with --outside those of them whose fingerprint alone is known.

With --count only how many there are under each version: what a rotation left to re-wrap. It says nothing of data that was encrypted with data
keys that were made before a version: that data needs its data key, and the data key the version that it is under now.`,
		Example: "  keyhold datakey list orders\n" +
			"  keyhold datakey list orders --version 1\n" +
			"  keyhold datakey list orders --count",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			f.Key = args[0]
			if counts {
				return a.countManaged(ctx, c, f.Key)
			}
			if f.Outside && f.Version == 0 {
				return usagef("for example --version 1 --outside", "--outside goes with --version")
			}
			return listing(a, "data_keys", limit, c.ListDataKeys(ctx, f, a.options()...),
				[]string{"NAME", "STATE", "VERSION", "BYTES", "RE-WRAPPED", "CREATED", "ID"}, func(d client.ManagedDataKey) []cell {
					return []cell{plain(d.Name), plain(d.State), plain(strconv.FormatUint(uint64(d.Version), 10)), plain(strconv.FormatUint(uint64(d.Bytes), 10)),
						plain(strconv.FormatUint(uint64(d.Rewraps), 10)), plain(moment(d.CreatedAt)), plain(d.ID)}
				})
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Uint32Var(&f.Version, "version", 0, "only the active ones under this version")
	cmd.Flags().BoolVar(&f.Outside, "outside", false, "with --version: those that are held elsewhere")
	cmd.Flags().BoolVar(&counts, "count", false, "count under each version instead")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many to show; 0: all")
	return cmd
}

func (a *app) countManaged(ctx context.Context, c *client.Client, key string) error {
	n, err := c.CountDataKeys(ctx, key, a.options()...)
	if err != nil {
		return err
	}
	if a.json() {
		return a.writeJSON(n)
	}
	t := a.table("VERSION", "HELD HERE", "ELSEWHERE", "")
	for _, v := range n.Versions {
		mark := ""
		if v.Version == n.PrimaryVersion {
			mark = "primary"
		}
		more := ""
		if v.More {
			more = " at least"
		}
		if err := t.add(plain(strconv.FormatUint(uint64(v.Version), 10)), plain(strconv.FormatUint(v.Held, 10)+more), plain(strconv.FormatUint(v.Outside, 10)+more), plain(mark)); err != nil {
			return err
		}
	}
	if len(n.Versions) == 0 {
		fmt.Fprintln(a.stderr, "none")
		return nil
	}
	return t.flush()
}

func (a *app) managedRevoke() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke KEY DATAKEY [flags]", Short: "Erase a data key that the server keeps",
		Long: `Erase the wrapped bytes of a data key that the server keeps; that there was one stays known. What was encrypted with it can be read by those
only who have its plaintext or a copy of its ciphertext. Older copies of the store hold the ciphertext still, under the version of KEY that it was
under: if it has to be lost there too, destroy that version.

It asks first on a terminal; without a terminal it needs --yes.`,
		Example: "  keyhold datakey revoke orders backups/2026 --yes --reason 'tape was returned'",
		Args:    cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Erase the data key %q?", args[1])); err != nil {
				return err
			}
			d, err := c.RevokeDataKey(ctx, args[0], args[1], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.managedChanged(d, ch, "revoked data key %s of key %s", nameOf(d), args[0])
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}
