package aws

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const (
	usualRotation  = 365 // days
	onDemandAtMost = 25  // rotations of a key
)

// EnableKeyRotation has a key rotated by itself.
func (x *exchange) EnableKeyRotation(ctx context.Context, in *EnableKeyRotationInput) (*nothing, error) {
	every := days(int32(limitOf(in.RotationPeriodInDays, usualRotation))) //nolint:gosec // G115: bounded by the model
	return nil, x.rotateEvery(ctx, in.KeyId, every)
}

// DisableKeyRotation ends that. Limits by operations or bytes, which AWS does not have, stay.
func (x *exchange) DisableKeyRotation(ctx context.Context, in *DisableKeyRotationInput) (*nothing, error) {
	return nil, x.rotateEvery(ctx, in.KeyId, 0)
}

func (x *exchange) rotateEvery(ctx context.Context, asked string, every time.Duration) error {
	key, err := x.keyOnly(asked)
	if err != nil {
		return err
	}
	k := x.admit(symmetricOnly, originIs(kms.Generated), primaryOnly, enabled)
	_, err = x.engine.ScheduleRotation(ctx, x.call, engine.ScheduleRotationInput{Key: key, Period: kms.Period{Every: kms.Seconds(every / time.Second)}, Dates: true})
	return k.or(err)
}

// GetKeyRotationStatus answers whether and when a key is rotated by itself.
func (x *exchange) GetKeyRotationStatus(ctx context.Context, in *GetKeyRotationStatusInput) (*GetKeyRotationStatusOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(symmetricOnly)
	out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: key})
	if err != nil {
		return nil, k.or(err)
	}
	p := &out.Key.Period
	answer := &GetKeyRotationStatusOutput{KeyId: keyID(out.Key.ID)}
	// While a key is to be deleted it does not rotate. Material that was imported is never replaced by itself.
	if k.SwitchNow() == kms.PendingDestruction || k.Origin == kms.Imported || p.Every == 0 && p.Calendar == "" {
		return answer, nil
	}
	answer.KeyRotationEnabled, answer.NextRotationDate = true, out.Key.RotateAt
	if n := p.Every.Duration() / day; n > 0 {
		answer.RotationPeriodInDays = Int{Set: true, Value: int32(min(n, 1<<30))} //nolint:gosec // G115: bounded
	}
	return answer, nil
}

// RotateKeyOnDemand makes a new version, or makes the imported one that waits for it the primary version.
func (x *exchange) RotateKeyOnDemand(ctx context.Context, in *RotateKeyOnDemandInput) (*RotateKeyOnDemandOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(symmetricOnly, primaryOnly, enabled, func(x *exchange, k *seen) *fault {
		switch {
		case k.ByHand >= onDemandAtMost:
			return newFault(limitExceeded, "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+x.keyARN(k.ID))
		case k.Origin == kms.Imported && k.Next == 0 && k.SwitchNow() == kms.Enabled:
			return newFault(invalidState, "No available key material pending rotation for the key: "+x.keyARN(k.ID)+".")
		}
		return nil
	})
	out, err := x.engine.RotateKey(ctx, x.call, engine.RotateKeyInput{Key: key, Waiting: true, Most: onDemandAtMost})
	if err != nil {
		return nil, k.or(err)
	}
	return &RotateKeyOnDemandOutput{KeyId: x.keyARN(out.Key.ID)}, nil
}

const versionsPage = 200 // read together

// ListKeyRotations pages through the rotations of a key, the latest first.
func (x *exchange) ListKeyRotations(ctx context.Context, in *ListKeyRotationsInput) (*ListKeyRotationsOutput, error) {
	place, err := readMarker(markRotations, in.Marker)
	if err != nil {
		return nil, err
	}
	var before uint32
	if place != "" {
		if len(place) != 4 {
			return nil, badMarker()
		}
		before = binary.BigEndian.Uint32([]byte(place))
	}
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(symmetricOnly)
	limit, all := limitOf(in.Limit, 100), in.IncludeKeyMaterial == "ALL_KEY_MATERIAL"
	answer := &ListKeyRotationsOutput{Rotations: []RotationsListEntry{}}
	for last := uint32(0); ; {
		out, err := x.engine.ListVersions(ctx, x.call, engine.VersionsInput{Key: key, Before: before, Limit: versionsPage})
		if err != nil {
			return nil, k.or(err)
		}
		for i := range out.Versions {
			entry, shown := rotationOf(k, &out.Versions[i], all)
			if !shown {
				continue
			}
			if len(answer.Rotations) == limit {
				answer.Truncated, answer.NextMarker = true, marker(markRotations, string(binary.BigEndian.AppendUint32(nil, last)))
				return answer, nil
			}
			last, answer.Rotations = out.Versions[i].Number, append(answer.Rotations, entry)
		}
		if before = out.Next; before == 0 {
			return answer, nil
		}
	}
}

// rotationOf is a version as a rotation. The first material is none, and neither is material that waits; both are shown where all material is wanted. A version that was
// given up before it served is nothing at all.
func rotationOf(k *seen, v *kms.Version, all bool) (e RotationsListEntry, shown bool) {
	served := time.Time{}
	var by kms.Transition
	for _, s := range v.History {
		if s.To == kms.Active && served.IsZero() {
			served, by = s.At, s
		}
	}
	waits := served.IsZero()
	if waits && v.State != kms.PreActive || (waits || v.Number == 1) && !all {
		return e, false
	}
	e = RotationsListEntry{KeyId: keyID(k.ID), KeyMaterialId: materialID(k.ID, v.Number), KeyMaterialState: "NON_CURRENT"}
	switch {
	case v.Number == k.Primary:
		e.KeyMaterialState = "CURRENT"
	case waits:
		e.KeyMaterialState = "PENDING_ROTATION"
	}
	if !waits && v.Number > 1 {
		e.RotationDate, e.RotationType = served, "ON_DEMAND"
		if by.By == engine.SystemName {
			e.RotationType = "AUTOMATIC"
		}
	}
	if v.Origin == kms.Imported {
		e.KeyMaterialDescription, e.ImportState, e.ExpirationModel = v.Note, "IMPORTED", neverExpires
		switch {
		case v.Lacking || !v.ExpiresAt.IsZero() && !time.Now().Before(v.ExpiresAt):
			e.ImportState, e.ExpirationModel = "PENDING_IMPORT", ""
		case !v.ExpiresAt.IsZero():
			e.ExpirationModel, e.ValidTo = expires, v.ExpiresAt
		}
	}
	return e, true
}
