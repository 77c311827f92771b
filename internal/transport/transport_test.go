package transport_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"crypto/hpke"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

var material = []byte("0123456789abcdef0123456789ABCDEF")

// pair is both halves of a key that a transport uses.
type pair struct{ seal, open any }

func pairs(t testing.TB) map[kms.Algorithm]pair {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w := transport.Wrap(bytes.Repeat([]byte{7}, 32))
	return map[kms.Algorithm]pair{
		kms.RSA3072: {&r.PublicKey, r}, kms.ECDHP256: {e.PublicKey(), e}, kms.AES256Wrap: {w, w},
		kms.XWing: {transport.Hybrid(h.PublicKey().Bytes()), transport.HybridSeed(seed)},
	}
}

// What is sealed opens with the other half, by the same transport and with the same information, and not otherwise.
func TestAParcelOpensForItsReceiverOnly(t *testing.T) {
	keys, others := pairs(t), pairs(t)
	others[kms.AES256Wrap] = pair{transport.Wrap(bytes.Repeat([]byte{8}, 32)), transport.Wrap(bytes.Repeat([]byte{8}, 32))}
	info := []byte("for this import")
	for _, tr := range kms.AllTransports() {
		a := tr.Facts().Keys[0]
		parcel, err := transport.Seal(tr, keys[a].seal, info, secret.Copy(material))
		if err != nil {
			t.Fatalf("%s: %v", tr, err)
		}
		got, err := transport.Open(tr, keys[a].open, info, parcel)
		if err != nil || !got.Equal(secret.Copy(material)) {
			t.Errorf("%s: got %v %v", tr, got, err)
		}
		for name, try := range map[string]func() error{
			"another key": func() error { _, err := transport.Open(tr, others[a].open, info, parcel); return err },
			"nothing":     func() error { _, err := transport.Open(tr, keys[a].open, info, nil); return err },
			"cut short":   func() error { _, err := transport.Open(tr, keys[a].open, info, parcel[:len(parcel)-1]); return err },
			"far too long": func() error {
				_, err := transport.Open(tr, keys[a].open, info, make([]byte, transport.MaxParcel+1))
				return err
			},
			"changed": func() error {
				c := bytes.Clone(parcel)
				c[len(c)-1] ^= 1
				_, err := transport.Open(tr, keys[a].open, info, c)
				return err
			},
		} {
			if err := try(); !errors.Is(err, transport.ErrOpen) {
				t.Errorf("%s, %s: got %v", tr, name, err)
			}
		}
		if _, err := transport.Open(tr, keys[a].open, []byte("for another"), parcel); tr.Facts().Info != errors.Is(err, transport.ErrOpen) {
			t.Errorf("%s with other information: got %v", tr, err)
		}
		if _, err := transport.Seal(tr, "no key", info, secret.Copy(material)); kms.CodeOf(err) != kms.CodeBadRequest {
			t.Errorf("%s without a key: got %v", tr, err)
		}
		if _, err := transport.Seal(tr, keys[a].seal, info, secret.Copy(make([]byte, transport.MaxMaterial+1))); kms.CodeOf(err) != kms.CodeTooLarge {
			t.Errorf("%s of too much: got %v", tr, err)
		}
	}
	if _, err := transport.Seal(kms.OAEPSHA256, keys[kms.RSA3072].seal, nil, secret.Copy(make([]byte, 191))); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("191 bytes in a block of RSA-2048: got %v", err)
	}
}

// openssl opens what is sealed here, and the other way round.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is needed for a second opinion: ", err)
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("key.der", der)
	write("material", material)
	for tr, md := range map[kms.Transport]string{kms.OAEPSHA256: "sha256", kms.OAEPSHA1: "sha1", kms.RSAAESSHA256: "sha256", kms.RSAAESSHA1: "sha1"} {
		pad := []string{"-inkey", "key.der", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + md, "-pkeyopt", "rsa_mgf1_md:" + md}
		parcel, err := transport.Seal(tr, &key.PublicKey, nil, secret.Copy(material))
		if err != nil {
			t.Fatal(err)
		}
		wrapped := tr == kms.RSAAESSHA256 || tr == kms.RSAAESSHA1
		write("block", parcel[:256])
		run(append([]string{"pkeyutl", "-decrypt", "-in", "block", "-out", "inner"}, pad...)...)
		got := read("inner")
		if wrapped {
			write("rest", parcel[256:])
			run("enc", "-d", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(got), "-in", "rest", "-out", "inner")
			got = read("inner")
		}
		if !bytes.Equal(got, material) {
			t.Errorf("%s: openssl opens %x", tr, got)
		}

		from := "material"
		if wrapped {
			from = "ephemeral"
			write(from, bytes.Repeat([]byte{9}, 16)) // whoever wraps chooses the size
			run("enc", "-e", "-id-aes128-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(bytes.Repeat([]byte{9}, 16)), "-in", "material", "-out", "rest")
		}
		run(append([]string{"pkeyutl", "-encrypt", "-in", from, "-out", "block"}, pad...)...)
		theirs := read("block")
		if wrapped {
			theirs = append(theirs, read("rest")...)
		}
		if s, err := transport.Open(tr, key, nil, theirs); err != nil || !s.Equal(secret.Copy(material)) {
			t.Errorf("%s: what openssl sealed: got %v", tr, err)
		}
	}
}

