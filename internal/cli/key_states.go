package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// versionDates are the flags of a new version's dates.
type versionDates struct {
	activate, deactivate ahead
	byHand               bool
}

func (d *versionDates) flags(cmd *cobra.Command, which string) {
	f := cmd.Flags()
	f.Var(&d.activate, "activate-at", which+" is pre-active until then; in whole seconds")
	f.BoolVar(&d.byHand, "pre-active", false, which+" is pre-active until it is activated by hand")
	f.Var(&d.deactivate, "deactivate-at", which+" is deactivated then; in whole seconds")
	cmd.MarkFlagsMutuallyExclusive("activate-at", "pre-active")
}

func (d *versionDates) of() client.Dates {
	return client.Dates{ActivateAt: d.activate.Time, PreActive: d.byHand, DeactivateAt: d.deactivate.Time}
}

// nextOf tells of the version that is to be the primary version; empty: there is none.
func nextOf(k client.Key) string {
	switch {
	case k.NextVersion == 0:
		return ""
	case k.NextAt.IsZero():
		return fmt.Sprintf("version %d will when it is activated (keyhold key activate %s %d)", k.NextVersion, k.Name, k.NextVersion)
	}
	return fmt.Sprintf("version %d will from %s on", k.NextVersion, moment(k.NextAt))
}

func presetsOf(k client.Key) string {
	var all []string
	if k.Freeze {
		all = append(all, "freeze")
	}
	if k.ProcessDeactivated {
		all = append(all, "process-deactivated")
	}
	return strings.Join(all, ", ")
}

var versionHeads = []string{"VERSION", "STATE", "SINCE", "AHEAD", "CREATED", "ORIGIN", "CHECK VALUE"}

func versionRow(v client.KeyVersion) []cell {
	since := v.CreatedAt
	if n := len(v.History); n > 0 {
		since = v.History[n-1].At
	}
	return []cell{plain(strconv.Itoa(int(v.Version))), state(v.State), plain(moment(since)), plain(aheadOf(v)), plain(moment(v.CreatedAt)), plain(v.Origin),
		plain(fmt.Sprintf("%x", v.CheckValue))}
}

// aheadOf is what the dates of a version bring next.
func aheadOf(v client.KeyVersion) string {
	var all []string
	if v.State == "pre-active" && !v.ActivateAt.IsZero() {
		all = append(all, "active "+moment(v.ActivateAt))
	}
	if (v.State == "pre-active" || v.State == "active" || v.State == "suspended") && !v.DeactivateAt.IsZero() {
		all = append(all, "deactivated "+moment(v.DeactivateAt))
	}
	if !v.RecallUntil.IsZero() {
		all = append(all, "recalled until "+moment(v.RecallUntil))
	}
	return strings.Join(all, ", ")
}

// versionOf reads the number of a version.
func versionOf(key, s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v == 0 {
		return 0, usagef("keyhold key versions "+key+" lists them", "%q is not the number of a version", clip(s))
	}
	return uint32(v), nil
}

// versionStep is a command that does something to one version of a key.
func (a *app) versionStep(cmd *cobra.Command, do func(ctx context.Context, c *client.Client, key string, version uint32, o []client.Option) (client.Key, error),
	said func(k client.Key, version uint32) string) *cobra.Command {
	var ch change
	cmd.Args = cobra.ExactArgs(2)
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		v, err := versionOf(args[0], args[1])
		if err != nil {
			return err
		}
		k, err := do(ctx, c, args[0], v, a.with(ch))
		if err != nil {
			return err
		}
		return a.changed(k, ch, "%s", said(k, v))
	})
	cmd.ValidArgsFunction = first(a.completeKeys)
	ch.flags(cmd)
	return cmd
}

