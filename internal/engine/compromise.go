package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of marking versions as compromised.
const (
	compromisedAtOnce  = 64 // versions that one request names, and that one transaction marks
	compromisedAnswers = 64 // versions that an answer shows of "all"
)

// The descriptor of compromise (SP 800-57 part 1 rev. 5 §8.3.5; LIF-15). It needs nobody's approval: it takes rights away only, and is urgent.
var compromiseVersion = change[CompromiseInput, CompromiseOutput]{
	name: kms.CompromiseVersion,
	roles: []role[CompromiseInput]{{action: kms.CompromiseVersion, need: lifecycle.Read, // also of a key that is pending destruction
		key: func(in *CompromiseInput) (kms.Ref, error) { return in.Key, nil }}},
	check: func(in *CompromiseInput) error {
		switch n := len(in.Versions); {
		case in.All == (n > 0):
			return kms.Errorf(kms.CodeBadRequest, "name the versions that are compromised, or all")
		case n > compromisedAtOnce:
			return kms.Errorf(kms.CodeTooLarge, "%d versions were named, the limit is %d: name fewer, or all", n, compromisedAtOnce)
		}
		slices.Sort(in.Versions)
		in.Versions = slices.Compact(in.Versions)
		return nil
	},
	prepare: prepareCompromise,
	do:      doCompromise,
}

// replaces tells whether a change that marks these versions has to make a new primary version: not for a key that is about to be destroyed
// or has no material, nor where the server cannot make it.
func (in *CompromiseInput) replaces(k *kms.Key, now time.Time) bool {
	return in.rewraps(k) && k.Origin == kms.Generated && in.marks(lifecycle.PrimaryAt(k, now))
}

func (in *CompromiseInput) marks(n uint32) bool {
	if in.All {
		return in.below == 0 || n < in.below
	}
	return slices.Contains(in.Versions, n)
}

func prepareCompromise(ctx context.Context, w *work, in *CompromiseInput) (err error) {
	k := w.keys[0]
	in.tells = w.may(ctx, &k, kms.ReadUsage)
	in.made = nil
	if !in.replaces(&k.Key.Key, w.now) {
		return nil
	}
	if w.call.DryRun {
		in.made = &newVersion{key: k.ID, number: k.Latest + 1}
		return nil
	}
	in.made, err = w.newVersion(ctx, k.ID, k.Latest+1, provider.Spec{Algorithm: k.Algorithm, Bytes: k.Bytes, MAC: k.Transit.Mac}, k.Usage)
	if kms.CodeOf(err) == kms.CodeRandomness { // that the version stops cannot wait for a machine that is out of order
		w.e.log.Error("compromised_version_not_replaced", "namespace", string(k.Namespace), "key", k.ID.String(), "error", err)
		in.made, err = nil, nil
	}
	return err
}

func doCompromise(_ context.Context, w *work, tx *records.Tx, in *CompromiseInput) (CompromiseOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return CompromiseOutput{}, err
	}
	if k.Switch == kms.DestroyedKey {
		return CompromiseOutput{}, lifecycle.KeyPermits(k.Switch, lifecycle.Manage, lifecycle.Terms{})
	}
	latest := k.Latest
	if _, err := w.settlePrimary(tx, &k, w.now); err != nil {
		return CompromiseOutput{}, err
	}
	was := k.Primary
	out := CompromiseOutput{}
	primary := false
	numbers, left := in.numbers(latest)
	out.Left = left
	for _, n := range numbers {
		v, there, err := tx.Version(k.ID, n)
		if err != nil {
			return CompromiseOutput{}, err
		}
		if !there && !in.All {
			return CompromiseOutput{}, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
		}
		if !there {
			continue
		}
		done, err := w.compromise(tx, &k.Key, &v, in.All)
		if err != nil {
			return CompromiseOutput{}, err
		}
		primary = primary || done && n == was
		out.Versions = append(out.Versions, v.Version)
		if done {
			w.rec.Detail += fmt.Sprintf(" %d", n)
		}
	}
	if len(w.rec.Detail) == 0 {
		w.rec.Detail = "nothing to do"
		return in.answer(w, out, &k.Key), nil
	}
	w.rec.Detail = clipTo("compromised:"+w.rec.Detail, 900)
	if primary {
		if err := w.replacePrimary(tx, &k, in.made); err != nil {
			return CompromiseOutput{}, err
		}
	}
	// Data keys leave a compromised version whether or not it was the primary one: a new primary begins the same campaign by itself.
	if !primary && !w.call.DryRun && in.rewraps(&k.Key) {
		if err := wantRewrap(tx, &k, w.call.Principal.Name, "versions were compromised"); err != nil {
			return CompromiseOutput{}, err
		}
	}
	w.rec.Keys[0].Version = was
	w.putKey(tx, &k)
	return in.answer(w, out, &k.Key), nil
}

