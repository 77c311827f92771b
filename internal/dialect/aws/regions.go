package aws

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// ReplicateKey makes a multi-Region key answer in one region more. The replica has the key's material at once, also where that was imported.
func (x *exchange) ReplicateKey(ctx context.Context, in *ReplicateKeyInput) (*ReplicateKeyOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if in.Policy != "" {
		return nil, newFault(notSupported, "A replica has the key's policy, whatever the region: leave Policy out.")
	}
	labels, err := labelsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	k := x.admit(multiRegionPrimary)
	out, err := x.engine.ReplicateKey(ctx, x.call, engine.ReplicateInput{Key: key, Region: in.ReplicaRegion, Description: in.Description, Labels: labels})
	if err != nil {
		return nil, k.or(err,
			instead{kms.CodeExists, "AlreadyExistsException", "The key has a replica in " + in.ReplicaRegion + " already."},
			instead{kms.CodeTooLarge, limitExceeded, "The key has as many replicas as it can have."})
	}
	return &ReplicateKeyOutput{ReplicaKeyMetadata: x.metadata(&out, time.Now()), ReplicaTags: tagsOf(out.Key.Labels)}, nil
}

// UpdatePrimaryRegion makes a replica the primary, and the primary a replica.
func (x *exchange) UpdatePrimaryRegion(ctx context.Context, in *UpdatePrimaryRegionInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(multiRegionPrimary)
	_, err = x.engine.UpdatePrimaryRegion(ctx, x.call, engine.RehomeInput{Key: key, Region: in.PrimaryRegion})
	return nil, k.or(err)
}