func (a *app) keyActivate() *cobra.Command {
	var at ahead
	var byHand bool
	cmd := &cobra.Command{
		Use: "activate KEY VERSION [flags]", Short: "Make a pre-active version active, or say when it becomes so",
		Long: `Make a pre-active version active: at once, at a date, or (--by-hand) not before it is activated again. A version that was made by
keyhold key rotate is the primary version from then on.`,
		Example: "  keyhold key activate orders 2\n  keyhold key activate orders 2 --at 2099-01-01T00:00:00Z",
	}
	cmd.Flags().Var(&at, "at", "when; in whole seconds (default: now)")
	cmd.Flags().BoolVar(&byHand, "by-hand", false, "remove the date: the version waits to be activated")
	cmd.MarkFlagsMutuallyExclusive("at", "by-hand")
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		if byHand {
			return c.ActivateVersionByHand(ctx, key, v, o...)
		}
		return c.ActivateVersion(ctx, key, v, at.Time, o...)
	}, func(k client.Key, v uint32) string {
		switch {
		case byHand:
			return fmt.Sprintf("version %d of key %s waits to be activated by hand", v, k.Name)
		case !at.IsZero():
			return fmt.Sprintf("version %d of key %s becomes active at %s", v, k.Name, moment(at.Time))
		}
		return fmt.Sprintf("activated version %d of key %s: version %d protects", v, k.Name, k.PrimaryVersion)
	})
}

func (a *app) keyDeactivate() *cobra.Command {
	var at ahead
	var never bool
	cmd := &cobra.Command{
		Use: "deactivate KEY VERSION [flags]", Short: "End the use of one version, or say when it ends",
		Long: `End the use of one version: it neither protects nor processes any more, so what it encrypted cannot be read. The primary
version cannot be deactivated at once: rotate first. From a date on, it can; then the key protects nothing.`,
		Example: "  keyhold key deactivate orders 1 --reason 'all ciphertexts were moved'\n  keyhold key deactivate orders 1 --at 2099-12-31",
	}
	cmd.Flags().Var(&at, "at", "when; in whole seconds (default: now)")
	cmd.Flags().BoolVar(&never, "never", false, "remove the date")
	cmd.MarkFlagsMutuallyExclusive("at", "never")
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		if never {
			return c.DeactivateVersionNever(ctx, key, v, o...)
		}
		return c.DeactivateVersionAt(ctx, key, v, at.Time, o...)
	}, func(k client.Key, v uint32) string {
		switch {
		case never:
			return fmt.Sprintf("version %d of key %s has no date of deactivation", v, k.Name)
		case !at.IsZero():
			return fmt.Sprintf("version %d of key %s becomes deactivated at %s", v, k.Name, moment(at.Time))
		}
		return fmt.Sprintf("deactivated version %d of key %s", v, k.Name)
	})
}

func (a *app) keySuspendVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "suspend-version KEY VERSION [flags]", Short: "Stop one version from protecting; it goes on processing",
		Long: `Stop one version from protecting. It still decrypts and verifies, unless the key's preset is freeze. If it is the primary version, the key
protects nothing until the version is resumed or the key is rotated.`,
		Example: "  keyhold key suspend-version orders 2 --reason 'looking into an incident'",
	}
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		return c.SuspendVersion(ctx, key, v, o...)
	}, func(k client.Key, v uint32) string { return fmt.Sprintf("suspended version %d of key %s", v, k.Name) })
}

func (a *app) keyResumeVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume-version KEY VERSION [flags]", Short: "End the suspension of one version",
		Long: "The version protects again.", Example: "  keyhold key resume-version orders 2",
	}
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		return c.ResumeVersion(ctx, key, v, o...)
	}, func(k client.Key, v uint32) string { return fmt.Sprintf("resumed version %d of key %s", v, k.Name) })
}

func (a *app) keyArchive() *cobra.Command {
	cmd := &cobra.Command{
		Use: "archive KEY VERSION [flags]", Short: "Put a deactivated version away",
		Long: `Put a deactivated version away: its material leaves the version for the archive, sealed under a key of the archive's own. Nothing opens it
but a recall (keyhold key recall).`,
		Example: "  keyhold key archive orders 1 --reason 'retention'",
	}
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		return c.ArchiveVersion(ctx, key, v, o...)
	}, func(k client.Key, v uint32) string { return fmt.Sprintf("archived version %d of key %s", v, k.Name) })
}

