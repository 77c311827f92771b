package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// approvalStates are the states in the order of a request's life.
var approvalStates = []string{"pending", "approved", "refused", "withdrawn", "expired", "used"}

// askedFor is the JSON of a request for approval that was just made.
type askedFor struct {
	Approval string `json:"approval"`
	What     string `json:"what"`
	Next     string `json:"next"`
}

// asked turns the refusal by which the server answers a request for approval into what was wanted: its id.
func (a *app) asked(err error) error {
	var e *client.Error
	if !errors.As(err, &e) || e.Approval == "" {
		return err
	}
	if a.json() {
		return a.writeJSON(askedFor{e.Approval, e.What, e.Next})
	}
	fmt.Fprintf(a.stderr, "asked for approval: %s\nnext: %s\n", printable(e.What), printable(e.Next))
	_, err = fmt.Fprintln(a.out, printable(e.Approval))
	return err
}

func rulesText(rules []client.ApprovalRule) string {
	said := make([]string, len(rules))
	for i, r := range rules {
		said[i] = fmt.Sprintf("%s=%d", r.Action, r.Approvers)
	}
	return strings.Join(said, ", ")
}

func (a *app) approvalCommand() *cobra.Command {
	return group(groupAccess, "approval", "Approve or refuse what others ask for",
		`Approve or refuse what others ask for: dual control. A change that needs approvals is asked for with --request-approval, which prints an id; others
look at the request and approve it; then who asked repeats exactly the same command with --approval ID.

Which changes need approvals is a namespace's own to say: keyhold namespace update NAME --approvals ScheduleKeyDestruction=2.`,
		a.approvalList(), a.approvalShow(), a.approvalApprove(), a.approvalRefuse(), a.approvalWithdraw())
}

func (a *app) approvalList() *cobra.Command {
	var limit int
	var only string
	var all bool
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the requests for approval of the namespace",
		Long:    "List the requests for approval of the namespace, oldest first: those that wait for approvers, unless --state or --all says otherwise.",
		Example: "  keyhold approval list\n  keyhold approval list --all",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := oneOf("a state", only, approvalStates); err != nil {
				return err
			}
			want := only
			if all {
				want = ""
			}
			return listing(a, "approvals", limit, c.ListApprovals(ctx, want, a.options()...), []string{"ID", "STATE", "ACTION", "ON", "BY", "APPROVERS", "EXPIRES"}, func(v client.Approval) []cell {
				return []cell{plain(v.ID), state(v.State), plain(v.Action), plain(v.Resource), plain(v.Requester), plain(approvers(v)), plain(moment(v.ExpiresAt))}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&only, "state", "pending", "only those in this state: "+strings.Join(approvalStates, ", "))
	cmd.Flags().BoolVar(&all, "all", false, "in every state")
	cmd.MarkFlagsMutuallyExclusive("state", "all")
	must(cmd.RegisterFlagCompletionFunc("state", fixed(approvalStates...)))
	limitFlag(cmd, &limit, 0)
	return cmd
}

// approvers is how many have approved, of how many that are needed.
func approvers(v client.Approval) string {
	n := 0
	for _, vote := range v.Votes {
		if vote.Approves {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, v.Needed)
}

// showApproval shows a request whole: what is shown is what is approved.
func (a *app) showApproval(v client.Approval) error {
	all := []fact{
		{"id", plain(v.ID)}, {"state", state(v.State)}, {"asks", plain(v.Requester + " of " + v.RequesterHome)}, {"to", plain(v.Action)}, {"on", plain(v.Resource)},
		{"in namespace", plain(v.Namespace)},
	}
	for _, t := range v.Terms {
		all = append(all, fact{"  " + printable(t.Name), plain(t.Value)})
	}
	all = append(all, fact{"effect", plain(v.Effect)}, fact{"needs approval", plain(v.Why)}, fact{"reason", plain(v.Reason)}, fact{"approvers", plain(approvers(v))})
	for _, vote := range v.Votes {
		said := "approved"
		if !vote.Approves {
			said = "refused"
		}
		text := fmt.Sprintf("%s of %s, by %s, at %s", vote.Principal, vote.Home, vote.Method, moment(vote.At))
		if vote.Reason != "" {
			text += ": " + vote.Reason
		}
		all = append(all, fact{"  " + said, plain(text)})
	}
	all = append(all, fact{"asked", plain(moment(v.CreatedAt))}, fact{"expires", plain(moment(v.ExpiresAt))}, fact{"ended", plain(moment(v.EndedAt))}, fact{"digest", plain(hex.EncodeToString(v.Digest))})
	return a.facts(all...)
}

func (a *app) approvalShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a request: what is asked for, and who has approved it",
		Long:    "Show a request for approval whole: everything that is asked for, why, by whom, and who has approved it.",
		Example: "  keyhold approval show $APPROVAL",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			v, err := c.DescribeApproval(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(v)
			}
			return a.showApproval(v)
		}),
		ValidArgsFunction: first(a.completeApprovals),
	}
}

