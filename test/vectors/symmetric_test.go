package vectors

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestMACsAreThoseOfTheVectors: full tags are made and verify; cut ones are the beginnings of what is made, and are refused; keys
// of lengths that no algorithm has are refused.
func TestMACsAreThoseOfTheVectors(t *testing.T) {
	w := newWorld(t)
	hmac := func(a kms.Algorithm) func(int) kms.Algorithm {
		return func(n int) kms.Algorithm {
			if n < kms.MinHMACKey || n > kms.MaxHMACKey {
				return 0
			}
			return a
		}
	}
	for name, of := range map[string]func(keyBytes int) kms.Algorithm{
		"aes_cmac":    func(n int) kms.Algorithm { return map[int]kms.Algorithm{16: kms.AES128CMAC, 32: kms.AES256CMAC}[n] },
		"hmac_sha224": hmac(kms.HMACSHA224), "hmac_sha256": hmac(kms.HMACSHA256), "hmac_sha384": hmac(kms.HMACSHA384), "hmac_sha512": hmac(kms.HMACSHA512),
	} {
		whole, cut, refused := 0, 0, 0
		for _, g := range file(t, name) {
			for _, v := range g.Tests {
				a := of(len(v.Key))
				if a == 0 {
					refused++
					a = map[string]kms.Algorithm{"aes_cmac": kms.AES256CMAC}[name]
					if a == 0 {
						a = of(kms.MinHMACKey)
					}
					_, err := w.load(t, a, raw, v.Key, nil)
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeRecordDamaged)
					continue
				}
				h := w.mustLoad(t, a, raw, v.Key, nil)
				made, err := h.MAC(nil, v.Msg, kms.NoScheme)
				if err != nil {
					t.Fatal(err)
				}
				good := v.Result == "valid"
				if bytes.HasPrefix(made, v.Tag) != good {
					t.Errorf("%s, vector %d (%s): made %x, the vector %x is %s", name, v.ID, v.Comment, made, v.Tag, v.Result)
				}
				want := kms.CodeBadMAC
				if full := len(v.Tag) == len(made); full && good {
					want, whole = 0, whole+1
				} else if !full {
					cut++
				}
				wantCode(t, name+": "+v.Comment, v.ID, h.VerifyMAC(v.Msg, v.Tag, kms.NoScheme), want)
			}
		}
		if whole < 20 || name != "aes_cmac" && cut < 20 || name == "aes_cmac" && refused < 20 {
			t.Errorf("%s: %d whole tags, %d cut, %d keys refused", name, whole, cut, refused)
		}
	}
}

// TestAEADsAreThoseOfTheVectors runs the ciphers that boxes are made of, called as package box calls them.
func TestAEADsAreThoseOfTheVectors(t *testing.T) {
	for name, of := range map[string]func(key []byte) (cipher.AEAD, error){
		"aes_gcm": func(key []byte) (cipher.AEAD, error) {
			block, err := aes.NewCipher(key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCMWithRandomNonce(block)
		},
		"chacha20_poly1305":  chacha20poly1305.New,
		"xchacha20_poly1305": chacha20poly1305.NewX,
	} {
		ours := map[string]int{"aes_gcm": 12, "chacha20_poly1305": 12, "xchacha20_poly1305": 24}[name]
		good, bad := 0, 0
		for _, g := range file(t, name) {
			if g.TagSize != 128 {
				t.Errorf("%s has tags of %d bits", name, g.TagSize)
			}
			for _, v := range g.Tests {
				aead, err := of(v.Key)
				if err != nil {
					t.Fatal(err)
				}
				if len(v.IV) != ours {
					continue // nonces of other lengths: boxes have one length, and these AEADs take no other
				}
				var got []byte
				if sealed := append(bytes.Clone(v.CT), v.Tag...); aead.NonceSize() == 0 {
					got, err = aead.Open(nil, nil, append(bytes.Clone(v.IV), sealed...), v.AAD)
				} else {
					if again := aead.Seal(nil, v.IV, v.Msg, v.AAD); bytes.Equal(again, sealed) != (v.Result == "valid") {
						t.Errorf("%s, vector %d (%s): sealed %x, the vector %x is %s", name, v.ID, v.Comment, again, sealed, v.Result)
					}
					got, err = aead.Open(nil, v.IV, sealed, v.AAD)
				}
				if v.Result == "valid" {
					good++
					if err != nil || !bytes.Equal(got, v.Msg) {
						t.Errorf("%s, vector %d (%s): got %x, %v want %x", name, v.ID, v.Comment, got, err, v.Msg)
					}
				} else if bad++; err == nil {
					t.Errorf("%s, vector %d (%s) opened", name, v.ID, v.Comment)
				}
			}
		}
		if good < 100 || bad < 20 {
			t.Errorf("%s: %d good and %d bad vectors were run", name, good, bad)
		}
	}
}

// TestOAEPIsThatOfTheVectors: private keys, ciphertexts and labels of Wycheproof, SHA-1 included.
func TestOAEPIsThatOfTheVectors(t *testing.T) {
	w := newWorld(t)
	schemes := map[string]kms.Scheme{"SHA-1": kms.SchemeOAEPSHA1, "SHA-256": kms.SchemeOAEPSHA256, "SHA-384": kms.SchemeOAEPSHA384, "SHA-512": kms.SchemeOAEPSHA512}
	seen := map[string]int{}
	for _, name := range []string{
		"rsa_oaep_2048_sha1_mgf1sha1", "rsa_oaep_2048_sha256_mgf1sha256", "rsa_oaep_2048_sha384_mgf1sha384", "rsa_oaep_2048_sha512_mgf1sha512",
		"rsa_oaep_3072_sha256_mgf1sha256", "rsa_oaep_3072_sha512_mgf1sha512", "rsa_oaep_4096_sha256_mgf1sha256", "rsa_oaep_4096_sha512_mgf1sha512",
		"rsa_oaep_misc",
	} {
		for _, g := range file(t, name) {
			s, ok := schemes[g.SHA]
			a := rsaOf[g.KeySize]
			if !ok || g.MGFSHA != g.SHA || a == 0 {
				continue // the provider has one hash for both
			}
			h := w.mustLoad(t, a, pkcs8, g.PrivateKeyPKCS8, rsaPublic(t, g.PrivateKeyPKCS8))
			for _, v := range g.Tests {
				seen[g.SHA]++
				got, err := h.Open(nil, nil, v.CT, v.Label, s)
				switch {
				case v.Result == "valid":
					if err != nil || !bytes.Equal(got, v.Msg) {
						t.Errorf("%s, vector %d (%s): got %x, %v want %x", name, v.ID, v.Comment, got, err, v.Msg)
					}
				case v.Result == "invalid":
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeDecryptFailed)
				}
			}
		}
	}
	for sha := range schemes {
		if seen[sha] < 20 {
			t.Errorf("%s: %d vectors were run", sha, seen[sha])
		}
	}
}
