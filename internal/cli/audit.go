package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/kms"
)

// maxProof is more than any proof has, in bytes; maxAnchor more than a pile of checkpoints.
const (
	maxProof  = 16 << 20
	maxAnchor = 4 << 20
)

// dialects are the protocols that requests come in by.
func dialects() (all []string) {
	for _, d := range kms.AllDialects()[1:] { // the first is the server itself
		all = append(all, d.String())
	}
	return all
}

var outcomes = []string{"ok", "denied", "refused", "failed", "withheld", "dry-run", "replayed"}

func (a *app) auditCommand() *cobra.Command {
	return group(groupKeys, "audit", "Read, prove and verify the audit trail",
		`Read the audit trail, get proofs from it, and verify it without trusting the server.

Every operation has a record before its result leaves the server, and so has every refusal. The position of a record is also
the id of the decision: keyhold policy explain takes it.`,
		a.auditList(), a.auditProve(), a.auditCheckpoint(), a.auditConsistency(), a.auditVerify())
}

func (a *app) auditList() *cobra.Command {
	var f client.AuditFilter
	var since, until instant
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List audit records, newest first",
		Long: "List the audit records of the namespace, newest first; an auditor of the system namespace sees those of all. Filters add up.",
		Example: "  keyhold audit list\n" +
			"  keyhold audit list --outcome denied --since 1d\n" +
			"  keyhold audit list --key orders --action Decrypt --limit 0 -o json",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if f.Action != "" {
				if err := oneOf("an action", f.Action, actionNames()); err != nil {
					return err
				}
			}
			if f.Outcome != "" {
				if err := oneOf("an outcome", f.Outcome, outcomes); err != nil {
					return err
				}
			}
			if f.Dialect != "" {
				if err := oneOf("a protocol", f.Dialect, dialects()); err != nil {
					return err
				}
			}
			f.Since, f.Until = since.Time, until.Time
			return listing(a, "records", limit, c.ListRecords(ctx, f, a.options()...),
				[]string{"POSITION", "TIME", "PRINCIPAL", "ACTION", "ON", "OUTCOME", "CODE"}, recordRow)
		}),
		ValidArgsFunction: fixed(),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Principal, "principal", "", "only records of this principal")
	choice(cmd, &f.Action, "action", "only records of this action, for example Encrypt", actionNames())
	fl.BytesHexVar(&f.PrincipalAlias, "principal-alias", nil, "only records of the principal with this keyed hash, which remains when a name is erased")
	fl.StringVar(&f.Key, "key", "", "only records that touched this key: id, name or alias/NAME; one that is gone, by its id")
	must(cmd.RegisterFlagCompletionFunc("key", a.completeKeys))
	choice(cmd, &f.Outcome, "outcome", "only records that ended so: "+strings.Join(outcomes, ", "), outcomes)
	fl.StringVar(&f.Code, "code", "", "only records with this error code, for example KH1201")
	choice(cmd, &f.Dialect, "dialect", "only records of requests by this protocol: "+strings.Join(dialects(), ", "), dialects())
	fl.StringVar(&f.Resource, "resource", "", "only records about this policy, token, namespace, …")
	fl.StringVar(&f.Namespace, "of-namespace", "", "in the namespace "+string(kms.SystemNamespace)+": only records of this one")
	fl.StringVar(&f.RequestID, "of-request", "", "only records of this request id")
	fl.Var(&since, "since", "only records at or after this time: a date, a time, or how long ago (15m, 2d)")
	fl.Var(&until, "until", "only records before this time")
	fl.BoolVar(&f.ChangesOnly, "changes", false, "only records of changes")
	limitFlag(cmd, &limit, 50)
	return cmd
}

func recordRow(r client.AuditRecord) []cell {
	who := r.Principal
	if who == "" && r.Erased {
		who = "erased:" + hex.EncodeToString(r.PrincipalAlias)
	}
	return []cell{plain(r.Position), plain(moment(r.Time)), plain(who), plain(r.Action), plain(subject(r)), state(r.Outcome), plain(r.Code)}
}

