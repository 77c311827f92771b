package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

const receiptHelp = `A destruction has three steps. Scheduled: it can be cancelled. Erased: nothing opens it on the server any more. Irrecoverable: the epoch keys with which an
old copy of the store could still have opened it are destroyed too; then the receipt is signed. keyhold-verify receipt checks it offline, with the public
key of the audit log alone.`

func (a *app) keyReceipt() *cobra.Command {
	return a.receipt("receipt KEY [flags]", "Show how the destruction of a key stands, and get its signed receipt",
		"  keyhold key receipt orders\n  keyhold key receipt orders --out orders.receipt", first(a.completeKeys), (*client.Client).ReadReceipt)
}

func (a *app) namespaceReceipt() *cobra.Command {
	return a.receipt("receipt NAME [flags]", "Show how the destruction of a namespace stands, and get its signed receipt",
		"  keyhold namespace receipt payroll --out payroll.receipt", first(a.completeNamespaces), (*client.Client).ReadNamespaceReceipt)
}

func (a *app) receipt(use, short, example string, complete completer, read func(*client.Client, context.Context, string, ...client.Option) (client.Receipt, error)) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: short + ".\n\n" + receiptHelp, Example: example, Args: cobra.ExactArgs(1), ValidArgsFunction: complete,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := read(c, ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if out != "" {
				if len(r.Note) == 0 {
					return unfinished(r.Destruction)
				}
				if err := writeFile(out, r.Note, 0o644); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "verifier key (compare it with the one you pinned): %s\n", printable(r.VerifierKey))
			}
			if a.json() {
				return a.writeJSON(r)
			}
			return a.showDestruction(r.Destruction)
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write the signed receipt to")
	return cmd
}

// unfinished says why there is no receipt yet.
func unfinished(d client.Destruction) error {
	if d.State == "scheduled" {
		return refusal(kms.CodeWindow, "wait until then; keyhold key cancel-destroy, or keyhold namespace cancel-destroy, still saves it", "there is no receipt yet: it will be destroyed at %s", moment(d.DestroyAt))
	}
	return refusal(kms.CodeConflict, "ask again in a minute; keyhold jobs shows how far the epoch is", "there is no receipt yet: it was erased at %s, and epoch keys up to %d are not all destroyed", moment(d.ErasedAt), d.LastEpoch)
}

func (a *app) showDestruction(d client.Destruction) error {
	what := "namespace " + d.Namespace
	if d.KeyID != "" {
		what = fmt.Sprintf("key %s (%s) of namespace %s", d.Name, d.KeyID, d.Namespace)
	}
	number := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	return a.facts(fact{"destruction of", plain(what)}, fact{"state", state(d.State)}, fact{"requested", plain(moment(d.RequestedAt))},
		fact{"requested by", plain(d.RequestedBy)}, fact{"approved by", plain(strings.Join(d.ApprovedBy, ", "))}, fact{"reason", plain(d.Reason)},
		fact{"to be destroyed", plain(moment(d.DestroyAt))}, fact{"erased", cell{moment(d.ErasedAt), red}},
		fact{"irrecoverable", cell{moment(d.IrrecoverableAt), red}}, fact{"last epoch", plain(number(uint64(d.LastEpoch)))},
		fact{"keys", plain(number(d.Keys))}, fact{"data keys", plain(number(d.DataKeys))}, fact{"principals", plain(number(d.Principals))})
}

// namespaceDestruction is the JSON of a namespace that will be destroyed.
type namespaceDestruction struct {
	client.NamespaceDestruction
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) namespaceDestroy() *cobra.Command {
	var ch change
	var window days
	var yes bool
	cmd := &cobra.Command{
		Use: "destroy NAME [flags]", Short: "Start the waiting time after which a namespace is destroyed with all its keys",
		Long: `Start the waiting time after which a namespace is destroyed with all its keys. Nothing works in it from now on but looking; until the window
ends, keyhold namespace cancel-destroy saves it. What its keys encrypted can never be read again after that. With --dry-run it shows what would be
reached, and does nothing.

It asks first on a terminal; without a terminal it needs --yes. The namespace of operators, and the last other one, cannot be destroyed.`,
		Example: "  keyhold namespace destroy payroll --dry-run\n  keyhold namespace destroy payroll --window 30d --reason 'contract ended' --yes",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: first(a.completeNamespaces),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Destroy the namespace %q with all its keys after its waiting time? What they encrypted will be lost.", args[0])); err != nil {
				return err
			}
			v, err := c.ScheduleNamespaceDestruction(ctx, args[0], time.Duration(window), a.with(ch)...)
			if err != nil {
				return err
			}
			more := ""
			if v.More {
				more = "at least "
			}
			return a.say(ch, namespaceDestruction{v, ch.dryRun}, "nothing works in namespace %s from now on, and it will be destroyed at %s with %s%d keys, %d data keys and %d credentials; until then keyhold namespace cancel-destroy %s saves it",
				v.Namespace.Name, moment(v.Namespace.DestroyAt), more, v.Keys, v.DataKeys, v.Principals, v.Namespace.Name)
		}),
	}
	cmd.Flags().Var(&window, "window", "waiting time, for example 30d (default: 30d; at least 7d outside development)")
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}

func (a *app) namespaceCancelDestroy() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "cancel-destroy NAME [flags]", Short: "Save a namespace whose destruction is pending",
		Long:    "Save a namespace whose destruction is pending: everything is as it was before. This works until the last second of the window.",
		Example: "  keyhold namespace cancel-destroy payroll",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: first(a.completeNamespaces),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			v, err := c.CancelNamespaceDestruction(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, namespaceChange{v, ch.dryRun}, "saved namespace %s: it works as before", v.Name)
		}),
	}
	ch.flags(cmd)
	return cmd
}
