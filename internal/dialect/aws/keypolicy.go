package aws

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// defaultPolicy is the one name that a key policy has.
const defaultPolicy = "default"

// keyOnly is the reference to a key by its id or ARN, where AWS takes no alias.
func (x *exchange) keyOnly(asked string) (kms.Ref, error) {
	if _, is := isAlias(asked); is {
		return "", newFault("NotFoundException", "Invalid keyId '"+clip(asked)+"'")
	}
	return x.ref(asked)
}

func onlyDefault(name string) error {
	if name != "" && name != defaultPolicy {
		return newFault("NotFoundException", "No such policy exists: a key has one, which is called default.")
	}
	return nil
}

// PutKeyPolicy gives a key a policy of its own.
func (x *exchange) PutKeyPolicy(ctx context.Context, in *PutKeyPolicyInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return nil, err
	}
	_, err = x.engine.PutKeyPolicy(ctx, x.call, engine.PutKeyPolicyInput{Key: key, Text: in.Policy, Bypass: in.BypassPolicyLockoutSafetyCheck})
	return nil, err
}

// GetKeyPolicy answers a key's policy as it was given.
func (x *exchange) GetKeyPolicy(ctx context.Context, in *GetKeyPolicyInput) (*GetKeyPolicyOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return nil, err
	}
	out, err := x.engine.GetKeyPolicy(ctx, x.call, engine.KeyInput{Key: key})
	if err != nil {
		return nil, err
	}
	return &GetKeyPolicyOutput{Policy: out.Text, PolicyName: defaultPolicy}, nil
}

// ListKeyPolicies answers the one name.
func (x *exchange) ListKeyPolicies(ctx context.Context, in *ListKeyPoliciesInput) (*ListKeyPoliciesOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if in.Marker != "" {
		return nil, newFault("InvalidMarkerException", "The marker is not one that this operation gave.")
	}
	if _, err := x.engine.GetKeyPolicy(ctx, x.call, engine.KeyInput{Key: key}); err != nil {
		return nil, err
	}
	return &ListKeyPoliciesOutput{PolicyNames: []string{defaultPolicy}}, nil
}
