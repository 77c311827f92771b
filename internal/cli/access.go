package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

func checkRoles(given []string) error {
	for _, r := range given {
		if err := oneOf("a role", r, roles()); err != nil {
			return err
		}
	}
	return nil
}

// say writes one line about a change, or its JSON.
func (a *app) say(ch change, described any, format string, args ...any) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(described)
	}
	said := fmt.Sprintf(format, args...)
	if ch.dryRun {
		said = "would be: " + said
	}
	_, err := fmt.Fprintln(a.out, printable(said))
	return err
}

// standing is how a token or binding stands.
func standing(expires, revoked time.Time) cell {
	switch {
	case !revoked.IsZero():
		return state("revoked")
	case !expires.IsZero() && time.Now().After(expires):
		return state("expired")
	}
	return state("active")
}

func (a *app) tokenCommand() *cobra.Command {
	return group(groupAccess, "token", "Make and revoke bearer tokens",
		"Make, list and revoke bearer tokens. A token acts as a principal of the namespace, with the roles and groups it was made with.",
		a.tokenCreate(), a.tokenList(), a.tokenShow(), a.tokenRevoke())
}

// newToken is the JSON of a token that was made. Secret is left out when it went to a file.
type newToken struct {
	Secret string       `json:"secret,omitempty"`
	Out    string       `json:"out,omitempty"`
	Token  client.Token `json:"token"`
	DryRun bool         `json:"dry_run,omitempty"`
}

// giveToken hands over a new token, once: to a file, or to standard output.
func (a *app) giveToken(t client.NewToken, out string, ch change) error {
	a.planned(ch)
	n := newToken{Secret: t.Secret, Token: t.Token, DryRun: ch.dryRun}
	if out != "" && !ch.dryRun {
		if err := writeOnce(out, []byte(t.Secret+"\n")); err != nil {
			return refusal(kms.CodeCancelled, "end the token, which nobody has: keyhold token revoke "+t.Token.ID, "the token was made, but it could not be written: %v", err)
		}
		n.Secret, n.Out = "", out
	}
	if a.json() {
		return a.writeJSON(n)
	}
	fmt.Fprintf(a.stderr, "token %s of %s, roles: %s, until %s\n", printable(t.Token.ID), printable(t.Token.Principal), or(printable(strings.Join(t.Token.Roles, ", ")), "none"), moment(t.Token.ExpiresAt))
	if ch.dryRun {
		return nil
	}
	if out != "" {
		fmt.Fprintf(a.stderr, "it is in %s; use it with --token-file or KEYHOLD_TOKEN_FILE\n", printable(out))
		return nil
	}
	fmt.Fprintln(a.stderr, "it is shown this once:")
	_, err := fmt.Fprintln(a.out, t.Secret)
	return err
}

// freshFile refuses, before anything is made, a file that could not take it.
func freshFile(path string) error {
	if path == "" {
		return nil
	}
	if err := writeOnce(path, nil); err != nil {
		return err
	}
	return removeFile(path)
}

func (a *app) tokenCreate() *cobra.Command {
	var ch change
	var in client.CreateTokenInput
	var ttl days
	var out string
	cmd := &cobra.Command{
		Use: "create PRINCIPAL [flags]", Short: "Make a token; it is shown this once",
		Long: `Make a bearer token for a principal of the namespace. The token alone goes to standard output, this once, or to the file of --out (mode
0600); all else goes to standard error.`,
		Example: "  keyhold token create svc/orders --role user --ttl 12h --out orders.token\n" +
			"  keyhold token create svc/reports --role user --scope Decrypt --scope WhoAmI",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := checkRoles(in.Roles); err != nil {
				return err
			}
			for _, s := range in.Scope {
				if err := oneOf("an action", s, actionNames()); err != nil {
					return err
				}
			}
			if err := freshFile(out); err != nil {
				return err
			}
			in.Principal, in.TTL = args[0], time.Duration(ttl)
			t, err := c.CreateToken(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.giveToken(t, out, ch)
		}),
		ValidArgsFunction: fixed(),
	}
	roleFlags(cmd, &in.Roles, &in.Groups, "of the principal")
	words(cmd, &in.Scope, "scope", "action that it may ask for, and no other than those named; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("scope", fixed(actionNames()...)))
	cmd.Flags().Var(&ttl, "ttl", "life of the token, for example 12h or 30d (default: 24h; at most a year)")
	cmd.Flags().StringVar(&out, "out", "", "new file for the token (mode 0600)")
	ch.flags(cmd)
	return cmd
}

