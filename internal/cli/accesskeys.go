package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

func (a *app) accessKeyCommand() *cobra.Command {
	return group("", "access-key", "Make, rotate and revoke access keys of AWS clients",
		`Make, list, rotate and revoke access keys: pairs of an id and a secret with which clients of the AWS dialect sign their requests. An access key
acts as a principal of the namespace, with the roles and groups it was made with.`,
		a.accessKeyCreate(), a.accessKeyList(), a.accessKeyRotate(), a.accessKeyRevoke())
}

// newAccessKey is the JSON of an access key that was made. Secret is left out when it went to a file.
type newAccessKey struct {
	Secret    string            `json:"secret,omitempty"`
	Out       string            `json:"out,omitempty"`
	AccessKey client.AccessKey  `json:"access_key"`
	Replaced  *client.AccessKey `json:"replaced,omitempty"`
	DryRun    bool              `json:"dry_run,omitempty"`
}

// accessKeyOut says how a new access key is handed over.
type accessKeyOut struct {
	out    string
	env    bool
	region string
}

func (o *accessKeyOut) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.out, "out", "", "new file for the lines (mode 0600)")
	cmd.Flags().BoolVar(&o.env, "env", false, "write every AWS_ line that a client needs: endpoints, region and authority too")
	cmd.Flags().StringVar(&o.region, "region", "us-east-1", "region that --env names")
}

// lines are what a client of AWS reads from its environment.
func (o *accessKeyOut) lines(a *app, k *client.NewAccessKey) string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s=%s\n", name, value) }
	line("AWS_ACCESS_KEY_ID", k.AccessKey.ID)
	line("AWS_SECRET_ACCESS_KEY", k.Secret)
	if !o.env {
		return b.String()
	}
	if at := or(a.flags.addr, a.getenv("KEYHOLD_ADDR"), client.DefaultAddress); !strings.HasPrefix(at, "unix:") {
		line("AWS_ENDPOINT_URL_KMS", at)
		line("AWS_ENDPOINT_URL_STS", at)
	}
	line("AWS_REGION", o.region)
	line("AWS_DEFAULT_REGION", o.region)
	if ca := or(a.flags.caCert, a.getenv("KEYHOLD_CACERT")); ca != "" {
		if full, err := filepath.Abs(ca); err == nil {
			ca = full
		}
		line("AWS_CA_BUNDLE", ca)
		line("NODE_EXTRA_CA_CERTS", ca)
	}
	return b.String()
}

// give hands over a new access key, once: to a file, or to standard output.
func (o *accessKeyOut) give(a *app, k client.NewAccessKey, ch change) error {
	a.planned(ch)
	n := newAccessKey{Secret: k.Secret, AccessKey: k.AccessKey, Replaced: k.Replaced, DryRun: ch.dryRun}
	if ch.dryRun {
		n.Secret = ""
	} else if o.out != "" {
		if err := writeOnce(o.out, []byte(o.lines(a, &k))); err != nil {
			return refusal(kms.CodeCancelled, "end the access key, whose secret nobody has: keyhold credential access-key revoke "+k.AccessKey.ID, "the access key was made, but it could not be written: %v", err)
		}
		n.Secret, n.Out = "", o.out
	}
	if a.json() {
		return a.writeJSON(n)
	}
	until := ""
	if !k.AccessKey.ExpiresAt.IsZero() {
		until = ", until " + moment(k.AccessKey.ExpiresAt)
	}
	fmt.Fprintf(a.stderr, "access key %s of %s, roles: %s%s\n", printable(k.AccessKey.ID), printable(k.AccessKey.Principal), or(printable(strings.Join(k.AccessKey.Roles, ", ")), "none"), until)
	if r := k.Replaced; r != nil && r.RevokedAt.IsZero() {
		fmt.Fprintf(a.stderr, "%s goes on until %s\n", printable(r.ID), moment(r.ExpiresAt))
	} else if r != nil {
		fmt.Fprintf(a.stderr, "%s has ended\n", printable(r.ID))
	}
	switch {
	case ch.dryRun:
		return nil
	case o.out != "":
		fmt.Fprintf(a.stderr, "it is in %s\n", printable(o.out))
		return nil
	}
	fmt.Fprintln(a.stderr, "the secret is shown this once:")
	_, err := fmt.Fprint(a.out, o.lines(a, &k))
	return err
}

// rest is how long something goes on; unlike days it may be nothing.
type rest struct{ d *time.Duration }

func (r *rest) String() string { return "" }

// Type is the form that the help shows.
func (r *rest) Type() string { return "DURATION" }

