package soft

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: see TestWhatOthersSignedWithSHA1Verifies
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/sign/slhdsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

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
	made, err := p.Generate(provider.Spec{Algorithm: a}, wrap, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.open(kindOf(a), a, made.Wrapped, wrap, []byte("p"), made.Check)
	if err != nil {
		t.Fatal(err)
	}
	return p, made, h, wrap
}

// makes: where FIPS 140-3 is enforced some algorithms are refused (TestEnforcementOverridesTheProfile) and cannot be tested further.
func makes(a kms.Algorithm) bool {
	return !fips140.Enforced() || kms.CheckLoad(a, kms.ProfileFIPS) == nil
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
				kms.KeyAgreement: s.agree != nil, kms.Encapsulation: s.encap != nil && s.decap != nil,
				kms.Wrapping: s.seal != nil && s.open != nil, kms.FormatPreserving: s.format != nil,
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
	for _, a := range []kms.Algorithm{kms.ECDSAP256, kms.ECDSAP384, kms.ECDSAP521, kms.ECDSASecp256k1, kms.Ed25519, kms.RSA2048, kms.MLDSA44, kms.SLHDSASHA2128f,
		kms.ECDHP256, kms.ECDHP521, kms.X25519, kms.MLKEM512, kms.MLKEM768, kms.XWing} {
		if !makes(a) {
			continue
		}
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
		if _, err := p.prove(kindOf(a), a, mixed, wrap, []byte("p")); kms.CodeOf(err) != kms.CodeInternal {
			t.Errorf("%s: another's public key: got %v want %s", a, err, kms.CodeInternal)
		}
		mixed = made
		mixed.Check = other.Check
		if _, err := p.prove(kindOf(a), a, mixed, wrap, []byte("p")); kms.CodeOf(err) != kms.CodeInternal {
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
	h := &handle{algorithm: kms.ECDSAP256, key: &key{private: crossed, verifier: &crossed.PublicKey}}
	if err := h.selfTest(nil); err == nil {
		t.Error("a private key signed for another's public key and passed")
	}
	// One that encapsulates for another's private half.
	expand := circlKEM(kemSets[kms.MLKEM768].circl)
	first, err1 := expand(bytes.Repeat([]byte{1}, 64))
	second, err2 := expand(bytes.Repeat([]byte{2}, 64))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	first.encapsulate = second.encapsulate
	h = &handle{algorithm: kms.MLKEM768, key: &key{private: first}}
	if err := h.selfTest(nil); err == nil {
		t.Error("a key encapsulated for another's private half and passed")
	}
	// A pair that is given away is proven likewise.
	m := &material{algorithm: kms.MLKEM768, form: seedForm, secret: secret.Random(64), public: []byte("another's")}
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.provePair(kindOf(kms.MLKEM768), m); err == nil {
		t.Error("a pair with another's public key passed")
	}
}

func TestCloseErasesWhatItCan(t *testing.T) {
	for _, a := range []kms.Algorithm{kms.AES256GCM, kms.HMACSHA256, kms.Ed25519, kms.ECDSAP256, kms.RSA2048,
		kms.ECDSASecp256k1, kms.ChaCha20Poly1305, kms.AES256CMAC, kms.MLDSA65, kms.SLHDSASHA2128f, kms.AES256Wrap, kms.AES256SIV, kms.AES128FF1,
		kms.MLKEM768, kms.XWing} {
		if !makes(a) {
			continue
		}
		_, _, h, _ := generate(t, a)
		k := *h.key
		var raw []byte
		switch private := k.private.(type) {
		case ed25519.PrivateKey:
			raw = private
		case nil:
			if k.raw != nil {
				raw = k.raw.Reveal(reveal.Key{})
			}
		}
		h.Close()
		if len(raw) > 0 && !bytes.Equal(raw, make([]byte, len(raw))) {
			t.Errorf("%s: the key is still there", a)
		}
		switch private := k.private.(type) {
		case *secp256k1.PrivateKey:
			if !private.Key.IsZero() {
				t.Errorf("%s: the scalar is still there", a)
			}
		case *latticeKey:
			if private.sign == nil {
				t.Errorf("%s has no key", a)
			} else if signature, err := private.sign([]byte("m")); err == nil && k.verifier.(latticePublic)([]byte("m"), signature) {
				t.Errorf("%s: the key still signs", a)
			}
		case *kemKey:
			if private.decapsulate != nil {
				t.Errorf("%s: the key is still there", a)
			}
		case *hashKey:
			if !private.private.Equal(slhdsa.PrivateKey{}) {
				t.Errorf("%s: the key is still there", a)
			}
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
		if k.box != nil {
			if _, err := k.box.Seal(nil, schemeOf(a.DefaultScheme(kms.EncryptDecrypt)).label, make([]byte, 22), nil, nil); err == nil {
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
		if err := h.Verify(message, signature, kms.Form{}, kms.SchemePSSSHA256); kms.CodeOf(err) != want {
			t.Errorf("a salt of %d bytes: got %v want %s", n, err, want)
		}
	}
	if err := h.Verify(message, saltless(private, digest[:]), kms.Form{}, kms.SchemePSSSHA256); err != nil {
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
	for _, a := range []kms.Algorithm{kms.AES128GCM, kms.Ed25519, kms.HMACSHA384, kms.ECDSASecp256k1, kms.XChaCha20Poly1305, kms.AES256CMAC, kms.SLHDSASHA2128s} {
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
	f.Add(byte(kms.ECDSASecp256k1), bytes.Repeat([]byte{0xff}, 32))
	f.Add(byte(kms.MLDSA65), make([]byte, latticeSeed))
	f.Add(byte(kms.SLHDSASHA2128f), make([]byte, 64))
	f.Add(byte(kms.HMACSHA224), make([]byte, kms.MaxHMACKey))
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
	f.Add(byte(kms.MLKEM768), make([]byte, 64))
	f.Add(byte(kms.XWing), make([]byte, 32))
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, alg byte, raw []byte) {
		a := kms.Algorithm(alg)
		kind := kindOf(a)
		if kind == nil || len(raw) > MaxWrapped {
			return
		}
		k, err := kind.parse(p, a, secret.Copy(raw))
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

// FuzzPeer: whatever the other side sends as its public key, there is a secret or the one refusal.
func FuzzPeer(f *testing.F) {
	var handles []*handle
	for _, a := range []kms.Algorithm{kms.ECDHP256, kms.ECDHP384, kms.X25519} {
		if !makes(a) {
			continue
		}
		_, made, h, _ := generate(f, a)
		handles = append(handles, h)
		f.Add(made.Public)
		f.Add(made.Public[:len(made.Public)-1])
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, MaxPublic+1))
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, h := range handles {
			shared, err := h.Agree(der)
			if err != nil {
				if kms.CodeOf(err) != kms.CodeBadRequest || shared != nil {
					t.Fatalf("%s: got %v want %s", h.algorithm, err, kms.CodeBadRequest)
				}
			} else if got := shared.Len(); got != (h.algorithm.Facts().Bits+7)/8 {
				t.Fatalf("%s: a secret of %d bytes", h.algorithm, got)
			}
		}
	})
}

// TestAPublicKeyAloneVerifies: as the handle does, for each kind, and no public key passes for one of another kind.
func TestAPublicKeyAloneVerifies(t *testing.T) {
	public := map[kms.Algorithm][]byte{}
	message := []byte("message")
	for _, a := range kms.AllAlgorithms() {
		if !makes(a) || a.DefaultScheme(kms.SignVerify) == kms.NoScheme || a.Facts().Bits > 2048 && a.Facts().Slow {
			continue
		}
		p, made, h, _ := generate(t, a)
		public[a] = made.Public
		for _, f := range a.Facts().Schemes {
			if f.Usage != kms.SignVerify {
				_, err := h.Sign(message, kms.Form{}, f.Scheme)
				if got := p.Verify(a, made.Public, message, nil, false, f.Scheme); kms.CodeOf(got) != kms.CodeOf(err) {
					t.Errorf("%s with %s: got %v want %v", a, f.Scheme, got, err)
				}
				continue
			}
			if f.Scheme == kms.SchemePKCS1None { // it takes no message
				continue
			}
			signature, err := h.Sign(message, kms.Form{}, f.Scheme)
			if f.Leave[kms.ProfileDefault] == kms.ProcessOnly {
				if kms.CodeOf(err) != kms.CodeProfile {
					t.Errorf("%s with %s: got %v want %s", a, f.Scheme, err, kms.CodeProfile)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Verify(a, made.Public, message, signature, false, f.Scheme); err != nil {
				t.Errorf("%s with %s: %v", a, f.Scheme, err)
			}
			if err := p.Verify(a, made.Public, message[1:], signature, false, f.Scheme); kms.CodeOf(err) != kms.CodeBadSignature {
				t.Errorf("%s with %s, another message: got %v want %s", a, f.Scheme, err, kms.CodeBadSignature)
			}
			if err := p.Verify(a, made.Public, message, signature, true, f.Scheme); kms.CodeOf(err) != kms.CodeBadRequest {
				t.Errorf("%s with %s, as a digest: got %v want %s", a, f.Scheme, err, kms.CodeBadRequest)
			}
		}
	}
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for a := range public {
		for b, der := range public {
			for _, bad := range [][]byte{der, append(bytes.Clone(der), 0), der[:len(der)-1], make([]byte, MaxPublic+1), nil} {
				if a == b && bytes.Equal(bad, der) {
					continue
				}
				if err := p.Verify(a, bad, message, nil, false, kms.NoScheme); kms.CodeOf(err) != kms.CodeBadRequest {
					t.Errorf("%d bytes of %s as %s: got %v want %s", len(bad), b, a, err, kms.CodeBadRequest)
				}
			}
		}
	}
	if err := p.Verify(kms.Ed25519, public[kms.Ed25519], make([]byte, MaxMessage+1), nil, false, kms.NoScheme); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("a huge message: got %v want %s", err, kms.CodeTooLarge)
	}
	for _, a := range []kms.Algorithm{0, kms.AES256GCM, kms.HMACSHA256, 255} {
		if err := p.Verify(a, nil, message, nil, false, kms.NoScheme); kms.CodeOf(err) != kms.CodeAlgorithm {
			t.Errorf("%s: got %v want %s", a, err, kms.CodeAlgorithm)
		}
	}
}

// FuzzPublic: no string of bytes makes verification panic, whatever algorithm it is passed for, and none verifies nothing.
func FuzzPublic(f *testing.F) {
	for _, a := range []kms.Algorithm{kms.ECDSAP256, kms.ECDSASecp256k1, kms.Ed25519, kms.MLDSA44, kms.SLHDSASHA2128f} {
		if !makes(a) {
			continue
		}
		_, made, _, _ := generate(f, a)
		f.Add(byte(a), made.Public, []byte("signature"))
	}
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, alg byte, der, signature []byte) {
		err := p.Verify(kms.Algorithm(alg), der, []byte("message"), signature, false, kms.NoScheme)
		switch kms.CodeOf(err) {
		case kms.CodeBadSignature, kms.CodeBadRequest, kms.CodeAlgorithm, kms.CodeProfile:
		default:
			t.Fatalf("got %v", err)
		}
	})
}

func TestMaterialOfAnotherKindIsRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	wrap := wrapKey(t)
	for _, a := range kms.AllAlgorithms() {
		foreign := [][]byte{der, make([]byte, 8), {}}
		if most := a.Facts().MaxBytes; most > 0 { // an HMAC key is any string of bytes of a fit length
			foreign[0] = make([]byte, most+1)
		} else if a == kms.ECDSAP521 || a == kms.ECDHP521 { // PKCS #8 does not tell them apart: the header of the material does
			foreign[0] = der[:len(der)-1]
		}
		for _, raw := range foreign {
			m := &material{algorithm: a, form: kindOf(a).form, secret: secret.Copy(raw)}
			wrapped, err := m.wrap(wrap, []byte("p"))
			if err != nil {
				t.Fatal(err)
			}
			want := kms.CodeRecordDamaged
			if !makes(a) {
				want = kms.CodeProfile
			}
			if _, err := p.Open(a, wrapped, wrap, []byte("p"), make([]byte, 8)); kms.CodeOf(err) != want {
				t.Errorf("%s with %d bytes of something else: got %v want %s", a, len(raw), err, want)
			}
		}
	}
}

// TestScalarsOutOfRangeAreRefused: zero, the order of secp256k1 and what lies above it are no keys.
func TestScalarsOutOfRangeAreRefused(t *testing.T) {
	order := secp256k1.Params().N
	for _, n := range []*big.Int{new(big.Int), order, new(big.Int).Add(order, big.NewInt(1)), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))} {
		if _, err := parseKoblitz(nil, kms.ECDSASecp256k1, secret.Take(n.FillBytes(make([]byte, 32)))); err == nil {
			t.Errorf("the scalar %x was taken", n)
		}
	}
	for _, n := range []*big.Int{big.NewInt(1), new(big.Int).Sub(order, big.NewInt(1))} {
		if _, err := parseKoblitz(nil, kms.ECDSASecp256k1, secret.Take(n.FillBytes(make([]byte, 32)))); err != nil {
			t.Errorf("the scalar %x: %v", n, err)
		}
	}
}

// TestAKoblitzSignatureHasOneForm: the other of the two s, which the same equation accepts, is refused.
func TestAKoblitzSignatureHasOneForm(t *testing.T) {
	if !makes(kms.ECDSASecp256k1) {
		return
	}
	_, _, h, _ := generate(t, kms.ECDSASecp256k1)
	message := []byte("message")
	for range 8 {
		signature, err := h.Sign(message, kms.Form{}, kms.NoScheme)
		if err != nil {
			t.Fatal(err)
		}
		var low, high struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &low); err != nil {
			t.Fatal(err)
		}
		order := secp256k1.Params().N
		if low.S.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
			t.Error("the signature has the higher s")
		}
		high.R, high.S = low.R, new(big.Int).Sub(order, low.S)
		mirrored, err := asn1.Marshal(high)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Verify(message, mirrored, kms.Form{}, kms.NoScheme); kms.CodeOf(err) != kms.CodeBadSignature {
			t.Errorf("the mirrored signature: got %v want %s", err, kms.CodeBadSignature)
		}
		message = append(message, '.')
	}
}

