package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Regions are names that a dialect reads from the credentials of a request. One deployment answers for all of them: a key that was made in a region is at
// home there and not to be found in others, unless it is a multi-Region key with a replica there. A replica shares the key's material and versions, its
// names and its policies; it has a switch, a description and labels of its own.

// ReplicateInput asks for a replica of a multi-Region key. The call is made in the key's home, or in no region.
type ReplicateInput struct {
	Key         kms.Ref
	Region      string
	Description string
	Labels      map[string]string
}

// RehomeInput asks that the region of a replica becomes the key's home. The call is made in the key's home of before, or in no region.
type RehomeInput struct {
	Key    kms.Ref
	Region string
}

// The descriptors of what is done with regions.
var (
	replicateKey = change[ReplicateInput, KeyOutput]{
		name: kms.ReplicateKey,
		roles: []role[ReplicateInput]{{action: kms.ReplicateKey, need: lifecycle.Rotate,
			key: func(in *ReplicateInput) (kms.Ref, error) { return in.Key, nil }}},
		check: checkReplicate,
		do:    doReplicate,
	}
	updatePrimaryRegion = change[RehomeInput, KeyOutput]{
		name: kms.UpdatePrimaryRegion,
		roles: []role[RehomeInput]{{action: kms.UpdatePrimaryRegion, need: lifecycle.Rotate,
			key: func(in *RehomeInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *RehomeInput) error { return kms.CheckRegion(in.Region) },
		do:    doRehome,
	}
)

// ReplicateKey makes a multi-Region key answer in one region more. The answer shows the key as it is there.
func (e *Engine) ReplicateKey(ctx context.Context, c kms.Call, in ReplicateInput) (KeyOutput, error) {
	return alter(ctx, e, c, &replicateKey, &in)
}

// UpdatePrimaryRegion makes the region of a replica the key's home, and its home a replica.
func (e *Engine) UpdatePrimaryRegion(ctx context.Context, c kms.Call, in RehomeInput) (KeyOutput, error) {
	return alter(ctx, e, c, &updatePrimaryRegion, &in)
}

// elsewhere is what is said of a key that does not answer in a region: the same as of one that does not exist.
func elsewhere(ref kms.Ref, region string) error {
	return kms.Errorf(kms.CodeKeyNotFound, "there is no key %q in this namespace and the region %s", string(ref), region)
}

// switchOf is the position of a key's switch that counts for the call.
func (w *work) switchOf(k *kms.Key) kms.Switch {
	if w.call.Region == k.Region {
		return k.Switch
	}
	return k.SwitchIn(w.call.Region)
}

// atHome refuses what is done with the key itself for a call that is about a replica, or about a key that cannot have one.
func (w *work) atHome(k *kms.Key) error {
	if k.ID.MultiRegion() && k.Homely(w.call.Region) {
		return nil
	}
	e := kms.Errorf(kms.CodeConflict, "key %q is not a multi-Region key", k.Name)
	if k.ID.MultiRegion() {
		e = kms.Errorf(kms.CodeConflict, "the home of key %q is %s, not %s", k.Name, k.Region, w.call.Region)
		e.Next = "make the request in its home"
		return e
	}
	e.Next = "a key is made a multi-Region key when it is created, or never"
	return e
}

func checkReplicate(in *ReplicateInput) error {
	if err := kms.CheckRegion(in.Region); err != nil {
		return err
	}
	if len(in.Description) > kms.MaxKeyDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(in.Description), kms.MaxKeyDescription)
	}
	return kms.CheckLabels(in.Labels)
}

