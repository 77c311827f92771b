package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

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

func (a *app) keyRotation() *cobra.Command {
	var ch change
	var p client.Cryptoperiod
	var every, jitter days
	var off bool
	cmd := &cobra.Command{
		Use: "rotation KEY [flags]", Short: "Set when a key is rotated by itself, and how much a version may protect",
		Long: `Set the cryptoperiod of a key: when it is rotated by itself (--every or --calendar, in UTC), and how much one version may protect. At 80 % of a limit
the key is rotated, at all of it protection is refused; decrypting and verifying go on. What is not given is not limited. The period counts from
when the primary version became it: a key that is over it already is rotated at once.`,
		Example: `  keyhold key rotation orders --every 90d --jitter 5d
  keyhold key rotation orders --calendar 'monthly 1 03:00' --max-operations 1000000
  keyhold key rotation orders --off`,
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p.EverySeconds, p.JitterSeconds = int64(time.Duration(every)/time.Second), int64(time.Duration(jitter)/time.Second)
			if off != (p == client.Cryptoperiod{}) {
				return usagef("for example --every 90d, or --off", "want a schedule or limits, or --off")
			}
			k, err := c.ScheduleRotation(ctx, args[0], p, a.with(ch)...)
			if err != nil {
				return err
			}
			if off {
				return a.changed(k, ch, "key %s is rotated by hand, and its versions have no limits", k.Name)
			}
			return a.changed(k, ch, "key %s: %s", k.Name, periodOf(k))
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	f := cmd.Flags()
	f.Var(&every, "every", "time between rotations, for example 90d; at least 1h outside development")
	f.Var(&jitter, "jitter", "rotate up to so much earlier, so that not all keys are rotated together")
	f.StringVar(&p.Calendar, "calendar", "", `days instead of --every: "monthly 1 03:00", "weekly sunday 02:30" or "yearly 01-15 00:00"`)
	f.Uint64Var(&p.Operations, "max-operations", 0, "operations that one version may protect with")
	f.Uint64Var(&p.Bytes, "max-bytes", 0, "bytes that one version may protect")
	f.BoolVar(&off, "off", false, "rotate by hand, without limits")
	ch.flags(cmd)
	return cmd
}

// periodOf spells a cryptoperiod out; empty: there is none.
func periodOf(k client.Key) string {
	var said []string
	p := k.Cryptoperiod
	if p.EverySeconds != 0 {
		said = append(said, "every "+spell(time.Duration(p.EverySeconds)*time.Second))
	}
	if p.Calendar != "" {
		said = append(said, p.Calendar)
	}
	if p.JitterSeconds != 0 {
		said = append(said, "up to "+spell(time.Duration(p.JitterSeconds)*time.Second)+" earlier")
	}
	if p.Operations != 0 {
		said = append(said, "at most "+strconv.FormatUint(p.Operations, 10)+" operations")
	}
	if p.Bytes != 0 {
		said = append(said, "at most "+strconv.FormatUint(p.Bytes, 10)+" bytes")
	}
	if !k.RotateAt.IsZero() {
		said = append(said, "next on "+moment(k.RotateAt))
	}
	return strings.Join(said, ", ")
}
