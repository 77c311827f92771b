package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) roleCommand() *cobra.Command {
	return group("", "role", "Say which roles can be assumed, and by whom",
		`Make, show, list and delete roles that AWS clients assume for a while (STS). A role has rights, as a principal has, and a trust: who may assume it. Who has
assumed it is the principal role/NAME.`,
		a.rolePut(), a.roleShow(), a.roleList(), a.roleDelete())
}

// roleChange is the JSON of a role after a change.
type roleChange struct {
	client.Role
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) rolePut() *cobra.Command {
	var ch change
	var in client.Role
	var web client.WebTrust
	var most days
	var claims pairs
	cmd := &cobra.Command{
		Use: "put NAME [flags]", Short: "Store a role, new or in place of the one of that name",
		Long: `Store a role with its rights and its trust. What its sessions may do changes with it at once; if who may assume it changes, its sessions end.
--issuer trusts the tokens of an OpenID Connect issuer that the server's configuration names (oidc.issuers), for an --audience, if they make every --claim.`,
		Example: "  keyhold credential role put nightly --role user --trust svc/scheduler --max-session 2h\n" +
			"  keyhold credential role put deploy --role user --issuer https://issuer.example --audience keyhold --claim sub=repo:shop:main",
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
			if in.Name, in.MaxSession = args[0], time.Duration(most); web.Issuer != "" {
				web.Claims = claims
				in.Trust.Web = []client.WebTrust{web}
			} else if len(web.Audiences)+len(claims) > 0 {
				return usagef("--issuer names it", "--audience and --claim are of an issuer")
			}
			r, err := c.PutRole(ctx, in, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, roleChange{r, ch.dryRun}, "stored role %s", r.Name)
		}),
		ValidArgsFunction: fixed(),
	}
	roleFlags(cmd, &in.Roles, &in.Groups, "of its sessions")
	words(cmd, &in.Scope, "scope", "action that its sessions may ask for, and no other than those named; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("scope", fixed(actionNames()...)))
	words(cmd, &in.Trust.Principals, "trust", "principal that may assume it; can be repeated")
	words(cmd, &in.Trust.Groups, "trust-group", "group whose members may assume it; can be repeated")
	cmd.Flags().StringVar(&web.Issuer, "issuer", "", "OpenID Connect issuer whose tokens are trusted, as it stands in them")
	words(cmd, &web.Audiences, "audience", "audience of its tokens; can be repeated")
	claims.flag(cmd, "claim", "claim NAME=VALUE that its tokens must make; can be repeated")
	cmd.Flags().Var(&most, "max-session", "longest session, 15m to 12h (default: 1h)")
	ch.flags(cmd)
	return cmd
}

// trusted says in a few words who may assume a role.
func trusted(t client.RoleTrust) string {
	all := append([]string(nil), t.Principals...)
	for _, g := range t.Groups {
		all = append(all, "group "+g)
	}
	for _, w := range t.Web {
		all = append(all, w.Issuer)
	}
	return or(strings.Join(all, ", "), "nobody")
}

func (a *app) roleShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a role",
		Long:    "Show a role: its rights, and who may assume it.",
		Example: "  keyhold credential role show nightly",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.GetRole(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(r)
			}
			all := []fact{
				{"name", plain(r.Name)}, {"roles", plain(strings.Join(r.Roles, ", "))}, {"groups", plain(strings.Join(r.Groups, ", "))},
				{"scope", plain(strings.Join(r.Scope, ", "))}, {"trusts", plain(trusted(r.Trust))}, {"longest session", plain(spell(r.MaxSession))},
				{"changed", plain(moment(r.ChangedAt))}, {"by", plain(r.ChangedBy)},
			}
			for _, w := range r.Trust.Web {
				text := "for " + strings.Join(w.Audiences, ", ")
				for _, name := range slices.Sorted(maps.Keys(w.Claims)) {
					text += ", " + name + "=" + w.Claims[name]
				}
				all = append(all, fact{w.Issuer, plain(text)})
			}
			return a.facts(all...)
		}),
		ValidArgsFunction: fixed(),
	}
}

func (a *app) roleList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the roles of the namespace",
		Long:    "List the roles of the namespace that can be assumed.",
		Example: "  keyhold credential role list",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "roles", limit, c.ListRoles(ctx, a.options()...), []string{"NAME", "ROLES", "TRUSTS", "LONGEST", "CHANGED", "BY"}, func(r client.Role) []cell {
				return []cell{plain(r.Name), plain(strings.Join(r.Roles, ", ")), plain(trusted(r.Trust)), plain(spell(r.MaxSession)), plain(moment(r.ChangedAt)), plain(r.ChangedBy)}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) roleDelete() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "delete NAME [flags]", Short: "Delete a role; its sessions end at once",
		Long:    "Delete a role; its sessions end at once. It asks first on a terminal; without one it needs --yes.",
		Example: "  keyhold credential role delete nightly --yes",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Delete the role %s and end its sessions?", args[0])); err != nil {
				return err
			}
			r, err := c.DeleteRole(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, roleChange{r, ch.dryRun}, "deleted role %s", r.Name)
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}