// TestMACKeysOfOtherLengths: what was made elsewhere is taken from 16 to 512 bytes, and gives the MACs it gave there.
func TestMACKeysOfOtherLengths(t *testing.T) {
	for _, n := range []int{15, 16, 28, 100, 511, 512, 513} {
		raw := bytes.Repeat([]byte{7}, n)
		k, err := parseRaw(nil, kms.HMACSHA256, secret.Copy(raw))
		if want := n >= 16 && n <= 512; (err == nil) != want {
			t.Errorf("an HMAC key of %d bytes: got %v", n, err)
		} else if err != nil {
			continue
		}
		m := hmac.New(sha256.New, raw)
		m.Write([]byte("message"))
		if got, err := hmacSum(k, crypto.SHA256, nil, []byte("message")); err != nil || !bytes.Equal(got, m.Sum(nil)) {
			t.Errorf("a key of %d bytes: got %x, %v want %x", n, got, err, m.Sum(nil))
		}
		if _, err := parseRaw(nil, kms.AES128CMAC, secret.Copy(raw)); (err == nil) != (n == 16) {
			t.Errorf("a CMAC key of %d bytes: got %v", n, err)
		}
	}
}

func BenchmarkOperations(b *testing.B) {
	header, text, aad := make([]byte, blob.HeaderSize), make([]byte, 32), make([]byte, 17)
	for _, a := range kms.AllAlgorithms() {
		if !makes(a) {
			continue
		}
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
			run("generate", func() error { _, err := p.Generate(provider.Spec{Algorithm: a}, wrap, []byte("p")); return err })
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
				signature, err := h.Sign(text, kms.Form{}, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("sign", func() error { _, err := h.Sign(text, kms.Form{}, kms.NoScheme); return err })
				run("verify", func() error { return h.Verify(text, signature, kms.Form{}, kms.NoScheme) })
			case kms.MAC:
				mac, err := h.MAC(nil, text, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("mac", func() error { _, err := h.MAC(nil, text, kms.NoScheme); return err })
				run("verify", func() error { return h.VerifyMAC(text, mac, kms.NoScheme) })
			case kms.KeyAgreement:
				run("agree", func() error { _, err := h.Agree(made.Public); return err })
			case kms.Encapsulation:
				ciphertext, _, err := h.Encapsulate()
				if err != nil {
					b.Fatal(err)
				}
				run("encapsulate", func() error { _, _, err := h.Encapsulate(); return err })
				run("decapsulate", func() error { _, err := h.Decapsulate(ciphertext); return err })
			case kms.Wrapping:
				wrapped, err := h.Seal(nil, nil, text, nil, kms.NoScheme)
				if err != nil {
					b.Fatal(err)
				}
				run("wrap", func() error { _, err := h.Seal(nil, nil, text, nil, kms.NoScheme); return err })
				run("unwrap", func() error { _, err := h.Open(nil, nil, wrapped, nil, kms.NoScheme); return err })
			case kms.FormatPreserving:
				card := []uint16{4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}
				run("encrypt", func() error { _, err := h.Format(nil, 10, aad, card, false); return err })
				run("decrypt", func() error { _, err := h.Format(nil, 10, aad, card, true); return err })
			}
		}
	}
}

