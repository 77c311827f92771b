package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) grantCommand() *cobra.Command {
	return group("", "grant", "Permit a principal some operations with one key",
		`Make, list and end grants. A grant permits one principal some operations with one key, beside all policies, until it is revoked by who manages
the key or retired by those whom it names.`,
		a.grantCreate(), a.grantList(), a.grantRevoke(), a.grantRetire())
}

// grantChange is the JSON of a grant after a change.
type grantChange struct {
	client.Grant
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) grantCreate() *cobra.Command {
	var ch change
	var in client.CreateGrantInput
	var equals, subset pairs
	cmd := &cobra.Command{
		Use: "create NAME [flags]", Short: "Make a grant on a key",
		Long: `Permit a principal some operations with the key NAME. With --name, the same command answers the same grant again. With --context-subset the grant
holds for requests whose encryption context has these entries, with --context-equals for those that have these and no other.`,
		Example: "  keyhold key grant create payments --grantee svc/batch --operation Encrypt --operation Decrypt --context-subset tenant=a",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			in.Key, in.ContextEquals, in.ContextSubset = args[0], equals, subset
			g, err := c.CreateGrant(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, grantChange{g, ch.dryRun}, "grant %s to %s", g.ID, g.Grantee)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().StringVar(&in.Grantee, "grantee", "", "principal that it permits something; sessions of a role are role/NAME")
	must(cmd.MarkFlagRequired("grantee"))
	cmd.Flags().StringVar(&in.Retiring, "retiring", "", "principal that can retire it")
	words(cmd, &in.Operations, "operation", "what it permits, for example Encrypt; can be repeated")
	must(cmd.MarkFlagRequired("operation"))
	must(cmd.RegisterFlagCompletionFunc("operation", fixed(actionNames()...)))
	equals.flag(cmd, "context-equals", "entry NAME=VALUE of the one encryption context that it is for; can be repeated")
	subset.flag(cmd, "context-subset", "entry NAME=VALUE that the encryption context must have; can be repeated")
	cmd.Flags().StringVar(&in.Name, "name", "", "name of the grant")
	ch.flags(cmd)
	return cmd
}

func (a *app) grantList() *cobra.Command {
	var limit int
	var grantee, retiring string
	cmd := &cobra.Command{
		Use: "list [NAME] [flags]", Short: "List the grants on a key, or those that a principal can retire",
		Long:    "List the grants on the key NAME, or with --retiring those of the namespace that name this principal as the one who can retire them.",
		Example: "  keyhold key grant list payments\n  keyhold key grant list --retiring svc/janitor -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if (len(args) == 0) == (retiring == "") || retiring != "" && grantee != "" {
				return usagef("keyhold key grant list NAME, or keyhold key grant list --retiring PRINCIPAL", "name a key or a retiring principal")
			}
			grants := c.ListRetirableGrants(ctx, retiring, a.options()...)
			if len(args) == 1 {
				grants = c.ListGrants(ctx, args[0], grantee, a.options()...)
			}
			return listing(a, "grants", limit, grants, []string{"ID", "GRANTEE", "OPERATIONS", "NAME", "CREATED"}, func(g client.Grant) []cell {
				return []cell{plain(g.ID), plain(g.Grantee), plain(strings.Join(g.Operations, " ")), plain(g.Name), plain(moment(g.CreatedAt))}
			})
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().StringVar(&grantee, "grantee", "", "only those of this principal")
	cmd.Flags().StringVar(&retiring, "retiring", "", "those that this principal can retire, of all keys")
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) grantRevoke() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "revoke NAME GRANT [flags]", Short: "End a grant",
		Long:    "End the grant with the id GRANT on the key NAME. What it permitted is no longer permitted, at once.",
		Example: "  keyhold key grant revoke payments " + strings.Repeat("0", 64),
		Args:    cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			g, err := c.RevokeGrant(ctx, args[0], args[1], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, grantChange{g, ch.dryRun}, "revoked grant %s to %s", g.ID, g.Grantee)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	ch.flags(cmd)
	return cmd
}

func (a *app) grantRetire() *cobra.Command {
	var ch change
	var token string
	cmd := &cobra.Command{
		Use: "retire [NAME GRANT] [flags]", Short: "End a grant that names you",
		Long:    "End the grant with the id GRANT on the key NAME, or the one that --token names, as its retiring principal or, if it permits RetireGrant, as its grantee.",
		Example: "  keyhold key grant retire --token TOKEN",
		Args:    cobra.MaximumNArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var g client.Grant
			var err error
			switch {
			case token != "" && len(args) == 0:
				g, err = c.RetireGrantByToken(ctx, token, a.with(ch)...)
			case token == "" && len(args) == 2:
				g, err = c.RetireGrant(ctx, args[0], args[1], a.with(ch)...)
			default:
				return usagef("keyhold key grant retire NAME GRANT, or keyhold key grant retire --token TOKEN", "name a grant by key and id, or by its token")
			}
			if err != nil {
				return err
			}
			return a.say(ch, grantChange{g, ch.dryRun}, "retired grant %s to %s", g.ID, g.Grantee)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().StringVar(&token, "token", "", "token of the grant, as its making answered it")
	ch.flags(cmd)
	return cmd
}
