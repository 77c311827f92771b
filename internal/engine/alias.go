package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// MoveAliasInput asks that an alias leads to another key.
type MoveAliasInput struct {
	Alias string // without "alias/"; it leads to some key
	Key   kms.Ref
}

// moveAlias takes the right to update both keys. The record is the new key's; it names both.
var moveAlias = change[MoveAliasInput, KeyOutput]{
	name: kms.UpdateKey,
	roles: []role[MoveAliasInput]{
		{action: kms.UpdateKey, need: lifecycle.Manage, key: func(in *MoveAliasInput) (kms.Ref, error) { return in.Key, nil }},
		{action: kms.UpdateKey, need: lifecycle.Read, key: func(in *MoveAliasInput) (kms.Ref, error) { return kms.Ref("alias/" + in.Alias), nil }},
	},
	check: func(in *MoveAliasInput) error {
		in.Alias = strings.TrimPrefix(in.Alias, "alias/")
		return kms.CheckName(in.Alias)
	},
	do: doMoveAlias,
}

// MoveAlias makes an alias lead to another key, in one step: at every moment it leads to one of the two.
func (e *Engine) MoveAlias(ctx context.Context, c kms.Call, in MoveAliasInput) (KeyOutput, error) {
	return alter(ctx, e, c, &moveAlias, &in)
}

func doMoveAlias(_ context.Context, w *work, tx *records.Tx, in *MoveAliasInput) (KeyOutput, error) {
	to, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	admitted := w.keys[1]
	from, there, err := tx.Key(admitted.Namespace, admitted.ID)
	if err != nil {
		return KeyOutput{}, err
	}
	if !there || from.Rev != admitted.Rev {
		return KeyOutput{}, errStale
	}
	if from.ID == to.ID {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: to.Key}, nil
	}
	i := slices.Index(from.Aliases, in.Alias)
	if i < 0 { // it is the key's name, or led elsewhere when the caller was admitted
		return KeyOutput{}, kms.Errorf(kms.CodeConflict, "%q is not an alias of key %q", in.Alias, from.Name)
	}
	if len(to.Aliases) >= maxAliases {
		return KeyOutput{}, kms.Errorf(kms.CodeTooLarge, "a key can have %d aliases", maxAliases)
	}
	from.Aliases = slices.Delete(slices.Clone(from.Aliases), i, i+1)
	from.Changed = w.now.UTC()
	if err := tx.PutKey(from); err != nil {
		return KeyOutput{}, err
	}
	if err := tx.PutName(to.Namespace, records.Name{Key: to.ID, Name: in.Alias, Alias: true}); err != nil {
		return KeyOutput{}, err
	}
	to.Aliases = append(slices.Clone(to.Aliases), in.Alias)
	w.rec.Detail = fmt.Sprintf("alias %q from key %s", in.Alias, from.ID)
	w.putKey(tx, &to)
	return KeyOutput{Key: to.Key}, nil
}

// DeleteAliasInput names an alias.
type DeleteAliasInput struct{ Alias string } // without "alias/"

// deleteAlias is an update of the key that works in every state: a name must come free from a key that waits to be destroyed, too.
var deleteAlias = change[DeleteAliasInput, KeyOutput]{
	name: kms.UpdateKey,
	roles: []role[DeleteAliasInput]{
		{action: kms.UpdateKey, need: lifecycle.Read, key: func(in *DeleteAliasInput) (kms.Ref, error) { return kms.Ref("alias/" + in.Alias), nil }},
	},
	check: func(in *DeleteAliasInput) error {
		in.Alias = strings.TrimPrefix(in.Alias, "alias/")
		return kms.CheckName(in.Alias)
	},
	do: func(_ context.Context, w *work, tx *records.Tx, in *DeleteAliasInput) (KeyOutput, error) {
		k, err := w.key(tx)
		if err != nil {
			return KeyOutput{}, err
		}
		aliases, err := changeAliases(tx, &k.Key, &UpdateKeyInput{RemoveAliases: []string{in.Alias}})
		if err != nil {
			return KeyOutput{}, err
		}
		k.Aliases = aliases
		w.rec.Detail = fmt.Sprintf("alias %q deleted", in.Alias)
		w.putKey(tx, &k)
		return KeyOutput{Key: k.Key}, nil
	},
}

// DeleteAlias frees an alias.
func (e *Engine) DeleteAlias(ctx context.Context, c kms.Call, in DeleteAliasInput) (KeyOutput, error) {
	return alter(ctx, e, c, &deleteAlias, &in)
}
