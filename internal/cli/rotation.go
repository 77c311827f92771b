package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) keyRotate() *cobra.Command {
	var ch change
	var dates versionDates
	var algorithm string
	var generate bool
	cmd := &cobra.Command{
		Use: "rotate KEY [flags]", Short: "Make a new version, which becomes the primary version",
		Long: `Make a new version of a key, which becomes the primary version: at once, at a date, or when it is activated by hand. Older
versions go on decrypting and verifying what they made. Rotating encrypts nothing anew: keyhold reencrypt moves a ciphertext to
the new version.

With --algorithm the new version has another algorithm, of the same usage. Before the switch the server proves that the primary version still
opens what it made at its birth, and that the new one works.`,
		Example: "  keyhold key rotate orders --reason 'yearly rotation'\n" +
			"  keyhold key rotate orders --activate-at 2099-01-01T00:00:00Z\n" +
			"  keyhold key rotate agile --algorithm xchacha20-poly1305",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			rotate := c.RotateKeyAt
			switch {
			case generate:
				rotate = c.GenerateNextVersion
			case algorithm != "":
				if err := oneOf("an algorithm", algorithm, algorithms()); err != nil {
					return err
				}
				rotate = func(ctx context.Context, key string, _ client.Dates, options ...client.Option) (client.Key, error) {
					return c.RotateKeyTo(ctx, key, algorithm, options...)
				}
			}
			k, err := rotate(ctx, args[0], dates.of(), a.with(ch)...)
			if err != nil {
				return err
			}
			if k.NextVersion != 0 {
				return a.changed(k, ch, "rotated key %s: version %d protects; %s", k.Name, k.PrimaryVersion, nextOf(k))
			}
			return a.changed(k, ch, "rotated key %s: version %d protects from now on; nothing was encrypted anew: older versions go on decrypting and verifying (keyhold reencrypt moves a ciphertext)",
				k.Name, k.PrimaryVersion)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	dates.flags(cmd, "the new version")
	cmd.Flags().BoolVar(&generate, "generate", false, "let the server make the version also where the key is imported: only this server will have it")
	choice(cmd, &algorithm, "algorithm", "algorithm of the new version, of the same usage (default: the primary version's)", algorithms())
	for _, date := range []string{"activate-at", "pre-active", "deactivate-at", "generate"} {
		cmd.MarkFlagsMutuallyExclusive("algorithm", date)
	}
	ch.flags(cmd)
	return cmd
}
