package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) campaignCommand() *cobra.Command {
	return group(groupKeys, "campaign", "Watch and steer the re-wrapping of data keys",
		`A campaign brings every data key that the server keeps under a key (keyhold datakey create) under the key's primary version. It begins by itself
when the key is rotated, works beside what the server is asked to do and gives way to it, and goes on where it was after a restart.

It does not touch data, which stays as it was encrypted, nor ciphertexts that others hold: keyhold rewrap, keyhold file rewrap and the batch
method ReEncryptBatch are for those.`,
		a.campaignStart(), a.campaignList(), a.campaignShow(),
		a.campaignControl("pause", "Stop a campaign until it is resumed", "The campaign does nothing until keyhold campaign resume, also through restarts of the server.", "paused", (*client.Client).PauseCampaign),
		a.campaignControl("resume", "Let a paused campaign go on", "The campaign goes on where it was.", "resumed", (*client.Client).ResumeCampaign),
		a.campaignControl("cancel", "End a campaign", "The campaign ends. What it has re-wrapped stays so; what is left stays under older versions, until the next rotation or keyhold campaign start.", "cancelled", (*client.Client).CancelCampaign),
		a.campaignRate(),
	)
}

// campaignChange is the JSON of a campaign after a change.
type campaignChange struct {
	client.Campaign
	DryRun bool `json:"dry_run,omitempty"` // nothing was changed
}

func (a *app) campaignChanged(c client.Campaign, ch change, format string, args ...any) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(campaignChange{c, ch.dryRun})
	}
	said := fmt.Sprintf(format, args...)
	if ch.dryRun {
		said = "would be: " + said
	}
	_, err := fmt.Fprintln(a.out, printable(said))
	return err
}

const rateHelp = "data keys a second at most; 0: as many as the server's load permits"

func (a *app) campaignStart() *cobra.Command {
	var ch change
	var rate uint32
	cmd := &cobra.Command{
		Use: "start KEY [flags]", Short: "Begin a campaign by hand",
		Long:    "Begin a campaign by hand, for what an earlier one left: data keys under a version that was archived then, or that did not open.",
		Example: "  keyhold campaign start orders\n  keyhold campaign start orders --rate 500",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.StartCampaign(ctx, args[0], rate, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.campaignChanged(res, ch, "campaign of key %s began: its data keys come under version %d", res.Key, res.TargetVersion)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Uint32Var(&rate, "rate", 0, rateHelp)
	ch.flags(cmd)
	return cmd
}

type campaignMethod = func(*client.Client, context.Context, string, ...client.Option) (client.Campaign, error)

func (a *app) campaignControl(name, short, long, done string, method campaignMethod) *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: name + " KEY [flags]", Short: short, Long: long, Example: "  keyhold campaign " + name + " orders",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := method(c, ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.campaignChanged(res, ch, "%s campaign of key %s: %d of %d re-wrapped", done, res.Key, res.Done, res.Total)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	ch.flags(cmd)
	return cmd
}

func (a *app) campaignRate() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "rate KEY RATE [flags]", Short: "Limit how fast a campaign goes",
		Long:    "Limit how many data keys a second a campaign re-wraps. 0 leaves it to the server, which gives way to what it is asked to do.",
		Example: "  keyhold campaign rate orders 200\n  keyhold campaign rate orders 0",
		Args:    cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			rate, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil {
				return usagef("for example keyhold campaign rate orders 200", "%q is not a number of data keys a second", clip(args[1]))
			}
			res, err := c.SetCampaignRate(ctx, args[0], uint32(rate), a.with(ch)...)
			if err != nil {
				return err
			}
			return a.campaignChanged(res, ch, "campaign of key %s goes %s", res.Key, pace(res.Rate))
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	ch.flags(cmd)
	return cmd
}

func pace(rate uint32) string {
	if rate == 0 {
		return "as fast as the server's load permits"
	}
	return fmt.Sprintf("at %d data keys a second at most", rate)
}

func (a *app) campaignList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the newest campaign of each key",
		Long:    "List the newest campaign of each key of the namespace that you may see.",
		Example: "  keyhold campaign list\n  keyhold campaign list -o json",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "campaigns", limit, c.ListCampaigns(ctx, a.options()...),
				[]string{"KEY", "STATE", "VERSION", "DONE", "TOTAL", "LEFT", "BEGAN"}, func(c client.Campaign) []cell {
					return []cell{plain(c.Key), plain(c.State), plain(strconv.FormatUint(uint64(c.TargetVersion), 10)), plain(count(c.Done)), plain(count(c.Total)), plain(count(c.Left)), plain(moment(c.BeganAt))}
				})
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "how many to show; 0: all")
	return cmd
}

