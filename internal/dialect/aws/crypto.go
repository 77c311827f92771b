package aws

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// rehearse makes the call a rehearsal if DryRun was asked for.
func (x *exchange) rehearse(dry bool) { x.call.DryRun, x.call.Whole = dry, true }

// done is the error of a rehearsal that would have succeeded; nil if it was none.
func (x *exchange) done() error {
	if x.call.DryRun {
		return newFault("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// noRecipient refuses answers that only an enclave can open.
func noRecipient(r *RecipientInfo) error {
	if r != nil {
		return newFault("UnsupportedOperationException", "This server does not verify attestation documents: leave Recipient out.")
	}
	return nil
}

// scheme is what an encryption algorithm stands for. An asymmetric one takes no encryption context, because OAEP binds none here.
func encryptionScheme(name string, ctx kms.Context) (kms.Scheme, error) {
	if name == "" || name == symmetricDefault {
		return kms.NoScheme, nil
	}
	s, _ := ours(encryptionAlgorithms, name)
	if len(ctx) > 0 {
		return 0, newFault("ValidationException", "An EncryptionContext can not be used with the algorithm "+name+": it is asymmetric.")
	}
	return s, nil
}

func orDefault(name string) string {
	if name == "" {
		return symmetricDefault
	}
	return name
}

// Encrypt encrypts up to 4,096 bytes.
func (x *exchange) Encrypt(ctx context.Context, in *EncryptInput) (*EncryptOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	s, err := encryptionScheme(in.EncryptionAlgorithm, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	x.algorithm = in.EncryptionAlgorithm
	x.rehearse(in.DryRun)
	items := [1]engine.EncryptItem{{Plaintext: in.Plaintext, Context: in.EncryptionContext}}
	out, err := x.engine.Encrypt(ctx, x.call, engine.EncryptInput{Key: key, Scheme: s, Raw: s != 0, Boxed: s == 0, Items: items[:]})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &EncryptOutput{CiphertextBlob: out.Items[0].Ciphertext, EncryptionAlgorithm: orDefault(in.EncryptionAlgorithm), KeyId: x.keyARN(out.Key)}, nil
}

// Decrypt decrypts; a symmetric ciphertext names its key itself.
func (x *exchange) Decrypt(ctx context.Context, in *DecryptInput) (*DecryptOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	s, err := encryptionScheme(in.EncryptionAlgorithm, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	ignore := len(in.DryRunModifiers) > 0 // there is one kind: IGNORE_CIPHERTEXT
	switch {
	case ignore && !in.DryRun:
		return nil, newFault("ValidationException", "DryRunModifiers are for requests with DryRun.")
	case in.CiphertextBlob == nil && !ignore:
		return nil, newFault("ValidationException", "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	case in.KeyId == "" && (s != 0 || in.CiphertextBlob == nil):
		return nil, newFault("ValidationException", "KeyId is required: the ciphertext does not name its key.")
	}
	var key kms.Ref
	if in.KeyId != "" {
		if key, err = x.ref(in.KeyId); err != nil {
			return nil, err
		}
	}
	x.algorithm = in.EncryptionAlgorithm
	x.rehearse(in.DryRun)
	x.call.Whole = !ignore
	items := [1]engine.DecryptItem{{Ciphertext: in.CiphertextBlob, Context: in.EncryptionContext}}
	out, err := x.engine.Decrypt(ctx, x.call, engine.DecryptInput{Key: key, Scheme: s, Raw: s != 0, Items: items[:]})
	if kms.CodeOf(err) == kms.CodeKeyNotFound && key == "" { // of another cluster, or of a key that never was
		return nil, newFault("InvalidCiphertextException", "")
	}
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	answer := &DecryptOutput{EncryptionAlgorithm: orDefault(in.EncryptionAlgorithm), KeyId: x.keyARN(out.Key), Plaintext: out.Items[0].Plaintext}
	if s == 0 {
		answer.KeyMaterialId = materialID(out.Key, out.Items[0].Version)
	}
	return answer, nil
}

// ReEncrypt moves a ciphertext under another key, without showing the plaintext.
func (x *exchange) ReEncrypt(ctx context.Context, in *ReEncryptInput) (*ReEncryptOutput, error) {
	from, err := encryptionScheme(in.SourceEncryptionAlgorithm, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	to, err := encryptionScheme(in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	ignore := len(in.DryRunModifiers) > 0
	switch {
	case ignore && !in.DryRun:
		return nil, newFault("ValidationException", "DryRunModifiers are for requests with DryRun.")
	case in.CiphertextBlob == nil && !ignore:
		return nil, newFault("ValidationException", "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	case in.SourceKeyId == "" && (from != 0 || in.CiphertextBlob == nil):
		return nil, newFault("ValidationException", "SourceKeyId is required: the ciphertext does not name its key.")
	}
	ask := engine.ReEncryptInput{FromScheme: from, FromRaw: from != 0, ToScheme: to, ToRaw: to != 0, ToBoxed: to == 0,
		Items: []engine.ReEncryptItem{{Ciphertext: in.CiphertextBlob, FromContext: in.SourceEncryptionContext, ToContext: in.DestinationEncryptionContext}}}
	if ask.To, err = x.ref(in.DestinationKeyId); err != nil {
		return nil, err
	}
	if in.SourceKeyId != "" {
		if ask.From, err = x.ref(in.SourceKeyId); err != nil {
			return nil, err
		}
	}
	x.algorithm = in.DestinationEncryptionAlgorithm
	x.rehearse(in.DryRun)
	x.call.Whole = !ignore
	out, err := x.engine.ReEncrypt(ctx, x.call, ask)
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	answer := &ReEncryptOutput{CiphertextBlob: out.Items[0].Ciphertext, KeyId: x.keyARN(out.To), SourceKeyId: x.keyARN(out.From),
		SourceEncryptionAlgorithm: orDefault(in.SourceEncryptionAlgorithm), DestinationEncryptionAlgorithm: orDefault(in.DestinationEncryptionAlgorithm)}
	if from == 0 {
		answer.SourceKeyMaterialId = materialID(out.From, out.FromVersion)
	}
	if to == 0 {
		answer.DestinationKeyMaterialId = materialID(out.To, out.Version)
	}
	return answer, nil
}
