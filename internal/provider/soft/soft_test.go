package soft_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"hash"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/box/boxtest"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

var place = []byte("key/1")

// keyOf makes a wrapping key whose bytes the test knows.
func keyOf(t testing.TB) (*box.Key, []byte) {
	t.Helper()
	raw := make([]byte, box.KeySize)
	for i := range raw {
		raw[i] = byte(7 * i)
	}
	k, err := box.NewKey(secret.Copy(raw))
	if err != nil {
		t.Fatal(err)
	}
	return k, raw
}

// TestWrittenFormatsAreWhatIsWritten opens wrapped material, and then a ciphertext, with nothing but the pages of
// docs/formats.md: header by hand, boxes by the second implementation; and the other way round.
func TestWrittenFormatsAreWhatIsWritten(t *testing.T) {
	p := newProvider(t, soft.Config{})
	wrap, wrapRaw := keyOf(t)
	header := blob.AppendHeader(nil, blob.Header{Suite: blob.Software, Key: kms.ID{1}, Version: 3})
	for a, want := range map[kms.Algorithm]struct{ number, form, size byte }{
		kms.AES128GCM: {1, 1, 16}, kms.AES192GCM: {2, 1, 24}, kms.AES256GCM: {3, 1, 32},
		kms.HMACSHA256: {4, 1, 32}, kms.HMACSHA384: {5, 1, 48}, kms.HMACSHA512: {6, 1, 64},
		kms.ECDSAP256: {7, 3, 0}, kms.ECDSAP384: {8, 3, 0}, kms.Ed25519: {9, 2, 32}, kms.RSA2048: {10, 3, 0},
		kms.ECDSAP521: {13, 3, 0}, kms.ECDSASecp256k1: {14, 1, 32}, kms.HMACSHA224: {15, 1, 28},
		kms.ChaCha20Poly1305: {16, 1, 32}, kms.XChaCha20Poly1305: {17, 1, 32}, kms.AES128CMAC: {18, 1, 16}, kms.AES256CMAC: {19, 1, 32},
		kms.MLDSA44: {20, 2, 32}, kms.MLDSA65: {21, 2, 32}, kms.MLDSA87: {22, 2, 32},
		kms.SLHDSASHA2128s: {23, 1, 64}, kms.SLHDSASHA2128f: {24, 1, 64},
		kms.ECDHP256: {25, 3, 0}, kms.ECDHP384: {26, 3, 0}, kms.ECDHP521: {27, 3, 0}, kms.X25519: {28, 3, 0},
		kms.MLKEM512: {29, 2, 64}, kms.MLKEM768: {30, 2, 64}, kms.MLKEM1024: {31, 2, 64}, kms.XWing: {32, 2, 32},
		kms.AES128Wrap: {33, 1, 16}, kms.AES192Wrap: {34, 1, 24}, kms.AES256Wrap: {35, 1, 32},
		kms.AES256SIV: {36, 1, 32}, kms.AES128FF1: {37, 1, 16}, kms.AES256FF1: {38, 1, 32},
	} {
		if !slices.Contains(creatable(profiles()[0]), a) {
			continue
		}
		made, err := p.Generate(provider.Spec{Algorithm: a}, wrap, place)
		if err != nil {
			t.Fatal(err)
		}
		if got := made.Wrapped[:3]; !bytes.Equal(got, []byte{1, want.number, want.form}) {
			t.Errorf("%s: header got %x", a, got)
		}
		raw, err := boxtest.Open(wrapRaw, "keyhold/material/v1", made.Wrapped[:3], made.Wrapped[3:], place)
		if err != nil || want.size != 0 && len(raw) != int(want.size) {
			t.Fatalf("%s: material of %d bytes, %v want %d", a, len(raw), err, want.size)
		}
		if want.form == 3 {
			if _, err := x509.ParsePKCS8PrivateKey(raw); err != nil {
				t.Errorf("%s: PKCS #8: %v", a, err)
			}
		}
		if !a.Facts().Asymmetric {
			if got := handCheck(raw, a); !bytes.Equal(made.Check, got) {
				t.Errorf("%s: check value got %x want %x", a, made.Check, got)
			}
		}
		h, err := p.Open(a, made.Wrapped, wrap, place, made.Check)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		switch a.Usages()[0] {
		case kms.MAC:
			if a == kms.AES128CMAC || a == kms.AES256CMAC {
				continue // TestCMACIsThatOfTheStandard
			}
			hash := map[kms.Algorithm]func() hash.Hash{kms.HMACSHA224: sha256.New224, kms.HMACSHA256: sha256.New, kms.HMACSHA384: sha512.New384, kms.HMACSHA512: sha512.New}[a]
			m := hmac.New(hash, raw)
			m.Write([]byte("message"))
			if got, err := h.MAC(nil, []byte("message"), kms.NoScheme); err != nil || !bytes.Equal(got, m.Sum(nil)) {
				t.Errorf("%s: got %x, %v want %x", a, got, err, m.Sum(nil))
			}
		case kms.EncryptDecrypt:
			if a.Facts().Asymmetric {
				continue
			}
			open, seal := theOther(a)
			sealed, err := h.Seal(nil, header, []byte("plaintext"), []byte("aad"), kms.NoScheme)
			if err != nil {
				t.Fatal(err)
			}
			got, err := open(raw, header, sealed, []byte("aad"))
			if err != nil || string(got) != "plaintext" {
				t.Errorf("%s: the second implementation: got %q, %v", a, got, err)
			}
			theirs, err := seal(raw, header, []byte("plaintext"), []byte("aad"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := h.Open(nil, header, theirs, []byte("aad"), kms.NoScheme); err != nil || string(got) != "plaintext" {
				t.Errorf("%s: theirs: got %q, %v", a, got, err)
			}
		}
	}
}

// theOther is the second implementation of an algorithm's boxes, with the label and the length of nonce that the page gives it.
func theOther(a kms.Algorithm) (open, seal func(key, header, text, aad []byte) ([]byte, error)) {
	label, nonce := "keyhold/blob/v1", 12
	switch a {
	case kms.AES256SIV:
		label = "keyhold/blob/aes-siv/v1"
		return func(key, header, sealed, aad []byte) ([]byte, error) {
				return boxtest.OpenConvergent(key, label, header, sealed, aad)
			},
			func(key, header, plaintext, aad []byte) ([]byte, error) {
				return boxtest.SealConvergent(key, label, header, plaintext, aad), nil
			}
	case kms.ChaCha20Poly1305:
		label = "keyhold/blob/chacha20-poly1305/v1"
	case kms.XChaCha20Poly1305:
		label, nonce = "keyhold/blob/xchacha20-poly1305/v1", 24
	default:
		return func(key, header, sealed, aad []byte) ([]byte, error) {
				return boxtest.Open(key, label, header, sealed, aad)
			},
			func(key, header, plaintext, aad []byte) ([]byte, error) {
				return boxtest.Seal(key, label, header, make([]byte, 24), make([]byte, nonce), plaintext, aad)
			}
	}
	return func(key, header, sealed, aad []byte) ([]byte, error) {
			return boxtest.OpenChaCha(key, label, nonce, header, sealed, aad)
		}, func(key, header, plaintext, aad []byte) ([]byte, error) {
			return boxtest.SealChaCha(key, label, header, make([]byte, 24), make([]byte, nonce), plaintext, aad)
		}
}

// handCheck is the check value of a symmetric key after its written form: HKDF (RFC 5869) by hand.
func handCheck(key []byte, a kms.Algorithm) []byte {
	extract := hmac.New(sha512.New, []byte("keyhold/check/v1"))
	extract.Write(key)
	expand := hmac.New(sha512.New, extract.Sum(nil))
	expand.Write([]byte(a.String()))
	expand.Write([]byte{1})
	return expand.Sum(nil)[:8]
}

// TestEveryFIPSCellWorks does a round trip in every cell that the FIPS profile permits.
func TestEveryFIPSCellWorks(t *testing.T) {
	p := newProvider(t, soft.Config{Profile: kms.ProfileFIPS})
	wrap, _ := keyOf(t)
	header := make([]byte, blob.HeaderSize)
	cells := 0
	for _, a := range creatable(kms.ProfileFIPS) {
		if a.Facts().Slow && a != kms.RSA2048 && !long() {
			continue // the cells of the larger sizes are those of RSA-2048; the contract tests them too
		}
		made, err := p.Generate(provider.Spec{Algorithm: a}, wrap, place)
		if err != nil {
			t.Errorf("generate %s: %v", a, err)
			continue
		}
		h, err := p.Open(a, made.Wrapped, wrap, place, made.Check)
		if err != nil {
			t.Errorf("open %s: %v", a, err)
			continue
		}
		for _, f := range a.Facts().Schemes {
			if f.Leave[kms.ProfileFIPS] != kms.Full {
				continue
			}
			cells++
			var out []byte
			var err error
			switch f.Usage {
			case kms.EncryptDecrypt:
				if out, err = h.Seal(nil, header, []byte("text"), []byte("aad"), f.Scheme); err == nil {
					_, err = h.Open(nil, header, out, []byte("aad"), f.Scheme)
				}
			case kms.SignVerify:
				if out, err = h.Sign([]byte("text"), kms.Form{}, f.Scheme); err == nil {
					err = h.Verify([]byte("text"), out, kms.Form{}, f.Scheme)
				}
			case kms.MAC:
				if out, err = h.MAC(nil, []byte("text"), f.Scheme); err == nil {
					err = h.VerifyMAC([]byte("text"), out, f.Scheme)
				}
			case kms.KeyAgreement:
				_, err = h.Agree(made.Public)
			case kms.Encapsulation:
				if out, _, err = h.Encapsulate(); err == nil {
					_, err = h.Decapsulate(out)
				}
			case kms.Wrapping:
				if out, err = h.Seal(nil, nil, make([]byte, 32), nil, f.Scheme); err == nil {
					_, err = h.Open(nil, nil, out, nil, f.Scheme)
				}
			case kms.FormatPreserving:
				var text []uint16
				if text, err = h.Format(nil, 10, nil, make([]uint16, 16), false); err == nil {
					_, err = h.Format(nil, 10, nil, text, true)
				}
			}
			if err != nil {
				t.Errorf("%s with %s: %v", a, f.Scheme, err)
			}
		}
		h.Close()
		if a.Facts().Asymmetric {
			if _, private, err := p.GeneratePair(a); err != nil || private.Len() == 0 {
				t.Errorf("a pair of %s: %v", a, err)
			}
		}
	}
	if _, err := p.Random(32); err != nil {
		t.Errorf("random: %v", err)
	}
	// 3 AES, 4 HMAC, 2 CMAC, 3 curves, 2 of Ed25519, 9 RSA; 3 of ECDH, 2 of ML-KEM, 6 of key wrapping, 2 of FF1.
	if want := 23 + 13; cells < want {
		t.Errorf("tried %d cells, want %d or more", cells, want)
	}
	t.Logf("enforced: %v", fips140.Enforced())
}

// TestFIPSProfileWorksUnderEnforcement runs the cells again in a process that refuses, or panics at, all that the
// FIPS 140-3 module does not approve.
func TestFIPSProfileWorksUnderEnforcement(t *testing.T) {
	self := exec.Command(os.Args[0], "-test.run=^(TestEveryFIPSCellWorks|TestTheFIPSProfileRefusesByTheTable|TestEnforcementOverridesTheProfile)$", "-test.v") //nolint:gosec // G204: this test
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GODEBUG=") {
			self.Env = append(self.Env, v)
		}
	}
	self.Env = append(self.Env, "GODEBUG=fips140=only")
	out, err := self.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS: ")) != 3 || !bytes.Contains(out, []byte("enforced: true")) {
		t.Errorf("under fips140=only: %v\n%s", err, out)
	}
}

