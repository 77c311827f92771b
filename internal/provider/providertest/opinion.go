package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/keyhold/keyhold/internal/kms"
)

// secondOpinion asks another implementation, with the public key as it was given out: the standard library; for ML-DSA,
// filippo.io/mldsa; for secp256k1, the equations of SEC 1 in big integers. SLH-DSA has none in Go but the one in use.
func secondOpinion(t *testing.T, m made, s kms.Scheme, message, signature []byte) bool {
	t.Helper()
	hash := hashes[s]
	switch public := parsePublic(t, m.Public).(type) {
	case ed25519.PublicKey:
		if s == kms.SchemeEd25519ph {
			return ed25519.VerifyWithOptions(public, sum(hash, message), signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
		}
		return ed25519.Verify(public, message, signature)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, sum(hash, message), signature)
	case *rsa.PublicKey:
		if strings.HasPrefix(s.String(), "rsa-pss-") {
			return rsa.VerifyPSS(public, hash, sum(hash, message), signature, &rsa.PSSOptions{SaltLength: hash.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, sum(hash, message), signature) == nil
	case *mldsa.PublicKey:
		return mldsa.Verify(public, message, signature, nil) == nil
	case *slhdsa.PublicKey:
		return slhdsa.Verify(public, slhdsa.NewMessage(message), signature, nil)
	case point:
		return public.verifies(sum(crypto.SHA256, message), signature)
	}
	t.Fatalf("%s has a public key of a kind that is not known", m.algorithm)
	return false
}

// parsePublic reads a SubjectPublicKeyInfo, strictly.
func parsePublic(t *testing.T, der []byte) crypto.PublicKey {
	t.Helper()
	if public, err := x509.ParsePKIXPublicKey(der); err == nil {
		return public
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}
	if rest, err := asn1.Unmarshal(der, &spki); err != nil || len(rest) > 0 || spki.Public.BitLength%8 != 0 {
		t.Fatalf("the public key is not a SubjectPublicKeyInfo: %v, %d bytes follow", err, len(rest))
	}
	raw, oid := spki.Public.Bytes, spki.Algorithm.Algorithm.String()
	if oid == "1.2.840.10045.2.1" { // id-ecPublicKey, RFC 5480 §2.1.1
		var curve asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(spki.Algorithm.Parameters.FullBytes, &curve); err != nil || curve.String() != "1.3.132.0.10" {
			t.Fatalf("the public key is of the curve %s, %v", curve, err)
		}
		return newPoint(t, raw)
	}
	if len(spki.Algorithm.Parameters.FullBytes) > 0 { // RFC 9881 §2, RFC 9909 §3: absent
		t.Fatalf("%s has parameters", oid)
	}
	var public crypto.PublicKey
	var err error
	switch oid {
	case "2.16.840.1.101.3.4.3.17":
		public, err = mldsa.NewPublicKey(mldsa.MLDSA44(), raw)
	case "2.16.840.1.101.3.4.3.18":
		public, err = mldsa.NewPublicKey(mldsa.MLDSA65(), raw)
	case "2.16.840.1.101.3.4.3.19":
		public, err = mldsa.NewPublicKey(mldsa.MLDSA87(), raw)
	case "2.16.840.1.101.3.4.3.20":
		k := &slhdsa.PublicKey{ID: slhdsa.SHA2_128s}
		public, err = k, k.UnmarshalBinary(raw)
	case "2.16.840.1.101.3.4.4.1":
		public, err = mlkem512.Scheme().UnmarshalBinaryPublicKey(raw)
	case "2.16.840.1.101.3.4.4.2":
		public, err = mlkem.NewEncapsulationKey768(raw)
	case "2.16.840.1.101.3.4.4.3":
		public, err = mlkem.NewEncapsulationKey1024(raw)
	case "1.3.6.1.4.1.62253.25722":
		public, err = hpke.MLKEM768X25519().NewPublicKey(raw)
	case "2.16.840.1.101.3.4.3.21":
		k := &slhdsa.PublicKey{ID: slhdsa.SHA2_128f}
		public, err = k, k.UnmarshalBinary(raw)
	default:
		t.Fatalf("a public key of %s is not known", oid)
	}
	if err != nil {
		t.Fatalf("%s: %v", oid, err)
	}
	return public
}

// point is a point of secp256k1 in affine coordinates; the zero point, with nil coordinates, is the one at infinity.
type point struct{ x, y *big.Int }

// The curve y² = x³ + 7 over p with order n and base point g: SEC 2 §2.4.1.
var (
	curveP = hexInt("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	curveN = hexInt("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	curveG = point{
		hexInt("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
		hexInt("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
	}
)

func hexInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 16)
	return n
}

func newPoint(t *testing.T, raw []byte) point {
	t.Helper()
	if len(raw) != 65 || raw[0] != 4 {
		t.Fatalf("the point has %d bytes, want 65 uncompressed", len(raw))
	}
	p := point{new(big.Int).SetBytes(raw[1:33]), new(big.Int).SetBytes(raw[33:])}
	left := new(big.Int).Exp(p.y, big.NewInt(2), curveP)
	right := new(big.Int).Exp(p.x, big.NewInt(3), curveP)
	if left.Cmp(right.Mod(right.Add(right, big.NewInt(7)), curveP)) != 0 {
		t.Fatal("the point is not on the curve")
	}
	return p
}

func (p point) plus(q point) point {
	if p.x == nil {
		return q
	}
	if q.x == nil {
		return p
	}
	var slope *big.Int
	switch {
	case p.x.Cmp(q.x) != 0:
		slope = new(big.Int).Sub(q.x, p.x)
		slope.Mul(new(big.Int).Sub(q.y, p.y), slope.ModInverse(slope.Mod(slope, curveP), curveP))
	case p.y.Cmp(q.y) == 0 && p.y.Sign() != 0:
		slope = new(big.Int).ModInverse(new(big.Int).Lsh(p.y, 1), curveP)
		slope.Mul(slope, new(big.Int).Mul(big.NewInt(3), new(big.Int).Mul(p.x, p.x)))
	default:
		return point{}
	}
	x := new(big.Int).Mul(slope, slope)
	x.Mod(x.Sub(x.Sub(x, p.x), q.x), curveP)
	y := new(big.Int).Sub(p.x, x)
	y.Mod(y.Sub(y.Mul(y, slope), p.y), curveP)
	return point{x, y}
}

func (p point) times(k *big.Int) (sum point) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		if sum = sum.plus(sum); k.Bit(i) == 1 {
			sum = sum.plus(p)
		}
	}
	return sum
}

// verifies is SEC 1 §4.1.4, for a signature in DER.
func (p point) verifies(digest, signature []byte) bool {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &sig); err != nil || len(rest) > 0 {
		return false
	}
	for _, n := range []*big.Int{sig.R, sig.S} {
		if n.Sign() <= 0 || n.Cmp(curveN) >= 0 {
			return false
		}
	}
	w := new(big.Int).ModInverse(sig.S, curveN)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(digest), w)
	u2 := new(big.Int).Mul(sig.R, w)
	r := curveG.times(u1.Mod(u1, curveN)).plus(p.times(u2.Mod(u2, curveN)))
	return r.x != nil && new(big.Int).Mod(r.x, curveN).Cmp(sig.R) == 0
}
