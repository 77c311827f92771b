package soft

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

func generate(t testing.TB, a kms.Algorithm) (*Provider, provider.Generated, *handle, *box.Key) {
	t.Helper()
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	wrap := wrapKey(t)
	made, err := p.Generate(a, wrap, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.open(kindOf(a), a, made.Wrapped, wrap, []byte("p"), made.Check)
	if err != nil {
		t.Fatal(err)
	}
	return p, made, h, wrap
}

// TestEverySchemeOfTheTableWorks: the two tables agree: an algorithm of package kms has a kind, a scheme its functions.
func TestEverySchemeOfTheTableWorks(t *testing.T) {
	for _, a := range kms.AllAlgorithms() {
		if k := kindOf(a); k == nil || k.make == nil || k.parse == nil {
			t.Errorf("%s has no kind", a)
		}
		for _, f := range a.Facts().Schemes {
			s := schemeOf(f.Scheme)
			ok := s != nil && map[kms.Usage]bool{
				kms.EncryptDecrypt: s.seal != nil && s.open != nil, kms.SignVerify: s.sign != nil && s.verify != nil, kms.MAC: s.mac != nil,
			}[f.Usage]
			if !ok {
				t.Errorf("%s with %s: the functions for %s are not there", a, f.Scheme, f.Usage)
			}
		}
	}
}

// TestAKeyPairThatDoesNotBelongTogetherIsThrownAway: the pairwise test finds a public half of another key, and a private half
// that signs for another.
func TestAKeyPairThatDoesNotBelongTogetherIsThrownAway(t *testing.T) {
	for _, a := range []kms.Algorithm{kms.ECDSAP256, kms.ECDSAP384, kms.Ed25519, kms.RSA2048} {
		p, made, h, wrap := generate(t, a)
		_, other, _, _ := generate(t, a)
		if err := h.selfTest(made.Public); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if err := h.selfTest(other.Public); err == nil {
			t.Errorf("%s: another's public key passed", a)
		}
		mixed := made
		mixed.Public = other.Public
		if err := p.prove(kindOf(a), a, mixed, wrap, []byte("p")); kms.CodeOf(err) != kms.CodeInternal {
			t.Errorf("%s: another's public key: got %v want %s", a, err, kms.CodeInternal)
		}
		mixed = made
		mixed.Check = other.Check
		if err := p.prove(kindOf(a), a, mixed, wrap, []byte("p")); kms.CodeOf(err) != kms.CodeInternal {
			t.Errorf("%s: another's check value: got %v want %s", a, err, kms.CodeInternal)
		}
	}
	// An inconsistent pair inside one key: the public point of one, the scalar of another.
	one, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	two, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	crossed := &ecdsa.PrivateKey{PublicKey: one.PublicKey, D: two.D} //nolint:staticcheck // SA1019: that is the fault under test
	h := &handle{algorithm: kms.ECDSAP256, key: &key{private: crossed}}
	if err := h.selfTest(nil); err == nil {
		t.Error("a private key signed for another's public key and passed")
	}
}

func TestCloseErasesWhatItCan(t *testing.T) {
	for _, a := range []kms.Algorithm{kms.AES256GCM, kms.HMACSHA256, kms.Ed25519, kms.ECDSAP256, kms.RSA2048} {
		_, _, h, _ := generate(t, a)
		k := *h.key
		var raw []byte
		switch private := k.private.(type) {
		case ed25519.PrivateKey:
			raw = private
		case nil:
			if k.mac != nil {
				raw = k.mac.Reveal(reveal.Key{})
			}
		}
		h.Close()
		if len(raw) > 0 && !bytes.Equal(raw, make([]byte, len(raw))) {
			t.Errorf("%s: the key is still there", a)
		}
		switch private := k.private.(type) {
		case *ecdsa.PrivateKey:
			if private.D.Sign() != 0 { //nolint:staticcheck // SA1019: to see that it is gone
				t.Errorf("%s: the scalar is still there", a)
			}
		case *rsa.PrivateKey:
			for _, n := range []*big.Int{private.D, private.Primes[0], private.Primes[1], private.Precomputed.Dp, private.Precomputed.Dq, private.Precomputed.Qinv} {
				if n.Sign() != 0 {
					t.Errorf("%s: a part of the private key is still there", a)
				}
			}
		}
		if k.aes != nil {
			if _, err := k.aes.Seal(nil, box.Blob, make([]byte, 22), nil, nil); err == nil {
				t.Errorf("%s: the key still encrypts", a)
			}
		}
		if h.key != nil {
			t.Errorf("%s: the handle still holds the key", a)
		}
	}
}

// TestPSSSaltsUpToTheHashVerify: FIPS 186-5 §5.4 step g.
func TestPSSSaltsUpToTheHashVerify(t *testing.T) {
	_, _, h, _ := generate(t, kms.RSA2048)
	private := h.key.private.(*rsa.PrivateKey)
	message := []byte("message")
	digest := sha256.Sum256(message)
	for _, n := range []int{1, 20, 31, 32, 33, 64, 222} {
		var signature []byte
		var err error
		fips140.WithoutEnforcement(func() { // the module does not make what is refused below
			signature, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: n})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := pssSaltLength(&private.PublicKey, crypto.SHA256, signature); got != n {
			t.Errorf("a salt of %d bytes was measured as %d", n, got)
		}
		want := kms.Code(0)
		if n > 32 {
			want = kms.CodeBadSignature
		}
		if err := h.Verify(message, signature, false, kms.SchemePSSSHA256); kms.CodeOf(err) != want {
			t.Errorf("a salt of %d bytes: got %v want %s", n, err, want)
		}
	}
	if err := h.Verify(message, saltless(private, digest[:]), false, kms.SchemePSSSHA256); err != nil {
		t.Errorf("no salt: %v", err)
	}
	for _, junk := range [][]byte{nil, {1}, make([]byte, 256), bytes.Repeat([]byte{0xff}, 300)} {
		if n := pssSaltLength(&private.PublicKey, crypto.SHA256, junk); n > 32 {
			t.Errorf("junk of %d bytes was measured as a salt of %d", len(junk), n)
		}
	}
}

// saltless makes a PSS signature without salt, which Go does not offer: RFC 8017 §9.1.1.
func saltless(private *rsa.PrivateKey, digest []byte) []byte {
	size := 256
	inner := sha256.Sum256(append(make([]byte, 8), digest...))
	db := make([]byte, size-33)
	db[len(db)-1] = 1
	for i := uint32(0); int(i)*32 < len(db); i++ {
		mask := sha256.Sum256(binary.BigEndian.AppendUint32(bytes.Clone(inner[:]), i))
		for j := range mask {
			if at := int(i)*32 + j; at < len(db) {
				db[at] ^= mask[j]
			}
		}
	}
	db[0] &= 0x7f
	em := append(append(db, inner[:]...), 0xbc)
	return new(big.Int).Exp(new(big.Int).SetBytes(em), private.D, private.N).FillBytes(make([]byte, size))
}

// FuzzMaterial: what comes out of an authentic wrapping is parsed without a panic, and what is accepted is of its algorithm.
func FuzzMaterial(f *testing.F) {
	for _, a := range []kms.Algorithm{kms.AES128GCM, kms.Ed25519, kms.HMACSHA384} {
		f.Add(byte(a), make([]byte, a.Facts().Bits/8))
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(kms.ECDSAP256), der)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(kms.RSA2048), der)
	f.Add(byte(kms.RSA3072), der)
	f.Fuzz(func(t *testing.T, alg byte, raw []byte) {
		a := kms.Algorithm(alg)
		kind := kindOf(a)
		if kind == nil || len(raw) > MaxWrapped {
			return
		}
		k, err := kind.parse(a, secret.Copy(raw))
		if err != nil {
			return
		}
		defer k.erase()
		if got := k.check(); len(got) != CheckSize {
			t.Fatalf("check value of %d bytes", len(got))
		}
		switch private := k.private.(type) {
		case *rsa.PrivateKey:
			if private.N.BitLen() != a.Facts().Bits {
				t.Fatalf("a modulus of %d bits passed for %s", private.N.BitLen(), a)
			}
		case *ecdsa.PrivateKey:
			if private.Curve.Params().BitSize != a.Facts().Bits {
				t.Fatalf("curve %s passed for %s", private.Curve.Params().Name, a)
			}
		}
	})
}

