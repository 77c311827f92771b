package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) policyCommand() *cobra.Command {
	return group(groupAccess, "policy", "Say who may do what, and ask why",
		`Manage the Cedar policies of a namespace, and ask what they decide. docs/policy.md describes the language and its vocabulary.`,
		a.policyPut(), a.policyGet(), a.policyList(), a.policyDelete(), a.policyCheck(), a.policyCanI(), a.policyExplain())
}

// policyChange is the JSON of a policy after a change.
type policyChange struct {
	client.Policy
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) policyChanged(p client.Policy, ch change, said string) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(policyChange{p, ch.dryRun})
	}
	if ch.dryRun {
		said = "would be: " + said
	}
	_, err := fmt.Fprintln(a.out, printable(said))
	return err
}

func (a *app) policyPut() *cobra.Command {
	var ch change
	var other foreignPolicy
	cmd := &cobra.Command{
		Use: "put ID [FILE] [flags]", Short: "Store a policy, new or in place of another",
		Long: `Store the policy in FILE, or standard input, under ID, after the same checks as keyhold policy check. It takes effect at once. An identity policy of AWS
(--language aws-iam) speaks about the principals and groups that are named with it, an ACL policy of Vault (--language vault-acl) about tokens that name it.`,
		Example: "  keyhold policy put orders-app orders-app.cedar --reason 'orders goes live'\n  keyhold policy put batch policy.json --language aws-iam --principal svc/batch",
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			text, _, err := a.read(args[1:], maxTextFile)
			if err != nil {
				return err
			}
			put, err := other.choose(c.PutPolicy, c.PutAWSPolicy, c.PutVaultPolicy)
			if err != nil {
				return err
			}
			p, err := put(ctx, args[0], string(text), a.with(ch)...)
			if err != nil {
				return err
			}
			return a.policyChanged(p, ch, fmt.Sprintf("stored policy %s: revision %d", p.ID, p.Revision))
		}),
		ValidArgsFunction: a.policyThenFile,
	}
	other.flags(cmd)
	ch.flags(cmd)
	return cmd
}

// foreignPolicy are the flags that say in which language a policy is.
type foreignPolicy struct {
	language string
	to       client.AttachedTo
}

func (p *foreignPolicy) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.language, "language", "cedar", "cedar, aws-iam for an identity policy of AWS, or vault-acl for an ACL policy of Vault or OpenBao")
	must(cmd.RegisterFlagCompletionFunc("language", fixed("cedar", "aws-iam", "vault-acl")))
	words(cmd, &p.to.Principals, "principal", "with aws-iam or vault-acl: principal that it speaks about; can be repeated")
	words(cmd, &p.to.Groups, "group", "with aws-iam or vault-acl: group that it speaks about; can be repeated. Of vault-acl without either: the group of the policy's own name")
}

// plainPut and attachedPut are what the client has for policies that say whom they speak about, and for those that do not.
type (
	plainPut    = func(ctx context.Context, id, text string, options ...client.Option) (client.Policy, error)
	attachedPut = func(ctx context.Context, id, text string, to client.AttachedTo, options ...client.Option) (client.Policy, error)
)

// choose is the one of the three for the policy's language.
func (p *foreignPolicy) choose(cedar plainPut, aws, vault attachedPut) (plainPut, error) {
	if err := oneOf("a language of policies", p.language, []string{"cedar", "aws-iam", "vault-acl"}); err != nil {
		return nil, err
	}
	attached := aws
	switch {
	case p.language == "vault-acl":
		attached = vault
	case p.language == "cedar" && len(p.to.Principals)+len(p.to.Groups) > 0:
		return nil, usagef("a Cedar policy says itself whom it speaks about", "--principal and --group are for --language aws-iam and vault-acl")
	case p.language == "cedar":
		return cedar, nil
	}
	return func(ctx context.Context, id, text string, options ...client.Option) (client.Policy, error) {
		return attached(ctx, id, text, p.to, options...)
	}, nil
}

func (a *app) policyThenFile(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completePolicies(cmd, args, part)
	}
	return files(cmd, args, part)
}

func (a *app) policyGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Print a policy's text",
		Long:    "Print the text of a policy; -o json tells who changed it last, and when.",
		Example: "  keyhold policy get orders-app",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.GetPolicy(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(p)
			}
			text := p.Text
			if isTerminal(a.stdout) {
				text = lines(text)
			}
			if !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			_, err = fmt.Fprint(a.out, text)
			return err
		}),
		ValidArgsFunction: first(a.completePolicies),
	}
}

// lines makes a text of several lines harmless for a terminal.
func lines(s string) string {
	all := strings.Split(s, "\n")
	for i := range all {
		all[i] = printable(strings.ReplaceAll(all[i], "\t", "    "))
	}
	return strings.Join(all, "\n")
}

func (a *app) policyList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the policies of the namespace",
		Long:    "List the policies of the namespace.",
		Example: "  keyhold policy list\n  keyhold policy list -o json",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "policies", limit, c.ListPolicies(ctx, a.options()...), []string{"ID", "CHANGED", "BY", "REVISION"}, func(p client.Policy) []cell {
				return []cell{plain(p.ID), plain(moment(p.ChangedAt)), plain(p.ChangedBy), plain(strconv.FormatUint(p.Revision, 10))}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) policyDelete() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "delete ID [flags]", Short: "Remove a policy",
		Long:    "Remove a policy. What it permitted is no longer permitted, and what it forbade no longer forbidden, at once.",
		Example: "  keyhold policy delete orders-app --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.DeletePolicy(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.policyChanged(p, ch, "deleted policy "+args[0])
		}),
		ValidArgsFunction: first(a.completePolicies),
	}
	ch.flags(cmd)
	return cmd
}

