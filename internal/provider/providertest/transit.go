package providertest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
)

// layouts: keys that have transit's own layouts make and open them, as they are or derived, and no other key does.
func (o Options) layouts(t *testing.T, m made) {
	context := []byte("a context")
	_, err := m.Derive(nil)
	wantCode(t, "a derivation without a context", err, kms.CodeBadRequest)
	_, err = m.Derive(make([]byte, 2<<20))
	wantCode(t, "a derivation with far too long a context", err, kms.CodeTooLarge)
	derived, err := m.Derive(context)
	if m.algorithm == kms.Ed25519 && err == nil {
		o.derivedSigns(t, m, derived)
		return
	}
	if m.algorithm.Layout(false) == kms.NoScheme {
		wantCode(t, "a derivation of "+m.algorithm.String(), err, kms.CodeAlgorithm)
		return
	}
	if err != nil {
		t.Fatalf("derive from %s: %v", m.algorithm, err)
	}
	defer derived.Close()
	other, err := m.Derive([]byte("another context"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	again, err := m.Derive(context)
	if err != nil {
		t.Fatal(err)
	}
	plain, converging := m.algorithm.Layout(false), m.algorithm.Layout(true)
	o.lays(t, m.Handle, m.Handle, derived, plain)
	o.lays(t, derived, again, other, plain)
	_, err = m.Seal(nil, nil, []byte("x"), nil, converging)
	if _, refused := kms.CheckLayout(m.algorithm, converging, o.Profile, true); refused != nil {
		wantCode(t, "convergent encryption", err, kms.CodeProfile)
		return
	}
	wantCode(t, "convergent encryption without a derivation", err, kms.CodeInternal)
	o.lays(t, derived, again, other, converging)
	one, err := derived.Seal(nil, nil, []byte("the same"), []byte("x"), converging)
	if err != nil {
		t.Fatal(err)
	}
	two, err := again.Seal(nil, nil, []byte("the same"), []byte("x"), converging)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("%s: the same plaintext gave %x and %x, %v", converging, one, two, err)
	}
	if got, err := again.Open(nil, nil, one, []byte("x"), plain); err != nil || string(got) != "the same" {
		t.Errorf("%s: a convergent ciphertext is one of the layout, got %q, %v", plain, got, err)
	}
	_, err = derived.Seal(nil, header(), []byte("x"), nil, kms.NoScheme)
	wantCode(t, "a box of a derived key", err, kms.CodeInternal)
	again.Close()
	_, err = again.Seal(nil, nil, []byte("x"), nil, plain)
	wantCode(t, "a derived key that was closed", err, kms.CodeInternal)
}

// lays: what one handle seals another one of the same key opens, and a stranger does not; nor anybody what was changed.
func (o Options) lays(t *testing.T, h, same, stranger provider.Handle, s kms.Scheme) {
	t.Helper()
	aad := []byte("aad")
	for _, n := range []int{0, 1, 32, 4096} {
		want := randomBytes(n)
		sealed, err := h.Seal([]byte("before"), nil, want, aad, s)
		if err != nil || !bytes.HasPrefix(sealed, []byte("before")) {
			t.Fatalf("%s: seal %d bytes: %v", s, n, err)
		}
		sealed = sealed[6:]
		if over := len(sealed) - n; over != 28 && over != 40 {
			t.Fatalf("%s: a ciphertext of %d bytes has %d more, want nonce and tag", s, n, over)
		}
		got, err := same.Open([]byte("before"), nil, sealed, aad, s)
		if err != nil || !bytes.Equal(got, slices.Concat([]byte("before"), want)) {
			t.Fatalf("%s: open %d bytes: got %d, %v", s, n, len(got), err)
		}
		_, err = stranger.Open(nil, nil, sealed, aad, s)
		wantCode(t, s.String()+" under another key", err, kms.CodeDecryptFailed)
		_, err = same.Open(nil, nil, sealed, []byte("AAD"), s)
		wantCode(t, s.String()+" with other data", err, kms.CodeDecryptFailed)
		if n != 32 {
			continue
		}
		for at, changed := range flips(sealed, o.Thorough) {
			if got, err := same.Open(nil, nil, changed, aad, s); kms.CodeOf(err) != kms.CodeDecryptFailed || got != nil {
				t.Fatalf("%s: byte %d changed: got %x, %v", s, at, got, err)
			}
		}
		for cut := range sealed {
			if got, err := same.Open(nil, nil, sealed[:cut], aad, s); kms.CodeOf(err) != kms.CodeDecryptFailed || got != nil {
				t.Fatalf("%s: cut to %d bytes: got %x, %v", s, cut, got, err)
			}
		}
		_, err = same.Open(nil, header(), sealed, aad, s)
		wantCode(t, s.String()+" with a header", err, kms.CodeInternal)
	}
}

// derivedSigns: a key that was derived from an Ed25519 key signs, as a key of its own.
func (o Options) derivedSigns(t *testing.T, m made, derived provider.Handle) {
	defer derived.Close()
	message := []byte("message")
	signature, err := derived.Sign(message, kms.Form{}, kms.NoScheme)
	if err != nil {
		t.Fatal(err)
	}
	if err := derived.Verify(message, signature, kms.Form{}, kms.NoScheme); err != nil {
		t.Errorf("verify with the derived key: %v", err)
	}
	public, err := derived.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if own, err := m.PublicKey(); err != nil || bytes.Equal(own, public) || !bytes.Equal(own, m.Public) {
		t.Errorf("got the public keys %x, derived, and %x, the key's own, %v, want the latter to be %x", public, own, err, m.Public)
	}
	wantCode(t, "verify with the key itself", m.Verify(message, signature, kms.Form{}, kms.NoScheme), kms.CodeBadSignature)
}

// beside: a key beside which a MAC key stands does what it did, and makes MACs with every hash; so does an HMAC key.
func (o Options) beside(t *testing.T, p provider.Provider, a kms.Algorithm) {
	if a.Facts().Slow && !o.Thorough {
		return
	}
	wrap := wrapping(t)
	g, err := p.Generate(provider.Spec{Algorithm: a, MAC: true}, wrap, place)
	if err != nil {
		t.Fatalf("%s with a MAC key beside it: %v", a, err)
	}
	h, err := p.Open(a, g.Wrapped, wrap, place, g.Check)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	seen := map[string]bool{}
	for _, s := range append(kms.AllSchemes(), kms.NoScheme) {
		_, want := kms.CheckBeside(a, s, o.Profile, true)
		mac, err := h.MAC(nil, []byte("message"), s)
		if want != nil {
			wantCode(t, "a MAC by "+s.String(), err, kms.CodeOf(want))
			continue
		}
		if err != nil || seen[string(mac)] && s != kms.NoScheme {
			t.Fatalf("%s with %s: got %x, %v", a, s, mac, err)
		}
		seen[string(mac)] = true
		same, err := g.Handle.MAC(nil, []byte("message"), s)
		if err != nil || !bytes.Equal(mac, same) {
			t.Errorf("%s with %s: got %x, and %x of the handle it was made with, %v", a, s, mac, same, err)
		}
		if err := h.VerifyMAC([]byte("message"), mac, s); err != nil {
			t.Errorf("%s with %s: %v", a, s, err)
		}
		wantCode(t, "another message", h.VerifyMAC([]byte("Message"), mac, s), kms.CodeBadMAC)
	}
	g.Handle.Close()
	for at, changed := range flips(g.Wrapped[:8], true) {
		_, err := p.Open(a, slices.Concat(changed, g.Wrapped[8:]), wrap, place, g.Check)
		wantCode(t, "byte "+string(rune('0'+at))+" of the wrapped material changed", err, kms.CodeRecordDamaged)
	}
	if _, err := h.Seal(nil, header(), []byte("x"), nil, kms.NoScheme); a.DefaultScheme(kms.EncryptDecrypt) != 0 && err != nil {
		t.Errorf("%s: seal beside a MAC key: %v", a, err)
	}
}
