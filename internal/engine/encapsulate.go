package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// The descriptors of key encapsulation.
var (
	encapsulate = op[EncapsulateInput, EncapsulateOutput]{
		name: kms.Encapsulate,
		cost: func(*EncapsulateInput) amount { return cost(1, encapsulated) },
		roles: []role[EncapsulateInput]{{action: kms.Encapsulate, need: lifecycle.Protect,
			key: func(in *EncapsulateInput) (kms.Ref, error) { return in.Key, nil }}},
		do:    doEncapsulate,
		erase: func(out *EncapsulateOutput) { out.Secret.Zero() },
	}
	decapsulate = op[DecapsulateInput, SharedSecret]{
		name: kms.Decapsulate,
		roles: []role[DecapsulateInput]{{action: kms.Decapsulate, need: lifecycle.Process,
			key: func(in *DecapsulateInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *DecapsulateInput) error {
			if n := len(in.Ciphertext); n == 0 || n > maxEncapsulation {
				return kms.Errorf(kms.CodeBadRequest, "the encapsulation has %d bytes: want 1 to %d", n, maxEncapsulation)
			}
			return nil
		},
		do:    doDecapsulate,
		erase: func(out *SharedSecret) { out.Secret.Zero() },
	}
)

// encapsulated is the length of every encapsulated secret, in bytes.
const encapsulated = 32

// maxEncapsulation is more than the longest encapsulation has, in bytes: that of ML-KEM-1024 has 1,568 (FIPS 203 table 3).
const maxEncapsulation = 2048

func doEncapsulate(ctx context.Context, w *work, in *EncapsulateInput) (out EncapsulateOutput, err error) {
	var v *keyring.Version
	if out.SharedSecret, v, err = w.sharing(ctx, kms.Encapsulation, in.Version, true); err != nil {
		return out, err
	}
	ciphertext, shared, err := v.Handle.Encapsulate()
	if err != nil {
		return out, err
	}
	out.Ciphertext, out.Secret = ciphertext, letGo(shared)
	w.rec.Bytes = uint64(out.Secret.Len()) //nolint:gosec // G115: a length
	return out, nil
}

func doDecapsulate(ctx context.Context, w *work, in *DecapsulateInput) (SharedSecret, error) {
	if err := w.mustName(in.Version, kms.Encapsulate); err != nil {
		return SharedSecret{}, err
	}
	out, v, err := w.sharing(ctx, kms.Encapsulation, in.Version, false)
	if err != nil {
		return out, err
	}
	shared, err := v.Handle.Decapsulate(in.Ciphertext)
	if err != nil {
		return out, err
	}
	out.Secret = letGo(shared)
	w.rec.Bytes = uint64(out.Secret.Len()) //nolint:gosec // G115: a length
	return out, nil
}

// sharing opens the version of the one key of an operation that answers a shared secret, and begins that answer.
func (w *work) sharing(ctx context.Context, u kms.Usage, n uint32, protect bool) (SharedSecret, *keyring.Version, error) {
	v, s, err := w.openFor(ctx, u, n, kms.NoScheme, protect)
	if err != nil {
		return SharedSecret{}, nil, err
	}
	return SharedSecret{Key: w.keys[0].ID, Version: v.Number, Scheme: s}, v, nil
}

// openFor opens a version of the one key of an operation and settles the scheme.
func (w *work) openFor(ctx context.Context, u kms.Usage, n uint32, s kms.Scheme, protect bool) (*keyring.Version, kms.Scheme, error) {
	v, err := w.version(ctx, 0, n)
	if err != nil {
		return nil, 0, err
	}
	s, err = w.scheme(w.keys[0], v.Algorithm, u, s, protect)
	return v, s, err
}

// mustName refuses to guess the version where a wrong one would go unnoticed: what made the input put no version into it, and
// another version would answer, with something else. While a key has one version there is nothing to guess.
func (w *work) mustName(version uint32, by kms.Action) error {
	k := w.keys[0]
	if version != 0 || k.Latest == 1 {
		return nil
	}
	e := kms.Errorf(kms.CodeBadRequest, "the key has %d versions, what %s answers does not tell which one made it, and another one would give a wrong result that nobody notices",
		k.Latest, by)
	e.Next = "name the version that " + by.String() + " answered"
	return e
}