// Set reads a duration.
func (r *rest) Set(s string) error {
	v, ok := parseDays(s)
	if !ok || v < 0 {
		return fmt.Errorf("%q is not a duration like 30d, 12h, 90m or 0", clip(s))
	}
	r.d = &v
	return nil
}

func (a *app) accessKeyCreate() *cobra.Command {
	var ch change
	var in client.CreateAccessKeyInput
	var ttl days
	var out accessKeyOut
	cmd := &cobra.Command{
		Use: "create PRINCIPAL [flags]", Short: "Make an access key; its secret is shown this once",
		Long: `Make an access key for a principal of the namespace. Its lines (AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=…) go to standard output, this once, or
to the file of --out (mode 0600); all else goes to standard error. A principal has 8 access keys in force at most.`,
		Example: "  keyhold credential access-key create svc/orders --role user --ttl 90d --out orders.env\n" +
			"  keyhold credential access-key create svc/reports --role user --scope Decrypt --env",
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
			if err := freshFile(out.out); err != nil {
				return err
			}
			in.Principal, in.TTL = args[0], time.Duration(ttl)
			k, err := c.CreateAccessKey(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return out.give(a, k, ch)
		}),
		ValidArgsFunction: fixed(),
	}
	roleFlags(cmd, &in.Roles, &in.Groups, "of the principal")
	words(cmd, &in.Scope, "scope", "action that it may ask for, and no other than those named; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("scope", fixed(actionNames()...)))
	cmd.Flags().Var(&ttl, "ttl", "life of the access key, for example 12h or 90d (default: it does not end by itself; at most a year)")
	out.flags(cmd)
	ch.flags(cmd)
	return cmd
}

func (a *app) accessKeyList() *cobra.Command {
	var limit int
	var principal string
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the access keys of the namespace",
		Long:    "List the access keys of the namespace. Their secrets are never shown again.",
		Example: "  keyhold credential access-key list\n  keyhold credential access-key list --principal svc/orders -o json",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			heads := []string{"ID", "PRINCIPAL", "ROLES", "STATE", "CREATED", "EXPIRES", "BY"}
			return listing(a, "access_keys", limit, c.ListAccessKeys(ctx, principal, a.options()...), heads, func(k client.AccessKey) []cell {
				expires := "never"
				if !k.ExpiresAt.IsZero() {
					expires = moment(k.ExpiresAt)
				}
				return []cell{plain(k.ID), plain(k.Principal), plain(strings.Join(k.Roles, ", ")), standing(k.ExpiresAt, k.RevokedAt), plain(moment(k.CreatedAt)), plain(expires), plain(k.CreatedBy)}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&principal, "principal", "", "only those of this principal")
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) accessKeyRotate() *cobra.Command {
	var ch change
	var in client.RotateAccessKeyInput
	var ttl days
	var grace rest
	var out accessKeyOut
	cmd := &cobra.Command{
		Use: "rotate ID [flags]", Short: "Replace an access key; the old one goes on for a while",
		Long: `Make another access key for the same principal with the same roles, groups and scope. The old one goes on for the time of --grace (24h unless said
otherwise), so that clients can change over; with --grace 0 it ends at once.`,
		Example: "  keyhold credential access-key rotate $ACCESS_KEY_ID --grace 48h --out orders.env\n  keyhold credential access-key rotate $ACCESS_KEY_ID --grace 0",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := freshFile(out.out); err != nil {
				return err
			}
			in.ID, in.TTL, in.Grace = args[0], time.Duration(ttl), grace.d
			k, err := c.RotateAccessKey(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return out.give(a, k, ch)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().Var(&grace, "grace", "how long the old one goes on, for example 48h or 7d; 0: it ends at once (default: 24h; at most 30d)")
	cmd.Flags().Var(&ttl, "ttl", "life of the new one (default: as long as the old one had)")
	out.flags(cmd)
	ch.flags(cmd)
	return cmd
}

// accessKeyChange is the JSON of an access key after a change.
type accessKeyChange struct {
	client.AccessKey
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) accessKeyRevoke() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke ID [flags]", Short: "End an access key at once",
		Long: `End an access key at once, and the sessions that were begun with it: also what they are asking for at this moment is withheld. It asks first on a
terminal; without one it needs --yes.`,
		Example: "  keyhold credential access-key revoke $ACCESS_KEY_ID --yes --reason 'found in a repository'",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("End the access key %s at once?", args[0])); err != nil {
				return err
			}
			k, err := c.RevokeAccessKey(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, accessKeyChange{k, ch.dryRun}, "revoked access key %s of %s", k.ID, k.Principal)
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}
