package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) operatorRebuildUsage() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "rebuild-usage [flags]", Short: "Count what keys are used for anew",
		Long: `Forget the usage ledger and count it anew from all the audit records that the log still has: for a ledger that is damaged. What was counted of records
that have been retired since is lost. It goes on in the background, also after a restart (keyhold jobs: count-key-uses). Until it is done, what goes by the ledger
(key usage, key retire, key assess, key destroy) is refused as busy.`,
		Example: "  keyhold operator rebuild-usage --yes --reason 'a row of the ledger is damaged'",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := a.confirm(yes || ch.dryRun, "Forget the usage ledger and count it anew?"); err != nil {
				return err
			}
			out, err := c.RebuildUsage(ctx, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if a.json() {
				return a.writeJSON(out)
			}
			said := "counted from " + moment(out.From) + " on"
			if !out.Was.IsZero() && out.Was.Before(out.From) {
				said += "; what was counted from " + moment(out.Was) + " until then is forgotten"
			}
			_, err = fmt.Fprintln(a.out, said)
			return err
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}
