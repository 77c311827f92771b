package aws

import (
	"context"
	"strconv"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// The kinds of a message to sign.
const (
	messageDigest = "DIGEST"
	messageMu     = "EXTERNAL_MU"
)

// muSize is the length of ML-DSA's message representative μ, in bytes (FIPS 204 algorithm 7).
const muSize = 64

// digestSizes are the digests that a signing algorithm takes, in bytes.
var digestSizes = map[kms.Scheme]int{
	kms.SchemePSSSHA256: 32, kms.SchemePSSSHA384: 48, kms.SchemePSSSHA512: 64,
	kms.SchemePKCS1SHA256: 32, kms.SchemePKCS1SHA384: 48, kms.SchemePKCS1SHA512: 64,
	kms.SchemeECDSASHA256: 32, kms.SchemeECDSASHA384: 48, kms.SchemeECDSASHA512: 64, kms.SchemeEd25519ph: 64,
}

// message is what is signed: the scheme, and whether the message was digested before.
func message(algorithm, kind string, m []byte) (s kms.Scheme, digested bool, err error) {
	s, _ = ours(signingAlgorithms, algorithm) // the model knows no others
	wrong := func(want string) error {
		return newFault("ValidationException", "Algorithm "+algorithm+" takes messages of type "+want+".")
	}
	switch {
	case s == kms.SchemeEd25519 && (kind == messageDigest || kind == messageMu):
		return 0, false, wrong("RAW")
	case s == kms.SchemeEd25519ph && kind != messageDigest:
		return 0, false, wrong(messageDigest)
	case s == kms.SchemeMLDSA && kind == messageDigest:
		return 0, false, wrong("RAW or EXTERNAL_MU")
	case s != kms.SchemeMLDSA && kind == messageMu:
		return 0, false, wrong("RAW or DIGEST")
	case kind == messageMu && len(m) != muSize:
		return 0, false, newFault("ValidationException", "An external mu has "+strconv.Itoa(muSize)+" bytes.")
	case kind == messageDigest && len(m) != digestSizes[s]:
		return 0, false, newFault("ValidationException", "Digest is invalid length for algorithm "+algorithm+".")
	}
	// Ed25519ph hashes what it is given, also where that is a digest (FIPS 186-5 §7.8.1).
	return s, kind == messageDigest && s != kms.SchemeEd25519ph || kind == messageMu, nil
}

// only lets a signing algorithm through that AWS has for a key's spec: an ECDSA key signs with the hash of its curve.
func only(s kms.Scheme) func(kms.Algorithm) (kms.Scheme, error) {
	return func(a kms.Algorithm) (kms.Scheme, error) {
		if spec := specOf(a, kms.SignVerify); spec != nil && !spec.has(s) {
			return 0, kms.Errorf(kms.CodeAlgorithm, "%s keys cannot do %s", a, s)
		}
		return s, nil
	}
}

// Sign signs a message or its digest.
func (x *exchange) Sign(ctx context.Context, in *SignInput) (*SignOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	s, digested, err := message(in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	x.algorithm = in.SigningAlgorithm
	x.rehearse(in.DryRun)
	out, err := x.engine.Sign(ctx, x.call, engine.SignInput{Key: key, Scheme: s, Choose: only(s), Items: []engine.SignItem{{Message: in.Message, Digested: digested}}})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &SignOutput{KeyId: x.keyARN(out.Key), Signature: out.Items[0].Signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// Verify checks a signature: one that does not verify is an error.
func (x *exchange) Verify(ctx context.Context, in *VerifyInput) (*VerifyOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	s, digested, err := message(in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	x.algorithm = in.SigningAlgorithm
	x.rehearse(in.DryRun)
	out, err := x.engine.Verify(ctx, x.call, engine.VerifyInput{Key: key, Scheme: s, Choose: only(s),
		Items: []engine.VerifyItem{{Message: in.Message, Digested: digested, Signature: in.Signature}}})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &VerifyOutput{KeyId: x.keyARN(out.Key), SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// GenerateMac makes a MAC.
func (x *exchange) GenerateMac(ctx context.Context, in *GenerateMacInput) (*GenerateMacOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	s, _ := ours(macAlgorithms, in.MacAlgorithm)
	x.algorithm = in.MacAlgorithm
	x.rehearse(in.DryRun)
	out, err := x.engine.GenerateMAC(ctx, x.call, engine.MACInput{Key: key, Scheme: s, Items: []engine.MACItem{{Message: in.Message}}})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &GenerateMacOutput{KeyId: x.keyARN(out.Key), Mac: out.Items[0].MAC, MacAlgorithm: in.MacAlgorithm}, nil
}

// VerifyMac checks a MAC: one that does not verify is an error.
func (x *exchange) VerifyMac(ctx context.Context, in *VerifyMacInput) (*VerifyMacOutput, error) {
	key, err := x.ref(in.KeyId)
	if err != nil {
		return nil, err
	}
	s, _ := ours(macAlgorithms, in.MacAlgorithm)
	x.algorithm = in.MacAlgorithm
	x.rehearse(in.DryRun)
	out, err := x.engine.VerifyMAC(ctx, x.call, engine.VerifyMACInput{Key: key, Scheme: s, Items: []engine.VerifyMACItem{{Message: in.Message, MAC: in.Mac}}})
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &VerifyMacOutput{KeyId: x.keyARN(out.Key), MacValid: true, MacAlgorithm: in.MacAlgorithm}, nil
}