func (a *app) keyRecall() *cobra.Command {
	var period days
	var end bool
	cmd := &cobra.Command{
		Use: "recall KEY VERSION [flags]", Short: "Let a deactivated or archived version process for a while",
		Long: `Let a deactivated or archived version decrypt and verify for a while. Others have to approve it. It ends at its second, or early with
--end, which takes nobody else.`,
		Example: "  keyhold key recall orders 1 --for 2h --reason 'court order 17'\n  keyhold key recall orders 1 --end",
	}
	cmd.Flags().Var(&period, "for", "for how long, at most 30d (default: 1h)")
	cmd.Flags().BoolVar(&end, "end", false, "end the recall that is open")
	cmd.MarkFlagsMutuallyExclusive("for", "end")
	return a.versionStep(cmd, func(ctx context.Context, c *client.Client, key string, v uint32, o []client.Option) (client.Key, error) {
		if end {
			return c.EndRecall(ctx, key, v, o...)
		}
		return c.RecallVersion(ctx, key, v, time.Duration(period), o...)
	}, func(k client.Key, v uint32) string {
		if end || len(k.Versions) == 0 {
			return fmt.Sprintf("version %d of key %s is recalled no more", v, k.Name)
		}
		return fmt.Sprintf("version %d of key %s processes until %s", v, k.Name, moment(k.Versions[0].RecallUntil))
	})
}

// compromised is the JSON of a key of which versions were marked.
type compromised struct {
	client.Compromise
	DryRun bool `json:"dry_run,omitempty"` // nothing was changed: this is how the key would be
}

func (a *app) keyCompromise() *cobra.Command {
	var ch change
	var all, yes bool
	cmd := &cobra.Command{
		Use: "compromise KEY {VERSION… | --all} [flags]", Short: "Mark versions as compromised",
		Long: `Mark versions as compromised. They protect nothing from now on, and process only for callers that may ProcessCompromised besides, which no
role includes. If the primary version is among them, the same change makes a new one. There is no way back. The windows of time in
which the versions could protect are shown: what they encrypted then is exposed; keyhold reencrypt moves it to the new version. Callers
that may read the usage ledger are told besides how much that was, who used the versions, and what names the key. Once more: repeat the command.`,
		Example: "  keyhold key compromise orders 2 3 --reason 'seen on a paste site'\n  keyhold key compromise orders --all --yes",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if all == (len(args) > 1) {
				return usagef("keyhold key versions "+args[0]+" lists them", "name the versions that are compromised, or --all")
			}
			var versions []uint32
			for _, s := range args[1:] {
				v, err := versionOf(args[0], s)
				if err != nil {
					return err
				}
				versions = append(versions, v)
			}
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Mark versions of the key %q as compromised? There is no way back.", args[0])); err != nil {
				return err
			}
			out, err := c.CompromiseVersions(ctx, args[0], versions, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.compromised(out, ch)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().BoolVar(&all, "all", false, "every version that is not destroyed")
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}

func (a *app) compromised(out client.Compromise, ch change) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(compromised{out, ch.dryRun})
	}
	if _, err := fmt.Fprintf(a.out, "%s\n\n", printable(fmt.Sprintf("key %s: version %d is its primary version; these versions are compromised:", out.Name, out.PrimaryVersion))); err != nil {
		return err
	}
	err := listing(a, "exposed", 0, each(out.Exposed), []string{"VERSION", "PROTECTED FROM", "TO", "PROTECTED", "LAST", "DATA KEYS"}, func(x client.Exposure) []cell {
		keys := count(x.DataKeys)
		if x.Outside > 0 {
			keys += fmt.Sprintf(" and %s elsewhere", count(x.Outside))
		}
		return []cell{plain(strconv.Itoa(int(x.Version))), plain(moment(x.From)), plain(moment(x.To)), plain(count(x.Made)), plain(moment(x.Last)), plain(keys)}
	})
	if err != nil || ch.dryRun || len(out.Exposed) == 0 {
		return err
	}
	return a.exposedTo(out)
}

// exposedTo says who used compromised versions, what names their key, and what of all that cannot be known.
func (a *app) exposedTo(out client.Compromise) error {
	var all []fact
	if !out.Through.IsZero() {
		all = append(all, fact{"used by", plain(orNobody(usersOf(out.Users, 0)))},
			fact{"counted", plain(fmt.Sprintf("from %s to %s", moment(out.Since), moment(out.Through)))})
	}
	var dependants []string
	for _, d := range out.Dependants {
		dependants = append(dependants, d.Kind+" "+d.Name)
	}
	all = append(all, fact{"named by", plain(strings.Join(dependants, "\n"))}, fact{"not known", plain(strings.Join(out.Unknown, "\n"))})
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return a.facts(all...)
}
