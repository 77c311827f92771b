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

// assessed is the JSON of a report.
type assessed struct {
	client.Assessment
	DryRun bool `json:"dry_run,omitempty"` // it was not stored
}

func (a *app) keyAssess() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "assess KEY [flags]", Short: "Show what the destruction of a key would reach",
		Long: `Show what the destruction of a key would reach: who used it and when last, what data keys are left under which version, what names it,
what copies of it exist, and what nobody can know. The server keeps the report: a key is destroyed only within a day of one, and the audit
record of that names the report's digest.`,
		Example: "  keyhold key assess orders\n  keyhold key assess orders -o json",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.AssessKey(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if a.json() {
				return a.writeJSON(assessed{r, ch.dryRun})
			}
			return a.showAssessment(r)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	ch.flags(cmd)
	return cmd
}

func (a *app) showAssessment(r client.Assessment) error {
	return a.facts(reportFacts(r)...)
}

// reportFacts is a report, a fact a line.
func reportFacts(r client.Assessment) []fact {
	last := cell{"never, as far as is known", green}
	if !r.Last.IsZero() {
		last = cell{moment(r.Last), yellow}
	}
	var dependants []string
	for _, d := range r.Dependants {
		dependants = append(dependants, d.Kind+" "+d.Name)
	}
	some := ""
	if r.AtLeast {
		some = " or more"
	}
	return []fact{
		{"key", plain(r.Name)}, {"state", state(r.State)}, {"last use", last},
		{"uses", plain(fmt.Sprintf("%d, and %d refused", r.Done, r.Refused))}, {"used by", plain(usersOf(r.Users, r.Others))},
		{"data keys left", someLeft(r.DataKeys, some)}, {"held by others", someLeft(r.Outside, some)}, {"by version", plain(leftBy(r))},
		{"named by", plain(strings.Join(dependants, "\n"))}, {"public half read", plain(times(r.PublicKeys))}, {"exported", plain(times(r.Exports))},
		{"in store exports", plain(backupsOf(r))}, {"counted", plain(fmt.Sprintf("from %s to %s", moment(r.Since), moment(r.Through)))},
		{"not known", plain(strings.Join(r.Unknown, "\n"))}, {"digest", plain(fmt.Sprintf("%x", r.Digest))},
	}
}

func someLeft(n uint64, more string) cell {
	if n == 0 {
		return cell{"none", green}
	}
	return cell{count(n) + more, red}
}

// usersOf lists principals with their last use, one a line.
func usersOf(users []client.UsageUser, others uint64) string {
	var lines []string
	for _, u := range users {
		lines = append(lines, fmt.Sprintf("%s, %d times, last at %s", userName(u), u.Done, moment(u.Last)))
	}
	if others > 0 {
		lines = append(lines, fmt.Sprintf("others, %d times", others))
	}
	return strings.Join(lines, "\n")
}

// leftBy lists the versions of a report.
func leftBy(r client.Assessment) string {
	var lines []string
	for _, v := range r.Versions {
		s := fmt.Sprintf("%d: %d uses", v.Version, v.Done)
		if !v.Last.IsZero() {
			s += ", last at " + moment(v.Last)
		}
		if v.DataKeys+v.Outside > 0 {
			s += fmt.Sprintf(", %d data keys left", v.DataKeys+v.Outside)
		}
		lines = append(lines, s)
	}
	if r.More {
		lines = append(lines, "and older ones")
	}
	return strings.Join(lines, "\n")
}

func times(n uint64) string {
	if n == 0 {
		return "never"
	}
	return count(n) + " times"
}

func backupsOf(r client.Assessment) string {
	if r.Backups == 0 {
		return "none that left through the server"
	}
	return fmt.Sprintf("at most %d, the last at %s", r.Backups, moment(r.LastBackup))
}

func (a *app) keyObserve() *cobra.Command {
	var since days
	cmd := &cobra.Command{
		Use: "observe KEY [flags]", Short: "Show who misses a key that is pending destruction",
		Long: `Show everybody who was refused because a key is pending destruction: who is named here still needs it, and keyhold key cancel-destroy
saves it. For a key that is not pending destruction it shows who uses it, by default within the last day: so one can look before anybody is
refused.`,
		Example: "  keyhold key observe orders\n  keyhold key observe orders --since 7d -o json",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-time.Duration(since))
			}
			o, err := c.ObserveKey(ctx, args[0], from, a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(o)
			}
			return a.showObservation(o)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Var(&since, "since", "how far to look back, for example 7d (default: since the destruction was asked for, or 1d)")
	return cmd
}