// A parcel is what its specification puts one after the other: RFC 9180 §7.1 and table 2 (Npk, Nenc), draft-ietf-hpke-pq, RFC 5649 §3,
// RFC 8017 §7.1.
func TestParcelsHaveTheSizesThatTheyMust(t *testing.T) {
	keys := pairs(t)
	for tr, want := range map[kms.Transport]int{
		kms.OAEPSHA256: 256, kms.RSAAESSHA256: 256 + 8 + 32, kms.HPKEP256: 65 + 32 + 16, kms.HPKEMLKEM768X25519: 1088 + 32 + 32 + 16, kms.TransportKWP: 40, kms.TransportKW: 40,
	} {
		parcel, err := transport.Seal(tr, keys[tr.Facts().Keys[0]].seal, nil, secret.Copy(material))
		if err != nil || len(parcel) != want {
			t.Errorf("%s: got %d bytes %v, want %d", tr, len(parcel), err, want)
		}
	}
}

// Vectors of FIPS 197 appendix C.3 for the block, and openssl's CMAC for the other.
func TestKeyCheckValues(t *testing.T) {
	key, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	got := transport.KCVOf(kms.AES256GCM, secret.Copy(key))
	if hex.EncodeToString(got.CMAC) != "377822" || hex.EncodeToString(got.Zero) != "f29000" {
		t.Errorf("got %x %x", got.CMAC, got.Zero)
	}
	if got := transport.KCVOf(kms.AES256CMAC, secret.Copy(key)); got.CMAC == nil || got.Zero != nil {
		t.Errorf("of a CMAC key: got %x %x, want the first alone: the second would tell of its subkey", got.CMAC, got.Zero)
	}
	if got := transport.KCVOf(kms.HMACSHA256, secret.Copy(key)); got.CMAC != nil || got.Zero != nil {
		t.Errorf("of an HMAC key: got %x %x", got.CMAC, got.Zero)
	}
}

func spkis(t testing.TB) map[kms.Algorithm][]byte {
	t.Helper()
	out := map[kms.Algorithm][]byte{}
	for a, p := range pairs(t) {
		switch k := p.seal.(type) {
		case *rsa.PublicKey, *ecdh.PublicKey:
			der, err := x509.MarshalPKIXPublicKey(k)
			if err != nil {
				t.Fatal(err)
			}
			if a == kms.RSA3072 {
				a = kms.RSA2048
			}
			out[a] = der
		case transport.Hybrid:
			der, err := asn1.Marshal(struct {
				A pkix.AlgorithmIdentifier
				P asn1.BitString
			}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}}, asn1.BitString{Bytes: k, BitLength: 8 * len(k)}})
			if err != nil {
				t.Fatal(err)
			}
			out[a] = der
		}
	}
	return out
}

func TestPublicKeysOfReceivers(t *testing.T) {
	for a, der := range spkis(t) {
		p, err := transport.ParsePublic(der)
		if err != nil || p.Algorithm != a {
			t.Errorf("%s: got %v %v", a, p.Algorithm, err)
		}
		if err := kms.CheckTransport(p.For(), p.Algorithm, kms.AES256GCM, kms.ProfileDefault); err != nil {
			t.Errorf("%s: its own transport: %v", a, err)
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // G403: that is the point
	if err == nil {
		der, err := x509.MarshalPKIXPublicKey(&short.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transport.ParsePublic(der); kms.CodeOf(err) != kms.CodeBadRequest {
			t.Errorf("RSA-1024: got %v", err)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	for _, der := range spkis(f) {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := transport.ParsePublic(der)
		if err != nil {
			return
		}
		if parcel, err := transport.Seal(p.For(), p.Key, nil, secret.Copy(material)); err == nil && len(parcel) > transport.MaxParcel {
			t.Errorf("a parcel of %d bytes", len(parcel))
		}
	})
}

func FuzzOpen(f *testing.F) {
	keys := pairs(f)
	for _, tr := range kms.AllTransports() {
		parcel, err := transport.Seal(tr, keys[tr.Facts().Keys[0]].seal, nil, secret.Copy(material))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(tr), parcel)
	}
	f.Fuzz(func(t *testing.T, n byte, parcel []byte) {
		tr := kms.Transport(n)
		if tr.Facts().Name == "" {
			return
		}
		s, err := transport.Open(tr, keys[tr.Facts().Keys[0]].open, nil, parcel)
		if err == nil && (s.Len() == 0 || s.Len() > transport.MaxMaterial) {
			t.Errorf("%s opens to %d bytes", tr, s.Len())
		}
	})
}
