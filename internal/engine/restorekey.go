package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// MaxRestored is how many versions a key can have that is restored: they come in one transaction, each of up to five of its store.MaxOps
// conditions and writes, beside those of the key.
const MaxRestored = 40

// RestoreInput makes a key of a backup with all its versions, or of none of them.
type RestoreInput struct {
	Backup *transit.Backup `json:"-"` // what it says of the key, and the material; whoever hands it over erases it
	Digest [32]byte        // SHA-256 of the backup as it came: it stands for the backup in approvals and repetitions

	CreateKeyInput
}

// restored is what came of a key, opened outside the transaction that stores it.
type restored struct {
	from     *transit.Backup
	digest   [32]byte
	versions []*newVersion
}

// An action of its own: whoever restores brings in material that others have too.
var restoreKey = change[RestoreInput, KeyOutput]{
	name:      kms.RestoreKey,
	check:     checkRestore,
	authorize: func(w *work, in *RestoreInput) error { return authorizeNew(w, &in.CreateKeyInput, kms.RestoreKey) },
	prepare: func(ctx context.Context, w *work, in *RestoreInput) error {
		return prepareCreate(ctx, w, &in.CreateKeyInput)
	},
	do: func(ctx context.Context, w *work, tx *records.Tx, in *RestoreInput) (KeyOutput, error) {
		return doCreate(ctx, w, tx, &in.CreateKeyInput)
	},
}

// RestoreKey makes a key of a backup. Of the rest of the input its name, description and labels are used.
func (e *Engine) RestoreKey(ctx context.Context, c kms.Call, in RestoreInput) (KeyOutput, error) {
	return alter(ctx, e, c, &restoreKey, &in)
}

func checkRestore(in *RestoreInput) error {
	b := in.Backup
	if b == nil || len(b.Versions) == 0 {
		return kms.Errorf(kms.CodeBadRequest, "a backup is restored, and there is none")
	}
	if len(b.Versions) > MaxRestored {
		e := kms.Errorf(kms.CodeTooLarge, "the backup has %d versions, and a key is restored with %d at most", len(b.Versions), MaxRestored)
		e.Next = "trim the versions that nothing needs any more where the key is now, and make the backup again"
		return e
	}
	in.Algorithm, in.Bytes, in.Exportable = b.Algorithm, b.Bytes, b.Exportable
	in.Transit = kms.Transit{Plain: true, Derived: b.Derived, Convergent: b.Convergent, Backup: b.Plaintext, Mac: true}
	if b.Every > 0 {
		in.Period = &kms.Period{Every: kms.Seconds(b.Every / time.Second)}
	}
	in.came = &restored{from: b, digest: in.Digest}
	return checkCreate(&in.CreateKeyInput)
}

// take opens every version and proves it.
func (r *restored) take(ctx context.Context, w *work, in *CreateKeyInput) error {
	id := in.id(w.e.orderedID(w.now))
	r.versions = r.versions[:0]
	for i := range r.from.Versions {
		v, err := r.version(ctx, w, in, id, &r.from.Versions[i])
		if err != nil {
			return err
		}
		r.versions = append(r.versions, v)
	}
	in.made = r.versions[len(r.versions)-1]
	return nil
}

func (r *restored) version(ctx context.Context, w *work, in *CreateKeyInput, id kms.ID, v *transit.Version) (*newVersion, error) {
	place, err := w.o.ring.NewPlace(ctx, w.call.Namespace, id, v.Number)
	if err != nil {
		return nil, err
	}
	defer place.Wrap.Zero()
	spec := provider.Spec{Algorithm: in.plan.algorithm, MAC: true, GivenMAC: v.MAC != nil}
	came, err := w.e.cfg.Provider.Import(spec, nil, provider.Parcel{Clear: v.Material, ClearMAC: v.MAC}, place.Wrap, place.Name)
	if err != nil {
		return nil, err
	}
	if len(v.Chain) > 0 {
		if err := checkChain(v.Chain, came.Public); err != nil {
			return nil, err
		}
	}
	return &newVersion{key: id, number: v.Number, algorithm: spec.Algorithm, bytes: in.plan.bytes, gen: came.Generated, shred: place.Shred, imported: true, created: v.Created, chain: v.Chain}, nil
}

// settle makes a key what the backup says of it.
func (r *restored) settle(k *kms.Key) {
	b := r.from
	k.Primary, k.Latest = b.Latest, b.Latest
	k.MinProcess, k.MinProtect, k.MinKept = b.MinProcess, b.MinProtect, b.MinKept
	if b.Imported {
		k.Origin, k.Transit.Rotates = kms.Imported, b.Rotates
	}
}

// put writes the versions, and says in the record what came.
func (r *restored) put(w *work, tx *records.Tx, k *kms.Key) ([]kms.Version, error) {
	w.rec.Detail += fmt.Sprintf(", %d versions up to %d, of a backup sha256:%x", len(r.versions), k.Latest, r.digest[:sha256.Size])
	var all []kms.Version
	for _, m := range r.versions {
		v, err := w.putVersion(tx, k, m, Dates{})
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}
