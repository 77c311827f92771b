package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// Completion asks the server little, and gives up soon: a person waits at the prompt.
const (
	completeMost = 100
	completeTime = 2 * time.Second
)

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// fixed completes from a list.
func fixed(words ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// files completes with the shell's own file names.
func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// first completes the first argument, and nothing after it.
func first(c completer) completer {
	return func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, part)
	}
}

func (a *app) completeKeys(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (names []string) {
		for k, err := range c.ListKeys(ctx, client.KeyFilter{NamePrefix: part}) {
			if err != nil || len(names) == completeMost {
				break
			}
			names = append(names, cobra.CompletionWithDesc(k.Name, k.Algorithm+" "+k.State))
		}
		return names
	})
}

func (a *app) completePolicies(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (names []string) {
		for p, err := range c.ListPolicies(ctx) {
			if err != nil || len(names) == completeMost {
				break
			}
			if strings.HasPrefix(p.ID, part) {
				names = append(names, p.ID)
			}
		}
		return names
	})
}

func (a *app) completeNamespaces(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (names []string) {
		for n, err := range c.ListNamespaces(ctx) {
			if err != nil || len(names) == completeMost {
				break
			}
			if strings.HasPrefix(n.Name, part) {
				names = append(names, n.Name)
			}
		}
		return names
	})
}

// ask asks the server; whatever goes wrong, there is just nothing to complete.
func (a *app) ask(cmd *cobra.Command, names func(context.Context, *client.Client) []string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completeTime)
	defer cancel()
	return names(ctx, c), cobra.ShellCompDirectiveNoFileComp
}

func algorithms() []string { return named(kms.AllAlgorithms()) }

func actionNames() []string { return named(kms.AllActions()) }

func switches() []string { return named(kms.AllSwitches()) }

func roles() (names []string) {
	for _, r := range kms.AllRoles() {
		names = append(names, string(r))
	}
	return names
}

func schemes() []string { return named(kms.AllSchemes()) }

func named[T interface{ String() string }](all []T) []string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = v.String()
	}
	return names
}

func usages() []string { return named(kms.AllUsages()) }

// pairAlgorithms are the algorithms of key pairs.
func pairAlgorithms() (names []string) {
	for _, alg := range kms.AllAlgorithms() {
		if alg.Facts().Asymmetric {
			names = append(names, alg.String())
		}
	}
	return names
}

// choice is a flag whose values come from a list.
func choice(cmd *cobra.Command, to *string, name, help string, values []string) {
	cmd.Flags().StringVar(to, name, "", help)
	must(cmd.RegisterFlagCompletionFunc(name, fixed(values...)))
}
