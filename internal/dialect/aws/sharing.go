package aws

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// DeriveSharedSecret agrees on a secret with the holder of another key pair: the raw x-coordinate.
func (x *exchange) DeriveSharedSecret(ctx context.Context, in *DeriveSharedSecretInput) (*DeriveSharedSecretOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	x.rehearse(in.DryRun)
	out, err := x.engine.DeriveSharedSecret(ctx, x.call, engine.DeriveInput{Key: key, PeerPublic: in.PublicKey})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &DeriveSharedSecretOutput{KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyId: x.keyARN(out.Key), KeyOrigin: "AWS_KMS", SharedSecret: out.Secret}, nil
}

// Encapsulate makes a shared secret for whoever may use the key.
func (x *exchange) Encapsulate(ctx context.Context, in *EncapsulateInput) (*EncapsulateOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	x.rehearse(in.DryRun)
	out, err := x.engine.Encapsulate(ctx, x.call, engine.EncapsulateInput{Key: key})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &EncapsulateOutput{EncapsulationAlgorithm: in.EncapsulationAlgorithm, KeyId: x.keyARN(out.Key), SharedSecret: out.Secret, SharedSecretCiphertextBlob: out.Ciphertext}, nil
}

// Decapsulate answers the shared secret. A ciphertext of the wrong length is refused; any other wrong one gives a secret that nobody else
// has (implicit rejection, FIPS 203 §6.3).
func (x *exchange) Decapsulate(ctx context.Context, in *DecapsulateInput) (*DecapsulateOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	x.rehearse(in.DryRun)
	out, err := x.engine.Decapsulate(ctx, x.call, engine.DecapsulateInput{Key: key, Ciphertext: in.SharedSecretCiphertextBlob})
	if kms.CodeOf(err) == kms.CodeBadRequest && !in.DryRun {
		return nil, newFault("InvalidCiphertextException", "")
	}
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &DecapsulateOutput{EncapsulationAlgorithm: in.EncapsulationAlgorithm, KeyId: x.keyARN(out.Key), SharedSecret: out.Secret}, nil
}
