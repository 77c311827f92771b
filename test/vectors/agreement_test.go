package vectors

import (
	"crypto/ecdh"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
)

// TestECDHIsThatOfTheVectors: what a file calls acceptable (curves that are written out, compressed points, loose ASN.1) is refused or gives
// the secret of the vector, never another.
func TestECDHIsThatOfTheVectors(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		a     kms.Algorithm
		curve ecdh.Curve
		size  int // of a private key in bytes
	}{
		"ecdh_secp256r1": {kms.ECDHP256, ecdh.P256(), 32},
		"ecdh_secp384r1": {kms.ECDHP384, ecdh.P384(), 48},
		"ecdh_secp521r1": {kms.ECDHP521, ecdh.P521(), 66},
	} {
		good, bad, either := 0, 0, 0
		for _, g := range file(t, name) {
			for _, v := range g.Tests {
				private, err := c.curve.NewPrivateKey(new(big.Int).SetBytes(v.Private).FillBytes(make([]byte, c.size)))
				if err != nil {
					t.Fatal(err)
				}
				h := w.loadECDH(t, c.a, private)
				got, err := h.Agree(v.Public)
				same := err == nil && got.Equal(secret.Copy(v.Shared))
				switch v.Result {
				case "valid":
					if good++; !same {
						t.Errorf("%s, vector %d (%s): another secret, %v", name, v.ID, v.Comment, err)
					}
				case "invalid":
					bad++
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeBadRequest)
				default:
					if either++; err == nil && !same || err != nil && kms.CodeOf(err) != kms.CodeBadRequest {
						t.Errorf("%s, vector %d (%s): another secret, or %v", name, v.ID, v.Comment, err)
					}
				}
			}
		}
		if good < 300 || bad < 30 || either < 100 {
			t.Errorf("%s: %d valid, %d invalid and %d acceptable vectors were run", name, good, bad, either)
		}
	}
}

// TestX25519IsThatOfTheVectors: secrets of zeros are refused (RFC 7748 §6.1); all else that has a secret gives it.
func TestX25519IsThatOfTheVectors(t *testing.T) {
	w := newWorld(t)
	good, zeros, bad := 0, 0, 0
	for _, g := range file(t, "x25519_asn") {
		for _, v := range g.Tests {
			parsed, err := x509.ParsePKCS8PrivateKey(v.Private)
			if err != nil {
				if bad++; v.Result != "invalid" {
					t.Errorf("vector %d (%s): %v", v.ID, v.Comment, err)
				}
				continue
			}
			got, err := w.loadECDH(t, kms.X25519, parsed.(*ecdh.PrivateKey)).Agree(v.Public)
			switch {
			case v.Result == "invalid":
				bad++
				wantCode(t, v.Comment, v.ID, err, kms.CodeBadRequest)
			case slices.Contains(v.Flags, "ZeroSharedSecret"):
				zeros++
				wantCode(t, v.Comment, v.ID, err, kms.CodeBadRequest)
			default:
				if good++; err != nil || !got.Equal(secret.Copy(v.Shared)) {
					t.Errorf("vector %d (%s): another secret, %v", v.ID, v.Comment, err)
				}
			}
		}
	}
	if good < 450 || zeros < 30 || bad < 15 {
		t.Errorf("%d secrets, %d of zeros and %d invalid vectors were run", good, zeros, bad)
	}
}

func (w world) loadECDH(t testing.TB, a kms.Algorithm, private *ecdh.PrivateKey) provider.Handle {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return w.mustLoad(t, a, pkcs8, der, public)
}

// nistKEM are the object identifiers of ML-KEM, RFC 9935 §3.
func nistKEM(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, last}
}