// watchEvery is how often a campaign that is watched is asked about.
const watchEvery = time.Second

func (a *app) campaignShow() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "show KEY [flags]", Short: "Show how a campaign stands",
		Long: `Show how the newest campaign of a key stands, and which versions data keys are under. With --watch it waits for the end of the campaign, with a
bar on a terminal, and exits with status 1 if data keys are left.`,
		Example: "  keyhold campaign show orders\n  keyhold campaign show orders --watch",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.ReadCampaign(ctx, args[0], a.options()...)
			if err == nil && watch {
				res, err = a.watch(ctx, c, args[0], res)
			}
			if err != nil {
				return err
			}
			if a.json() {
				err = a.writeJSON(res)
			} else {
				err = a.showCampaign(ctx, c, res)
			}
			if err == nil && watch && (res.Left > 0 || res.State != "done") {
				return errAnswered
			}
			return err
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "wait for its end")
	return cmd
}

// watch waits for the end of a campaign.
func (a *app) watch(ctx context.Context, c *client.Client, key string, now client.Campaign) (client.Campaign, error) {
	p := a.progress("version " + strconv.FormatUint(uint64(now.TargetVersion), 10))
	defer p.end()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for !now.Over() && now.State != "paused" {
		p.show(now.Done, now.Total, func(n uint64) string {
			if n == now.Total && n != now.Done {
				return count(n) + remaining(now)
			}
			return count(n)
		})
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-tick.C:
		}
		next, err := c.ReadCampaign(ctx, key, a.options()...)
		if err != nil {
			return now, err
		}
		now = next
	}
	return now, nil
}

func remaining(c client.Campaign) string {
	switch {
	case c.State == "waiting":
		return ", waiting"
	case c.RemainingSeconds == 0:
		return ""
	}
	return fmt.Sprintf(", %.0f a second, %s to go", c.PerSecond, time.Duration(c.RemainingSeconds*float64(time.Second)).Round(time.Second))
}

// showCampaign tells two figures apart: which versions data keys are under, and what else may need an older version.
func (a *app) showCampaign(ctx context.Context, c *client.Client, now client.Campaign) error {
	t := a.table("FIELD", "VALUE")
	speed := ""
	if now.PerSecond > 0 {
		speed = fmt.Sprintf("%.0f a second%s", now.PerSecond, remaining(client.Campaign{RemainingSeconds: 0}))
		if now.RemainingSeconds > 0 {
			speed = fmt.Sprintf("%.0f a second, about %s to go", now.PerSecond, time.Duration(now.RemainingSeconds*float64(time.Second)).Round(time.Second))
		}
	}
	rows := [][2]string{
		{"key", now.Key}, {"state", now.State}, {"version", strconv.FormatUint(uint64(now.TargetVersion), 10)}, {"began", moment(now.BeganAt) + " by " + now.BeganBy + ": " + now.Cause},
		{"re-wrapped", fmt.Sprintf("%d of %d", now.Done, now.Total)}, {"speed", speed}, {"limit", pace(now.Rate)}, {"note", now.Note},
	}
	if now.Over() {
		rows = append(rows, [2]string{"ended", moment(now.EndedAt)}, [2]string{"worked", time.Duration(now.WorkedSeconds * float64(time.Second)).Round(time.Millisecond).String()})
	}
	n, err := c.CountDataKeys(ctx, now.KeyID, a.options()...)
	if err != nil {
		return err
	}
	for _, v := range n.Versions {
		if v.Version != n.PrimaryVersion {
			rows = append(rows, [2]string{fmt.Sprintf("under version %d", v.Version), fmt.Sprintf("%d data keys held here, %d elsewhere", v.Held, v.Outside)})
		}
	}
	if len(n.Versions) == 0 || len(n.Versions) == 1 && n.Versions[0].Version == n.PrimaryVersion {
		rows = append(rows, [2]string{"older versions", "0 data keys left"})
	}
	rows = append(rows, [2]string{"other ciphertexts", "unknown: those that were made outside of data keys, by older versions, still need them"})
	for _, row := range rows {
		if row[1] == "" {
			continue
		}
		if err := t.add(plain(row[0]), plain(row[1])); err != nil {
			return err
		}
	}
	return t.flush()
}
