package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
)

// The descriptors of what is done with managed data keys.
var (
	readDataKey = op[ManagedDataKeyInput, ManagedDataKeyOutput]{
		name:  kms.ReadDataKey,
		roles: managedRole(kms.ReadDataKey, lifecycle.Read),
		do: func(ctx context.Context, w *work, in *ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
			d, err := w.findDataKey(ctx, in)
			return ManagedDataKeyOutput{DataKey: showDataKey(&d, true)}, err
		},
	}
	openDataKey = op[ManagedDataKeyInput, ManagedDataKeyOutput]{
		name:  kms.OpenDataKey,
		roles: managedRole(kms.OpenDataKey, lifecycle.Process),
		do:    doOpenDataKey,
		erase: func(out *ManagedDataKeyOutput) { out.Plaintext.Zero() },
	}
	revokeDataKey = change[ManagedDataKeyInput, ManagedDataKeyOutput]{
		name:  kms.RevokeDataKey,
		roles: managedRole(kms.RevokeDataKey, lifecycle.Manage),
		do:    doRevokeDataKey,
	}
	listDataKeys = op[ListDataKeysInput, DataKeysOutput]{
		name: kms.ReadDataKey,
		roles: []role[ListDataKeysInput]{{action: kms.ReadDataKey, need: lifecycle.Read,
			key: func(in *ListDataKeysInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *ListDataKeysInput) error { return checkLimit(&in.Limit) },
		do:    doListDataKeys,
	}
	countDataKeys = op[KeyInput, DataKeyCounts]{
		name:  kms.ReadDataKey,
		roles: keyRole(kms.ReadDataKey, lifecycle.Read),
		do: func(ctx context.Context, w *work, _ *KeyInput) (DataKeyCounts, error) {
			k := w.keys[0]
			return countByVersion(ctx, w.o, &k.Key.Key)
		},
	}
)

func managedRole(a kms.Action, need lifecycle.Need) []role[ManagedDataKeyInput] {
	return []role[ManagedDataKeyInput]{{action: a, need: need,
		key: func(in *ManagedDataKeyInput) (kms.Ref, error) { return in.Key, nil },
		items: func(in *ManagedDataKeyInput) items {
			return items{1, func(int) (kms.Context, []byte) { return in.context, in.aad }}
		}}}
}

// ReadDataKey answers a managed data key as it is wrapped.
func (e *Engine) ReadDataKey(ctx context.Context, c kms.Call, in ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
	e.lookUpContext(ctx, &c, &in)
	return use(ctx, e, c, &readDataKey, &in)
}

// OpenDataKey answers a managed data key in the clear.
func (e *Engine) OpenDataKey(ctx context.Context, c kms.Call, in ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
	e.lookUpContext(ctx, &c, &in)
	return use(ctx, e, c, &openDataKey, &in)
}

// RevokeDataKey erases a managed data key; that there was one stays known.
func (e *Engine) RevokeDataKey(ctx context.Context, c kms.Call, in ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
	e.lookUpContext(ctx, &c, &in)
	return alter(ctx, e, c, &revokeDataKey, &in)
}

// ListDataKeys pages through the managed data keys of a key.
func (e *Engine) ListDataKeys(ctx context.Context, c kms.Call, in ListDataKeysInput) (DataKeysOutput, error) {
	return use(ctx, e, c, &listDataKeys, &in)
}

// CountDataKeys tells which versions of a key its data keys are under.
func (e *Engine) CountDataKeys(ctx context.Context, c kms.Call, in KeyInput) (DataKeyCounts, error) {
	return use(ctx, e, c, &countDataKeys, &in)
}

// lookUpContext finds the encryption context that a data key was made with, which policies may decide on: it never changes. Whatever is in the way of
// that shows when the operation is admitted, and nothing of it is told before.
func (e *Engine) lookUpContext(ctx context.Context, c *kms.Call, in *ManagedDataKeyInput) {
	o, err := e.hold(ctx)
	if err != nil {
		return
	}
	defer o.release()
	k, err := o.ring.Resolve(ctx, c.Namespace, in.Key)
	if err != nil {
		return
	}
	if d, err := o.dataKey(ctx, k.ID, in.DataKey); err == nil {
		in.context, in.aad = d.Context, d.AAD
	}
}

// dataKey finds a data key by id or name.
func (o *opened) dataKey(ctx context.Context, parent kms.ID, ref string) (d records.DataKey, err error) {
	id, is := kms.ParseID(ref)
	if !is {
		if err := kms.CheckName(ref); err != nil {
			return d, err
		}
		if id, err = o.records.DataKeyName(ctx, parent, ref); err != nil {
			return d, err
		}
	}
	if !id.IsZero() {
		d, err = o.records.DataKey(ctx, parent, id)
	}
	if err == nil && d.Rev == 0 {
		err = kms.Errorf(kms.CodeNotFound, "the key has no data key %q", clipTo(ref, 64))
	}
	return d, err
}

func (w *work) findDataKey(ctx context.Context, in *ManagedDataKeyInput) (records.DataKey, error) {
	d, err := w.o.dataKey(ctx, w.keys[0].ID, in.DataKey)
	if err == nil {
		w.rec.Keys[0].Version, w.rec.Detail = d.Version, describeDataKey(&d)
	}
	return d, err
}

func doOpenDataKey(ctx context.Context, w *work, in *ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
	d, err := w.findDataKey(ctx, in)
	switch {
	case err != nil:
		return ManagedDataKeyOutput{}, err
	case d.State == records.DataKeyRevoked:
		return ManagedDataKeyOutput{}, revoked(&d)
	case d.Outside():
		e := kms.Errorf(kms.CodeUsage, "data key %s is held elsewhere: the server knows its fingerprint only", d.ID)
		e.Next = "decrypt the ciphertext where it is held"
		return ManagedDataKeyOutput{}, e
	}
	w.rec.Keys[0].Version = 0 // of the version that opens it
	var share shared
	plain, _, err := w.openItem(ctx, &share, &DecryptItem{Ciphertext: d.Wrapped, Context: d.Context, AAD: d.AAD}, false, false, 0, kms.NoScheme)
	if err != nil {
		return ManagedDataKeyOutput{}, err
	}
	w.rec.Bytes = uint64(len(plain))
	return ManagedDataKeyOutput{DataKey: showDataKey(&d, true), Plaintext: secret.Release(plain)}, nil
}

func revoked(d *records.DataKey) error {
	return kms.Errorf(kms.CodeNotFound, "data key %s was revoked at %s", d.ID, spelt(d.Revoked))
}

// doRevokeDataKey erases the wrapped bytes. Older copies of the store hold them still, under a version of the parent: only its destruction ends those.
func doRevokeDataKey(ctx context.Context, w *work, tx *records.Tx, in *ManagedDataKeyInput) (ManagedDataKeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return ManagedDataKeyOutput{}, err
	}
	found, err := w.findDataKey(ctx, in)
	if err != nil {
		return ManagedDataKeyOutput{}, err
	}
	was, ok, err := tx.DataKey(k.ID, found.ID)
	if err != nil || !ok {
		return ManagedDataKeyOutput{}, err
	}
	if was.State == records.DataKeyRevoked {
		return ManagedDataKeyOutput{}, kms.Errorf(kms.CodeAlreadyDone, "data key %s was revoked at %s", was.ID, spelt(was.Revoked))
	}
	d := was
	d.State, d.Wrapped, d.Revoked, d.RevokedBy = records.DataKeyRevoked, nil, w.now.UTC(), w.call.Principal.Name
	w.rec.Keys[0].Version, w.rec.Detail = was.Version, describeDataKey(&was)
	if d.Name != "" {
		if err := tx.RemoveDataKeyName(k.ID, d.Name); err != nil {
			return ManagedDataKeyOutput{}, err
		}
	}
	w.onCommit(was.Change, func(leaf [32]byte) error {
		d.Change = leaf
		return tx.PutDataKey(was, d)
	})
	return ManagedDataKeyOutput{DataKey: showDataKey(&d, false)}, nil
}

func doListDataKeys(ctx context.Context, w *work, in *ListDataKeysInput) (out DataKeysOutput, err error) {
	var after kms.ID
	if in.Page != "" {
		var ok bool
		if after, ok = pageID(in.Page); !ok {
			return out, badPage()
		}
	}
	k := w.keys[0]
	var rows []records.DataKey
	var next kms.ID
	switch {
	case in.Version == 0:
		rows, next, err = w.o.records.DataKeys(ctx, k.ID, after, in.Limit)
	case in.Outside:
		rows, next, err = w.o.records.DataKeysUnder(ctx, k.ID, records.Outside, in.Version, after, in.Limit)
	default:
		rows, next, err = w.o.records.DataKeysUnder(ctx, k.ID, records.Held, in.Version, after, in.Limit)
	}
	if err != nil {
		return out, err
	}
	for i := range rows {
		out.DataKeys = append(out.DataKeys, showDataKey(&rows[i], false))
	}
	if !next.IsZero() {
		out.Next = pageOf(next)
	}
	return out, nil
}

// countByVersion counts the data keys under each version that has any.
func countByVersion(ctx context.Context, o *opened, k *kms.Key) (DataKeyCounts, error) {
	out := DataKeyCounts{Key: k.ID, Primary: k.Primary}
	for at := uint32(0); ; {
		held, err := o.records.NextDataKeyVersion(ctx, k.ID, records.Held, at)
		if err != nil {
			return out, err
		}
		outside, err := o.records.NextDataKeyVersion(ctx, k.ID, records.Outside, at)
		if err != nil {
			return out, err
		}
		if held == 0 && outside == 0 {
			return out, nil
		}
		if at = held; held == 0 || outside != 0 && outside < held {
			at = outside
		}
		if len(out.Versions) == maxCountedOf {
			out.More = true
			return out, nil
		}
		n, err := o.records.CountDataKeys(ctx, k.ID, at, MaxCounted+1)
		if err != nil {
			return out, err
		}
		out.Versions = append(out.Versions, DataKeyCount{Version: at, Held: min(n.Held, MaxCounted), Outside: min(n.Outside, MaxCounted),
			More: n.Held > MaxCounted || n.Outside > MaxCounted})
	}
}