// approvalChange is the JSON of a request for approval after a change.
type approvalChange struct {
	client.Approval
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) approvalApprove() *cobra.Command {
	var ch change
	var yes bool
	var digest string
	cmd := &cobra.Command{
		Use: "approve ID [flags]", Short: "Approve what somebody else asked for",
		Long: `Approve what somebody else asked for. On a terminal it shows the request and asks first; without one it needs --yes. What is approved is what was
shown: the server compares the digest. --digest names the digest that was seen elsewhere, with keyhold approval show.`,
		Example: "  keyhold approval approve $APPROVAL --yes --reason 'ticket 4711'",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			seen, err := hex.DecodeString(digest)
			if err != nil {
				return usagef("it has 64 hexadecimal digits", "--digest is not one: %v", err)
			}
			if len(seen) == 0 {
				v, err := c.DescribeApproval(ctx, args[0], a.options()...)
				if err != nil {
					return err
				}
				if seen = v.Digest; !yes && !ch.dryRun && isTerminal(a.in) {
					if err := a.showApproval(v); err != nil {
						return err
					}
				}
			}
			if err := a.confirm(yes || ch.dryRun, "Approve the request "+args[0]+"?"); err != nil {
				return err
			}
			v, err := c.Approve(ctx, args[0], seen, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, approvalChange{v, ch.dryRun}, "approved %s of %s by %s: %s approvers, %s", v.Action, v.Resource, v.Requester, approvers(v), v.State)
		}),
		ValidArgsFunction: first(a.completeApprovals),
	}
	cmd.Flags().StringVar(&digest, "digest", "", "digest of the request that was seen: nothing else is approved")
	yesFlag(cmd, &yes)
	ch.plainFlags(cmd)
	return cmd
}

func (a *app) approvalRefuse() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "refuse ID [flags]", Short: "Refuse, for good, what somebody else asked for",
		Long:    "Refuse what somebody else asked for. One refusal ends a request, however many have approved it. It asks first on a terminal; without one it needs --yes.",
		Example: "  keyhold approval refuse $APPROVAL --yes --reason 'still in use'",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, "Refuse the request "+args[0]+" for good?"); err != nil {
				return err
			}
			v, err := c.Refuse(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, approvalChange{v, ch.dryRun}, "refused %s of %s by %s", v.Action, v.Resource, v.Requester)
		}),
		ValidArgsFunction: first(a.completeApprovals),
	}
	yesFlag(cmd, &yes)
	ch.plainFlags(cmd)
	return cmd
}

func (a *app) approvalWithdraw() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "withdraw ID [flags]", Short: "Take back what you asked for",
		Long:    "Take back a request for approval of your own.",
		Example: "  keyhold approval withdraw $APPROVAL",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			v, err := c.WithdrawApproval(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, approvalChange{v, ch.dryRun}, "withdrew %s of %s", v.Action, v.Resource)
		}),
		ValidArgsFunction: first(a.completeApprovals),
	}
	ch.plainFlags(cmd)
	return cmd
}

func (a *app) completeApprovals(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (ids []string) {
		for v, err := range c.ListApprovals(ctx, "") {
			if err != nil || len(ids) == completeMost {
				break
			}
			if strings.HasPrefix(v.ID, part) && (v.State == "pending" || v.State == "approved") {
				ids = append(ids, cobra.CompletionWithDesc(v.ID, v.Action+" "+v.Resource))
			}
		}
		return ids
	})
}
