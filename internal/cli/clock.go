package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// clockTrouble is what is wrong with the server's clock; empty: nothing.
func clockTrouble(k client.Clock) string {
	switch {
	case k.DestructionSuspended:
		return fmt.Sprintf("jumped from %s to %s: nothing is destroyed by date until it is set right, or confirmed: keyhold operator confirm-clock", moment(k.Trusted), moment(k.Machine))
	case k.BehindSeconds > 0:
		return fmt.Sprintf("%s behind: it was %s already, and time does not go back; set it right", spell(time.Duration(k.BehindSeconds*float64(time.Second))), moment(k.Trusted))
	}
	return ""
}

// time says whether dates go by the server's clock. Strangers are not told.
func (d *diagnosis) time(s client.Status) {
	switch trouble := clockTrouble(s.Clock); {
	case trouble != "":
		d.add("time", findingFailed, "let NTP set the server's clock; if it is right: keyhold operator confirm-clock", "the server's clock %s", trouble)
	case s.ClusterID != "":
		d.add("time", findingOK, "", "dates go by the server's clock")
	}
}

func (a *app) operatorConfirmClock() *cobra.Command {
	var ch change
	var at instant
	cmd := &cobra.Command{
		Use: "confirm-clock [flags]", Short: "Confirm the server's clock after it jumped ahead",
		Long: `Give your word that the server's clock is right after it jumped ahead: after weeks without the server, for example. Until then nothing is
destroyed by date. The server's clock is compared with the one here, or with --time, and refused if they are more than five minutes apart. A clock that is
wrong is not to be confirmed but set right.`,
		Example: "  keyhold operator confirm-clock --reason 'back from maintenance'\n  keyhold operator confirm-clock --time 2031-03-01T12:00:00Z",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			now := time.Now()
			if !at.IsZero() {
				now = at.Time
			}
			done, err := c.ConfirmClock(ctx, now, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if a.json() {
				return a.writeJSON(done)
			}
			if done.To.IsZero() {
				_, err = fmt.Fprintln(a.out, "nothing to confirm: the clock is believed")
				return err
			}
			return a.facts(fact{"time was", plain(moment(done.From))}, fact{"time is", plain(moment(done.To))})
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().Var(&at, "time", "what time it is, if the clock here is not to be relied on")
	ch.flags(cmd)
	return cmd
}
