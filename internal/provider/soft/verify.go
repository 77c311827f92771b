package soft

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign/slhdsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/keyhold/keyhold/internal/kms"
)

// MaxPublic is the most bytes of a SubjectPublicKeyInfo that is read: ML-DSA-87 takes 2614.
const MaxPublic = 4 << 10

// Verify checks a signature with a public key alone, given as a DER SubjectPublicKeyInfo: no private key is opened for it. It
// decides as Handle.Verify does. Errors: CodeBadSignature; CodeBadRequest for what is not a public key of the algorithm, or a digest
// of another length; those of the algorithm table; CodeTooLarge.
func (p *Provider) Verify(a kms.Algorithm, public, message, signature []byte, digested bool, s kms.Scheme) error {
	if len(message) > MaxMessage {
		return kms.Errorf(kms.CodeTooLarge, "the input has %d bytes, the limit is %d", len(message), MaxMessage)
	}
	s, err := kms.CheckScheme(a, kms.SignVerify, s, p.profile, false)
	if err != nil {
		return err
	}
	row := schemeOf(s)
	if row == nil || row.verify == nil {
		return kms.Errorf(kms.CodeAlgorithm, "software keys cannot do %s", s)
	}
	verifier, err := parsePublic(a, public)
	if err != nil {
		return kms.Errorf(kms.CodeBadRequest, "this is not the public key of an %s key", a).Because(err)
	}
	input, err := row.digest(message, digested)
	if err != nil {
		return err
	}
	if !row.verify(&key{verifier: verifier}, row.hash, input, signature, kms.SaltUsual) {
		return badSignature()
	}
	return nil
}

func badSignature() error {
	return kms.Errorf(kms.CodeBadSignature, "the signature is not one of this message under this key")
}

var errPublic = errors.New("another kind, size or form of key")

// parsePublic reads a SubjectPublicKeyInfo into what the schemes verify with.
func parsePublic(a kms.Algorithm, der []byte) (any, error) {
	if len(der) > MaxPublic {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(der), MaxPublic)
	}
	if a == kms.ECDSASecp256k1 {
		return parseKoblitzPublic(der)
	}
	if set, ok := lattices[a]; ok {
		raw, err := nistRaw(set.oid, der)
		if err != nil {
			return nil, err
		}
		public, err := set.read(raw)
		if err != nil {
			return nil, err
		}
		return public, nil
	}
	if set, ok := hashSets[a]; ok {
		raw, err := nistRaw(set.oid, der)
		if err != nil {
			return nil, err
		}
		public := &slhdsa.PublicKey{ID: set.id}
		return public, public.UnmarshalBinary(raw)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	fits := false
	switch public := parsed.(type) {
	case *ecdsa.PublicKey:
		fits = (a == kms.ECDSAP256 || a == kms.ECDSAP384 || a == kms.ECDSAP521) && public.Curve == curveOf(a)
	case ed25519.PublicKey:
		fits = a == kms.Ed25519
	case *rsa.PublicKey:
		fits = (a == kms.RSA2048 || a == kms.RSA3072 || a == kms.RSA4096) && public.N.BitLen() == a.Facts().Bits
	}
	if !fits {
		return nil, errPublic
	}
	return parsed, nil
}

// splitSPKI reads the frame of a SubjectPublicKeyInfo, RFC 5280 §4.1, strictly.
func splitSPKI(der []byte) (pkix.AlgorithmIdentifier, []byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &info)
	if err != nil || len(rest) > 0 || info.Public.BitLength%8 != 0 {
		return pkix.AlgorithmIdentifier{}, nil, errPublic
	}
	return info.Algorithm, info.Public.Bytes, nil
}

// nistRaw is the encoded key of a kind whose identifier has no parameters.
func nistRaw(last int, der []byte) ([]byte, error) {
	a, raw, err := splitSPKI(der)
	if err != nil {
		return nil, err
	}
	if !a.Algorithm.Equal(nistID(last)) || len(a.Parameters.FullBytes) > 0 {
		return nil, errPublic
	}
	return raw, nil
}

// parseKoblitzPublic takes the uncompressed point, RFC 5480 §2.2, and a curve that is named.
func parseKoblitzPublic(der []byte) (any, error) {
	a, raw, err := splitSPKI(der)
	if err != nil {
		return nil, err
	}
	var curve asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(a.Parameters.FullBytes, &curve)
	if err != nil || len(rest) > 0 || !a.Algorithm.Equal(oidPublicKeyEC) || !curve.Equal(oidSecp256k1) ||
		len(raw) != secp256k1.PubKeyBytesLenUncompressed || raw[0] != secp256k1.PubKeyFormatUncompressed {
		return nil, errPublic
	}
	return secp256k1.ParsePubKey(raw)
}
