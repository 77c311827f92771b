package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) keyPolicyCommand() *cobra.Command {
	return group("", "policy", "Say who may do what with one key",
		`Show, store and take away the policy that belongs to one key, in AWS's language. A key without one leaves everything to the namespace's roles and
policies. docs/aws-policies.md describes it.`,
		a.keyPolicyGet(), a.keyPolicyPut(), a.keyPolicyDelete())
}

// keyPolicyChange is the JSON of a key policy after a change.
type keyPolicyChange struct {
	client.KeyPolicy
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) keyPolicyGet() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Print the policy of a key",
		Long:    "Print the policy of a key as it was given, or the default one; -o json tells which it is, who changed it last, and when.",
		Example: "  keyhold key policy get payments",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.GetKeyPolicy(ctx, args[0], a.options()...)
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
		ValidArgsFunction: first(a.completeKeys),
	}
}

func (a *app) keyPolicyPut() *cobra.Command {
	var ch change
	var bypass bool
	cmd := &cobra.Command{
		Use: "put NAME [FILE] [flags]", Short: "Give a key a policy of its own",
		Long: `Give a key the policy in FILE, or standard input, in the place of the one it has. It takes effect at once, in every dialect. One that would not let
you change it again is refused, unless you say --bypass-lockout-check.`,
		Example: "  keyhold key policy put payments policy.json --dry-run",
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			text, _, err := a.read(args[1:], maxTextFile)
			if err != nil {
				return err
			}
			if len(text) == 0 {
				return usagef("keyhold key policy delete NAME gives the key the default policy again", "the policy is empty")
			}
			p, err := c.PutKeyPolicy(ctx, args[0], string(text), bypass, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, keyPolicyChange{p, ch.dryRun}, "stored the policy of key %s", p.KeyName)
		}),
		ValidArgsFunction: a.keyThenFile,
	}
	cmd.Flags().BoolVar(&bypass, "bypass-lockout-check", false, "store it also if you could not change it again")
	ch.flags(cmd)
	return cmd
}

func (a *app) keyThenFile(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeKeys(cmd, args, part)
	}
	return files(cmd, args, part)
}

func (a *app) keyPolicyDelete() *cobra.Command {
	var ch change
	var bypass bool
	cmd := &cobra.Command{
		Use: "delete NAME [flags]", Short: "Give a key the default policy again",
		Long:    "Take a key's own policy away: the namespace's roles and policies decide again, at once.",
		Example: "  keyhold key policy delete payments",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.PutKeyPolicy(ctx, args[0], "", bypass, a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, keyPolicyChange{p, ch.dryRun}, "key %s has the default policy", p.KeyName)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().BoolVar(&bypass, "bypass-lockout-check", false, "also if you could not give it another one then")
	ch.flags(cmd)
	return cmd
}
