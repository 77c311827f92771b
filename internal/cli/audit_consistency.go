package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/kms"
)

func (a *app) auditConsistency() *cobra.Command {
	var from, to, out string
	var witnessed bool
	cmd := &cobra.Command{
		Use: "consistency --from CHECKPOINT [flags]", Short: "Get a proof that the log only grew since a checkpoint",
		Long: `Get the proof that the log at its newest checkpoint contains everything that it held at an earlier one, unchanged: the way between the
two, over restarts of the server too. keyhold audit verify and keyhold-verify check it offline, with the public key of the log alone.

--from takes the file of a checkpoint that you kept, or its name: the first line, @, and the second (keyhold.CLUSTER/NODE/EPOCH@SIZE).
--to takes a name, for a way to a checkpoint that is not the newest; without a size it is the newest of that boot epoch.`,
		Example: "  keyhold audit checkpoint --out anchor.txt\n" +
			"  keyhold audit consistency --from anchor.txt --out way.proof\n" +
			"  keyhold audit verify way.proof --key audit-key.txt",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			in, err := consistencyInput(from, to)
			if err == nil && witnessed {
				in.To, err = a.newestWitnessed(ctx, c)
			}
			if err != nil {
				return err
			}
			p, err := c.ProveConsistency(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			return a.evidence(out, p.Bundle, p.VerifierKey, p)
		}),
		ValidArgsFunction: fixed(),
	}
	fl := cmd.Flags()
	fl.StringVar(&from, "from", "", "file of the earlier checkpoint, or its name: ORIGIN@SIZE")
	fl.StringVar(&to, "to", "", "name of the later checkpoint, ORIGIN@SIZE (default: the newest)")
	fl.BoolVar(&witnessed, "witnessed", false, "to the newest checkpoint that a quorum of the server's witnesses cosigned")
	fl.StringVar(&out, "out", "", "file to write to, instead of standard output")
	cmd.MarkFlagsMutuallyExclusive("to", "witnessed")
	return cmd
}

// newestWitnessed is the name of the newest checkpoint that was witnessed.
func (a *app) newestWitnessed(ctx context.Context, c *client.Client) (client.CheckpointName, error) {
	p, err := c.GetCheckpoint(ctx, a.options()...)
	if err != nil {
		return client.CheckpointName{}, err
	}
	lines := strings.SplitN(string(p.Witnessed), "\n", 3)
	if len(lines) < 3 {
		return client.CheckpointName{}, noWitnessed()
	}
	return checkpointName(lines[0] + "@" + lines[1])
}

func noWitnessed() error {
	return refusal(kms.CodeNotFound, "name witnesses in audit.witnesses, or look at keyhold doctor", "no checkpoint was cosigned by a quorum of witnesses")
}

func consistencyInput(from, to string) (in client.ConsistencyInput, err error) {
	if from == "" {
		return in, usagef("keep one with keyhold audit checkpoint --out FILE", "--from is missing: the checkpoint that the proof begins with")
	}
	if _, err = os.Stat(from); err == nil {
		in.Checkpoint, err = readSmall(from, maxAnchor)
	} else {
		in.From, err = checkpointName(from)
	}
	if err == nil && to != "" {
		in.To, err = checkpointName(to)
	}
	return in, err
}

func checkpointName(s string) (n client.CheckpointName, err error) {
	origin, size, sized := strings.Cut(s, "@")
	if sized {
		n.Size, err = strconv.ParseUint(size, 10, 63)
	}
	if err != nil || strings.Count(origin, "/") != 2 {
		return n, usagef("the name is the first line of the checkpoint, @, and its second line", "%q is neither a file nor the name of a checkpoint", s)
	}
	n.Origin = origin
	return n, nil
}

// addWitnesses adds the witnesses that a verification asks for.
func addWitnesses(keys *verify.Keys, file string, quorum int) error {
	if file == "" {
		if quorum != 0 {
			return usagef("--witness FILE names them", "--witness-quorum needs witnesses")
		}
		return nil
	}
	text, err := readSmall(file, maxTextFile)
	if err != nil {
		return err
	}
	if keys.Witnesses, err = verify.ParseWitnesses(text, quorum); err != nil {
		return refusal(kms.CodeBadRequest, "the file has verifier keys of witnesses, one a line: NAME+HASH+KEY", "%v", err)
	}
	return nil
}

// wayReport is the JSON of a verified consistency proof.
type wayReport struct {
	File       string         `json:"file"`
	Verified   bool           `json:"verified"`
	Problem    string         `json:"problem,omitempty"`
	FromOrigin string         `json:"from_origin,omitempty"`
	FromSize   uint64         `json:"from_size,omitempty"`
	ToOrigin   string         `json:"to_origin,omitempty"`
	ToSize     uint64         `json:"to_size,omitempty"`
	Epochs     int            `json:"epochs,omitempty"`
	Cosigned   []verify.Vouch `json:"cosigned,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
}

func (a *app) verifyWay(path string, text []byte, keys verify.Keys) error {
	w, err := verify.Consistency(text, keys)
	if err != nil {
		if a.json() {
			return errors.Join(a.writeJSON(wayReport{File: path, Problem: err.Error()}), errAnswered)
		}
		return refusal(kms.CodeLogAltered, "check that the key is the one you pinned and that the file is the proof as it was given out; otherwise do not trust the log", "the proof %s does not hold: %v", path, err)
	}
	if a.json() {
		return a.writeJSON(wayReport{
			File: path, Verified: true, FromOrigin: w.From.Origin, FromSize: w.From.Size, ToOrigin: w.To.Origin, ToSize: w.To.Size, Epochs: w.Epochs,
			Cosigned: w.Cosigned, Notes: w.Notes,
		})
	}
	facts := []fact{
		{"verified", cell{"yes: the later checkpoint covers everything that the earlier one does", green}},
		{"earlier", plain(fmt.Sprintf("%s, %s records", w.From.Origin, count(w.From.Size)))}, {"later", plain(fmt.Sprintf("%s, %s records", w.To.Origin, count(w.To.Size)))},
		{"boot epochs", plain(strconv.Itoa(w.Epochs))}, {"cosigned", plain(verify.Names(w.Cosigned))},
	}
	for _, n := range w.Notes {
		facts = append(facts, fact{"note", cell{n, yellow}})
	}
	return a.facts(facts...)
}