func TestConfigIsBounded(t *testing.T) {
	for _, c := range []soft.Config{{Workers: -1}, {Workers: 65}, {Queue: 1025}, {Profile: 7}} {
		if _, err := soft.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	for _, c := range []soft.Config{{}, {Workers: 64, Queue: 1024}, {Queue: -1}} {
		if _, err := soft.New(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	p := newProvider(t, soft.Config{Source: "another"})
	wrap, _ := keyOf(t)
	if made, err := p.Generate(provider.Spec{Algorithm: kms.Ed25519}, wrap, place); err != nil || made.Source != "another" {
		t.Errorf("source got %q, %v", made.Source, err)
	}
}

func TestInputsAreBounded(t *testing.T) {
	p := newProvider(t, soft.Config{})
	wrap, _ := keyOf(t)
	header, huge := make([]byte, blob.HeaderSize), make([]byte, soft.MaxMessage+1)
	want := func(what string, err error, code kms.Code) {
		t.Helper()
		if kms.CodeOf(err) != code {
			t.Errorf("%s: got %v want %s", what, err, code)
		}
	}
	for _, a := range []kms.Algorithm{kms.AES256GCM, kms.HMACSHA256, kms.Ed25519, kms.ECDSAP256} {
		made, err := p.Generate(provider.Spec{Algorithm: a}, wrap, place)
		if err != nil {
			t.Fatal(err)
		}
		h, err := p.Open(a, made.Wrapped, wrap, place, made.Check)
		if err != nil {
			t.Fatal(err)
		}
		switch a.Usages()[0] {
		case kms.EncryptDecrypt:
			_, err := h.Seal(nil, header, huge, nil, kms.NoScheme)
			want("seal", err, kms.CodeTooLarge)
			_, err = h.Open(nil, header, huge, nil, kms.NoScheme)
			want("open", err, kms.CodeTooLarge)
			_, err = h.Seal(nil, header, nil, huge[:soft.MaxAAD+1], kms.NoScheme)
			want("seal with a huge context", err, kms.CodeTooLarge)
			_, err = h.Seal(nil, header, huge[:soft.MaxMessage], huge[:soft.MaxAAD], kms.NoScheme)
			want("seal the most", err, 0)
		case kms.SignVerify:
			_, err := h.Sign(huge, kms.Form{}, kms.NoScheme)
			want("sign", err, kms.CodeTooLarge)
			want("verify", h.Verify(huge, nil, kms.Form{}, kms.NoScheme), kms.CodeTooLarge)
		case kms.MAC:
			_, err := h.MAC(nil, huge, kms.NoScheme)
			want("mac", err, kms.CodeTooLarge)
			want("verify mac", h.VerifyMAC(huge, nil, kms.NoScheme), kms.CodeTooLarge)
		}
		h.Close()
	}
	_, err := p.Generate(provider.Spec{Algorithm: kms.AES256GCM}, wrap, make([]byte, soft.MaxPlace+1))
	want("a huge place", err, kms.CodeInternal)
}
