package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of the window in which nobody may have used a version that is retired.
const (
	retireWindow      = 30 * 24 * time.Hour
	leastRetireWindow = 24 * time.Hour // outside development namespaces
	mostRetireWindow  = 10 * 365 * 24 * time.Hour
)

// RetireInput asks for the end of a version that nothing needs any more.
type RetireInput struct {
	Key     kms.Ref
	Version uint32
	Window  time.Duration // in which nobody may have used it; 0: 30 days; at least a day outside development namespaces
	Force   bool          // whatever is left: takes approvals

	found *Retirement // filled by prepare
}

// Retirement is whether a version may be retired, with the evidence.
type Retirement struct {
	Version   uint32
	State     kms.State
	Window    kms.Seconds
	Since     time.Time   // of the first audit record that was counted
	Through   time.Time   // of the last
	Last      time.Time   // use; zero: none
	Users     []UserUsage // within the window
	DataKeys  int         // managed ones left under it, kept here
	Outside   int         // known by fingerprint, held by others
	Against   []string    // why it may not be retired; empty: it may
	Unknown   []string    // what cannot be known
	Retirable bool
}

// RetireOutput is the evidence and, after the change, the key.
type RetireOutput struct {
	KeyOutput
	Evidence Retirement
}

func checkRetire(in *RetireInput) error {
	if in.Window == 0 {
		in.Window = retireWindow
	}
	if in.Window < 0 || in.Window > mostRetireWindow {
		return kms.Errorf(kms.CodeBadRequest, "a window of %s was asked for: want at most ten years", in.Window)
	}
	return nil
}

func retireRole(a kms.Action) []role[RetireInput] {
	return []role[RetireInput]{{action: a, need: lifecycle.Manage, key: func(in *RetireInput) (kms.Ref, error) { return in.Key, nil }}}
}

// The descriptors of retiring a version.
var (
	checkRetirement = op[RetireInput, RetireOutput]{
		name: kms.ReadUsage,
		roles: []role[RetireInput]{{action: kms.ReadUsage, need: lifecycle.Read,
			key: func(in *RetireInput) (kms.Ref, error) { return in.Key, nil }}},
		check: checkRetire,
		do: func(ctx context.Context, w *work, in *RetireInput) (RetireOutput, error) {
			found, err := w.retirement(ctx, in)
			if err != nil {
				return RetireOutput{}, err
			}
			return RetireOutput{KeyOutput: KeyOutput{Key: w.keys[0].Key.Key}, Evidence: *found}, nil
		},
	}
	retireVersion = change[RetireInput, RetireOutput]{
		name:  kms.RetireVersion,
		roles: retireRole(kms.RetireVersion),
		check: checkRetire,
		approve: func(_ *work, in *RetireInput) string {
			if in.Force {
				return "the version is retired whatever is still under it"
			}
			return ""
		},
		prepare: func(ctx context.Context, w *work, in *RetireInput) (err error) {
			in.found, err = w.retirement(ctx, in)
			return err
		},
		do: doRetire,
	}
)

// CheckRetirement answers whether a version may be retired, with the evidence, and changes nothing.
func (e *Engine) CheckRetirement(ctx context.Context, c kms.Call, in RetireInput) (RetireOutput, error) {
	return use(ctx, e, c, &checkRetirement, &in)
}

// RetireVersion ends a version of which nothing is known to be left. CodeResidue says what is.
func (e *Engine) RetireVersion(ctx context.Context, c kms.Call, in RetireInput) (RetireOutput, error) {
	return alter(ctx, e, c, &retireVersion, &in)
}