func TestMaterialOfAnotherKindIsRefused(t *testing.T) {
	small, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(small)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	wrap := wrapKey(t)
	for _, a := range kms.AllAlgorithms() {
		for _, raw := range [][]byte{der, make([]byte, 8), {}} {
			m := &material{algorithm: a, form: kindOf(a).form, secret: secret.Copy(raw)}
			wrapped, err := m.wrap(wrap, []byte("p"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Open(a, wrapped, wrap, []byte("p"), make([]byte, 8)); kms.CodeOf(err) != kms.CodeRecordDamaged {
				t.Errorf("%s with %d bytes of something else: got %v want %s", a, len(raw), err, kms.CodeRecordDamaged)
			}
		}
	}
}

func BenchmarkOperations(b *testing.B) {
	header, text, aad := make([]byte, blob.HeaderSize), make([]byte, 32), make([]byte, 17)
	for _, a := range kms.AllAlgorithms() {
		_, made, h, wrap := generate(b, a)
		run := func(name string, do func() error) {
			b.Run(a.String()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		p, err := New(Config{})
		if err != nil {
			b.Fatal(err)
		}
		run("load", func() error {
			h, err := p.Open(a, made.Wrapped, wrap, []byte("p"), made.Check)
			if err == nil {
				h.Close()
			}
			return err
		})
		if !a.Facts().Slow {
			run("generate", func() error { _, err := p.Generate(a, wrap, []byte("p")); return err })
		}
		for _, u := range a.Usages() {
			switch u {
			case kms.EncryptDecrypt:
				sealed, err := h.Seal(nil, header, text, aad, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("encrypt", func() error { _, err := h.Seal(nil, header, text, aad, kms.NoScheme); return err })
				run("decrypt", func() error { _, err := h.Open(nil, header, sealed, aad, kms.NoScheme); return err })
			case kms.SignVerify:
				signature, err := h.Sign(text, false, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("sign", func() error { _, err := h.Sign(text, false, kms.NoScheme); return err })
				run("verify", func() error { return h.Verify(text, signature, false, kms.NoScheme) })
			case kms.MAC:
				mac, err := h.MAC(nil, text, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("mac", func() error { _, err := h.MAC(nil, text, kms.NoScheme); return err })
				run("verify", func() error { return h.VerifyMAC(text, mac, kms.NoScheme) })
			}
		}
	}
}
