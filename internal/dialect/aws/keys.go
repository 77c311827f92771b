package aws

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// folder is where keys that are made by AWS clients are: these give no names.
const folder = "aws/"

// CreateKey makes a key.
func (x *exchange) CreateKey(ctx context.Context, in *CreateKeyInput) (*CreateKeyOutput, error) {
	spec, err := wantedSpec(in)
	if err != nil {
		return nil, err
	}
	origin, _ := ours(origins, in.Origin)
	if in.CustomKeyStoreId != "" || in.XksKeyId != "" || in.Origin == "AWS_CLOUDHSM" || in.Origin == "EXTERNAL_KEY_STORE" {
		return nil, newFault(notSupported, noKeyStores)
	}
	labels, err := labelsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	out, err := x.engine.CreateKey(ctx, x.call, engine.CreateKeyInput{
		Name: folder, Algorithm: spec.algorithm, Usage: spec.ours, Description: in.Description, Labels: labels, Import: origin == kms.Imported, MultiRegion: in.MultiRegion,
		Policy: in.Policy, Bypass: in.BypassPolicyLockoutSafetyCheck,
	})
	if err != nil {
		return nil, err
	}
	return &CreateKeyOutput{KeyMetadata: x.metadata(&out, time.Now())}, nil
}

// DescribeKey answers what is known of a key.
func (x *exchange) DescribeKey(ctx context.Context, in *DescribeKeyInput) (*DescribeKeyOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: key})
	if err != nil {
		return nil, k.or(err)
	}
	return &DescribeKeyOutput{KeyMetadata: x.metadata(&out, time.Now())}, nil
}

// ListKeys pages through the keys that the caller may describe.
func (x *exchange) ListKeys(ctx context.Context, in *ListKeysInput) (*ListKeysOutput, error) {
	page, err := readMarker(markKeys, in.Marker)
	if err != nil {
		return nil, err
	}
	out, err := x.keys(ctx, page, limitOf(in.Limit, 100))
	if err != nil {
		return nil, err
	}
	answer := &ListKeysOutput{Keys: []KeyListEntry{}, Truncated: out.Next != "", NextMarker: marker(markKeys, out.Next)}
	for i := range out.Keys {
		id := keyID(out.Keys[i].ID)
		answer.Keys = append(answer.Keys, KeyListEntry{KeyArn: x.arn(keyPrefix + id), KeyId: id})
	}
	return answer, nil
}

// keys reads keys from a page of the engine on, until there are as many as are wanted.
func (x *exchange) keys(ctx context.Context, page string, limit int) (engine.ListKeysOutput, error) {
	x.admit()
	var all engine.ListKeysOutput
	for {
		out, err := x.engine.ListKeys(ctx, x.call, engine.ListKeysInput{Page: page, Limit: limit - len(all.Keys)})
		if kms.CodeOf(err) == kms.CodeBadToken {
			return all, badMarker()
		}
		if err != nil {
			return all, err
		}
		all.Keys, all.Next = append(all.Keys, out.Keys...), out.Next
		if page = out.Next; page == "" || len(all.Keys) == limit {
			return all, nil
		}
	}
}

// UpdateKeyDescription says something else of a key.
func (x *exchange) UpdateKeyDescription(ctx context.Context, in *UpdateKeyDescriptionInput) (*nothing, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	_, err = x.engine.UpdateKey(ctx, x.call, engine.UpdateKeyInput{Key: key, Description: &in.Description})
	return nil, k.or(err)
}

// GetPublicKey answers the public half.
func (x *exchange) GetPublicKey(ctx context.Context, in *GetPublicKeyInput) (*GetPublicKeyOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(func(x *exchange, k *seen) *fault {
		if k.Algorithm.Facts().Asymmetric {
			return nil
		}
		return newFault(notSupported, x.keyARN(k.ID)+" key spec is "+k.spec.spec+" which is not valid for GetPublicKey.")
	})
	out, err := x.engine.GetPublicKey(ctx, x.call, engine.PublicKeyInput{Key: key})
	if err != nil {
		return nil, k.or(err)
	}
	does := k.spec.does()
	return &GetPublicKeyOutput{
		KeyId: x.keyARN(out.Key), PublicKey: out.DER, CustomerMasterKeySpec: k.spec.spec, KeySpec: k.spec.spec, KeyUsage: k.spec.usage, EncryptionAlgorithms: does.encryption,
		SigningAlgorithms: does.signing, KeyAgreementAlgorithms: does.agreement, EncapsulationAlgorithms: does.encapsulation,
	}, nil
}