func (a *app) tokenList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the tokens of the namespace",
		Long:    "List the tokens of the namespace. The tokens themselves are never shown again.",
		Example: "  keyhold token list",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "tokens", limit, c.ListTokens(ctx, a.options()...), []string{"ID", "PRINCIPAL", "ROLES", "STATE", "CREATED", "EXPIRES", "BY", "USES LEFT", "MADE AT"}, func(t client.Token) []cell {
				return []cell{plain(t.ID), plain(t.Principal), plain(strings.Join(t.Roles, ", ")), tokenStanding(&t), plain(moment(t.CreatedAt)), plain(moment(t.ExpiresAt)), plain(t.CreatedBy),
					plain(usesLeft(&t)), plain(t.Path)}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

// tokenStanding is the state of a token, which may be used up besides.
func tokenStanding(t *client.Token) cell {
	if t.RevokedAt.IsZero() && t.Uses > 0 && t.UsesLeft == 0 {
		return state("used up")
	}
	return standing(t.ExpiresAt, t.RevokedAt)
}

func usesLeft(t *client.Token) string {
	if t.Uses == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", t.UsesLeft, t.Uses)
}

// lifeOf is a length of time that may be none.
func lifeOf(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return spell(time.Duration(seconds) * time.Second)
}

func (a *app) tokenShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a token: until when, from where and how often it is good, and what made it",
		Long: `Show what the server knows of a token, by its public id: who it stands for, until when, from where and how often it is good, and what made it. The
token itself is never shown again. One that is used up, or ended with another one, is not there.`,
		Example: "  keyhold token show $TOKEN_ID",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.GetToken(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(t)
			}
			return a.facts(fact{"id", plain(t.ID)}, fact{"principal", plain(t.Principal)}, fact{"namespace", plain(t.Namespace)}, fact{"roles", plain(strings.Join(t.Roles, ", "))},
				fact{"groups", plain(strings.Join(t.Groups, ", "))}, fact{"scope", plain(strings.Join(t.Scope, ", "))}, fact{"state", tokenStanding(&t)},
				fact{"created", plain(moment(t.CreatedAt))}, fact{"by", plain(t.CreatedBy)}, fact{"expires", plain(moment(t.ExpiresAt))}, fact{"renewable", plain(map[bool]string{true: "yes"}[t.Renewable])},
				fact{"renewed", plain(moment(t.RenewedAt))}, fact{"lives", plain(lifeOf(t.TTLSeconds))}, fact{"period", plain(lifeOf(t.PeriodSeconds))}, fact{"uses left", plain(usesLeft(&t))},
				fact{"used from", plain(strings.Join(t.Bound, ", "))}, fact{"made at", plain(t.Path)}, fact{"role", plain(t.Role)}, fact{"metadata", plain(labelsOf(t.Metadata))},
				fact{"comes from", plain(strings.Join(t.ComesFrom, ", "))})
		}),
		ValidArgsFunction: fixed(),
	}
}

// tokenChange is the JSON of a token after a change.
type tokenChange struct {
	client.Token
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) tokenRevoke() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke ID [flags]", Short: "End a token at once",
		Long:    "End a token at once: also what it is asking for at this moment is withheld. It asks first on a terminal; without one it needs --yes.",
		Example: "  keyhold token revoke $TOKEN_ID --yes --reason 'laptop lost'",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("End the token %s at once?", args[0])); err != nil {
				return err
			}
			t, err := c.RevokeToken(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, tokenChange{t, ch.dryRun}, "revoked token %s of %s", t.ID, t.Principal)
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}

func (a *app) credentialCommand() *cobra.Command {
	return group(groupAccess, "credential", "Bind client certificates to principals, make access keys",
		`Bind the identity of a TLS client certificate to a principal: its SPIFFE id (spiffe://…) where the server verifies certificates, or the
fingerprint of the certificate (sha256:…). Make access keys, with which clients of the AWS dialect sign, and roles that they can
assume for a while.`,
		a.credentialCreate(), a.credentialList(), a.credentialRevoke(), a.accessKeyCommand(), a.roleCommand())
}