// subject is what a record is about.
func subject(r client.AuditRecord) string {
	if r.Resource != "" {
		return r.Resource
	}
	var all []string
	for _, k := range r.Keys {
		s := k.KeyID
		if k.Version > 0 {
			s += fmt.Sprintf(" v%d", k.Version)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func (a *app) auditProve() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "prove POSITION [flags]", Short: "Get a proof that a record stands in the log",
		Long: `Get the proof that the record at POSITION stands in the log (C2SP tlog-proof). keyhold audit verify and keyhold-verify check it offline,
with the public key of the log alone.`,
		Example: "  keyhold audit prove $POSITION --out record.proof",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.ProveRecord(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			return a.evidence(out, p.Bundle, p.VerifierKey, p)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write to, instead of standard output")
	return cmd
}

// evidence writes a text that somebody else will verify, and says with which key.
func (a *app) evidence(out string, text []byte, key string, described any) error {
	if out != "" {
		if err := writeFile(out, text, 0o644); err != nil {
			return err
		}
	}
	if a.json() {
		return a.writeJSON(described)
	}
	fmt.Fprintf(a.stderr, "verifier key (compare it with the one you pinned): %s\n", printable(key))
	if out != "" {
		return nil
	}
	_, err := a.out.Write(text)
	return err
}

func (a *app) auditCheckpoint() *cobra.Command {
	var out string
	var witnessed bool
	cmd := &cobra.Command{
		Use: "checkpoint [flags]", Short: "Get the newest signed checkpoint of the log",
		Long: `Get the newest signed checkpoint of the log (C2SP tlog-checkpoint). Keep one elsewhere from time to time: as an anchor
(keyhold audit verify --anchor) it shows when records before it were cut off or changed.`,
		Example: "  keyhold audit checkpoint --out anchor.txt",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			p, err := c.GetCheckpoint(ctx, a.options()...)
			if err != nil {
				return err
			}
			if witnessed {
				if len(p.Witnessed) == 0 {
					return noWitnessed()
				}
				p.Note = p.Witnessed
			}
			return a.evidence(out, p.Note, p.VerifierKey, p)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().BoolVar(&witnessed, "witnessed", false, "the newest that a quorum of the server's witnesses cosigned")
	cmd.Flags().StringVar(&out, "out", "", "file to write to, instead of standard output")
	return cmd
}

// proofReport is the JSON of a verified proof.
type proofReport struct {
	File      string    `json:"file"`
	Verified  bool      `json:"verified"`
	Problem   string    `json:"problem,omitempty"`
	Position  string    `json:"position,omitempty"`
	Principal string    `json:"principal,omitempty"` // empty: erased
	Time      time.Time `json:"time,omitzero"`
	Action    string    `json:"action,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	Code      string    `json:"code,omitempty"`
	Signed    uint64    `json:"signed_size,omitempty"` // records under the checkpoint of the proof

	Cosigned []verify.Vouch `json:"cosigned,omitempty"` // by known witnesses
}

func (a *app) auditVerify() *cobra.Command {
	var key, anchor, witness string
	var quorum int
	cmd := &cobra.Command{
		Use: "verify PATH --key FILE [flags]", Short: "Verify a log directory or a proof, offline",
		Long: `Verify the directory of a log, or the file of a proof (of a record or of consistency), with nothing but the public key that you pinned: no server is asked. --key takes
the file of the verifier key, or the key itself.

Without --anchor the end of a log cannot be vouched for: records that were cut off behind the last checkpoint do not show. An anchor is
a checkpoint seen earlier (keyhold audit checkpoint). --witness takes the file of the verifier keys of witnesses: a checkpoint that enough of
them cosigned counts as an anchor, and a proof must have such a checkpoint.`,
		Example: "  keyhold audit verify record.proof --key audit-key.txt\n" +
			"  keyhold audit verify /var/lib/keyhold/audit --key audit-key.txt --anchor anchor.txt",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := verifierKeys(key)
			if err == nil {
				err = addWitnesses(&keys, witness, quorum)
			}
			if err != nil {
				return err
			}
			st, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			if !st.IsDir() {
				return a.verifyProof(args[0], keys)
			}
			o := verify.Options{Dir: args[0], Keys: keys}
			if anchor != "" {
				if o.Anchors, err = readSmall(anchor, maxAnchor); err != nil {
					return err
				}
			}
			return a.verifyLog(cmd.Context(), o)
		},
		ValidArgsFunction: first(files),
	}
	cmd.Flags().StringVar(&key, "key", "", "verifier key that you pinned (keyhold.CLUSTER+HASH+KEY), or the file that holds it")
	cmd.Flags().StringVar(&anchor, "anchor", "", "file of a checkpoint seen earlier")
	cmd.Flags().StringVar(&witness, "witness", "", "file of the verifier keys of witnesses, one a line")
	cmd.Flags().IntVar(&quorum, "witness-quorum", 0, "cosignatures that are wanted (default: of all witnesses)")
	return cmd
}

func verifierKeys(key string) (verify.Keys, error) {
	if key == "" {
		return verify.Keys{}, usagef("keyhold operator init showed it; keyhold operator status shows it too, but trust the one you pinned", "--key is missing: a log is verified with the key that you pinned")
	}
	text := []byte(key)
	if _, err := os.Stat(key); err == nil || !strings.Contains(key, "+") {
		if text, err = readSmall(key, maxTextFile); err != nil {
			return verify.Keys{}, err
		}
	}
	k, err := verify.ParseKeys(text)
	if err != nil {
		return k, refusal(kms.CodeBadRequest, "pass the verifier key as init showed it: keyhold.CLUSTER+HASH+KEY", "%v", err)
	}
	return k, nil
}

func (a *app) verifyProof(path string, keys verify.Keys) error {
	text, err := readSmall(path, maxProof)
	if err != nil {
		return err
	}
	if verify.IsConsistency(text) {
		return a.verifyWay(path, text, keys)
	}
	p, err := verify.Proof(text, keys)
	if err != nil {
		if a.json() {
			return errors.Join(a.writeJSON(proofReport{File: path, Problem: err.Error()}), errAnswered)
		}
		return refusal(kms.CodeLogAltered, "check that the key is the one you pinned and that the file is the proof as it was given out; otherwise do not trust the record", "the proof %s does not hold: %v", path, err)
	}
	r := proofReport{
		File: path, Verified: true, Position: p.Position.String(), Principal: p.Record.Name, Time: p.Record.Time, Action: p.Record.Action.String(),
		Outcome: p.Record.Outcome.String(), Signed: p.Checkpoint.Size, Cosigned: p.Cosigned,
	}
	if p.Record.Code != 0 {
		r.Code = p.Record.Code.String()
	}
	if a.json() {
		return a.writeJSON(r)
	}
	return a.facts(
		fact{"verified", cell{"yes: the record stands in the log that the key signs", green}}, fact{"position", plain(r.Position)}, fact{"time", plain(moment(r.Time))},
		fact{"principal", plain(p.Record.Name)}, fact{"action", plain(r.Action)}, fact{"outcome", state(r.Outcome)}, fact{"code", plain(r.Code)},
		fact{"checkpoint", plain(fmt.Sprintf("%d records", r.Signed))}, fact{"cosigned", plain(verify.Names(r.Cosigned))},
	)
}

func (a *app) verifyLog(ctx context.Context, o verify.Options) error {
	bar := a.progress("verifying")
	o.Progress = func(done, total int64) { bar.show(uint64(max(done, 0)), uint64(max(total, 0)), size) } //nolint:gosec // G115: not negative
	r, err := verify.Dir(ctx, o)
	bar.end()
	if err != nil {
		return fmt.Errorf("verify %s: %w", o.Dir, err)
	}
	if a.json() {
		if err := a.writeJSON(r); err != nil {
			return err
		}
		return answered(r.Verified)
	}
	anchored := cell{"no: what was cut off behind the last checkpoint does not show (--anchor)", yellow}
	switch {
	case r.Kept:
		anchored = cell{"yes", green}
	case r.Cosigned:
		anchored = cell{"by witnesses, as of the times shown; later cosignatures may have been removed with what they cover", yellow}
	}
	var cosigned []fact
	for i := range r.Epochs {
		for _, c := range r.Epochs[i].Cosigned {
			cosigned = append(cosigned, fact{"cosigned", plain(fmt.Sprintf("%s records of %s by %s", count(c.Records), r.Epochs[i].Origin, printable(c.Vouch.String())))})
		}
	}
	verdict := cell{"yes", green}
	if !r.Verified {
		verdict = cell{fmt.Sprintf("NO: %d findings", uint64(len(r.Findings))+r.More), red}
	}
	err = a.facts(append([]fact{
		{"verified", verdict}, {"anchored", anchored}, {"records", plain(count(r.Records))},
		{"erased", plain(count(r.Erased))}, {"behind the last checkpoint", plain(count(r.Tail))}, {"boot epochs", plain(count(uint64(len(r.Epochs))))},
	}, cosigned...)...)
	if err != nil {
		return err
	}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(a.out, a.paint(a.stdout, red, "finding: "+printable(f.String()))); err != nil {
			return err
		}
	}
	if r.More > 0 {
		if _, err := fmt.Fprintf(a.out, "and %d more\n", r.More); err != nil {
			return err
		}
	}
	return answered(r.Verified)
}

// answered makes a "no" that was said on standard output the status of the command.
func answered(yes bool) error {
	if yes {
		return nil
	}
	return errAnswered
}
