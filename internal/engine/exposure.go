package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/usage"
)

// Limits of what is told of compromised versions.
const (
	exposedShown = 64 // versions of which data keys are counted, the newest
	exposedUsers = records.MaxUsers
)

// Exposure is what the compromise of a version exposes: what it protected within a window of time.
type Exposure struct {
	Version uint32
	From    time.Time // it became active
	To      time.Time // it stopped protecting

	// By the usage ledger and the register of data keys, as they are when they are asked.
	Made     uint64    `json:"-"` // items that it protected
	Bytes    uint64    `json:"-"` // of them
	First    time.Time `json:"-"` // of them; zero: none
	Last     time.Time `json:"-"`
	DataKeys int       `json:"-"` // managed ones under it, kept here
	Outside  int       `json:"-"` // known by fingerprint, held by others
}

// Evidence is what is known of the use of compromised versions, all together.
type Evidence struct {
	Since      time.Time   // of the first audit record that was counted
	Through    time.Time   // of the last
	Users      []UserUsage // who used them for anything, without what for; latest use first
	Dependants []Dependant // what names the key
	Unknown    []string    // what cannot be known
}

// exposureInput asks for the evidence about versions of a key.
type exposureInput struct {
	Key     kms.Ref
	Exposed []Exposure
}

type exposureOutput struct {
	Exposed []Exposure
	Evidence
}

var readExposure = op[exposureInput, exposureOutput]{
	name: kms.ReadUsage,
	roles: []role[exposureInput]{{action: kms.ReadUsage, need: lifecycle.Read,
		key: func(in *exposureInput) (kms.Ref, error) { return in.Key, nil }}},
	do: doReadExposure,
}

// expose adds the evidence to an answer. It is a reading of its own: the versions are marked whether or not it can be had.
func (e *Engine) expose(ctx context.Context, c kms.Call, out *CompromiseOutput) {
	c.Token, c.Approval, c.Ask = "", kms.ID{}, false
	found, err := use(ctx, e, c, &readExposure, &exposureInput{Key: kms.RefTo(out.Key.ID), Exposed: out.Exposed})
	if err != nil {
		out.Unknown = []string{"what was done with the versions could not be read: " + kms.AsError(err).Error()}
		return
	}
	out.Exposed, out.Evidence = found.Exposed, found.Evidence
}

func doReadExposure(ctx context.Context, w *work, in *exposureInput) (exposureOutput, error) {
	k := w.keys[0]
	out := exposureOutput{Exposed: slices.Clone(in.Exposed)}
	end, err := w.ledgerEnd(ctx)
	if err != nil {
		return out, err
	}
	out.Since, out.Through, out.Unknown = end.Begun, end.Time, unknowable(k.Algorithm)
	all, err := w.usedFor(ctx, k.ID)
	if err != nil {
		return out, err
	}
	var marked []VersionUsage
	for i := range out.Exposed {
		x := &out.Exposed[i]
		if at := slices.IndexFunc(all, func(v VersionUsage) bool { return v.Version == x.Version }); at >= 0 {
			x.count(&all[at])
			marked = append(marked, all[at])
		}
		if i < exposedShown {
			left, err := w.residue(ctx, k.ID, x.Version)
			if err != nil {
				return out, err
			}
			x.DataKeys, x.Outside = left.Held, left.Outside
		}
	}
	out.Users = fewer(usersOf(marked, time.Time{}))
	out.Dependants, err = w.dependants(ctx, k)
	return out, err
}

// count adds up what a version protected.
func (x *Exposure) count(v *VersionUsage) {
	for _, o := range v.Operations {
		if o.Code == 0 && usage.Protects(o.Action) {
			x.Made, x.Bytes = x.Made+o.Count, x.Bytes+o.Bytes
			x.First, x.Last = first(x.First, o.First), later(x.Last, o.Last)
		}
	}
}

// fewer leaves of users, latest use first, as many as an answer names, and counts the others together. What they did in particular is left out.
func fewer(all []UserUsage) []UserUsage {
	var named []UserUsage
	others := UserUsage{Others: true}
	for _, u := range all {
		u.Operations = nil
		if !u.Others && len(named) < exposedUsers {
			named = append(named, u)
			continue
		}
		others.Done, others.Refused = others.Done+u.Done, others.Refused+u.Refused
		others.First, others.Last = first(others.First, u.First), later(others.Last, u.Last)
	}
	if others.Done > 0 {
		named = append(named, others)
	}
	return named
}

// exposure is the window in which a version could protect: from its first activation to the last time that it stopped. A version that is not
// the primary one any more protects only for who names it, which is within the window.
func exposure(v *kms.Version, now time.Time) (x Exposure, ever bool) {
	x.Version = v.Number
	was := kms.PreActive
	for _, s := range v.History {
		if s.To == kms.Active && !ever {
			x.From, ever = s.At, true
		}
		if was == kms.Active && s.To != kms.Active {
			x.To = s.At
		}
		was = s.To
	}
	if was == kms.Active {
		x.To = now.UTC()
	}
	return x, ever
}
