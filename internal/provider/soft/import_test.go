package soft_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// smallExponent is a whole RSA key with e = 3, which crypto/rsa does not make.
func smallExponent(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n := new(big.Int).Mul(p, q)
		if d := new(big.Int).ModInverse(three, phi); d != nil && n.BitLen() == 2048 {
			k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 3}, D: d, Primes: []*big.Int{p, q}}
			k.Precompute()
			return k
		}
	}
}

// A private key is taken only if it is a good one of the algorithm, and what stands beside it is true of it.
func TestPoorPrivateKeysAreNotImported(t *testing.T) {
	p := newProvider(t, soft.Config{})
	wrap, _ := keyOf(t)
	place := []byte("place")
	by, key := kms.HPKEP256, kms.ECDHP256
	if fips140.Enforced() {
		by, key = kms.RSAAESSHA256, kms.RSA3072
	}
	door, err := p.Generate(provider.Spec{Algorithm: key}, wrap, place)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Open(key, door.Wrapped, wrap, place, door.Check)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	public, err := transport.ParsePublic(door.Public)
	if err != nil {
		t.Fatal(err)
	}
	der := func(k any) []byte {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	mine, other := ec(elliptic.P256()), ec(elliptic.P256())
	d, err := mine.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := asn1.Marshal(struct {
		V int
		D []byte
		P asn1.BitString `asn1:"explicit,tag:1"`
	}{1, d, asn1.BitString{Bytes: theirs, BitLength: 8 * len(theirs)}})
	if err != nil {
		t.Fatal(err)
	}
	curve, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := asn1.Marshal(struct {
		V int
		A pkix.AlgorithmIdentifier
		P []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, Parameters: asn1.RawValue{FullBytes: curve}}, inner})
	if err != nil {
		t.Fatal(err)
	}
	type poor struct {
		name  string
		a     kms.Algorithm
		der   []byte
		words string
	}
	all := []poor{
		{"another curve", kms.ECDSAP256, der(ec(elliptic.P384())), "not a key of ecdsa-p256"},
		{"EC for RSA", kms.RSA2048, der(mine), "P-256"},
		{"the public half of another", kms.ECDSAP256, mixed, "that of another key"},
		{"EC for Ed25519", kms.Ed25519, der(mine), "another algorithm"},
		{"a tail", kms.Ed25519, append(der(mine), 0), "PKCS #8"},
		{"no DER", kms.ECDSAP256, []byte("private"), "private key"},
	}
	if !fips140.Enforced() { // which refuses these whole
		weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // G403: that is the point
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, poor{"RSA-1024", kms.RSA2048, der(weak), "1024 bits"}, poor{"e = 3", kms.RSA2048, der(smallExponent(t)), "exponent 3"},
			poor{"EC for ML-DSA", kms.MLDSA65, der(mine), "another algorithm"}, poor{"P-256 for secp256k1", kms.ECDSASecp256k1, der(mine), "another curve"})
	}
	for _, c := range all {
		parcel, err := transport.Seal(by, public.Key, nil, secret.Copy(c.der))
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Import(provider.Spec{Algorithm: c.a}, h, provider.Parcel{Transport: by, Bytes: parcel}, wrap, place)
		if e := kms.AsError(err); err == nil || e.Code != kms.CodeKeyFile || !strings.Contains(e.What, c.words) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.words)
		}
	}
	parcel, err := transport.Seal(by, public.Key, nil, secret.Copy(der(mine)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Import(provider.Spec{Algorithm: kms.ECDSAP256}, h, provider.Parcel{Transport: by, Bytes: parcel}, wrap, place); err != nil {
		t.Errorf("a good key: %v", err)
	}
}
