package providertest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/cloudflare/circl/kem"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

var curves = map[kms.Algorithm]ecdh.Curve{kms.ECDHP256: ecdh.P256(), kms.ECDHP384: ecdh.P384(), kms.ECDHP521: ecdh.P521(), kms.X25519: ecdh.X25519()}

// peer makes another's key pair on an algorithm's curve.
func peer(a kms.Algorithm) (*ecdh.PrivateKey, []byte) {
	private, err := curves[a].GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return private, der
}

// agrees: both sides have one secret, and what is no point of the curve makes none.
func (o Options) agrees(t *testing.T, m made) {
	curve := curves[m.algorithm]
	if curve == nil {
		return
	}
	public := parsePublic(t, m.Public)
	if k, ok := public.(*ecdsa.PublicKey); ok {
		var err error
		if public, err = k.ECDH(); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		private, der := peer(m.algorithm)
		want, err := private.ECDH(public.(*ecdh.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Agree(der)
		if err != nil || !got.Equal(secret.Copy(want)) {
			t.Errorf("%s: the secret is not that of the other side: %v", m.algorithm, err)
		}
	}
	_, der := peer(m.algorithm)
	bad := map[string][]byte{"nothing": nil, "one byte": {0x30}, "cut short": der[:len(der)-1], "one byte more": append(bytes.Clone(der), 0), "huge": make([]byte, 1<<20)}
	for a := range curves {
		if _, der := peerIfAllowed(a, o.Profile); a != m.algorithm && der != nil {
			bad["of "+a.String()] = der
		}
	}
	if signing, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader); err == nil {
		bad["of P-224"], _ = x509.MarshalPKIXPublicKey(&signing.PublicKey)
	}
	if m.algorithm == kms.X25519 {
		bad["of small order"] = append(bytes.Clone(der[:len(der)-32]), make([]byte, 32)...)
	} else {
		off := bytes.Clone(der)
		off[len(off)-1] ^= 1
		bad["off the curve"] = off
	}
	for what, der := range bad {
		got, err := m.Agree(der)
		wantCode(t, m.algorithm.String()+": a public key: "+what, err, kms.CodeBadRequest)
		if got != nil {
			t.Errorf("%s: a secret came of a public key: %s", m.algorithm, what)
		}
	}
}

func peerIfAllowed(a kms.Algorithm, p kms.Profile) (*ecdh.PrivateKey, []byte) {
	if kms.CheckLoad(a, p) != nil {
		return nil, nil
	}
	return peer(a)
}

func peerOf(a kms.Algorithm) []byte {
	_, der := peer(a)
	return der
}

// encapsulates: the secret that another implementation encapsulates is decapsulated, a changed ciphertext gives another secret, and one of
// another length none.
func (o Options) encapsulates(t *testing.T, m made) {
	if m.algorithm.DefaultScheme(kms.Encapsulation) == kms.NoScheme {
		return
	}
	ciphertext, want, err := m.Encapsulate()
	if err != nil || want.Len() != 32 {
		t.Fatalf("%s: encapsulate: a secret of %d bytes, %v", m.algorithm, want.Len(), err)
	}
	got, err := m.Decapsulate(ciphertext)
	if err != nil || !got.Equal(want) {
		t.Errorf("%s: another secret came out: %v", m.algorithm, err)
	}
	if again, other, err := m.Encapsulate(); err != nil || bytes.Equal(again, ciphertext) || other.Equal(want) {
		t.Errorf("%s: two encapsulations are the same: %v", m.algorithm, err)
	}
	step := 1
	if !o.Thorough {
		step = 37
	}
	for i, changed := range flips(ciphertext, o.Thorough) {
		if i%step != 0 {
			continue
		}
		first, err1 := m.Decapsulate(changed)
		second, err2 := m.Decapsulate(changed)
		if err1 != nil || err2 != nil || first.Equal(want) || !first.Equal(second) {
			t.Fatalf("%s: byte %d changed: %v, %v, the secret is the same: %v, stays the same: %v", m.algorithm, i, err1, err2, first.Equal(want), first.Equal(second))
		}
	}
	for what, b := range map[string][]byte{"nothing": nil, "one byte": {1}, "cut short": ciphertext[1:], "one byte more": append(bytes.Clone(ciphertext), 0), "huge": make([]byte, 1<<16)} {
		got, err := m.Decapsulate(b)
		wantCode(t, m.algorithm.String()+": ciphertext: "+what, err, kms.CodeDecryptFailed)
		if got != nil {
			t.Errorf("%s: a secret came of %s", m.algorithm, what)
		}
	}

	var theirs, shared []byte
	switch public := parsePublic(t, m.Public).(type) {
	case *mlkem.EncapsulationKey768:
		shared, theirs = public.Encapsulate()
	case *mlkem.EncapsulationKey1024:
		shared, theirs = public.Encapsulate()
	case kem.PublicKey:
		if theirs, shared, err = public.Scheme().Encapsulate(public); err != nil {
			t.Fatal(err)
		}
	case hpke.PublicKey:
		opensHPKE(t, m, public)
		return
	default:
		t.Fatalf("%s has a public key of a kind that is not known: %T", m.algorithm, public)
	}
	if got, err := m.Decapsulate(theirs); err != nil || !got.Equal(secret.Copy(shared)) {
		t.Errorf("%s: another implementation's secret: %v", m.algorithm, err)
	}
}

// opensHPKE: HPKE, whose KEM MLKEM768-X25519 is X-Wing, does not give out the KEM's secret, but what both sides derive of it: what it
// exports to the sender is derived here of the secret that was decapsulated, after RFC 9180 §5.1 and §5.3.
func opensHPKE(t *testing.T, m made, public hpke.PublicKey) {
	enc, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := sender.Export("exporter context", 32)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := m.Decapsulate(enc)
	if err != nil {
		t.Fatal(err)
	}
	suite := []byte("HPKE\x64\x7a\x00\x01\x00\x02")
	extract := func(salt []byte, label string, ikm []byte) []byte {
		out, err := hkdf.Extract(sha256.New, slices.Concat([]byte("HPKE-v1"), suite, []byte(label), ikm), salt)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	expand := func(prk []byte, label string, info []byte) []byte {
		out, err := hkdf.Expand(sha256.New, prk, string(slices.Concat([]byte{0, 32}, []byte("HPKE-v1"), suite, []byte(label), info)), 32)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	context := slices.Concat([]byte{0}, extract(nil, "psk_id_hash", nil), extract(nil, "info_hash", nil))
	exporter := expand(extract(shared.Reveal(reveal.Key{}), "secret", nil), "exp", context)
	if got := expand(exporter, "sec", []byte("exporter context")); !bytes.Equal(got, want) {
		t.Errorf("%s: HPKE derives %x of its secret, ours gives %x", m.algorithm, want, got)
	}
}

// wraps: key material of every length that the mode takes comes back, and nothing that was changed does.
func (o Options) wraps(t *testing.T, m made, s kms.Scheme) {
	padded := effective(m, kms.Wrapping, s) == kms.SchemeKWP
	for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 24, 32, 100, 2400, 4096} {
		material := randomBytes(n)
		wrapped, err := m.Seal([]byte("before"), nil, material, nil, s)
		if !padded && (n%8 != 0 || n < 16) {
			wantCode(t, s.String()+": material of a length that it does not take", err, kms.CodeBadRequest)
			continue
		}
		if err != nil || string(wrapped[:6]) != "before" || len(wrapped) != 6+8+(n+7)/8*8 {
			t.Fatalf("%s: %d bytes wrapped are %d, %v", s, n, len(wrapped), err)
		}
		got, err := m.Handle.Open([]byte("before"), nil, wrapped[6:], nil, s)
		if err != nil || string(got) != "before"+string(material) {
			t.Fatalf("%s: unwrap %d bytes: got %d, %v", s, n, len(got), err)
		}
	}
	material := randomBytes(32)
	wrapped, err := m.Seal(nil, nil, material, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Handle.Open(nil, nil, nil, nil, s)
	wantCode(t, s.String()+": nothing", err, kms.CodeDecryptFailed)
	want := err.Error()
	fails := func(what string, b []byte) {
		t.Helper()
		got, err := m.Handle.Open([]byte("before"), nil, b, nil, s)
		if kms.CodeOf(err) != kms.CodeDecryptFailed || err.Error() != want || got != nil {
			t.Fatalf("%s: %s: got %d bytes, %v want %s", s, what, len(got), err, want)
		}
	}
	for _, changed := range flips(wrapped, true) {
		fails("changed", changed)
	}
	for n := range wrapped {
		fails("cut short", wrapped[:n])
		fails("cut at the front", wrapped[n+1:])
	}
	fails("one byte more", append(bytes.Clone(wrapped), 0))
	fails("one block more", append(bytes.Clone(wrapped), make([]byte, 8)...))
	fails("zeros", make([]byte, 40))
	fails("huge", make([]byte, 1<<20))
	for what, c := range map[string]struct {
		header, material, aad []byte
		want                  kms.Code
	}{
		"with a header": {header(), material, nil, kms.CodeBadRequest}, "with a context": {nil, material, []byte("x"), kms.CodeBadRequest},
		"nothing": {nil, nil, nil, kms.CodeBadRequest}, "far too much": {nil, make([]byte, 1<<20), nil, kms.CodeTooLarge},
	} {
		_, err := m.Seal(nil, c.header, c.material, c.aad, s)
		wantCode(t, s.String()+": wrap "+what, err, c.want)
	}
	for _, c := range [][2][]byte{{header(), nil}, {nil, []byte("x")}} {
		_, err := m.Handle.Open(nil, c[0], wrapped, c[1], s)
		wantCode(t, s.String()+": unwrap with what was not covered", err, kms.CodeBadRequest)
	}
}

// formats: what goes in comes back, in the same alphabet and length, under the same tweak alone.
func (o Options) formats(t *testing.T, m made) {
	if m.algorithm.DefaultScheme(kms.FormatPreserving) == kms.NoScheme {
		return
	}
	tweak := []byte("tweak")
	for _, c := range []struct{ radix, n int }{{2, 20}, {2, 4096}, {10, 6}, {10, 7}, {10, 16}, {10, 4096}, {26, 5}, {36, 20}, {62, 31}, {255, 3}, {256, 33}, {65535, 2}, {65536, 2}, {65536, 4096}} {
		numerals := make([]uint16, c.n)
		for i, b := range randomBytes(c.n) {
			numerals[i] = uint16(int(b) * 257 % c.radix) //nolint:gosec // G115: below the radix
		}
		sealed, err := m.Format([]uint16{7}, c.radix, tweak, numerals, false)
		if err != nil || len(sealed) != c.n+1 || sealed[0] != 7 {
			t.Fatalf("%d numerals of radix %d: got %d, %v", c.n, c.radix, len(sealed), err)
		}
		sealed = sealed[1:]
		if slices.ContainsFunc(sealed, func(x uint16) bool { return int(x) >= c.radix }) {
			t.Errorf("%d numerals of radix %d: a numeral is not of the radix", c.n, c.radix)
		}
		if got, err := m.Format(nil, c.radix, tweak, sealed, true); err != nil || !slices.Equal(got, numerals) {
			t.Fatalf("%d numerals of radix %d did not come back: %v", c.n, c.radix, err)
		}
		if again, err := m.Format(nil, c.radix, tweak, numerals, false); err != nil || !slices.Equal(again, sealed) {
			t.Errorf("%d numerals of radix %d: two encryptions differ: %v", c.n, c.radix, err)
		}
		if c.n < 16 {
			continue // two results may be the same by chance
		}
		if other, err := m.Format(nil, c.radix, []byte("another"), numerals, false); err != nil || slices.Equal(other, sealed) {
			t.Errorf("%d numerals of radix %d: the tweak changes nothing: %v", c.n, c.radix, err)
		}
	}
	for what, c := range map[string]struct {
		radix, n int
		tweak    int
		want     kms.Code
	}{
		"no radix": {0, 16, 0, kms.CodeBadRequest}, "radix 1": {1, 16, 0, kms.CodeBadRequest}, "a negative radix": {-10, 16, 0, kms.CodeBadRequest},
		"a radix too large": {65537, 16, 0, kms.CodeBadRequest}, "nothing": {10, 0, 0, kms.CodeBadRequest}, "one numeral": {65536, 1, 0, kms.CodeBadRequest},
		"five digits": {10, 5, 0, kms.CodeBadRequest}, "nineteen bits": {2, 19, 0, kms.CodeBadRequest},
		"too long": {10, 4097, 0, kms.CodeTooLarge}, "a tweak too long": {10, 16, 257, kms.CodeTooLarge}, "the longest tweak": {10, 16, 256, 0},
	} {
		for _, decrypt := range []bool{false, true} {
			_, err := m.Format(nil, c.radix, make([]byte, c.tweak), make([]uint16, c.n), decrypt)
			if kms.CodeOf(err) != c.want {
				t.Errorf("%s: got %v want %s", what, err, c.want)
			}
		}
	}
	_, err := m.Format(nil, 10, nil, []uint16{1, 2, 3, 4, 5, 10, 7}, false)
	wantCode(t, "a numeral that is not of the radix", err, kms.CodeBadRequest)
}
