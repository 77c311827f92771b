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