func TestDigestsAreThoseOfTheTablesHashes(t *testing.T) {
	message, seen := []byte("a message that is longer than a block of any of the hashes that signatures are made of: 128 bytes at most, and this is more than that"), 0
	for i := range schemes {
		if s := &schemes[i]; s.hash != 0 && s.sign != nil && !(fips140.Enforced() && s.hash == crypto.SHA1) {
			h := s.hash.New()
			h.Write(message)
			if got, err := s.digest(message, false); err != nil || !bytes.Equal(got, h.Sum(nil)) {
				t.Errorf("%s: got %x, %v want %x", kms.Scheme(i), got, err, h.Sum(nil)) //nolint:gosec // G115: the table is short
			}
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("only %d schemes sign digests", seen)
	}
}

// An RSA ciphertext is as long as the modulus (RFC 8017 §7.1.2): one of 256 begins with a zero, and without it is no ciphertext.
func TestAnRSACiphertextHasItsLength(t *testing.T) {
	_, _, h, _ := generate(t, kms.RSA2048)
	for range 5000 {
		sealed, err := h.Seal(nil, nil, []byte("m"), nil, kms.SchemeOAEPSHA256)
		if err != nil {
			t.Fatal(err)
		}
		if sealed[0] != 0 {
			continue
		}
		if _, err := h.Open(nil, nil, sealed[1:], nil, kms.SchemeOAEPSHA256); kms.CodeOf(err) != kms.CodeDecryptFailed {
			t.Errorf("without the zero in front: got %v want %s", err, kms.CodeDecryptFailed)
		}
		if _, err := h.Open(nil, nil, sealed, nil, kms.SchemeOAEPSHA256); err != nil {
			t.Errorf("with it: %v", err)
		}
		return
	}
	t.Fatal("of 5000 ciphertexts none begins with a zero")
}

// TestWhatOthersSignedWithSHA1Verifies: it is never made here.
func TestWhatOthersSignedWithSHA1Verifies(t *testing.T) {
	if fips140.Enforced() {
		_, _, h, _ := generate(t, kms.ECDSAP256)
		if err := h.Verify(nil, nil, kms.Form{}, kms.SchemeECDSASHA1); kms.CodeOf(err) != kms.CodeProfile {
			t.Errorf("got %v want %s", err, kms.CodeProfile)
		}
		return
	}
	message := []byte("message")
	digest := sha1.Sum(message) //nolint:gosec // G401: that is what is tested
	for _, c := range []struct {
		a    kms.Algorithm
		s    kms.Scheme
		sign func(private any) ([]byte, error)
	}{
		{kms.ECDSAP256, kms.SchemeECDSASHA1, func(k any) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, k.(*ecdsa.PrivateKey), digest[:]) }},
		{kms.RSA2048, kms.SchemePKCS1SHA1, func(k any) ([]byte, error) {
			return rsa.SignPKCS1v15(nil, k.(*rsa.PrivateKey), crypto.SHA1, digest[:])
		}},
		{kms.RSA2048, kms.SchemePSSSHA1, func(k any) ([]byte, error) {
			return rsa.SignPSS(rand.Reader, k.(*rsa.PrivateKey), crypto.SHA1, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}},
	} {
		_, _, h, _ := generate(t, c.a)
		signature, err := c.sign(h.key.private)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Verify(message, signature, kms.Form{}, c.s); err != nil {
			t.Errorf("%s: %v", c.s, err)
		}
		if err := h.Verify([]byte("another"), signature, kms.Form{}, c.s); kms.CodeOf(err) != kms.CodeBadSignature {
			t.Errorf("%s, another message: got %v want %s", c.s, err, kms.CodeBadSignature)
		}
		if _, err := h.Sign(message, kms.Form{}, c.s); kms.CodeOf(err) != kms.CodeProfile {
			t.Errorf("sign with %s: got %v want %s", c.s, err, kms.CodeProfile)
		}
	}
}

