package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) jobsCommand() *cobra.Command {
	var due uint32
	cmd := &cobra.Command{
		Use: "jobs", Short: "Show the server's scheduled and long-running work", GroupID: groupServer,
		Long: `Show the server's scheduled and long-running work, and how far it is: first the standing jobs, then what is due by a date (rotations, destructions
and the like): what is under way, what failed, with the reason and when it is tried again, and what is next.`,
		Example: "  keyhold jobs\n  keyhold jobs --due 100",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			jobs, err := c.ListJobs(ctx, due, a.options()...)
			if err != nil {
				return err
			}
			return a.showJobs(jobs)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().Uint32Var(&due, "due", 20, "how much to show of what is due by a date, at most 1000")
	return cmd
}

func (a *app) showJobs(jobs []client.Job) error {
	return listing(a, "jobs", 0, each(jobs), []string{"NAME", "STATE", "ON", "DONE", "LAST RUN", "NEXT RUN", "NOTE"}, func(j client.Job) []cell {
		done := strconv.FormatUint(j.Done, 10)
		if j.Total > 0 {
			done += " of " + strconv.FormatUint(j.Total, 10)
		}
		if j.Done == 0 && j.KeyID != "" {
			done = ""
		}
		note := j.Note
		if j.Attempts > 0 {
			note = "attempt " + strconv.FormatUint(uint64(j.Attempts), 10) + ": " + note
		}
		return []cell{plain(j.Name), state(j.State), plain(jobOn(j)), plain(done), plain(moment(j.LastRun)), plain(moment(j.NextRun)), plain(note)}
	})
}

// jobOn says what a piece of due work is done with.
func jobOn(j client.Job) string {
	on := j.Namespace
	if j.KeyID != "" {
		on += "/" + j.KeyID
	}
	if j.Version != 0 {
		on += " v" + strconv.FormatUint(uint64(j.Version), 10)
	}
	return on
}
