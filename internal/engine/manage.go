package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
)

func keyRole(a kms.Action, need lifecycle.Need) []role[KeyInput] {
	return []role[KeyInput]{{action: a, need: need, key: func(in *KeyInput) (kms.Ref, error) { return in.Key, nil }}}
}

// The descriptors of everything that changes a key.
var (
	createKey = change[CreateKeyInput, KeyOutput]{
		// Decided on the key that would be, not on the namespace: a policy may let someone create keys in one folder or
		// with one label only.
		name:  kms.CreateKey,
		check: checkCreate,
		authorize: func(w *work, in *CreateKeyInput) error {
			in.made = &newVersion{key: w.e.newID(w.now)}
			k := in.key(w)
			in.made = nil
			return w.verdict(w.decide(policy.PrepareKey(&k), kms.CreateKey, nil), kms.CreateKey)
		},
		prepare: prepareCreate,
		do:      doCreate,
	}
	updateKey = change[UpdateKeyInput, KeyOutput]{
		name: kms.UpdateKey,
		roles: []role[UpdateKeyInput]{{action: kms.UpdateKey, need: lifecycle.Manage,
			key: func(in *UpdateKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		check: checkUpdate,
		do:    doUpdate,
	}
	rotateKey = change[RotateKeyInput, KeyOutput]{
		name: kms.RotateKey,
		roles: []role[RotateKeyInput]{{action: kms.RotateKey, need: lifecycle.Rotate,
			key: func(in *RotateKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		prepare: func(ctx context.Context, w *work, in *RotateKeyInput) (err error) {
			k := w.keys[0]
			if w.call.DryRun {
				in.made = &newVersion{key: k.ID, number: k.Latest + 1}
				return nil
			}
			in.made, err = w.newVersion(ctx, k.ID, k.Latest+1, k.Algorithm)
			return err
		},
		do: doRotate,
	}
	enableKey  = turn(kms.EnableKey, lifecycle.Enable)
	disableKey = turn(kms.DisableKey, lifecycle.Disable)
	suspendKey = turn(kms.SuspendKey, lifecycle.Suspend)
	resumeKey  = turn(kms.ResumeKey, lifecycle.Resume)

	cancelDestruction = change[KeyInput, KeyOutput]{
		name:  kms.CancelKeyDestruction,
		roles: keyRole(kms.CancelKeyDestruction, lifecycle.Read),
		do: func(_ context.Context, w *work, tx *records.Tx, _ *KeyInput) (KeyOutput, error) {
			return w.turnKey(tx, lifecycle.Cancel, func(k *records.Key) error {
				if err := lifecycle.Cancellable(k.DestroyAt, w.now); err != nil {
					return err
				}
				if err := tx.RemoveDue(records.Due{Namespace: k.Namespace, Key: k.ID, At: k.DestroyAt}); err != nil {
					return err
				}
				k.DestroyAt, k.Before = time.Time{}, 0
				return nil
			})
		},
	}
	scheduleDestruction = change[DestroyInput, KeyOutput]{
		name: kms.ScheduleKeyDestruction,
		roles: []role[DestroyInput]{{action: kms.ScheduleKeyDestruction, need: lifecycle.Read,
			key: func(in *DestroyInput) (kms.Ref, error) { return in.Key, nil }}},
		do: func(_ context.Context, w *work, tx *records.Tx, in *DestroyInput) (KeyOutput, error) {
			end, err := lifecycle.End(w.now, in.Window, w.rules.ns.Dev)
			if err != nil {
				return KeyOutput{}, err
			}
			return w.turnKey(tx, lifecycle.Schedule, func(k *records.Key) error {
				k.Before, k.DestroyAt = k.Switch, end.UTC()
				w.rec.Detail = "destroy at " + end.UTC().Format(time.RFC3339)
				return tx.PutDue(records.Due{Namespace: k.Namespace, Key: k.ID, At: k.DestroyAt})
			})
		},
	}
	deactivateVersion = change[DeactivateInput, KeyOutput]{
		name: kms.DeactivateVersion,
		roles: []role[DeactivateInput]{{action: kms.DeactivateVersion, need: lifecycle.Manage,
			key: func(in *DeactivateInput) (kms.Ref, error) { return in.Key, nil }}},
		do: doDeactivate,
	}
)

// newVersion is material made outside the transaction that stores it.
type newVersion struct {
	key    kms.ID
	number uint32
	gen    provider.Generated
	shred  records.Shred
}

// newVersion makes material for a version: generated, wrapped under the namespace's KEK and a shred secret of its own.
func (w *work) newVersion(ctx context.Context, id kms.ID, n uint32, a kms.Algorithm) (*newVersion, error) {
	place, err := w.o.ring.NewPlace(ctx, w.call.Namespace, id, n)
	if err != nil {
		return nil, err
	}
	defer place.Wrap.Zero()
	gen, err := w.e.cfg.Provider.Generate(a, place.Wrap, place.Name)
	if err != nil {
		return nil, err
	}
	return &newVersion{key: id, number: n, gen: gen, shred: place.Shred}, nil
}

// putVersion writes a version in state active, with its shred row.
func (w *work) putVersion(tx *records.Tx, a kms.Algorithm, m *newVersion) (kms.Version, error) {
	at := w.now.UTC()
	v := kms.Version{
		Key: m.key, Number: m.number, Algorithm: a, State: kms.Active, Origin: kms.Generated, Source: m.gen.Source, Created: at,
		Public: m.gen.Public, Check: m.gen.Check,
		History: []kms.Transition{
			{To: kms.Active, At: at, By: w.call.Principal.Name, Reason: w.call.Reason},
		},
	}
	return v, tx.InsertVersion(records.Version{Version: v, Wrapped: m.gen.Wrapped}, m.shred)
}

func checkCreate(in *CreateKeyInput) error {
	for _, name := range append([]string{in.Name}, in.Aliases...) {
		if err := kms.CheckName(name); err != nil {
			return err
		}
	}
	if len(in.Aliases) > maxAliases {
		return kms.Errorf(kms.CodeTooLarge, "%d aliases are more than the %d a key can have", len(in.Aliases), maxAliases)
	}
	if len(in.Description) > kms.MaxDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(in.Description), kms.MaxDescription)
	}
	return kms.CheckLabels(in.Labels)
}

const maxAliases = 32

func prepareCreate(ctx context.Context, w *work, in *CreateKeyInput) (err error) {
	if in.Usage, err = kms.CheckCreate(in.Algorithm, in.Usage, w.e.cfg.Profile); err != nil {
		return err
	}
	if w.call.DryRun {
		in.made = &newVersion{key: w.e.newID(w.now), number: 1}
		return nil
	}
	if in.made == nil {
		in.made, err = w.newVersion(ctx, w.e.orderedID(w.now), 1, in.Algorithm)
	}
	return err
}

func (in *CreateKeyInput) key(w *work) kms.Key {
	return kms.Key{
		ID: in.made.key, Namespace: w.call.Namespace, Name: in.Name, Aliases: slices.Clone(in.Aliases), Algorithm: in.Algorithm,
		Usage: in.Usage, Origin: kms.Generated, Switch: kms.Enabled, Primary: 1, Latest: 1, Description: in.Description,
		Labels: maps.Clone(in.Labels), Created: w.now.UTC(), Changed: w.now.UTC(),
	}
}

func doCreate(_ context.Context, w *work, tx *records.Tx, in *CreateKeyInput) (KeyOutput, error) {
	k := in.key(w)
	for i, name := range append([]string{in.Name}, in.Aliases...) {
		if err := takeName(tx, k.Namespace, records.Name{Key: k.ID, Name: name, Alias: i > 0}); err != nil {
			return KeyOutput{}, err
		}
	}
	w.rec.Resource = in.Name
	w.rec.Detail = fmt.Sprintf("%s for %s", in.Algorithm, in.Usage)
	if w.call.DryRun {
		k.ID = kms.ID{} // there is none
		return KeyOutput{Key: k}, nil
	}
	v, err := w.putVersion(tx, in.Algorithm, in.made)
	if err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys = append(w.rec.Keys[:0], keyUse(k.ID, 1, 0))
	w.onCommit([32]byte{}, func(leaf [32]byte) error { return tx.InsertKey(records.Key{Key: k, Change: leaf}) })
	return KeyOutput{Key: k, Versions: []kms.Version{v}}, nil
}

func takeName(tx *records.Tx, ns kms.Namespace, n records.Name) error {
	if _, taken, err := tx.Name(ns, n.Name); err != nil {
		return err
	} else if taken {
		return kms.Errorf(kms.CodeExists, "the name %q is taken in namespace %q", n.Name, ns)
	}
	return tx.PutName(ns, n)
}

// key reads an admitted key as the transaction sees it. If it has changed since it was admitted, admission starts again.
func (w *work) key(tx *records.Tx) (records.Key, error) {
	a := w.keys[0]
	k, ok, err := tx.Key(a.Namespace, a.ID)
	if err != nil {
		return k, err
	}
	if !ok || k.Rev != a.Rev {
		return k, errStale
	}
	return k, nil
}

// putKey writes a changed key when the record's leaf hash is known.
func (w *work) putKey(tx *records.Tx, k *records.Key) {
	k.Changed = w.now.UTC()
	w.rec.Resource = k.Name
	w.onCommit(k.Change, func(leaf [32]byte) error {
		k.Change = leaf
		return tx.PutKey(*k)
	})
}

// turn is a change that moves the operator's switch and nothing else.
func turn(a kms.Action, m lifecycle.Move) change[KeyInput, KeyOutput] {
	return change[KeyInput, KeyOutput]{
		name:  a,
		roles: keyRole(a, lifecycle.Read),
		do: func(_ context.Context, w *work, tx *records.Tx, _ *KeyInput) (KeyOutput, error) {
			return w.turnKey(tx, m, func(*records.Key) error { return nil })
		},
	}
}

func (w *work) turnKey(tx *records.Tx, m lifecycle.Move, also func(*records.Key) error) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	to, err := lifecycle.Turn(k.Switch, k.Before, m)
	if kms.CodeOf(err) == kms.CodeAlreadyDone {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if err != nil {
		return KeyOutput{}, err
	}
	if err := also(&k); err != nil {
		return KeyOutput{}, err
	}
	k.Switch = to
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

func doRotate(_ context.Context, w *work, tx *records.Tx, in *RotateKeyInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if k.Latest+1 != in.made.number {
		return KeyOutput{}, errStale
	}
	w.rec.Detail = fmt.Sprintf("primary %d to %d", k.Primary, in.made.number)
	k.Latest, k.Primary = in.made.number, in.made.number
	w.rec.Keys[0].Version = k.Primary
	out := KeyOutput{Key: k.Key}
	if !w.call.DryRun {
		v, err := w.putVersion(tx, k.Algorithm, in.made)
		if err != nil {
			return KeyOutput{}, err
		}
		out.Versions = []kms.Version{v}
	}
	w.putKey(tx, &k)
	out.Key = k.Key
	return out, nil
}

func doDeactivate(_ context.Context, w *work, tx *records.Tx, in *DeactivateInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	v, ok, err := tx.Version(k.ID, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys[0].Version = in.Version
	switch {
	case !ok:
		return KeyOutput{}, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, in.Version)
	case v.State == kms.Deactivated:
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
	case v.Number == k.Primary:
		e := kms.Errorf(kms.CodeVersionState, "version %d is the primary version of key %q", v.Number, k.Name)
		e.Next = "rotate the key first, so that another version protects"
		return KeyOutput{}, e
	}
	if err := lifecycle.Next(v.State, kms.Deactivated); err != nil {
		return KeyOutput{}, err
	}
	w.move(&v.Version, kms.Deactivated)
	if err := tx.PutVersion(v); err != nil {
		return KeyOutput{}, err
	}
	w.putKey(tx, &k) // so that what was admitted on the key is stopped before its output leaves
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}

// maxHistory bounds a version's history: transitions are few, except for suspend and resume in a loop.
const maxHistory = 64

func (w *work) move(v *kms.Version, to kms.State) {
	v.State = to
	step := kms.Transition{To: to, At: w.now.UTC(), By: w.call.Principal.Name, Reason: w.call.Reason}
	if len(v.History) >= maxHistory {
		v.History = append(v.History[:1:1], v.History[2:]...) // the birth stays; the audit log has the rest
	}
	v.History = append(v.History, step)
}

func checkUpdate(in *UpdateKeyInput) error {
	if in.Name != nil {
		if err := kms.CheckName(*in.Name); err != nil {
			return err
		}
	}
	if in.Description != nil && len(*in.Description) > kms.MaxDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(*in.Description), kms.MaxDescription)
	}
	if len(in.AddAliases)+len(in.RemoveAliases) > 2*maxAliases || len(in.RemoveLabels) > kms.MaxLabels {
		return kms.Errorf(kms.CodeTooLarge, "the update has too many parts")
	}
	for _, a := range slices.Concat(in.AddAliases, in.RemoveAliases) {
		if err := kms.CheckName(strings.TrimPrefix(a, "alias/")); err != nil {
			return err
		}
	}
	return kms.CheckLabels(in.SetLabels)
}

func doUpdate(_ context.Context, w *work, tx *records.Tx, in *UpdateKeyInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if in.IfRev != 0 && in.IfRev != k.Rev {
		return KeyOutput{}, kms.Errorf(kms.CodeConflict, "key %q is at revision %d, not %d", k.Name, k.Rev, in.IfRev)
	}
	var said []string
	if in.Name != nil && *in.Name != k.Name {
		if err := takeName(tx, k.Namespace, records.Name{Key: k.ID, Name: *in.Name}); err != nil {
			return KeyOutput{}, err
		}
		if err := tx.RemoveName(k.Namespace, k.Name); err != nil {
			return KeyOutput{}, err
		}
		said = append(said, fmt.Sprintf("name %q to %q", k.Name, *in.Name))
		k.Name = *in.Name
	}
	if in.Description != nil && *in.Description != k.Description {
		k.Description = *in.Description
		said = append(said, "description")
	}
	labels := maps.Clone(k.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, in.SetLabels)
	for _, l := range in.RemoveLabels {
		delete(labels, l)
	}
	if !maps.Equal(labels, k.Labels) {
		if err := kms.CheckLabels(labels); err != nil {
			return KeyOutput{}, err
		}
		k.Labels = labels
		said = append(said, "labels")
	}
	aliases, err := changeAliases(tx, &k.Key, in)
	if err != nil {
		return KeyOutput{}, err
	}
	if !slices.Equal(aliases, k.Aliases) {
		k.Aliases = aliases
		said = append(said, "aliases")
	}
	if len(said) == 0 {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if err := w.authorizeRenamed(k.Key); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = strings.Join(said, ", ")
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

// authorizeRenamed decides the update on the key as it would be, too: a caller must not move a key, by name or label,
// to where it could not have changed it.
func (w *work) authorizeRenamed(k kms.Key) error {
	return w.verdict(w.decide(policy.PrepareKey(&k), kms.UpdateKey, nil), kms.UpdateKey)
}

func changeAliases(tx *records.Tx, k *kms.Key, in *UpdateKeyInput) ([]string, error) {
	aliases := slices.Clone(k.Aliases)
	for _, a := range in.RemoveAliases {
		a = strings.TrimPrefix(a, "alias/")
		i := slices.Index(aliases, a)
		if i < 0 {
			return nil, kms.Errorf(kms.CodeNotFound, "key %q has no alias %q", k.Name, a)
		}
		aliases = slices.Delete(aliases, i, i+1)
		if err := tx.RemoveName(k.Namespace, a); err != nil {
			return nil, err
		}
	}
	for _, a := range in.AddAliases {
		a = strings.TrimPrefix(a, "alias/")
		if slices.Contains(aliases, a) {
			continue
		}
		if err := takeName(tx, k.Namespace, records.Name{Key: k.ID, Name: a, Alias: true}); err != nil {
			return nil, err
		}
		aliases = append(aliases, a)
	}
	if len(aliases) > maxAliases {
		return nil, kms.Errorf(kms.CodeTooLarge, "a key can have %d aliases", maxAliases)
	}
	return aliases, nil
}
