package keyring

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
)

// ImportVersion is the number under which an import token's key pair is kept, with the token's id in the place of a key's. No version of
// a key has it.
const ImportVersion = 0

// NewImportKey makes the key pair that one import is wrapped for.
func (r *Ring) NewImportKey(ctx context.Context, ns kms.Namespace, token kms.ID, a kms.Algorithm) (provider.Generated, records.Shred, error) {
	place, err := r.NewPlace(ctx, ns, token, ImportVersion)
	if err != nil {
		return provider.Generated{}, records.Shred{}, err
	}
	defer place.Wrap.Zero()
	gen, err := r.cfg.Provider.Generate(provider.Spec{Algorithm: a}, place.Wrap, place.Name)
	if err == nil {
		gen.Handle.Close() // it is opened again when the material arrives
	}
	return gen, place.Shred, err
}

// ImportKey opens the key pair of an import token. It is not kept in memory: the caller releases it, and it is closed.
func (r *Ring) ImportKey(ctx context.Context, ns kms.Namespace, token kms.ID) (*Version, error) {
	return r.openVersion(ctx, ns, token, ImportVersion)
}

// Export wraps a version's material for a receiver.
func (r *Ring) Export(ctx context.Context, k *Key, n uint32, to provider.Receiver) (provider.Exported, error) {
	_, s, err := r.sealed(ctx, k.Namespace, k.ID, n, nil)
	if err != nil {
		return provider.Exported{}, err
	}
	defer s.Wrap.Zero()
	return r.cfg.Provider.Export(s, to)
}
