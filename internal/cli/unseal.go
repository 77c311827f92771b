package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// shares reads custodian shares: from files, from standard input (one a line), or hidden from a terminal.
func (a *app) shares(files []string, wanted int) ([]string, error) {
	var all []string
	add := func(name string, text []byte) error {
		n := 0
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, line)
				n++
			}
		}
		if n == 0 {
			return refusal(kms.CodeBadShare, "a share is one line that begins with KHS1-", "%s holds no share", name)
		}
		if len(all) > maxShares {
			return refusal(kms.CodeBadShare, "give as many shares as open the root key", "more than %d shares were given", maxShares)
		}
		return nil
	}
	for _, path := range files {
		text, err := readSmall(path, maxShareText)
		if err != nil {
			return nil, err
		}
		if err := add(path, text); err != nil {
			return nil, err
		}
	}
	switch {
	case len(files) > 0:
	case isTerminal(a.in):
		if !isTerminal(a.stderr) {
			return nil, usagef("name the files of the shares, or pipe them in", "there is no terminal to ask for a share")
		}
		for i := range max(wanted, 1) {
			what := "share"
			if wanted > 1 {
				what = fmt.Sprintf("share %d of %d", i+1, wanted)
			}
			text, err := a.hidden(what)
			if err != nil {
				return nil, err
			}
			if err := add("the answer", text); err != nil {
				return nil, err
			}
		}
	default:
		text, err := readAtMost(a.in, "standard input", maxShares*maxShareText)
		if err != nil {
			return nil, err
		}
		if err := add("standard input", text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *app) operatorUnseal() *cobra.Command {
	var l local
	var ch change
	var r recipients
	var reset bool
	cmd := &cobra.Command{
		Use: "unseal [SHARE-FILE…] [flags]", Short: "Give a share, a passphrase or a key file that opens the root key",
		Long: `Give one custodian share or several: from SHARE-FILEs, from standard input (one a line), or asked for, hidden, on a terminal. When enough
are given, the server opens its root key and serves. A passphrase or a key file opens it at once. It works over the local socket; with --addr over TLS.`,
		Example: "  keyhold operator unseal shares/share-1.txt\n" +
			"  keyhold operator unseal shares/share-2.txt shares/share-3.txt\n" +
			"  keyhold operator unseal --reset",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: files,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.localClient(l)
		if err != nil {
			return err
		}
		defer c.Close()
		if ch.dryRun {
			return a.plan(cmd.Context(), c, "what was given would be sent to the server; it was not checked")
		}
		steps, err := a.unsealSteps(r, args, reset)
		if err != nil {
			return err
		}
		var s client.Status
		for _, step := range steps {
			if s, err = step(cmd.Context(), c); err != nil {
				return err
			}
			if !s.Sealed {
				break
			}
		}
		return a.showStatus(s)
	}
	cmd.Flags().BoolVar(&reset, "reset", false, "forget the shares given so far")
	r.flags(cmd, "open with")
	l.flags(cmd)
	ch.once(cmd)
	return cmd
}

type unsealStep func(context.Context, *client.Client) (client.Status, error)

// unsealSteps are the calls that unseal with what was given.
func (a *app) unsealSteps(r recipients, args []string, reset bool) ([]unsealStep, error) {
	o := a.options()
	passphrase, seed, err := r.read(a, false)
	if err != nil {
		return nil, err
	}
	given := len(args) > 0
	switch {
	case reset && (given || passphrase != nil || seed != nil), passphrase != nil && (given || seed != nil), seed != nil && given:
		return nil, usagef("give one of them at a time", "shares, a passphrase, a key file and --reset do not go together")
	case reset:
		return []unsealStep{func(ctx context.Context, c *client.Client) (client.Status, error) { return c.UnsealReset(ctx, o...) }}, nil
	case passphrase != nil:
		return []unsealStep{func(ctx context.Context, c *client.Client) (client.Status, error) {
			defer clear(passphrase)
			return c.UnsealPassphrase(ctx, passphrase, o...)
		}}, nil
	case seed != nil:
		return []unsealStep{func(ctx context.Context, c *client.Client) (client.Status, error) {
			defer clear(seed)
			return c.UnsealKeyFile(ctx, seed, o...)
		}}, nil
	}
	shares, err := a.shares(args, 1)
	if err != nil {
		return nil, err
	}
	var steps []unsealStep
	for _, share := range shares {
		steps = append(steps, func(ctx context.Context, c *client.Client) (client.Status, error) {
			return c.UnsealShare(ctx, share, o...)
		})
	}
	return steps, nil
}