// lastUsed are the operations of AWS that stand for what a key was used for.
var lastUsed = []word[kms.Action]{
	{"Encrypt", kms.Encrypt}, {"Decrypt", kms.Decrypt}, {"ReEncrypt", kms.ReEncrypt}, {"ReEncrypt", kms.ReEncryptFrom}, {"ReEncrypt", kms.ReEncryptTo},
	{"GenerateDataKey", kms.GenerateDataKey}, {"GenerateDataKeyWithoutPlaintext", kms.GenerateDataKeyWithoutPlaintext},
	{"GenerateDataKeyPair", kms.GenerateDataKeyPair}, {"GenerateDataKeyPairWithoutPlaintext", kms.GenerateDataKeyPairWithoutPlaintext},
	{"Sign", kms.Sign}, {"Verify", kms.Verify}, {"GenerateMac", kms.GenerateMAC}, {"VerifyMac", kms.VerifyMAC},
	{"DeriveSharedSecret", kms.DeriveSharedSecret}, {"Encapsulate", kms.Encapsulate}, {"Decapsulate", kms.Decapsulate},
}

// GetKeyLastUsage answers what a key was used for last, by whatever dialect.
func (x *exchange) GetKeyLastUsage(ctx context.Context, in *GetKeyLastUsageInput) (*GetKeyLastUsageOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	answer := &GetKeyLastUsageOutput{KeyLastUsage: &KeyLastUsageData{}}
	for after := uint32(0); ; {
		out, err := x.engine.ReadUsage(ctx, x.call, engine.UsageInput{Key: key, After: after, Limit: usagePage})
		if err != nil {
			return nil, k.or(err)
		}
		answer.KeyId, answer.KeyCreationDate, answer.TrackingStartDate = x.keyARN(out.Key), k.Created, out.Since
		if k.Created.After(out.Since) {
			answer.TrackingStartDate = k.Created
		}
		for i := range out.Versions {
			latestUse(answer.KeyLastUsage, out.Versions[i].Operations)
		}
		if after = out.Next; after == 0 {
			return answer, nil
		}
	}
}

const usagePage = 100 // versions whose use is read together

// latestUse notes the latest of some uses, if it is later than what was noted.
func latestUse(last *KeyLastUsageData, uses []engine.Operation) {
	for _, o := range uses {
		if name := onWire(lastUsed, o.Action); name != "" && o.Code == 0 && o.Last.After(last.Timestamp) {
			last.Operation, last.Timestamp = name, o.Last
		}
	}
}

// noKeyStores is said of what needs a custom key store.
const noKeyStores = "This server has no custom key stores: its own roots of trust take their place."

// DescribeCustomKeyStores answers none; one that is asked for by name or id is not found.
func (x *exchange) DescribeCustomKeyStores(_ context.Context, in *DescribeCustomKeyStoresInput) (*DescribeCustomKeyStoresOutput, error) {
	if in.CustomKeyStoreId != "" || in.CustomKeyStoreName != "" {
		return nil, newFault("CustomKeyStoreNotFoundException", "There is no custom key store "+clip(in.CustomKeyStoreId+in.CustomKeyStoreName)+".")
	}
	if in.Marker != "" {
		return nil, badMarker()
	}
	return &DescribeCustomKeyStoresOutput{CustomKeyStores: []CustomKeyStoresListEntry{}}, nil
}

// pageSize is how many entries a page has, of lists of which the service gives fewer at a time than the model has it.
func pageSize(asked Int, usual, most int) (int, error) {
	n := limitOf(asked, usual)
	var p problems
	p.span("limit", int32(n), 1, most) //nolint:gosec // G115: the model's bounds are narrower
	if f := p.err(); f != nil {
		return 0, f
	}
	return n, nil
}

func limitOf(asked Int, usual int) int {
	if asked.Set {
		return int(asked.Value)
	}
	return usual
}

func days(n int32) time.Duration { return time.Duration(n) * day }
