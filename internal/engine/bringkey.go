package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// BringInput makes a key of material that another system wrapped for the wrapping key of the namespace.
type BringInput struct {
	Material  []byte
	Transport kms.Transport // one that nests

	CreateKeyInput // Transit.Rotates: the server may make further versions
}

// BringVersionInput makes the next version of a key of such material. The key was brought in too.
type BringVersionInput struct {
	Key       kms.Ref
	Material  []byte
	Transport kms.Transport

	made *imported
}

// The descriptors of material that comes in by the Vault dialect.
var (
	bringKey = change[BringInput, KeyOutput]{
		name:      kms.RestoreKey,
		check:     checkBring,
		authorize: func(w *work, in *BringInput) error { return authorizeNew(w, &in.CreateKeyInput, kms.RestoreKey) },
		prepare: func(ctx context.Context, w *work, in *BringInput) error {
			return prepareCreate(ctx, w, &in.CreateKeyInput)
		},
		do: func(ctx context.Context, w *work, tx *records.Tx, in *BringInput) (KeyOutput, error) {
			return doCreate(ctx, w, tx, &in.CreateKeyInput)
		},
	}
	bringVersion = change[BringVersionInput, KeyOutput]{
		name: kms.ImportKeyMaterial,
		roles: []role[BringVersionInput]{{action: kms.ImportKeyMaterial, need: lifecycle.Manage,
			key: func(in *BringVersionInput) (kms.Ref, error) { return in.Key, nil }}},
		check:   func(in *BringVersionInput) error { return checkWrapped(in.Material, in.Transport) },
		prepare: prepareBringVersion,
		do:      doBringVersion,
	}
)

// BringKey makes a key of material that was wrapped for it elsewhere. CodeDecryptFailed: it does not open; CodeKeyFile: it is no key of the algorithm.
func (e *Engine) BringKey(ctx context.Context, c kms.Call, in BringInput) (KeyOutput, error) {
	return alter(ctx, e, c, &bringKey, &in)
}

// BringVersion makes the next version of a key of material that was wrapped for it elsewhere; it becomes the primary one. CodeImportToken: the key was not
// imported; CodeExists: the primary version has this material.
func (e *Engine) BringVersion(ctx context.Context, c kms.Call, in BringVersionInput) (KeyOutput, error) {
	return alter(ctx, e, c, &bringVersion, &in)
}

func checkBring(in *BringInput) error {
	if err := checkWrapped(in.Material, in.Transport); err != nil {
		return err
	}
	switch {
	case !in.Transit.Mac:
		return kms.Errorf(kms.CodeBadRequest, "only keys of the Vault dialect come in so")
	case in.Transit.Convergent:
		return kms.Errorf(kms.CodeBadRequest, "a key that encrypts convergently is generated, or restored from a backup")
	case in.Period != nil && in.Period.Every != 0 && !in.Transit.Rotates:
		return kms.Errorf(kms.CodeBadRequest, "a key is rotated by schedule only if the server may make further versions of it")
	case in.Bytes != 0 || in.Import || in.Dates != (Dates{}):
		return kms.Errorf(kms.CodeBadRequest, "the key is as long as its material, and has a version at once")
	}
	in.came = &brought{material: in.Material, transport: in.Transport}
	return checkCreate(&in.CreateKeyInput)
}

// brought is a key that comes in with one version.
type brought struct {
	material  []byte
	transport kms.Transport
	made      *newVersion // filled by take
}

func (b *brought) take(ctx context.Context, w *work, in *CreateKeyInput) error {
	id, a := in.id(w.e.orderedID(w.now)), in.plan.algorithm
	came, shred, err := w.unwrapped(ctx, id, 1, a, b.transport, b.material)
	if err != nil {
		return err
	}
	b.made = &newVersion{key: id, number: 1, algorithm: a, gen: came.Generated, shred: shred, imported: true}
	if f := a.Facts(); f.MaxBytes > 0 && came.Bytes != f.Bits/8 {
		b.made.bytes = came.Bytes
	}
	in.made = b.made
	return nil
}

func (b *brought) settle(k *kms.Key) {
	k.Origin = kms.Imported
	if b.made != nil {
		k.Bytes = b.made.bytes
	}
}

func (b *brought) put(w *work, tx *records.Tx, k *kms.Key) ([]kms.Version, error) {
	w.rec.Detail += fmt.Sprintf(", imported, %s, check value %x", b.transport, b.made.gen.Check)
	v, err := w.putVersion(tx, k, b.made, Dates{})
	return []kms.Version{v}, err
}

func prepareBringVersion(ctx context.Context, w *work, in *BringVersionInput) error {
	k := &w.keys[0].Key.Key
	if err := mustBeImported(k); err != nil {
		return err
	}
	switch {
	case !k.Transit.Mac:
		return kms.Errorf(kms.CodeBadRequest, "key %q is not one of the Vault dialect: import its material under a token", k.Name)
	case k.Transit.Convergent:
		return kms.Errorf(kms.CodeBadRequest, "key %q encrypts convergently: its versions are generated", k.Name)
	}
	if err := newVersionMayCome(k); err != nil {
		return err
	}
	in.made = &imported{token: records.Import{Key: k.ID, Version: k.Latest + 1, Algorithm: k.Algorithm}}
	var err error
	in.made.came, in.made.shred, err = w.unwrapped(ctx, k.ID, k.Latest+1, k.Algorithm, in.Transport, in.Material)
	return err
}

func doBringVersion(_ context.Context, w *work, tx *records.Tx, in *BringVersionInput) (out KeyOutput, err error) {
	k, err := w.key(tx)
	if err != nil {
		return out, err
	}
	w.rec.Keys[0].Version = in.made.token.Version
	w.rec.Detail = fmt.Sprintf("%s, version %d, check value %x", in.Transport, in.made.token.Version, in.made.came.Check)
	v, err := w.comeNew(tx, &k, &ImportMaterialInput{made: in.made})
	if err != nil {
		return out, err
	}
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v}}, nil
}
