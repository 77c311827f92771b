package aws

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// dataKeyBytes is how long a data key is to be: one of the two members says it.
func dataKeyBytes(spec string, n Int) (int, error) {
	switch {
	case (spec == "") == !n.Set:
		return 0, newFault("ValidationException", "Please specify either number of bytes or key spec.")
	case n.Set:
		return int(n.Value), nil
	case spec == "AES_128":
		return 16, nil
	}
	return 32, nil
}

func (x *exchange) dataKey(ctx context.Context, keyID, spec string, n Int, c kms.Context, dry, hidden bool) (engine.DataKeyOutput, error) {
	key, err := x.ref(keyID)
	if err != nil {
		return engine.DataKeyOutput{}, err
	}
	bytes, err := dataKeyBytes(spec, n)
	if err != nil {
		return engine.DataKeyOutput{}, err
	}
	x.rehearse(dry)
	out, err := x.engine.GenerateDataKey(ctx, x.call, engine.DataKeyInput{Key: key, Bytes: bytes, Context: c, WithoutPlaintext: hidden})
	if err == nil {
		err = x.done()
	}
	return out, err
}

// GenerateDataKey makes a data key, and answers it in the clear and encrypted.
func (x *exchange) GenerateDataKey(ctx context.Context, in *GenerateDataKeyInput) (*GenerateDataKeyOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	out, err := x.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.DryRun, false)
	if err != nil {
		return nil, err
	}
	return &GenerateDataKeyOutput{CiphertextBlob: out.Items[0].Ciphertext, Plaintext: out.Items[0].Plaintext, KeyId: x.keyARN(out.Key),
		KeyMaterialId: materialID(out.Key, out.Version)}, nil
}

// GenerateDataKeyWithoutPlaintext makes a data key and answers it encrypted only.
func (x *exchange) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *GenerateDataKeyWithoutPlaintextInput) (*GenerateDataKeyWithoutPlaintextOutput, error) {
	out, err := x.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.DryRun, true)
	if err != nil {
		return nil, err
	}
	return &GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: out.Items[0].Ciphertext, KeyId: x.keyARN(out.Key),
		KeyMaterialId: materialID(out.Key, out.Version)}, nil
}

func (x *exchange) dataKeyPair(ctx context.Context, keyID, spec string, c kms.Context, dry, hidden bool) (engine.DataKeyPairOutput, error) {
	key, err := x.ref(keyID)
	if err != nil {
		return engine.DataKeyPairOutput{}, err
	}
	a, _ := ours(pairSpecs, spec) // the model knows no others
	x.rehearse(dry)
	out, err := x.engine.GenerateDataKeyPair(ctx, x.call, engine.DataKeyPairInput{Key: key, Algorithm: a, Context: c, WithoutPlaintext: hidden})
	if err == nil {
		err = x.done()
	}
	return out, err
}

// GenerateDataKeyPair makes a key pair that the server does not keep.
func (x *exchange) GenerateDataKeyPair(ctx context.Context, in *GenerateDataKeyPairInput) (*GenerateDataKeyPairOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	out, err := x.dataKeyPair(ctx, in.KeyId, in.KeyPairSpec, in.EncryptionContext, in.DryRun, false)
	if err != nil {
		return nil, err
	}
	return &GenerateDataKeyPairOutput{KeyId: x.keyARN(out.Key), KeyMaterialId: materialID(out.Key, out.Version), KeyPairSpec: in.KeyPairSpec,
		PrivateKeyCiphertextBlob: out.Ciphertext, PrivateKeyPlaintext: out.Private, PublicKey: out.Public}, nil
}

// GenerateDataKeyPairWithoutPlaintext makes a key pair and answers its private half encrypted only.
func (x *exchange) GenerateDataKeyPairWithoutPlaintext(ctx context.Context, in *GenerateDataKeyPairWithoutPlaintextInput) (*GenerateDataKeyPairWithoutPlaintextOutput, error) {
	out, err := x.dataKeyPair(ctx, in.KeyId, in.KeyPairSpec, in.EncryptionContext, in.DryRun, true)
	if err != nil {
		return nil, err
	}
	return &GenerateDataKeyPairWithoutPlaintextOutput{KeyId: x.keyARN(out.Key), KeyMaterialId: materialID(out.Key, out.Version), KeyPairSpec: in.KeyPairSpec,
		PrivateKeyCiphertextBlob: out.Ciphertext, PublicKey: out.Public}, nil
}

// GenerateRandom answers random bytes.
func (x *exchange) GenerateRandom(ctx context.Context, in *GenerateRandomInput) (*GenerateRandomOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	switch {
	case in.CustomKeyStoreId != "":
		return nil, newFault("CustomKeyStoreNotFoundException", "There is no custom key store "+clip(in.CustomKeyStoreId)+".")
	case !in.NumberOfBytes.Set:
		return nil, newFault("ValidationException", "NumberOfBytes is required.")
	}
	out, err := x.engine.GenerateRandom(ctx, x.call, engine.RandomInput{Bytes: int(in.NumberOfBytes.Value)})
	if err != nil {
		return nil, err
	}
	return &GenerateRandomOutput{Plaintext: out.Bytes}, nil
}