// credentialChange is the JSON of a binding after a change.
type credentialChange struct {
	client.Credential
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) credentialCreate() *cobra.Command {
	var ch change
	var in client.CreateCredentialInput
	cmd := &cobra.Command{
		Use: "create SUBJECT --principal NAME [flags]", Short: "Bind a certificate's identity to a principal",
		Long:    "Bind the certificate identity SUBJECT (spiffe://… or sha256:…) to a principal of the namespace.",
		Example: "  keyhold credential create spiffe://example.org/orders --principal svc/orders --role user",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if in.Principal == "" {
				return usagef("--principal NAME names it", "a binding needs a principal")
			}
			if err := checkRoles(in.Roles); err != nil {
				return err
			}
			in.Subject = args[0]
			v, err := c.CreateCredential(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, credentialChange{v, ch.dryRun}, "bound %s to %s", v.Subject, v.Principal)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&in.Principal, "principal", "", "name of the principal")
	roleFlags(cmd, &in.Roles, &in.Groups, "of the principal")
	ch.flags(cmd)
	return cmd
}

func (a *app) credentialList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the certificate bindings of the namespace",
		Long:    "List the certificate bindings of the namespace.",
		Example: "  keyhold credential list",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "credentials", limit, c.ListCredentials(ctx, a.options()...), []string{"SUBJECT", "PRINCIPAL", "ROLES", "STATE", "CREATED", "BY"}, func(v client.Credential) []cell {
				return []cell{plain(v.Subject), plain(v.Principal), plain(strings.Join(v.Roles, ", ")), standing(time.Time{}, v.RevokedAt), plain(moment(v.CreatedAt)), plain(v.CreatedBy)}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) credentialRevoke() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke SUBJECT [flags]", Short: "End a certificate binding at once",
		Long:    "End a certificate binding at once. It asks first on a terminal; without one it needs --yes.",
		Example: "  keyhold credential revoke spiffe://example.org/orders --yes",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("End the binding of %s at once?", args[0])); err != nil {
				return err
			}
			v, err := c.RevokeCredential(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, credentialChange{v, ch.dryRun}, "revoked the binding of %s", v.Subject)
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}

func (a *app) namespaceCommand() *cobra.Command {
	return group(groupAccess, "namespace", "Make, change and end namespaces",
		"Make, list, change and end namespaces. A namespace is a tenant: its keys, policies, tokens and records are apart from all others.",
		a.namespaceCreate(), a.namespaceList(), a.namespaceShow(), a.namespaceUpdate(),
		a.namespaceDestroy(), a.namespaceCancelDestroy(), a.namespaceReceipt())
}

// namespaceChange is the JSON of a namespace after a change.
type namespaceChange struct {
	client.NamespaceInfo
	DryRun bool `json:"dry_run,omitempty"`
}

// namespaceInput are the flags of what can be set of a namespace.
type namespaceInput struct {
	description string
	duties      bool
	approvals   pairs
	required    []string
}

func (n *namespaceInput) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&n.description, "description", "", "free text, at most 1,024 bytes")
	cmd.Flags().BoolVar(&n.duties, "separation-of-duties", true, "who manages a key may not use it")
	n.approvals.flag(cmd, "approvals", "of how many others an action needs the approval, for example ScheduleKeyDestruction=2; 0 ends the rule; can be repeated")
	words(cmd, &n.required, "require", "metadata that every new key must carry: description, class, template, or the name of a label such as owner; can be repeated; empty: none")
}

func (n *namespaceInput) of(cmd *cobra.Command, name string) (client.NamespaceInput, error) {
	in := client.NamespaceInput{Name: name}
	for _, action := range slices.Sorted(maps.Keys(n.approvals)) {
		approvers, err := strconv.ParseUint(n.approvals[action], 10, 8)
		if err != nil {
			return in, usagef("for example --approvals ScheduleKeyDestruction=2", "%q is not a number of approvers", n.approvals[action])
		}
		if err := oneOf("an action", action, actionNames()); err != nil {
			return in, err
		}
		in.Approvals = append(in.Approvals, client.ApprovalRule{Action: action, Approvers: uint32(approvers)})
	}
	if cmd.Flags().Changed("description") {
		in.Description = &n.description
	}
	if cmd.Flags().Changed("separation-of-duties") {
		in.SeparationOfDuties = &n.duties
	}
	if cmd.Flags().Changed("require") {
		names := slices.DeleteFunc(n.required, func(s string) bool { return s == "" })
		in.Required = &names
	}
	return in, nil
}

