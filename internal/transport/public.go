package transport

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/keyhold/keyhold/internal/kms"
)

// oidHybrid names a public key of X-Wing, which MLKEM768-X25519 is (draft-connolly-cfrg-xwing-kem).
var oidHybrid = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}

const hybridSize = 1216 // ML-KEM-768, 1,184 bytes, then X25519, 32

// Public is a public key that material can be wrapped for.
type Public struct {
	Key         any           // for Seal
	Algorithm   kms.Algorithm // of the key: RSA keys of other lengths than those that are made here count as the next shorter
	Fingerprint [32]byte      // SHA-256 of its SubjectPublicKeyInfo
}

// ParsePublic reads a DER SubjectPublicKeyInfo: RSA of 2048 to 4096 bits, P-256, or MLKEM768-X25519. CodeBadRequest for all others.
func ParsePublic(der []byte) (Public, error) {
	bad := kms.Errorf(kms.CodeBadRequest, "this is not a public key that material can be wrapped for: want a SubjectPublicKeyInfo of RSA (2048 to 4096 bits), P-256 or MLKEM768-X25519")
	if len(der) > MaxPublic {
		return Public{}, bad
	}
	out := Public{Fingerprint: sha256.Sum256(der)}
	if raw, ok := hybridOf(der); ok {
		out.Key, out.Algorithm = Hybrid(raw), kms.XWing
		return out, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Public{}, bad.Because(err)
	}
	switch key := parsed.(type) {
	case *rsa.PublicKey:
		out.Key = key
		switch n := key.N.BitLen(); {
		case n < 2048 || n > 4096 || key.E < 3:
			return Public{}, bad
		case n >= 4096:
			out.Algorithm = kms.RSA4096
		case n >= 3072:
			out.Algorithm = kms.RSA3072
		default:
			out.Algorithm = kms.RSA2048
		}
		return out, nil
	case *ecdsa.PublicKey:
		if public, err := key.ECDH(); err == nil && public.Curve() == ecdh.P256() {
			out.Key, out.Algorithm = public, kms.ECDHP256
			return out, nil
		}
	}
	return Public{}, bad
}

func hybridOf(der []byte) ([]byte, bool) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &info)
	ok := err == nil && len(rest) == 0 && info.Algorithm.Algorithm.Equal(oidHybrid) && len(info.Algorithm.Parameters.FullBytes) == 0 &&
		info.Public.BitLength == 8*hybridSize
	return info.Public.Bytes, ok
}

// For is the transport that a public key is used with when none is named.
func (p *Public) For() kms.Transport {
	switch p.Algorithm {
	case kms.XWing:
		return kms.HPKEMLKEM768X25519
	case kms.ECDHP256:
		return kms.HPKEP256
	}
	return kms.RSAAESSHA256
}