func doRetire(ctx context.Context, w *work, tx *records.Tx, in *RetireInput) (RetireOutput, error) {
	if in.found.State == kms.Deactivated {
		out, err := doDeactivate(ctx, w, tx, &DeactivateInput{Key: in.Key, Version: in.Version}) // nothing to do
		return RetireOutput{KeyOutput: out, Evidence: *in.found}, err
	}
	if !in.Force && !in.found.Retirable {
		return RetireOutput{}, kms.Errorf(kms.CodeResidue, "version %d of key %q is not retired: %s", in.Version, w.keys[0].Name, strings.Join(in.found.Against, "; "))
	}
	out, err := doDeactivate(ctx, w, tx, &DeactivateInput{Key: in.Key, Version: in.Version})
	if err != nil {
		return RetireOutput{}, err
	}
	w.rec.Detail = clipTo(in.found.summary(in.Force), 1024)
	return RetireOutput{KeyOutput: out, Evidence: *in.found}, nil
}

// summary is what the audit record says of the evidence.
func (r *Retirement) summary(forced bool) string {
	last := "never used"
	if !r.Last.IsZero() {
		last = "last used at " + spelt(r.Last)
	}
	s := fmt.Sprintf("%s; data keys left: %d here, %d elsewhere; window %s", last, r.DataKeys, r.Outside, r.Window.Duration())
	if forced && len(r.Against) > 0 {
		s += "; forced although " + strings.Join(r.Against, "; ")
	}
	return s
}

// retirement gathers the evidence about a version of an admitted key.
func (w *work) retirement(ctx context.Context, in *RetireInput) (*Retirement, error) {
	k := w.keys[0]
	v, err := w.o.records.Version(ctx, k.ID, in.Version)
	if err != nil {
		return nil, err
	}
	w.rec.Keys[0].Version = in.Version
	if v.Rev == 0 {
		return nil, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, in.Version)
	}
	if in.Window < leastRetireWindow && !w.rules.ns.Dev {
		return nil, kms.Errorf(kms.CodeWindow, "a window of %s is too short to say that nobody needs a version: want a day or more", in.Window)
	}
	end, err := w.ledgerEnd(ctx)
	if err != nil {
		return nil, err
	}
	row, err := w.o.records.UsageOf(ctx, k.ID, in.Version)
	if err != nil {
		return nil, err
	}
	left, err := w.residue(ctx, k.ID, in.Version)
	if err != nil {
		return nil, err
	}
	used := versionUsage(&row)
	r := &Retirement{
		Version: in.Version, State: lifecycle.StateAt(&v.Version, w.now), Window: kms.Seconds(in.Window / time.Second), Since: end.Begun, Through: end.Time, Last: used.Last,
		Users: usersOf([]VersionUsage{used}, w.now.Add(-in.Window)), DataKeys: left.Held, Outside: left.Outside, Unknown: unknowable(v.Algorithm),
	}
	r.weigh(&k, &v.Version, w.now)
	return r, nil
}

// weigh says what speaks against the end of a version.
func (r *Retirement) weigh(k *admitted, v *kms.Version, now time.Time) {
	against := func(format string, args ...any) { r.Against = append(r.Against, fmt.Sprintf(format, args...)) }
	if r.State != kms.Active && r.State != kms.Suspended && r.State != kms.Deactivated {
		against("it is %s", r.State)
	}
	if v.Number == k.Primary {
		against("it is the primary version: rotate the key first")
	}
	if r.DataKeys > 0 {
		against("%d managed data keys are under it: re-wrap them", r.DataKeys)
	}
	if r.Outside > 0 {
		against("%d data keys that others hold are registered under it: who holds them has to re-wrap them", r.Outside)
	}
	if len(r.Users) > 0 {
		u := r.Users[0]
		others := ""
		if n := len(r.Users) - 1; n > 0 {
			others = fmt.Sprintf(" and %d others before", n)
		}
		against("%s used it at %s%s", calledOf(u), spelt(u.Last), others)
	}
	// Who used it before the ledger begins is not known.
	if from := now.Add(-r.Window.Duration()); r.Since.After(from) && v.Created.Before(r.Since) {
		against("what it was used for is known from %s on only", spelt(r.Since))
	}
	r.Retirable = len(r.Against) == 0
}
