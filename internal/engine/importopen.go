package engine

import (
	"context"
	"crypto/subtle"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
)

// openVersions is how many versions are looked through, newest first, for the one that material under an open token is that of.
const openVersions = 200

// settleOpen finds out which version comes under an open token: what the request says, and where it is material that the key had, that version's whose check
// value it has. CodeCheckValue if there is none.
func (w *work) settleOpen(ctx context.Context, in *ImportMaterialInput, t *records.Import, by provider.Handle) error {
	k := &w.keys[0]
	t.Version = k.Latest + 1
	if in.As == ImportNew || in.As == ImportUsual && k.Latest == 0 {
		return nil
	}
	none := kms.Errorf(kms.CodeCheckValue, "the material is that of no version of key %q: nothing was changed", k.Name)
	versions, _, err := w.o.records.Versions(ctx, k.ID, k.Latest, 0, openVersions)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return none
	}
	check, err := w.checkOf(ctx, in, t, by)
	if err != nil {
		return err
	}
	for i := range versions {
		v := &versions[i]
		gone := v.State == kms.Destroyed || v.State == kms.DestroyedCompromised
		if !gone && (in.Version == 0 || in.Version == v.Number) && subtle.ConstantTimeCompare(v.Check, check) == 1 {
			t.Version, t.Again, t.Algorithm = v.Number, true, v.Algorithm
			return nil
		}
	}
	return none
}

// checkOf opens what came for a moment, in a place where it does not stay, for its check value.
func (w *work) checkOf(ctx context.Context, in *ImportMaterialInput, t *records.Import, by provider.Handle) ([]byte, error) {
	place, err := w.o.ring.NewPlace(ctx, t.Namespace, t.Key, t.Version)
	if err != nil {
		return nil, err
	}
	defer place.Wrap.Zero()
	came, err := w.e.cfg.Provider.Import(provider.Spec{Algorithm: t.Algorithm}, by, provider.Parcel{Transport: t.Transport, Bytes: in.Material}, place.Wrap, place.Name)
	if err != nil {
		return nil, err
	}
	return came.Check, nil
}
