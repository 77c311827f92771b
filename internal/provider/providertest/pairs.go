package providertest

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// pairs: what is given away is a pair that other implementations read, and never the same twice. Algorithms without a private key, or
// without a standard form of it, have none.
func (o Options) pairs(t *testing.T, p provider.Provider) {
	for _, a := range o.Algorithms {
		if slower(a) && !o.Thorough {
			continue
		}
		public, private, err := p.GeneratePair(a)
		if !a.Facts().Asymmetric || a == kms.XWing {
			wantCode(t, "a pair of "+a.String(), err, kms.CodeAlgorithm)
			if public != nil || private != nil {
				t.Errorf("%s: half a pair came with the error", a)
			}
			continue
		}
		if err != nil {
			t.Errorf("a pair of %s: %v", a, because(err))
			continue
		}
		der := private.Reveal(reveal.Key{})
		if !bytes.Equal(publicOf(t, a, der), public) {
			t.Errorf("%s: the halves do not belong together", a)
		}
		if a.Facts().Slow {
			continue
		}
		if again, other, err := p.GeneratePair(a); err != nil || bytes.Equal(again, public) || other.Equal(private) {
			t.Errorf("%s: two pairs are the same: %v", a, err)
		}
	}
}

// publicOf is the SubjectPublicKeyInfo of a PKCS #8 key, by another implementation than the provider's.
func publicOf(t *testing.T, a kms.Algorithm, der []byte) []byte {
	t.Helper()
	if parsed, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := parsed.(interface{ Public() crypto.PublicKey })
		if !ok {
			t.Fatalf("%s: a private key of %T", a, parsed)
		}
		if _, agrees := parsed.(*ecdh.PrivateKey); agrees && a != kms.X25519 {
			t.Errorf("%s: a private key of %T", a, parsed)
		}
		public, err := x509.MarshalPKIXPublicKey(signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		return public
	}
	var info struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Private   []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 || info.Version != 0 {
		t.Fatalf("%s: not PKCS #8: %v, %d bytes follow, version %d", a, err, len(rest), info.Version)
	}
	var raw []byte
	switch oid := info.Algorithm.Algorithm.String(); oid {
	case "1.2.840.10045.2.1": // RFC 5915 §3
		var key struct {
			Version int
			Private []byte
			Public  asn1.BitString `asn1:"explicit,tag:1"`
		}
		if rest, err := asn1.Unmarshal(info.Private, &key); err != nil || len(rest) > 0 || key.Version != 1 || len(key.Private) != 32 {
			t.Fatalf("%s: not an ECPrivateKey: %v", a, err)
		}
		p := curveG.times(new(big.Int).SetBytes(key.Private))
		raw = slices.Concat([]byte{4}, p.x.FillBytes(make([]byte, 32)), p.y.FillBytes(make([]byte, 32)))
		if !bytes.Equal(raw, key.Public.Bytes) {
			t.Errorf("%s: the point inside is not that of the scalar", a)
		}
	case "2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19":
		params := map[string]mldsa.Parameters{"17": mldsa.MLDSA44(), "18": mldsa.MLDSA65(), "19": mldsa.MLDSA87()}[oid[len(oid)-2:]]
		k, err := mldsa.NewPrivateKey(params, seedOf(t, info.Private, 32))
		if err != nil {
			t.Fatal(err)
		}
		raw = k.PublicKey().Bytes()
	case "2.16.840.1.101.3.4.3.20", "2.16.840.1.101.3.4.3.21": // FIPS 205 §9.1: the public key is the second half
		raw = info.Private[32:]
	case "2.16.840.1.101.3.4.4.1":
		public, _ := mlkem512.Scheme().DeriveKeyPair(seedOf(t, info.Private, 64))
		raw, _ = public.MarshalBinary()
	case "2.16.840.1.101.3.4.4.2":
		k, err := mlkem.NewDecapsulationKey768(seedOf(t, info.Private, 64))
		if err != nil {
			t.Fatal(err)
		}
		raw = k.EncapsulationKey().Bytes()
	case "2.16.840.1.101.3.4.4.3":
		k, err := mlkem.NewDecapsulationKey1024(seedOf(t, info.Private, 64))
		if err != nil {
			t.Fatal(err)
		}
		raw = k.EncapsulationKey().Bytes()
	default:
		t.Fatalf("%s: a private key of %s is not known", a, oid)
	}
	public, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}{info.Algorithm, asn1.BitString{Bytes: raw, BitLength: 8 * len(raw)}})
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// seedOf reads seed [0] OCTET STRING: RFC 9881 §6, RFC 9935 §6.
func seedOf(t *testing.T, b []byte, n int) []byte {
	t.Helper()
	if len(b) != n+2 || b[0] != 0x80 || int(b[1]) != n {
		t.Fatalf("a seed of %d bytes is written in %d: %x", n, len(b), b[:min(len(b), 2)])
	}
	return b[2:]
}
