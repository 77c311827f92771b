package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptor of changing metadata.
var (
	updateKey = change[UpdateKeyInput, KeyOutput]{
		name: kms.UpdateKey,
		roles: []role[UpdateKeyInput]{{action: kms.UpdateKey, need: lifecycle.Manage,
			key: func(in *UpdateKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		check: checkUpdate,
		do:    doUpdate,
	}
)

func checkUpdate(in *UpdateKeyInput) error {
	if in.Name != nil {
		if err := kms.CheckName(*in.Name); err != nil {
			return err
		}
	}
	if in.Description != nil && len(*in.Description) > kms.MaxKeyDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(*in.Description), kms.MaxKeyDescription)
	}
	if in.Class != nil && *in.Class != "" {
		if err := kms.CheckClass(*in.Class); err != nil {
			return err
		}
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

func doUpdate(ctx context.Context, w *work, tx *records.Tx, in *UpdateKeyInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if in.IfRev != 0 && in.IfRev != k.Rev {
		return KeyOutput{}, kms.Errorf(kms.CodeConflict, "key %q is at revision %d, not %d", k.Name, k.Rev, in.IfRev)
	}
	k.Stand(w.call.Region)
	was := k.Key
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
	if in.Class != nil && *in.Class != k.Class {
		said = append(said, fmt.Sprintf("class %q to %q", k.Class, *in.Class))
		k.Class = *in.Class
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
	said = append(said, preset(&k.Freeze, in.Freeze, "freeze")...)
	said = append(said, preset(&k.ProcessDeactivated, in.ProcessDeactivated, "process deactivated")...)
	least, err := minima(&k.Key, in.MinProtect, in.MinProcess)
	if err != nil {
		return KeyOutput{}, err
	}
	said = append(said, least...)
	if len(said) == 0 {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if err := w.authorizeRenamed(ctx, k.Key); err != nil {
		return KeyOutput{}, err
	}
	if err := w.keepsMetadata(&was, &k.Key); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = strings.Join(said, ", ")
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

func preset(is, to *bool, name string) []string {
	if to == nil || *is == *to {
		return nil
	}
	*is = *to
	return []string{fmt.Sprintf("%s %v", name, *to)}
}

// minima sets the least versions that protect, and that are used at all. Both may go up and down: nothing is lost by them. What is below the least version that
// is kept does not come back.
func minima(k *kms.Key, protect, process *uint32) (said []string, _ error) {
	toProtect, toProcess := or(protect, k.MinProtect), or(process, k.MinProcess)
	for _, m := range []struct {
		what string
		n    uint32
	}{{"decryption", toProcess}, {"encryption", toProtect}} {
		if m.n > k.Primary && m.n > 1 {
			return nil, kms.Errorf(kms.CodeBadRequest, "cannot set min %s version of %d, latest key version is %d", m.what, m.n, k.Primary)
		}
	}
	if toProtect > 0 && toProtect < toProcess {
		return nil, kms.Errorf(kms.CodeBadRequest, "cannot set min encryption/decryption values; min encryption version of %d must be greater than or equal to min decryption version of %d", toProtect, toProcess)
	}
	if process != nil && max(toProcess, 1) < k.MinKept {
		return nil, kms.Errorf(kms.CodeBadRequest, "the versions below %d are destroyed: min decryption version should not be less than min available version", k.MinKept)
	}
	if toProcess != k.MinProcess {
		said = append(said, fmt.Sprintf("least version that is used %d to %d", k.MinProcess, toProcess))
	}
	if toProtect != k.MinProtect {
		said = append(said, fmt.Sprintf("least version that protects %d to %d", k.MinProtect, toProtect))
	}
	k.MinProtect, k.MinProcess = toProtect, toProcess
	return said, nil
}

// authorizeRenamed decides the update on the key as it would be, too: a caller must not move a key, by name or label,
// to where it could not have changed it.
func (w *work) authorizeRenamed(ctx context.Context, k kms.Key) error {
	return w.authorizeAs(ctx, &k, kms.UpdateKey)
}

// authorizeAs decides on a key as it would be.
func (w *work) authorizeAs(ctx context.Context, k *kms.Key, a kms.Action) error {
	on, err := w.keyResource(ctx, k, w.call.Principal.Name)
	if err != nil {
		return err
	}
	return w.verdict(w.decide(on, a, nil), a)
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
			if in.OnlyNew {
				return nil, kms.Errorf(kms.CodeExists, "key %q has the alias %q already", k.Name, a)
			}
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
