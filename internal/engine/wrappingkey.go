package engine

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/transport"
)

// Each namespace has a key pair that material is wrapped for which comes in by the Vault dialect. It is made when somebody first asks for it, stays, and is kept as
// that of an import token is: it is no key, so that nothing else can use it, and goes with its namespace.

// WrappingKeyInput asks for the public half.
type WrappingKeyInput struct{ made *wrappingKey }

// wrappingKey is what is made outside the transaction that stores it.
type wrappingKey struct {
	pair  records.Version
	shred records.Shred
}

// WrappingKeyOutput is the public half.
type WrappingKeyOutput struct {
	Public []byte // DER SubjectPublicKeyInfo
}

// wrappingAlgorithm is RSA-4096, as clients expect it.
const wrappingAlgorithm = kms.RSA4096

var readWrappingKey = change[WrappingKeyInput, WrappingKeyOutput]{
	name:    kms.ReadWrappingKey,
	prepare: prepareWrappingKey,
	do:      doWrappingKey,
}

// ReadWrappingKey answers the key that material is wrapped for on its way into the namespace.
func (e *Engine) ReadWrappingKey(ctx context.Context, c kms.Call, in WrappingKeyInput) (WrappingKeyOutput, error) {
	return alter(ctx, e, c, &readWrappingKey, &in)
}

func prepareWrappingKey(ctx context.Context, w *work, in *WrappingKeyInput) error {
	if in.made != nil || w.call.DryRun || !w.rules.ns.Wrapping.IsZero() {
		return nil
	}
	if err := kms.CheckTransport(kms.RSAAESSHA256, wrappingAlgorithm, kms.AES256GCM, w.e.cfg.Profile); err != nil {
		return err
	}
	id := w.e.orderedID(w.now)
	gen, shred, err := w.o.ring.NewImportKey(ctx, w.call.Namespace, id, wrappingAlgorithm)
	if err != nil {
		return err
	}
	in.made = &wrappingKey{shred: shred, pair: records.Version{Wrapped: gen.Wrapped, Version: kms.Version{
		Key: id, Number: keyring.ImportVersion, Algorithm: wrappingAlgorithm, State: kms.Active, Origin: kms.Generated, Source: gen.Source, Created: w.now.UTC(),
		Public: gen.Public, Check: gen.Check,
	}}}
	return nil
}

func doWrappingKey(_ context.Context, w *work, tx *records.Tx, in *WrappingKeyInput) (out WrappingKeyOutput, err error) {
	n, there, err := tx.Namespace(w.call.Namespace)
	switch {
	case err != nil:
		return out, err
	case !there:
		return out, notThisNamespace(w.call.Namespace)
	}
	w.rec.Resource = string(n.Name)
	if !n.Wrapping.IsZero() {
		pair, there, err := tx.Version(n.Wrapping, keyring.ImportVersion)
		if err == nil && !there {
			err = kms.Errorf(kms.CodeInternal, "the wrapping key of namespace %q is not in the store", n.Name)
		}
		return WrappingKeyOutput{Public: pair.Public}, err
	}
	if w.call.DryRun {
		w.rec.Detail = "a wrapping key would be made"
		return out, nil
	}
	if in.made == nil { // another namespace of the name, meanwhile
		return out, errStale
	}
	w.rec.Detail = fmt.Sprintf("wrapping key %s made, %s, sha256:%x", in.made.pair.Key, wrappingAlgorithm, sha256.Sum256(in.made.pair.Public))
	if err := tx.InsertVersion(in.made.pair, in.made.shred); err != nil {
		return out, err
	}
	n.Wrapping = in.made.pair.Key
	w.onCommit(n.Change, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return WrappingKeyOutput{Public: in.made.pair.Public}, nil
}

// checkWrapped is the gate before material that a client of transit wrapped is looked at.
func checkWrapped(material []byte, t kms.Transport) error {
	if n := len(material); n == 0 || n > transport.MaxParcel {
		return kms.Errorf(kms.CodeTooLarge, "the wrapped material has %d bytes: want 1 to %d", n, transport.MaxParcel)
	}
	if !t.Nested() {
		return kms.Errorf(kms.CodeBadRequest, "material comes under the wrapping key by %s, or the same with another hash", kms.RSAAESSHA256)
	}
	return nil
}

// unwrapped opens material that was wrapped for the namespace's wrapping key, and makes it that of a version which is not stored yet.
func (w *work) unwrapped(ctx context.Context, id kms.ID, n uint32, a kms.Algorithm, t kms.Transport, material []byte) (came provider.Imported, shred records.Shred, err error) {
	home, err := w.o.records.Namespace(ctx, w.call.Namespace)
	if err != nil {
		return came, shred, err
	}
	if home.Wrapping.IsZero() {
		e := kms.Errorf(kms.CodeBadRequest, "namespace %q has no wrapping key, so that nothing can have been wrapped for it", w.call.Namespace)
		e.Next = "ask for it and wrap the material for it: vault read transit/wrapping_key"
		return came, shred, e
	}
	by, err := w.o.ring.ImportKey(ctx, w.call.Namespace, home.Wrapping)
	if err != nil {
		return came, shred, err
	}
	defer by.Release()
	place, err := w.o.ring.NewPlace(ctx, w.call.Namespace, id, n)
	if err != nil {
		return came, shred, err
	}
	defer place.Wrap.Zero()
	came, err = w.e.cfg.Provider.Import(provider.Spec{Algorithm: a, MAC: true}, by.Handle, provider.Parcel{Transport: t, Bytes: material}, place.Wrap, place.Name)
	return came, place.Shred, err
}
