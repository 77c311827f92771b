package transit_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// materials are one of each kind, as a version holds them.
func materials(t testing.TB) map[kms.Algorithm]*secret.Bytes {
	t.Helper()
	all := map[kms.Algorithm]*secret.Bytes{
		kms.AES128GCM: secret.Random(16), kms.AES256GCM: secret.Random(32), kms.ChaCha20Poly1305: secret.Random(32), kms.XChaCha20Poly1305: secret.Random(32), kms.HMAC: secret.Random(64),
	}
	add := func(a kms.Algorithm, private any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		all[a] = secret.Take(der)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	add(kms.Ed25519, edwards, err)
	for a, c := range map[kms.Algorithm]elliptic.Curve{kms.ECDSAP256: elliptic.P256(), kms.ECDSAP384: elliptic.P384(), kms.ECDSAP521: elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		add(a, k, err)
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	add(kms.RSA2048, k, err)
	return all
}

// TestWhatIsExportedIsRead: the text of every kind of key gives its material again; the text of one kind is none of another.
func TestWhatIsExportedIsRead(t *testing.T) {
	for a, m := range materials(t) {
		v := transit.Version{Number: 1, Material: m}
		out, err := v.Text(a)
		if err != nil {
			t.Fatal(err)
		}
		text := out.Wire(release.Wire{})
		if got, err := transit.ReadText(a, text); err != nil || !got.Equal(m) {
			t.Errorf("%s: %v", a, err)
		}
		for _, b := range []kms.Algorithm{kms.AES256GCM, kms.Ed25519, kms.ECDSAP256, kms.RSA2048, kms.RSA3072} {
			if _, err := transit.ReadText(b, text); a != b && a.Facts().Bits != b.Facts().Bits && kms.CodeOf(err) != kms.CodeKeyFile {
				t.Errorf("%s read as %s: got %v", a, b, err)
			}
		}
		for name, bad := range map[string][]byte{"nothing": nil, "cut": text[:len(text)-3], "more": append(bytes.Clone(text), "AAAA-"...), "huge": bytes.Repeat([]byte{'A'}, transit.MaxText+1)} {
			if _, err := transit.ReadText(a, bad); kms.CodeOf(err) != kms.CodeKeyFile || strings.Contains(err.Error(), string(text[:len(text)/4])) {
				t.Errorf("%s, %s: got %v", a, name, err)
			}
		}
	}
	mac := secret.Random(kms.MACKeyBytes)
	v := transit.Version{Material: secret.Random(16), MAC: mac}
	if got, err := transit.ReadMAC(v.MACText().Wire(release.Wire{})); err != nil || !got.Equal(mac) {
		t.Errorf("a MAC key: %v", err)
	}
	for _, bad := range []string{"", "AAAA", "%", base64.StdEncoding.EncodeToString(make([]byte, kms.MACKeyBytes+1))} {
		if _, err := transit.ReadMAC([]byte(bad)); kms.CodeOf(err) != kms.CodeKeyFile {
			t.Errorf("a MAC key of %q: got %v", bad, err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transit.ReadText(kms.ECDSAP256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})); kms.CodeOf(err) != kms.CodeKeyFile {
		t.Errorf("a public key: got %v", err)
	}
}

// FuzzReadText: what is read can be written, and is the same again.
func FuzzReadText(f *testing.F) {
	all := []kms.Algorithm{kms.AES128GCM, kms.AES256GCM, kms.ChaCha20Poly1305, kms.XChaCha20Poly1305, kms.HMAC, kms.Ed25519, kms.ECDSAP256, kms.ECDSAP384, kms.ECDSAP521, kms.RSA2048}
	made := materials(f)
	for i, a := range all {
		v := transit.Version{Number: 1, Material: made[a]}
		out, err := v.Text(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), out.Wire(release.Wire{}))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		a := all[int(which)%len(all)]
		m, err := transit.ReadText(a, text)
		if err != nil {
			if kms.CodeOf(err) != kms.CodeKeyFile {
				t.Errorf("got %v", err)
			}
			return
		}
		v := transit.Version{Number: 1, Material: m}
		out, err := v.Text(a)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		if again, err := transit.ReadText(a, out.Wire(release.Wire{})); err != nil || !again.Equal(m) {
			t.Errorf("%s: %v", a, err)
		}
	})
}