// policyChecked is the JSON of a policy that passed its check.
type policyChecked struct {
	Valid bool   `json:"valid"`
	ID    string `json:"id"`
}

func (a *app) policyCheck() *cobra.Command {
	var id string
	var other foreignPolicy
	cmd := &cobra.Command{
		Use: "check [FILE] [flags]", Short: "Check a policy without storing it",
		Long:    "Check the policy in FILE, or standard input, as strictly as put does, and store nothing. All findings come at once, each with its line.",
		Example: "  keyhold policy check orders-app.cedar",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			text, name, err := a.read(args, maxTextFile)
			if err != nil {
				return err
			}
			if id == "" {
				id = "check"
			}
			check, err := other.choose(c.CheckPolicy, c.CheckAWSPolicy, c.CheckVaultPolicy)
			if err != nil {
				return err
			}
			if _, err := check(ctx, id, string(text), a.options()...); err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(policyChecked{true, id})
			}
			_, err = fmt.Fprintf(a.out, "ok: %s can be stored\n", printable(filepath.Base(name)))
			return err
		}),
		ValidArgsFunction: first(files),
	}
	other.flags(cmd)
	cmd.Flags().StringVar(&id, "id", "", "id that the policy would have")
	return cmd
}

func (a *app) policyCanI() *cobra.Command {
	var in client.CanIInput
	var pairs pairs
	cmd := &cobra.Command{
		Use: "can-i ACTION [KEY] [flags]", Short: "Ask whether something would be allowed, and why",
		Long: `Ask whether you, or with --as somebody else, may do something, and why. Nothing is done. Status 0 is yes, 1 is no. The
answer comes from the same code that decides about requests. Asking about others needs the permission TestPolicy.`,
		Example: "  keyhold policy can-i Encrypt orders\n" +
			"  keyhold policy can-i Decrypt orders --as svc/orders --role user --context order=17\n" +
			"  keyhold policy can-i ReadSecret secret/kes/master --as svc/kes",
		Args: cobra.RangeArgs(1, 2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := oneOf("an action", args[0], actionNames()); err != nil {
				return err
			}
			for _, r := range in.Roles {
				if err := oneOf("a role", r, roles()); err != nil {
					return err
				}
			}
			if in.Principal == "" && len(in.Roles)+len(in.Groups) > 0 {
				return usagef("add --as NAME", "--role and --group are about another principal")
			}
			in.Action, in.Context = args[0], client.Context(pairs)
			if len(args) > 1 {
				in.Key = args[1]
			}
			e, err := c.CanI(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			if err := a.explained(e); err != nil {
				return err
			}
			return answered(e.Allowed)
		}),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return actionNames(), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return a.completeKeys(cmd, args, part)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().StringVar(&in.Principal, "as", "", "name of another principal")
	roleFlags(cmd, &in.Roles, &in.Groups, "it would carry")
	pairs.flag(cmd, "context", "encryption context of the request; can be repeated")
	return cmd
}

// roleFlags are the roles and groups of a principal.
func roleFlags(cmd *cobra.Command, r, groups *[]string, whose string) {
	words(cmd, r, "role", "built-in role "+whose+": "+strings.Join(roles(), ", ")+"; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("role", fixed(roles()...)))
	words(cmd, groups, "group", "group "+whose+", for policies; can be repeated")
}

func (a *app) policyExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain DECISION", Short: "Say why a past request was decided as it was",
		Long: `Say why a past request was decided as it was, and what would be needed for another decision. The id comes with every denial, and is the
position of its audit record. The policies are looked at as they are now.`,
		Example: "  keyhold policy explain $DECISION",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := c.Explain(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			return a.explained(e)
		}),
		ValidArgsFunction: fixed(),
	}
	return cmd
}

func (a *app) explained(e client.Explanation) error {
	if a.json() {
		return a.writeJSON(e)
	}
	var all []fact
	if r := e.Record; r != nil {
		all = append(all, fact{"decision", plain(r.Position)}, fact{"time", plain(moment(r.Time))}, fact{"principal", plain(r.Principal)},
			fact{"action", plain(r.Action)}, fact{"on", plain(subject(*r))}, fact{"outcome then", state(r.Outcome)})
	}
	verdict := state("yes")
	if !e.Allowed {
		verdict = state("no")
		verdict.text = strings.TrimSpace("no " + e.Code)
	}
	all = append(all, fact{"allowed", verdict}, fact{"decided by", plain(strings.Join(e.Policies, ", "))})
	for _, part := range []struct {
		name    string
		reasons []client.PolicyReason
	}{{"permitted by", e.Permits}, {"forbidden by", e.Forbids}, {"could not evaluate", e.Failed}, {"conditions not met", e.Unmet}, {"manages the key by", e.Manages}} {
		for _, r := range part.reasons {
			where := r.Policy
			if r.Line > 0 {
				where += " line " + strconv.Itoa(r.Line)
			}
			all = append(all, fact{part.name, plain(where + "\n" + strings.ReplaceAll(strings.TrimSpace(r.Text), "\t", "    "))})
		}
	}
	all = append(all, fact{"needed", plain(strings.Join(e.Needs, "\n"))})
	return a.facts(all...)
}