func doReplicate(_ context.Context, w *work, tx *records.Tx, in *ReplicateInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if err := w.atHome(&k.Key); err != nil {
		return KeyOutput{}, err
	}
	if k.In(in.Region) {
		return KeyOutput{}, kms.Errorf(kms.CodeExists, "key %q answers in %s already", k.Name, in.Region)
	}
	if len(k.Replicas) >= kms.MaxReplicas {
		return KeyOutput{}, kms.Errorf(kms.CodeTooLarge, "key %q has %d replicas, and can have no more", k.Name, len(k.Replicas))
	}
	was := k.Key
	k.Replicate(kms.Replica{Region: in.Region, Switch: kms.Enabled, Description: in.Description, Labels: in.Labels, Created: w.now.UTC()})
	seen := k.Key
	seen.Stand(in.Region)
	if err := w.keepsMetadata(&was, &seen); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = "replica in " + in.Region
	w.putKey(tx, &k)
	return KeyOutput{Key: seen}, nil
}

func doRehome(_ context.Context, w *work, tx *records.Tx, in *RehomeInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if err := w.atHome(&k.Key); err != nil {
		return KeyOutput{}, err
	}
	if in.Region == k.Region {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if !k.In(in.Region) {
		return KeyOutput{}, elsewhere(in.Key, in.Region)
	}
	if err := lifecycle.KeyPermits(k.SwitchIn(in.Region), lifecycle.Rotate, lifecycle.Terms{Freeze: k.Freeze}); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = fmt.Sprintf("home %s to %s", k.Region, in.Region)
	k.Rehome(in.Region)
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

// dueOf is the row by which the destruction of a key, or the end of the replica as which it stands, is found.
func dueOf(k *kms.Key, at time.Time) records.Due {
	d := records.Due{Namespace: k.Namespace, Key: k.ID, At: at}
	if k.Stands != "" {
		d.What = records.DueReplica
	}
	return d
}

// unschedule forgets that row, unless another replica goes in the same second.
func unschedule(tx *records.Tx, k *records.Key) error {
	if k.Stands != "" {
		for _, r := range k.Replicas {
			if r.Region != k.Stands && r.DestroyAt.Unix() == k.DestroyAt.Unix() {
				return nil
			}
		}
	}
	return tx.RemoveDue(dueOf(&k.Key, k.DestroyAt))
}

// deleteReplicas takes away the replicas of a key whose windows are over. Nothing is erased: the material is the key's. Where the key's own destruction
// waited for the last of them, its window begins.
func deleteReplicas(ctx context.Context, t *task) error {
	return t.e.direct(ctx, t.o, kms.Call{Namespace: t.Namespace}, kms.DeleteReplica, func(w *work, tx *records.Tx) error {
		if err := t.take(tx); err != nil {
			return err
		}
		k, there, err := tx.Key(t.Namespace, t.Key)
		if err != nil {
			return err
		}
		w.rec.Resource = k.Name
		now, left := t.e.clock.Trusted(), []kms.Replica(nil)
		for _, r := range k.Replicas {
			if r.Switch == kms.PendingDestruction && lifecycle.Due(r.DestroyAt, now) == nil {
				w.rec.Detail += r.Region + ", "
				continue
			}
			left = append(left, r)
		}
		if !there || len(left) == len(k.Replicas) {
			w.rec.Detail = "nothing to do: cancelled or done"
			return nil
		}
		if err := t.e.putTime(tx); err != nil {
			return err
		}
		w.rec.Detail += fmt.Sprintf("%d replicas left", len(left))
		k.Replicas = left
		if len(left) == 0 && k.Switch == kms.PendingDestruction && k.DestroyAt.IsZero() {
			if err := w.beginWindow(tx, &k); err != nil {
				return err
			}
		}
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
		w.putKey(tx, &k)
		return nil
	})
}

// beginWindow starts the window of a destruction that waited for the last replica to go.
func (w *work) beginWindow(tx *records.Tx, k *records.Key) error {
	k.DestroyAt, k.Window = w.now.Add(k.Window.Duration()).UTC(), 0
	r, _, err := tx.Receipt(k.Namespace, k.ID)
	if err != nil {
		return err
	}
	r.Namespace, r.Key, r.Due = k.Namespace, k.ID, k.DestroyAt
	if err := tx.PutReceipt(r); err != nil {
		return err
	}
	w.rec.Detail += "; destroy at " + k.DestroyAt.Format(time.RFC3339)
	return tx.PutDue(dueOf(&k.Key, k.DestroyAt))
}
