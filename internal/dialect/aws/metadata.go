package aws

import (
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const day = 24 * time.Hour

// The states of a key.
const (
	stateEnabled        = "Enabled"
	stateDisabled       = "Disabled"
	statePendingImport  = "PendingImport"
	statePendingDelete  = "PendingDeletion"
	statePendingReplica = "PendingReplicaDeletion"
)

// stateOf is the state in which AWS sees a key, by its switch and by what its primary version can do. docs/dialects/aws.md publishes it.
func stateOf(k *kms.Key, primary *kms.Version, now time.Time) string {
	switch k.SwitchNow() {
	case kms.PendingDestruction:
		if k.DestroyAt.IsZero() && k.Stands == "" && len(k.Replicas) > 0 {
			return statePendingReplica
		}
		return statePendingDelete
	case kms.PendingImport:
		return statePendingImport
	case kms.Enabled:
	default: // disabled, suspended: AWS has no state in which a key only processes
		return stateDisabled
	}
	switch {
	case primary == nil:
		return stateEnabled
	case !primary.ExpiresAt.IsZero() && !now.Before(primary.ExpiresAt):
		return statePendingImport
	case primary.State != kms.Active:
		return stateDisabled
	}
	return stateEnabled
}

// version finds one of the versions that a description shows; nil: it is an old one.
func version(out *engine.KeyOutput, n uint32) *kms.Version {
	for i := range out.Versions {
		if out.Versions[i].Number == n {
			return &out.Versions[i]
		}
	}
	return nil
}

// metadata describes a key as it stands.
func (x *exchange) metadata(out *engine.KeyOutput, now time.Time) *KeyMetadata {
	k := &out.Key
	spec := specOf(k.Algorithm, k.Usage)
	does := spec.does()
	primary := version(out, k.Primary)
	m := &KeyMetadata{
		AWSAccountId: x.account, Arn: x.arnIn(x.regionOf(k), keyPrefix+keyID(k.ID)), CreationDate: k.Created, CustomerMasterKeySpec: spec.spec, Description: k.Description,
		KeyId: keyID(k.ID), KeyManager: "CUSTOMER", KeySpec: spec.spec, KeyUsage: spec.usage, KeyState: stateOf(k, primary, now), MultiRegion: Bool{Set: true, Value: k.ID.MultiRegion()},
		Origin: originOf(k.Origin), EncryptionAlgorithms: does.encryption, SigningAlgorithms: does.signing, MacAlgorithms: does.mac,
		KeyAgreementAlgorithms: does.agreement, EncapsulationAlgorithms: does.encapsulation,
	}
	m.Enabled = m.KeyState == stateEnabled
	if spec.symmetric() && k.Primary != 0 {
		m.CurrentKeyMaterialId = materialID(k.ID, k.Primary)
	}
	switch m.KeyState {
	case statePendingDelete:
		m.DeletionDate = k.DestroyAt
	case statePendingReplica:
		m.PendingDeletionWindowInDays = Int{Set: true, Value: int32(k.Window.Duration() / day)} //nolint:gosec // G115: a year at most
	}
	if k.Origin == kms.Imported && m.KeyState != statePendingImport {
		m.ExpirationModel, m.ValidTo = expiration(out)
	}
	if k.ID.MultiRegion() {
		m.MultiRegionConfiguration = x.regions(k)
	}
	return m
}

// The models of expiration.
const (
	expires      = "KEY_MATERIAL_EXPIRES"
	neverExpires = "KEY_MATERIAL_DOES_NOT_EXPIRE"
)

// expiration is when the first of a key's imported material expires.
func expiration(out *engine.KeyOutput) (model string, to time.Time) {
	for i := range out.Versions {
		v := &out.Versions[i]
		if v.Number != out.Key.Next && !v.ExpiresAt.IsZero() && (to.IsZero() || v.ExpiresAt.Before(to)) {
			to = v.ExpiresAt
		}
	}
	if to.IsZero() {
		return neverExpires, to
	}
	return expires, to
}

// regionOf is the region that a description is about: that as which the key stands, its home, or that of the request.
func (x *exchange) regionOf(k *kms.Key) string {
	switch {
	case k.Stands != "":
		return k.Stands
	case k.Region != "":
		return k.Region
	}
	return x.call.Region
}

// regions says where a multi-Region key is.
func (x *exchange) regions(k *kms.Key) *MultiRegionConfiguration {
	id := keyPrefix + keyID(k.ID)
	place := func(region string) MultiRegionKey { return MultiRegionKey{Arn: x.arnIn(region, id), Region: region} }
	home := place(k.Region)
	c := &MultiRegionConfiguration{MultiRegionKeyType: "PRIMARY", PrimaryKey: &home, ReplicaKeys: []MultiRegionKey{}}
	if k.Stands != "" {
		c.MultiRegionKeyType = "REPLICA"
	}
	for i := range k.Replicas {
		c.ReplicaKeys = append(c.ReplicaKeys, place(k.Replicas[i].Region))
	}
	return c
}
