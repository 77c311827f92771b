package soft

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// oneAsymmetricKey is PKCS #8 of either version, RFC 5958 §2.
type oneAsymmetricKey struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	Private    []byte
	Attributes asn1.RawValue  `asn1:"optional,tag:0"`
	Public     asn1.BitString `asn1:"optional,tag:1"`
}

// ecPrivateKey is RFC 5915 §3.
type ecPrivateKey struct {
	Version int
	Private []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

func splitPKCS8(der []byte) (oneAsymmetricKey, error) {
	var k oneAsymmetricKey
	rest, err := asn1.Unmarshal(der, &k)
	if err != nil || len(rest) > 0 || k.Version > 1 {
		clear(k.Private)
		e := kms.Errorf(kms.CodeKeyFile, "the material is not a private key: want PKCS #8 in DER")
		return oneAsymmetricKey{}, e.Because(err)
	}
	return k, nil
}

// readPKCS8 takes the private key of an algorithm out of its standard form, into the form that it is kept in.
func (p *Provider) readPKCS8(kind *kind, a kms.Algorithm, der []byte) (*secret.Bytes, error) {
	if kind.form == pkcs8Form {
		return canonical(a, der)
	}
	if kind.pkcs8 == nil {
		return nil, kms.Errorf(kms.CodeAlgorithm, "there is no standard form of an %s private key", a)
	}
	k, err := splitPKCS8(der)
	if err != nil {
		return nil, err
	}
	defer clear(k.Private)
	raw, err := innerOf(a, &k)
	if err != nil {
		return nil, err
	}
	s := secret.Copy(raw)
	clear(raw)
	return s, nil
}

// innerOf gets the key itself out of PKCS #8, for the kinds that x509 does not read or that are kept as a seed.
func innerOf(a kms.Algorithm, k *oneAsymmetricKey) (raw []byte, err error) {
	want, ok := identifierOf(a)
	if !ok || !k.Algorithm.Algorithm.Equal(want) {
		return nil, kms.Errorf(kms.CodeKeyFile, "the private key is of another algorithm than %s", a)
	}
	switch {
	case a == kms.Ed25519: // RFC 8410 §7: an OCTET STRING inside the OCTET STRING
		if rest, err := asn1.Unmarshal(k.Private, &raw); err != nil || len(rest) > 0 || len(raw) != ed25519.SeedSize {
			return nil, notAKey(a)
		}
	case a == kms.ECDSASecp256k1:
		var curve asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(k.Algorithm.Parameters.FullBytes, &curve); err != nil || len(rest) > 0 || !curve.Equal(oidSecp256k1) {
			return nil, kms.Errorf(kms.CodeKeyFile, "the private key is of another curve than secp256k1")
		}
		var inner ecPrivateKey
		if rest, err := asn1.Unmarshal(k.Private, &inner); err != nil || len(rest) > 0 || len(inner.Private) > secp256k1.PrivKeyBytesLen {
			return nil, notAKey(a)
		}
		raw = make([]byte, secp256k1.PrivKeyBytesLen)
		copy(raw[len(raw)-len(inner.Private):], inner.Private)
		clear(inner.Private)
	case isHash(a): // RFC 9909 §6: as it is
		raw = bytes.Clone(k.Private)
	default: // a seed: RFC 9881 §6, RFC 9935 §6
		return seedOf(a, k.Private)
	}
	return raw, nil
}

// identifierOf is the algorithm identifier of the kinds that innerOf reads.
func identifierOf(a kms.Algorithm) (asn1.ObjectIdentifier, bool) {
	if set, ok := hashSets[a]; ok {
		return nistID(set.oid), true
	}
	if set, ok := lattices[a]; ok {
		return nistID(set.oid), true
	}
	if set, ok := kemSets[a]; ok {
		return set.oid, true
	}
	if a == kms.ECDSASecp256k1 {
		return oidPublicKeyEC, true
	}
	return asn1.ObjectIdentifier{1, 3, 101, 112}, a == kms.Ed25519 // RFC 8410 §3
}

func isHash(a kms.Algorithm) bool { _, ok := hashSets[a]; return ok }

// seedOf takes the seed alone. The expanded key cannot be brought back to its seed, and a form with both could hold two keys.
func seedOf(a kms.Algorithm, private []byte) ([]byte, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(private, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassContextSpecific || v.Tag != 0 || v.IsCompound {
		e := kms.Errorf(kms.CodeKeyFile, "the %s private key is not in the form of its seed", a)
		e.Next = "write it as the seed alone, for example: openssl pkey -provparam " + provparam(a) + ".output_formats=seed-only"
		return nil, e
	}
	return bytes.Clone(v.Bytes), nil
}

func provparam(a kms.Algorithm) string {
	if kemSets[a] != nil {
		return "ml-kem"
	}
	return "ml-dsa"
}

// canonical reads RSA and NIST curves and writes them anew, so that nothing but the key is kept.
func canonical(a kms.Algorithm, der []byte) (*secret.Bytes, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		e := kms.Errorf(kms.CodeKeyFile, "the material is not a private key that can be read: want PKCS #8 in DER, of a good %s key", a)
		return nil, e.Because(err)
	}
	defer erasePrivate(parsed)
	if private, ok := parsed.(*rsa.PrivateKey); ok {
		if err := goodRSA(a, private); err != nil {
			return nil, err
		}
	}
	if private, ok := parsed.(*ecdsa.PrivateKey); ok && !kindIsCurve(a) {
		return nil, kms.Errorf(kms.CodeKeyFile, "the private key is of the curve %s, want %s", private.Curve.Params().Name, a)
	}
	out, err := x509.MarshalPKCS8PrivateKey(parsed)
	if err != nil {
		return nil, notAKey(a).Because(err)
	}
	return secret.Take(out), nil
}

func kindIsCurve(a kms.Algorithm) bool {
	switch a {
	case kms.ECDSAP256, kms.ECDSAP384, kms.ECDSAP521, kms.ECDHP256, kms.ECDHP384, kms.ECDHP521:
		return true
	}
	return false
}

// goodRSA refuses what FIPS 186-5 §A.1 would not have made: other lengths, small exponents, primes that are too close together.
func goodRSA(a kms.Algorithm, k *rsa.PrivateKey) error {
	f := a.Facts()
	switch {
	case a != kms.RSA2048 && a != kms.RSA3072 && a != kms.RSA4096:
		return kms.Errorf(kms.CodeKeyFile, "the private key is RSA, want %s", a)
	case k.N.BitLen() != f.Bits:
		return kms.Errorf(kms.CodeKeyFile, "the RSA key has %d bits, want %d: RSA keys are taken with 2048, 3072 or 4096", k.N.BitLen(), f.Bits)
	case len(k.Primes) != 2:
		return kms.Errorf(kms.CodeKeyFile, "the RSA key has %d primes: want two", len(k.Primes))
	case k.E < 1<<16+1:
		return kms.Errorf(kms.CodeKeyFile, "the RSA key has the public exponent %d: want 65537 or more", k.E)
	}
	apart := new(big.Int).Sub(k.Primes[0], k.Primes[1])
	defer eraseInt(apart)
	if apart.BitLen() <= f.Bits/2-100 {
		return kms.Errorf(kms.CodeKeyFile, "the primes of the RSA key are too close together: it can be factored")
	}
	if err := k.Validate(); err != nil {
		return kms.Errorf(kms.CodeKeyFile, "the parts of the RSA key do not belong together").Because(err)
	}
	return nil
}

// agree refuses a private key that came with the public half of another: some readers would believe one, some the other.
func agree(der, public []byte) error {
	_, point, err := splitSPKI(public)
	if err != nil {
		return err
	}
	k, err := splitPKCS8(der)
	if err != nil {
		return err
	}
	defer clear(k.Private)
	stated := []asn1.BitString{k.Public}
	if k.Algorithm.Algorithm.Equal(oidPublicKeyEC) {
		var inner ecPrivateKey
		if _, err := asn1.Unmarshal(k.Private, &inner); err == nil {
			clear(inner.Private)
			stated = append(stated, inner.Public)
		}
	}
	for _, s := range stated {
		if compressed := len(s.Bytes) > 0 && (s.Bytes[0] == 2 || s.Bytes[0] == 3) && len(point) == 2*len(s.Bytes)-1; s.BitLength == 0 || compressed {
			continue
		}
		if !bytes.Equal(s.Bytes, point) {
			return kms.Errorf(kms.CodeKeyFile, "the public half that stands beside the private key is that of another key")
		}
	}
	return nil
}