// TestSaltsAreAsLongAsAsked: each length against each way to verify.
func TestSaltsAreAsLongAsAsked(t *testing.T) {
	_, _, h, _ := generate(t, kms.RSA2048)
	message := []byte("message")
	const s, hash, most = kms.SchemePSSSHA256, 32, 256 - 32 - 2
	for salt, length := range map[kms.Salt]int{kms.SaltUsual: hash, kms.SaltHash: hash, kms.SaltAny: hash, 1: 1, 20: 20, hash: hash, 33: 33, most: most} {
		signature, err := h.Sign(message, kms.Form{Salt: salt}, s)
		if fips140.Enforced() && length > hash {
			if kms.CodeOf(err) != kms.CodeProfile {
				t.Errorf("salt %d: got %v want %s", salt, err, kms.CodeProfile)
			}
			continue
		}
		if err != nil {
			t.Fatalf("salt %d: %v", salt, err)
		}
		public := h.key.verifier.(*rsa.PublicKey)
		if got := pssSaltLength(public, crypto.SHA256, signature); got != length {
			t.Errorf("salt %d: got %d bytes want %d", salt, got, length)
		}
		for _, with := range []kms.Salt{kms.SaltUsual, kms.SaltHash, kms.SaltAny, 1, 20, hash, 33, most} {
			if fips140.Enforced() && (length > hash || with > hash) {
				continue
			}
			want := with == kms.SaltAny || with == kms.SaltUsual && length <= hash || with == kms.SaltHash && length == hash || int(with) == length
			if err := h.Verify(message, signature, kms.Form{Salt: with}, s); (err == nil) != want {
				t.Errorf("a salt of %d bytes verified with %d: got %v want %v", length, with, err, want)
			}
		}
	}
	for _, salt := range []kms.Salt{most + 1, 1 << 40, -3} {
		if _, err := h.Sign(message, kms.Form{Salt: salt}, s); kms.CodeOf(err) != kms.CodeBadRequest && kms.CodeOf(err) != kms.CodeProfile {
			t.Errorf("salt %d: got %v want %s", salt, err, kms.CodeBadRequest)
		}
	}
}
