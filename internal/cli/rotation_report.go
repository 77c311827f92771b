package cli

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// rotationOld is how long ago a key's primary version may have become it before the report says so: the shorter end of what SP 800-57 part 1 rev. 5 §5.3.6 suggests
// for keys that protect is a year.
const rotationOld = 365 * 24 * time.Hour

func (a *app) keyRotationReport() *cobra.Command {
	var limit int
	var findings bool
	cmd := &cobra.Command{
		Use: "rotation-report [PREFIX] [flags]", Short: "Show when keys were rotated and are due, and test their primary versions",
		Long: `Show of every key that you may see when it was rotated and when it is due, what was missed or failed, and test its primary version: the server opens
it anew, and lets it open what it made at its birth. With PREFIX: the keys whose name begins so.

The audit log says how many keys were tested and what was found: the evidence that rotation is tested. Status 1 means that a rotation was
missed or failed, or that a self-test failed. That a key was not rotated for a year is said, and no failure.`,
		Example: "  keyhold key rotation-report\n  keyhold key rotation-report payroll/ --findings -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var t tally
			all := t.of(c.ReportRotations(ctx, strings.Join(args, ""), a.options()...), time.Now(), findings)
			err := listing(a, "rotations", limit, all, []string{"NAME", "VERSION", "ROTATED", "DUE", "SELF-TEST", "FINDING"}, func(r client.RotationStatus) []cell {
				k := r.Key
				rotated := k.RotatedAt
				if rotated.IsZero() {
					rotated = k.CreatedAt
				}
				return []cell{plain(k.Name), plain(versionsOf(k)), plain(moment(rotated)), plain(or(moment(k.RotateAt), "by hand")), state(r.SelfTest),
					{rotationFinding(r, time.Now()), findingColour(r)}}
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "%s\n", t)
			return answered(t.missed+t.failing+t.broken == 0)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	limitFlag(cmd, &limit, 0)
	cmd.Flags().BoolVar(&findings, "findings", false, "show only keys of which there is something to say; all are tested")
	return cmd
}

// rotationFinding says what there is to say of a key's rotation; empty: nothing.
func rotationFinding(r client.RotationStatus, now time.Time) string {
	var said []string
	if r.SelfTest == "failed" {
		said = append(said, "the self-test failed: "+r.SelfTestError)
	}
	if r.FailedAttempts > 0 {
		s := fmt.Sprintf("%d attempts failed, tried again at %s", r.FailedAttempts, moment(r.RetryAt))
		if r.Failure != "" {
			s += ": " + r.Failure
		}
		said = append(said, s)
	}
	if r.Missed {
		said = append(said, "missed")
	}
	if old(r, now) {
		said = append(said, "not rotated for a year")
	}
	return strings.Join(said, "; ")
}

func findingColour(r client.RotationStatus) colour {
	if r.SelfTest == "failed" || r.Missed || r.FailedAttempts > 0 {
		return red
	}
	return yellow
}

func old(r client.RotationStatus, now time.Time) bool {
	since := r.Key.RotatedAt
	if since.IsZero() {
		since = r.Key.CreatedAt
	}
	return r.Key.State == "enabled" && now.Sub(since) > rotationOld
}

// tally counts what a report found.
type tally struct{ keys, missed, failing, broken, old int }

func (t tally) String() string {
	return fmt.Sprintf("%d keys: %d missed, %d failing, %d self-tests failed, %d not rotated for a year", t.keys, t.missed, t.failing, t.broken, t.old)
}

// of counts a report as it goes by; with findings, only keys of which there is something to say pass.
func (t *tally) of(all iter.Seq2[client.RotationStatus, error], now time.Time, findings bool) iter.Seq2[client.RotationStatus, error] {
	return func(yield func(client.RotationStatus, error) bool) {
		for r, err := range all {
			if err == nil {
				t.keys++
				for _, c := range []struct {
					n   *int
					yes bool
				}{{&t.missed, r.Missed}, {&t.failing, r.FailedAttempts > 0}, {&t.broken, r.SelfTest == "failed"}, {&t.old, old(r, now)}} {
					if c.yes {
						*c.n++
					}
				}
				if findings && rotationFinding(r, now) == "" {
					continue
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// rotations tells of scheduled rotations that did not happen. Strangers are not told, and older servers do not say.
func (d *diagnosis) rotations(s client.Status) {
	const fix = "keyhold key rotation-report --findings names the keys; keyhold jobs says why, to operators"
	switch {
	case s.ClusterID == "":
	case s.RotationsMissed > 0:
		d.add("rotations", findingFailed, fix, "%d scheduled rotations are more than an hour late, %d failed and are tried again", s.RotationsMissed, s.RotationsFailed)
	case s.RotationsFailed > 0:
		d.add("rotations", findingWarning, fix, "%d scheduled rotations failed and are tried again", s.RotationsFailed)
	default:
		d.add("rotations", findingOK, "", "none is late")
	}
}
