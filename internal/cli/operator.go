package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) operatorCommand() *cobra.Command {
	return group(groupServer, "operator", "Begin, open and close the server",
		`Begin, open and close the server.

A new server has no root key: init makes it and seals it to custodian shares. After each start the server is sealed: it knows no key and
no credential until enough shares, a passphrase or a key file unseal it. enroll redeems the one-time code of init for an administrator's token.
init, unseal and mint work on the server's machine, over its local socket.`,
		a.operatorInit(), a.operatorUnseal(), a.operatorStatus(), a.operatorEnroll(), a.operatorMint(), a.operatorSeal(), a.operatorRotateRoot(), a.operatorRollEpoch(), a.operatorRebuildUsage(), a.operatorConfirmClock())
}

func (a *app) operatorStatus() *cobra.Command {
	var l local
	cmd := &cobra.Command{
		Use: "status [flags]", Short: "Show the server's condition",
		Long:    "Show the server's condition. Without a token it tells less; over the local socket (--socket, --config) it tells all.",
		Example: "  keyhold operator status\n  keyhold operator status -o json",
		Args:    cobra.NoArgs, ValidArgsFunction: fixed(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		open := a.client
		if l.socket != "" || l.config != "" {
			open = func() (*client.Client, error) { return a.localClient(l) }
		}
		c, err := open()
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := c.Status(cmd.Context(), a.options()...)
		if err != nil {
			return err
		}
		return a.showStatus(s)
	}
	l.flags(cmd)
	return cmd
}

// showStatus writes the server's condition.
func (a *app) showStatus(s client.Status) error {
	if a.json() {
		return a.writeJSON(s)
	}
	stands := state("ok")
	switch {
	case !s.Initialised:
		stands = cell{"not initialised: keyhold operator init", yellow}
	case s.Sealed && s.Threshold > 0:
		stands = cell{fmt.Sprintf("sealed: %d of %d shares given", len(s.SharesGiven), s.Threshold), yellow}
	case s.Sealed:
		stands = cell{"sealed", yellow}
	case !s.Ready:
		stands = cell{"unsealed, but it cannot serve", red}
	}
	all := []fact{{"server", stands}}
	if s.Initialised && !s.Sealed {
		all = append(all, fact{"problem", cell{strings.TrimSpace(s.ProblemCode + " " + s.Problem), red}})
	}
	if said := clockTrouble(s.Clock); said != "" {
		all = append(all, fact{"clock", cell{said, red}})
	}
	if s.Development {
		all = append(all, fact{"development store", cell{"yes, for ever", yellow}})
	}
	all = append(all, fact{"cluster", plain(s.ClusterID)})
	for i, r := range s.Recipients {
		name := ""
		if i == 0 {
			name = "recipients"
		}
		all = append(all, fact{name, plain(strings.TrimSpace(strings.Join([]string{r.Kind, r.Label, r.Fingerprint}, "  ")))})
	}
	if s.RootGeneration > 0 {
		all = append(all, fact{"root key generation", plain(strconv.Itoa(int(s.RootGeneration)))})
	}
	if s.Epoch > 0 {
		all = append(all, fact{"shred epoch", plain(strconv.Itoa(int(s.Epoch)))})
	}
	for _, k := range s.AuditSinks {
		stands := plain(sinkStands(k))
		if k.Error != "" {
			stands = cell{k.State + ": " + k.Error, red}
		}
		all = append(all, fact{"audit sink " + k.Name, stands})
	}
	all = append(all, witnessFacts(s.Witnesses)...)
	return a.facts(append(all, fact{"audit key (pin it)", plain(s.AuditKey)})...)
}

func (a *app) operatorEnroll() *cobra.Command {
	var l local
	var ch change
	var name, out string
	cmd := &cobra.Command{
		Use: "enroll [CODE-FILE] [flags]", Short: "Redeem a one-time code for an administrator's token",
		Long: `Redeem the one-time code in CODE-FILE (or standard input, or asked for on a terminal) for an administrator's token. The token alone goes
to standard output, this once, or to the file of --out (mode 0600). The code works once, within 15 minutes.`,
		Example: "  keyhold operator enroll shares/enrollment-code.txt --name alice --out alice.token",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: first(files),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		open := a.client
		if l.socket != "" || l.config != "" {
			open = func() (*client.Client, error) { return a.localClient(l) }
		}
		c, err := open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := freshFile(out); err != nil {
			return err
		}
		code, err := a.secretText(firstOf(args), "one-time code", maxTokenFile)
		if err != nil {
			return err
		}
		t, err := c.Enroll(cmd.Context(), string(code), name, a.with(ch)...)
		if err != nil {
			return err
		}
		if ch.dryRun {
			return a.plan(cmd.Context(), c, "the code is in force: it would be redeemed, once, for a token of the operator role")
		}
		return a.giveToken(t, out, ch)
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the administrator (default: admin)")
	cmd.Flags().StringVar(&out, "out", "", "new file for the token (mode 0600)")
	l.flags(cmd)
	ch.once(cmd)
	return cmd
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// once are the flags of a change that works at most once by itself, and so takes no idempotency token.
func (ch *change) once(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&ch.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.StringVar(&ch.reason, "reason", "", "why, for the audit trail; at most 256 bytes")
}

// planned is the JSON of the dry run of a command that works once.
type planned struct {
	Plan   string        `json:"plan"`
	Status client.Status `json:"status"`
	DryRun bool          `json:"dry_run"`
}

// plan answers the dry run of a command that works once: what would be done, and how the server stands.
func (a *app) plan(ctx context.Context, c *client.Client, what string) error {
	s, err := c.Status(ctx, a.options()...)
	if err != nil {
		return err
	}
	a.planned(change{dryRun: true})
	if a.json() {
		return a.writeJSON(planned{what, s, true})
	}
	if _, err := fmt.Fprintln(a.out, printable(what)); err != nil {
		return err
	}
	return a.showStatus(s)
}

// enrollmentInfo is the JSON of a one-time code. Code is left out when it went to a file.
type enrollmentInfo struct {
	Code      string    `json:"code,omitempty"`
	Out       string    `json:"out,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

func (a *app) operatorMint() *cobra.Command {
	var l local
	var ch change
	var out string
	cmd := &cobra.Command{
		Use: "mint [SHARE-FILE…] [flags]", Short: "Make another one-time code, with a quorum of shares",
		Long: `Make another one-time code with which an administrator enrols, on the authority of a quorum of custodian shares: from SHARE-FILEs,
from standard input (one share a line), or asked for on a terminal. Local socket only.`,
		Example: "  keyhold operator mint shares/share-1.txt shares/share-2.txt shares/share-4.txt --out code.txt",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: files,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.localClient(l)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := freshFile(out); err != nil {
			return err
		}
		s, err := c.Status(cmd.Context(), a.options()...)
		if err != nil {
			return err
		}
		shares, err := a.shares(args, int(s.Threshold))
		if err != nil {
			return err
		}
		e, err := c.MintEnrollment(cmd.Context(), shares, a.with(ch)...)
		if err != nil {
			return err
		}
		if ch.dryRun {
			return a.plan(cmd.Context(), c, "the shares are a quorum: a one-time code would be made, in place of the one in force")
		}
		info := enrollmentInfo{Code: e.Code, ExpiresAt: e.ExpiresAt}
		if out != "" {
			if err := writeOnce(out, []byte(e.Code+"\n")); err != nil {
				return err
			}
			info.Code, info.Out = "", out
		}
		if a.json() {
			return a.writeJSON(info)
		}
		fmt.Fprintf(a.stderr, "one-time code, until %s:\n", moment(e.ExpiresAt))
		if out != "" {
			fmt.Fprintf(a.stderr, "it is in %s\n", printable(out))
			return nil
		}
		_, err = fmt.Fprintln(a.out, e.Code)
		return err
	}
	cmd.Flags().StringVar(&out, "out", "", "new file for the code (mode 0600)")
	l.flags(cmd)
	ch.once(cmd)
	return cmd
}

func (a *app) operatorSeal() *cobra.Command {
	var ch change
	var yes bool
	cmd := &cobra.Command{
		Use: "seal [flags]", Short: "Erase the root key from the server's memory",
		Long: `Erase the root key and everything under it from the server's memory. Nothing works until it is unsealed again. It asks first on a terminal;
without one it needs --yes.`,
		Example: "  keyhold operator seal --dry-run",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := a.confirm(yes || ch.dryRun, "Seal the server? Nothing works until it is unsealed."); err != nil {
				return err
			}
			s, err := c.Seal(ctx, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			return a.showStatus(s)
		}),
		ValidArgsFunction: fixed(),
	}
	yesFlag(cmd, &yes)
	ch.once(cmd)
	return cmd
}

func (a *app) operatorRotateRoot() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "rotate-root [flags]", Short: "Make a new root key, sealed to the same recipients",
		Long:    "Make a new root key and seal it to the same recipients: their shares, passphrases and key files stay good. One small level is sealed anew; no key changes.",
		Example: "  keyhold operator rotate-root --reason 'yearly rotation'",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.RotateRoot(ctx, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			return a.showStatus(s)
		}),
		ValidArgsFunction: fixed(),
	}
	ch.flags(cmd)
	return cmd
}

// Waiting for a job.
const (
	epochJob  = "roll-shred-epoch"
	pollFirst = 200 * time.Millisecond
	pollMost  = 5 * time.Second
	drawEvery = 500 * time.Millisecond
)

func (a *app) operatorRollEpoch() *cobra.Command {
	var ch change
	var wait bool
	cmd := &cobra.Command{
		Use: "roll-epoch [flags]", Short: "Make what was destroyed irrecoverable from old copies",
		Long: `Start a new shred epoch: when it is done, what was destroyed before cannot be recovered from old copies of the store. --wait stays until then.
It happens by itself on a schedule (shred.epoch).`,
		Example: "  keyhold operator roll-epoch --wait",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			jobs, err := c.RollEpoch(ctx, a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if wait && !ch.dryRun {
				if jobs, err = a.await(ctx, c, epochJob, jobs); err != nil {
					return err
				}
			}
			return a.showJobs(jobs)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	ch.flags(cmd)
	return cmd
}