func (a *app) namespaceCreate() *cobra.Command {
	var ch change
	var n namespaceInput
	cmd := &cobra.Command{
		Use: "create NAME [flags]", Short: "Make a namespace",
		Long:    "Make a namespace. Separation of duties is on unless it is switched off: who manages a key may not use it.",
		Example: "  keyhold namespace create payroll --description 'salaries'",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: fixed(),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		in, err := n.of(cmd, args[0])
		if err != nil {
			return err
		}
		v, err := c.CreateNamespace(ctx, in, a.with(ch)...)
		if err != nil {
			return err
		}
		return a.say(ch, namespaceChange{v, ch.dryRun}, "created namespace %s, separation of duties %s", v.Name, onOff(v.SeparationOfDuties))
	})
	n.flags(cmd)
	ch.flags(cmd)
	return cmd
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func (a *app) namespaceList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the namespaces",
		Long:    "List the namespaces: an operator sees all, others their own.",
		Example: "  keyhold namespace list",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "namespaces", limit, c.ListNamespaces(ctx, a.options()...), []string{"NAME", "DUTIES APART", "CREATED", "DESCRIPTION"}, func(n client.NamespaceInfo) []cell {
				return []cell{plain(n.Name), plain(onOff(n.SeparationOfDuties)), plain(moment(n.CreatedAt)), plain(n.Description)}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) namespaceShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a namespace",
		Long:    "Show a namespace.",
		Example: "  keyhold namespace show default",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := c.DescribeNamespace(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(n)
			}
			return a.facts(fact{"name", plain(n.Name)}, fact{"description", plain(n.Description)}, fact{"separation of duties", plain(onOff(n.SeparationOfDuties))},
				fact{"approvals", plain(rulesText(n.Approvals))}, fact{"required of keys", plain(strings.Join(n.Required, ", "))},
				fact{"created", plain(moment(n.CreatedAt))}, fact{"to be destroyed", cell{moment(n.DestroyAt), red}},
				fact{"destroyed", cell{moment(n.DestroyedAt), red}}, fact{"irrecoverable since", cell{moment(n.IrrecoverableAt), red}}, fact{"revision", plain(strconv.FormatUint(n.Revision, 10))})
		}),
		ValidArgsFunction: first(a.completeNamespaces),
	}
}

func (a *app) namespaceUpdate() *cobra.Command {
	var ch change
	var n namespaceInput
	cmd := &cobra.Command{
		Use: "update NAME [flags]", Short: "Change a namespace",
		Long:    "Change a namespace. What is not named stays as it is.",
		Example: "  keyhold namespace update payroll --description 'salaries and pensions'\n  keyhold namespace update payroll --require owner --require purpose",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: first(a.completeNamespaces),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		in, err := n.of(cmd, args[0])
		if err != nil {
			return err
		}
		if in.Description == nil && in.SeparationOfDuties == nil && in.Approvals == nil && in.Required == nil {
			return usagef(helpOf(cmd), "nothing to change was named")
		}
		v, err := c.UpdateNamespace(ctx, in, a.with(ch)...)
		if err != nil {
			return err
		}
		return a.say(ch, namespaceChange{v, ch.dryRun}, "updated namespace %s, separation of duties %s", v.Name, onOff(v.SeparationOfDuties))
	})
	n.flags(cmd)
	ch.flags(cmd)
	return cmd
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Say who the server takes you for", GroupID: groupAccess,
		Long:    "Say who the server takes you for, with which roles, and until when.",
		Example: "  keyhold whoami",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			i, err := c.WhoAmI(ctx, a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(i)
			}
			return a.facts(fact{"principal", plain(i.Principal)}, fact{"home", plain(i.Home)}, fact{"namespace", plain(i.Namespace)}, fact{"roles", plain(strings.Join(i.Roles, ", "))},
				fact{"groups", plain(strings.Join(i.Groups, ", "))}, fact{"method", plain(i.Method)}, fact{"credential", plain(i.Credential)},
				fact{"scope", plain(strings.Join(i.Scope, ", "))}, fact{"expires", plain(moment(i.ExpiresAt))})
		}),
		ValidArgsFunction: fixed(),
	}
}
