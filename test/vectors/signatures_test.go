package vectors

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// rsaOf is the algorithm of a modulus, 0 for none of ours.
var rsaOf = map[int]kms.Algorithm{2048: kms.RSA2048, 3072: kms.RSA3072, 4096: kms.RSA4096}

// TestSignaturesVerify runs every file whose signatures the provider can be asked about, with the public key alone.
func TestSignaturesVerify(t *testing.T) {
	w := newWorld(t)
	for _, f := range []struct {
		name   string
		a      kms.Algorithm
		s      kms.Scheme
		accept func(vector) bool // a rule of the provider that refuses vectors which the file calls valid; nil: as the file says
	}{
		{"ecdsa_secp256r1_sha256", kms.ECDSAP256, kms.SchemeECDSASHA256, nil},
		{"ecdsa_secp384r1_sha384", kms.ECDSAP384, kms.SchemeECDSASHA384, nil},
		{"ecdsa_secp521r1_sha512", kms.ECDSAP521, kms.SchemeECDSASHA512, nil},
		{"ecdsa_secp256k1_sha256_bitcoin", kms.ECDSASecp256k1, kms.SchemeECDSASHA256, nil},
		{"ecdsa_secp256k1_sha256", kms.ECDSASecp256k1, kms.SchemeECDSASHA256, lowS},
		{"ed25519", kms.Ed25519, kms.SchemeEd25519, nil},
		{"rsa_signature_2048_sha256", kms.RSA2048, kms.SchemePKCS1SHA256, nil},
		{"rsa_signature_2048_sha384", kms.RSA2048, kms.SchemePKCS1SHA384, nil},
		{"rsa_signature_2048_sha512", kms.RSA2048, kms.SchemePKCS1SHA512, nil},
		{"rsa_signature_3072_sha256", kms.RSA3072, kms.SchemePKCS1SHA256, nil},
		{"rsa_signature_3072_sha384", kms.RSA3072, kms.SchemePKCS1SHA384, nil},
		{"rsa_signature_3072_sha512", kms.RSA3072, kms.SchemePKCS1SHA512, nil},
		{"rsa_signature_4096_sha256", kms.RSA4096, kms.SchemePKCS1SHA256, nil},
		{"rsa_signature_4096_sha384", kms.RSA4096, kms.SchemePKCS1SHA384, nil},
		{"rsa_signature_4096_sha512", kms.RSA4096, kms.SchemePKCS1SHA512, nil},
		{"rsa_pss_2048_sha256_mgf1_0", kms.RSA2048, kms.SchemePSSSHA256, nil},
		{"rsa_pss_2048_sha256_mgf1_32", kms.RSA2048, kms.SchemePSSSHA256, nil},
		{"rsa_pss_2048_sha384_mgf1_48", kms.RSA2048, kms.SchemePSSSHA384, nil},
		{"rsa_pss_3072_sha256_mgf1_32", kms.RSA3072, kms.SchemePSSSHA256, nil},
		{"rsa_pss_4096_sha256_mgf1_32", kms.RSA4096, kms.SchemePSSSHA256, nil},
		{"rsa_pss_4096_sha384_mgf1_48", kms.RSA4096, kms.SchemePSSSHA384, nil},
		{"rsa_pss_4096_sha512_mgf1_32", kms.RSA4096, kms.SchemePSSSHA512, nil},
		{"rsa_pss_4096_sha512_mgf1_64", kms.RSA4096, kms.SchemePSSSHA512, nil},
		{"mldsa_44_verify", kms.MLDSA44, kms.SchemeMLDSA, withoutContext},
		{"mldsa_65_verify", kms.MLDSA65, kms.SchemeMLDSA, withoutContext},
		{"mldsa_87_verify", kms.MLDSA87, kms.SchemeMLDSA, withoutContext},
	} {
		t.Run(f.name, func(t *testing.T) {
			salts := 0
			for _, g := range file(t, f.name) {
				public := []byte(g.PublicKeyDER)
				if public == nil { // a key of the wrong length has no DER
					var b hexBytes
					if err := json.Unmarshal(g.PublicKey, &b); err != nil {
						t.Fatal(err)
					}
					public = nistSPKI(t, latticeArc[f.a], b)
				}
				for _, v := range g.Tests {
					good := v.Result == "valid"
					if f.accept != nil {
						good = good && f.accept(v)
					}
					if n, other := saltOf(v); other {
						good = n <= saltMost[f.s]
						salts++
					}
					err := w.Verify(f.a, public, v.Msg, v.Sig, false, f.s)
					switch {
					case good:
						wantCode(t, v.Comment, v.ID, err, 0)
					case v.Result == "acceptable": // legacy encodings: Go's cryptography is strict about some
						if c := kms.CodeOf(err); c != 0 && c != kms.CodeBadSignature {
							t.Errorf("%s, vector %d: got %v", v.Comment, v.ID, err)
						}
					case slices.Contains(v.Flags, "IncorrectPublicKeyLength"):
						wantCode(t, v.Comment, v.ID, err, kms.CodeBadRequest)
					default:
						wantCode(t, v.Comment, v.ID, err, kms.CodeBadSignature)
					}
				}
			}
			if saltMost[f.s] > 0 && salts < 4 {
				t.Errorf("%d vectors with salts of other lengths were run", salts)
			}
		})
	}
}