func (a *app) showObservation(o client.Observation) error {
	did := "used it"
	if o.Pending {
		did = "were refused"
		fmt.Fprintf(a.stderr, "key %s will be destroyed at %s\n", printable(o.Name), moment(o.DestroyAt))
	}
	if len(o.Callers) == 0 {
		_, err := fmt.Fprintf(a.out, "nobody since %s, as of %s\n", moment(o.Since), moment(o.Through))
		return err
	}
	fmt.Fprintf(a.stderr, "these %s since %s, as of %s:\n", did, moment(o.Since), moment(o.Through))
	return listing(a, "callers", 0, each(o.Callers), []string{"PRINCIPAL", "TIMES", "FIRST", "LAST", "OPERATIONS"}, func(u client.UsageUser) []cell {
		return []cell{plain(userName(u)), plain(count(u.Done + u.Refused)), plain(moment(u.First)), plain(moment(u.Last)), plain(operationsOf(u.Operations))}
	})
}

// retired is the JSON of a version that was retired, or would be.
type retired struct {
	client.Retirement
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) keyRetire() *cobra.Command {
	var ch change
	var in client.RetireInput
	var window days
	var check bool
	cmd := &cobra.Command{
		Use: "retire KEY --version N [flags]", Short: "End a version that nothing needs any more",
		Long: `End a version that nothing needs any more: it is deactivated if it is not the primary one, no managed data key is left under it, and nobody
used it within the window. --check answers with the evidence and changes nothing. Ciphertexts that clients hold cannot be counted: the window
is what tells of them.`,
		Example: "  keyhold key retire orders --version 1 --check\n" +
			"  keyhold key retire orders --version 1 --window 60d --reason 'all ciphertexts were moved'",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if in.Version == 0 {
				return usagef("keyhold key versions "+args[0]+" lists them", "--version is needed")
			}
			in.Key, in.Window = args[0], time.Duration(window)
			if check {
				r, err := c.CheckRetirement(ctx, in, a.options()...)
				if err != nil {
					return err
				}
				return a.showRetirement(r)
			}
			r, err := c.RetireVersion(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if a.json() {
				return a.writeJSON(retired{r, ch.dryRun})
			}
			said := fmt.Sprintf("retired version %d of key %s: it is deactivated", r.Version, r.Key.Name)
			if ch.dryRun {
				said = "would be: " + said
			}
			_, err = fmt.Fprintln(a.out, printable(said))
			return err
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	f := cmd.Flags()
	f.Uint32Var(&in.Version, "version", 0, "version to retire")
	f.Var(&window, "window", "time in which nobody may have used it (default: 30d; at least 1d outside development)")
	f.BoolVar(&in.Force, "force", false, "whatever is left; takes approvals")
	f.BoolVar(&check, "check", false, "show the evidence and change nothing")
	ch.flags(cmd)
	return cmd
}

func (a *app) showRetirement(r client.Retirement) error {
	if a.json() {
		return a.writeJSON(retired{Retirement: r})
	}
	verdict := cell{"yes", green}
	if !r.Retirable {
		verdict = cell{"no: " + strings.Join(r.Against, "\n"), red}
	}
	last := "never, as far as is known"
	if !r.Last.IsZero() {
		last = moment(r.Last)
	}
	return a.facts(
		fact{"version", plain(strconv.FormatUint(uint64(r.Version), 10))}, fact{"state", state(r.State)}, fact{"safe to retire", verdict}, fact{"last use", plain(last)},
		fact{"within " + spell(time.Duration(r.WindowSeconds)*time.Second), plain(orNobody(usersOf(r.Users, 0)))},
		fact{"data keys left", someLeft(r.DataKeys, "")}, fact{"held by others", someLeft(r.Outside, "")},
		fact{"counted", plain(fmt.Sprintf("from %s to %s", moment(r.Since), moment(r.Through)))}, fact{"not known", plain(strings.Join(r.Unknown, "\n"))},
	)
}

func orNobody(s string) string {
	if s == "" {
		return "nobody used it"
	}
	return s
}