// rewraps tells whether the key is in a position from which a campaign can go on.
func (in *CompromiseInput) rewraps(k *kms.Key) bool {
	return k.Switch == kms.Enabled || k.Switch == kms.Disabled || k.Switch == kms.SuspendedKey
}

// numbers are the versions to look at, newest first; what one transaction does not take is left.
func (in *CompromiseInput) numbers(latest uint32) (all []uint32, left uint32) {
	if !in.All {
		all = slices.Clone(in.Versions)
		slices.Reverse(all)
		return all, 0
	}
	for n := latest; n > 0; n-- {
		if !in.marks(n) {
			continue
		}
		if len(all) == compromisedAtOnce {
			return all, n + 1
		}
		all = append(all, n)
	}
	return all, 0
}

// compromise marks one version, and tells whether that was anything new. Of all versions, those that are destroyed are passed over.
func (w *work) compromise(tx *records.Tx, k *kms.Key, v *records.Version, all bool) (bool, error) {
	settleVersion(&v.Version, w.now)
	switch err := lifecycle.Next(v.State, kms.Compromised); {
	case kms.CodeOf(err) == kms.CodeAlreadyDone:
		return false, nil
	case err != nil && all:
		return false, nil
	case err != nil:
		return false, err
	}
	if k.Next == v.Number { // it becomes nothing any more
		k.Next, k.NextAt = 0, time.Time{}
	}
	v.RecallUntil = time.Time{}
	w.move(&v.Version, kms.Compromised)
	return true, tx.PutVersion(*v)
}

// replacePrimary is a rotation by compromise. A key that cannot have a new version keeps its primary, which does not protect any more.
func (w *work) replacePrimary(tx *records.Tx, k *records.Key, made *newVersion) error {
	if made == nil {
		w.rec.Detail += "; no new primary version: the key does not protect"
		return nil
	}
	if made.number != k.Latest+1 {
		return errStale
	}
	was := k.Primary
	k.Latest, k.Primary, k.Rotated = made.number, made.number, w.now.UTC()
	w.rec.Detail += fmt.Sprintf("; primary %d to %d", was, k.Primary)
	if w.call.DryRun {
		return nil
	}
	if err := w.plan(tx, k); err != nil {
		return err
	}
	_, err := w.putVersion(tx, &k.Key, made, Dates{})
	return err
}

func (in *CompromiseInput) answer(w *work, out CompromiseOutput, k *kms.Key) CompromiseOutput {
	out.Key = *k
	for i := range out.Versions {
		if x, ever := exposure(&out.Versions[i], w.now); ever && out.Versions[i].State == kms.Compromised {
			out.Exposed = append(out.Exposed, x)
		}
	}
	return out
}

func (out *CompromiseOutput) asOf(now time.Time) {
	lifecycle.Primary(&out.Key, now)
	out.Versions = versionsAt(out.Versions, now)
}

// CompromiseVersion marks versions of a key as compromised. They protect nothing from then on, and process only for who has the permission
// for that. If the primary version is among them, the same change makes a new one. Of a key with more versions than one transaction
// takes, the newest are marked first; if the server stops in between, the request is repeated. To who may read the usage ledger the answer tells what was done
// with them, also of versions that were marked before.
func (e *Engine) CompromiseVersion(ctx context.Context, c kms.Call, in CompromiseInput) (CompromiseOutput, error) {
	out, err := alter(ctx, e, c, &compromiseVersion, &in)
	token := c.Token
	for page := 1; err == nil && out.Left != 0 && !c.DryRun; page++ {
		in.below = out.Left
		if token != "" {
			c.Token = clipTo(fmt.Sprintf("%d/%s", page, token), 128)
		}
		var more CompromiseOutput
		if more, err = alter(ctx, e, c, &compromiseVersion, &in); err != nil {
			break
		}
		out.Key, out.Left = more.Key, more.Left
		out.Versions = append(out.Versions, more.Versions...)
		out.Exposed = append(out.Exposed, more.Exposed...)
	}
	if err != nil {
		return CompromiseOutput{}, err
	}
	out.Versions = out.Versions[:min(len(out.Versions), compromisedAnswers)]
	switch {
	case c.DryRun || len(out.Exposed) == 0:
	case in.tells:
		e.expose(ctx, c, &out)
	default:
		out.Unknown = []string{"what was done with the versions: that is told to who may ReadUsage"}
	}
	return out, nil
}