// saltMost is the length of the longest salt that the provider takes: that of the hash, FIPS 186-5 §5.4 step g. A file has one length of salt
// and calls every other invalid; the provider takes all from 0 up to its limit, and none above.
var saltMost = map[kms.Scheme]int{kms.SchemePSSSHA256: 32, kms.SchemePSSSHA384: 48, kms.SchemePSSSHA512: 64}

// saltOf is the length of the salt of a vector that has another than its file.
func saltOf(v vector) (n int, other bool) {
	_, err := fmt.Sscanf(v.Comment, "s_len changed to %d", &n)
	return n, err == nil
}

// lowS: the provider takes the lower s alone.
func lowS(v vector) bool {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(v.Sig, &sig); err != nil {
		return true
	}
	half, _ := new(big.Int).SetString("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0", 16)
	return sig.S.Cmp(half) <= 0
}

// withoutContext: the provider signs and verifies with an empty context.
func withoutContext(v vector) bool { return len(v.Ctx) == 0 }

// TestPKCS1SignaturesAreThoseOfTheVectors: PKCS #1 v1.5 has no choice to make.
func TestPKCS1SignaturesAreThoseOfTheVectors(t *testing.T) {
	w := newWorld(t)
	schemes := map[string]kms.Scheme{"SHA-256": kms.SchemePKCS1SHA256, "SHA-384": kms.SchemePKCS1SHA384, "SHA-512": kms.SchemePKCS1SHA512}
	seen := 0
	for _, name := range []string{"rsa_pkcs1_2048_sig_gen", "rsa_pkcs1_3072_sig_gen", "rsa_pkcs1_4096_sig_gen"} {
		for _, g := range file(t, name) {
			s, ok := schemes[g.SHA]
			if !ok {
				continue // SHA-1, SHA-224 and others that the provider does not sign with
			}
			h := w.mustLoad(t, rsaOf[g.KeySize], pkcs8, g.PrivateKeyPKCS8, rsaPublic(t, g.PrivateKeyPKCS8))
			for _, v := range g.Tests {
				seen++
				got, err := h.Sign(v.Msg, kms.Form{}, s)
				if err != nil || !bytes.Equal(got, v.Sig) {
					t.Errorf("%s, vector %d: got %x, %v want %x", name, v.ID, got, err, v.Sig)
				}
				if err := h.Verify(v.Msg, v.Sig, kms.Form{}, s); err != nil {
					t.Errorf("%s, vector %d: %v", name, v.ID, err)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d vectors were run", seen)
	}
}

func rsaPublic(t testing.TB, private []byte) []byte {
	t.Helper()
	k, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&k.(*rsa.PrivateKey).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return public
}
