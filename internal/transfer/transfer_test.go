package transfer_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transfer"
)

type keys struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
	x   *ecdh.PrivateKey
}

func newKeys(t testing.TB) keys {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	fatal(t, err)
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	fatal(t, err)
	_, d, err := ed25519.GenerateKey(rand.Reader)
	fatal(t, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	fatal(t, err)
	return keys{r, e, d, x}
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pkcs8(t testing.TB, k any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	fatal(t, err)
	return der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func webKey(t testing.TB, fields map[string]string) []byte {
	t.Helper()
	b, err := json.Marshal(fields)
	fatal(t, err)
	return b
}

func bundle(t testing.TB, k *rsa.PrivateKey, password string) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, k.Public(), k)
	fatal(t, err)
	cert, err := x509.ParseCertificate(der)
	fatal(t, err)
	p12, err := pkcs12.Modern.Encode(k, cert, nil, password)
	fatal(t, err)
	return p12
}

type file struct {
	name      string
	data      []byte
	container string
	kind      string
	algorithm kms.Algorithm
	private   crypto.PrivateKey // nil: a secret key
}

var aes32 = []byte{0xde, 0xad, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}

// files are of every form that is read.
func files(t testing.TB, k keys) []file {
	t.Helper()
	sec1, err := x509.MarshalECPrivateKey(k.ec)
	fatal(t, err)
	point, err := k.ec.PublicKey.Bytes()
	fatal(t, err)
	d, err := k.ec.Bytes()
	fatal(t, err)
	pkcs1 := x509.MarshalPKCS1PrivateKey(k.rsa)
	e := big.NewInt(int64(k.rsa.E)).Bytes()
	jwkRSA := map[string]string{"kty": "RSA", "n": b64(k.rsa.N.Bytes()), "e": b64(e), "d": b64(k.rsa.D.Bytes()), "p": b64(k.rsa.Primes[0].Bytes()), "q": b64(k.rsa.Primes[1].Bytes())}
	jwkEC := map[string]string{"kty": "EC", "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:]), "d": b64(d)}
	jwkEd := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(k.ed[32:]), "d": b64(k.ed.Seed())}
	jwkX := map[string]string{"kty": "OKP", "crv": "X25519", "x": b64(k.x.PublicKey().Bytes()), "d": b64(k.x.Bytes())}
	set := append(append([]byte(`{"keys":[`), webKey(t, jwkEd)...), "]}"...)
	return []file{
		{"pkcs8", block("PRIVATE KEY", pkcs8(t, k.rsa)), "PEM, PKCS #8", "RSA private key, 2048 bits", kms.RSA2048, k.rsa},
		{"pkcs8 after other blocks", append([]byte("# a comment\n"+string(block("CERTIFICATE", []byte{1}))), block("PRIVATE KEY", pkcs8(t, k.ec))...), "PEM, PKCS #8", "EC private key, P-384", kms.ECDSAP384, k.ec},
		{"pkcs1", block("RSA PRIVATE KEY", pkcs1), "PEM, PKCS #1", "RSA private key, 2048 bits", kms.RSA2048, k.rsa},
		{"sec1", block("EC PRIVATE KEY", sec1), "PEM, SEC 1", "EC private key, P-384", kms.ECDSAP384, k.ec},
		{"ed25519", block("PRIVATE KEY", pkcs8(t, k.ed)), "PEM, PKCS #8", "Ed25519 private key", kms.Ed25519, k.ed},
		{"x25519 der", pkcs8(t, k.x), "DER, PKCS #8", "X25519 private key", kms.X25519, k.x},
		{"pkcs1 der", pkcs1, "DER, PKCS #1", "RSA private key, 2048 bits", kms.RSA2048, k.rsa},
		{"sec1 der", sec1, "DER, SEC 1", "EC private key, P-384", kms.ECDSAP384, k.ec},
		{"base64 der", []byte(base64.StdEncoding.EncodeToString(pkcs8(t, k.ec))), "base64 of DER, PKCS #8", "EC private key, P-384", kms.ECDSAP384, k.ec},
		{"pkcs12", bundle(t, k.rsa, "phrase"), "PKCS #12", "RSA private key, 2048 bits", kms.RSA2048, k.rsa},
		{"jwk rsa", webKey(t, jwkRSA), "JWK", "RSA private key, 2048 bits", kms.RSA2048, k.rsa},
		{"jwk ec", webKey(t, jwkEC), "JWK", "EC private key, P-384", kms.ECDSAP384, k.ec},
		{"jwk set", set, "JWK set", "Ed25519 private key", kms.Ed25519, k.ed},
		{"jwk x25519", webKey(t, jwkX), "JWK", "X25519 private key", kms.X25519, k.x},
		{"jwk oct", webKey(t, map[string]string{"kty": "oct", "k": b64(aes32)}), "JWK", "secret key, 32 bytes", kms.AES256GCM, nil},
		{"jwk oct for hmac", webKey(t, map[string]string{"kty": "oct", "k": b64(aes32), "alg": "HS256"}), "JWK", "secret key, 32 bytes", kms.HMACSHA256, nil},
		{"hex", []byte(hex.EncodeToString(aes32) + "\n"), "hexadecimal text", "secret key, 32 bytes", kms.AES256GCM, nil},
		{"hex in lines", []byte("DE:AD:02:03 04:05:06:07\n" + hex.EncodeToString(aes32[8:])), "hexadecimal text", "secret key, 32 bytes", kms.AES256GCM, nil},
		{"base64", []byte(base64.StdEncoding.EncodeToString(aes32) + "\n"), "base64 text", "secret key, 32 bytes", kms.AES256GCM, nil},
		{"raw", aes32, "raw bytes", "secret key, 32 bytes", kms.AES256GCM, nil},
	}
}

func phrase(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }

// Every form is recognised, said, and gives the key that is in it.
func TestFilesAreRecognised(t *testing.T) { // P12
	for _, f := range files(t, newKeys(t)) {
		got, err := transfer.Read(f.data, transfer.Options{Passphrase: phrase("phrase")})
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		want := aes32
		if f.private != nil {
			want = pkcs8(t, f.private)
			public, err := x509.MarshalPKIXPublicKey(f.private.(interface{ Public() crypto.PublicKey }).Public())
			fatal(t, err)
			if !bytes.Equal(got.Public, public) || !strings.HasPrefix(got.Fingerprint(), "sha256:") {
				t.Errorf("%s: public half %x, fingerprint %s", f.name, got.Public, got.Fingerprint())
			}
		}
		if got.Container != f.container || got.Kind != f.kind || got.Algorithm != f.algorithm {
			t.Errorf("%s: got %q %q %s, want %q %q %s", f.name, got.Container, got.Kind, got.Algorithm, f.container, f.kind, f.algorithm)
		}
		if !got.Material.Equal(secret.Copy(want)) && f.name != "sec1" && f.name != "sec1 der" { // whose frame keeps the curve inside too
			t.Errorf("%s: another key came out", f.name)
		}
		if got.Fingerprint() == "" {
			t.Errorf("%s: no fingerprint", f.name)
		}
	}
}

// What openssl writes, with its own ways of encryption.
func TestOpenSSLFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	fatal(t, os.WriteFile(filepath.Join(dir, "plain"), block("PRIVATE KEY", pkcs8(t, newKeys(t).ec)), 0o600))
	for name, args := range map[string][]string{
		"aes-256":      {"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", "plain", "-passout", "pass:phrase", "-out", "out"},
		"aes-128 sha1": {"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-in", "plain", "-passout", "pass:phrase", "-out", "out"},
		"scrypt":       {"pkcs8", "-topk8", "-scrypt", "-in", "plain", "-passout", "pass:phrase", "-out", "out"},
		"scrypt der":   {"pkcs8", "-topk8", "-scrypt", "-in", "plain", "-passout", "pass:phrase", "-outform", "DER", "-out", "out"},
	} {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		fatal(t, err)
		got, err := transfer.Read(data, transfer.Options{Passphrase: phrase("phrase")})
		if err != nil || got.Algorithm != kms.ECDSAP384 || !strings.Contains(got.Container, "encrypted PKCS #8") {
			t.Errorf("%s: got %+v %v", name, got, err)
		}
		if _, err := transfer.Read(data, transfer.Options{Passphrase: phrase("wrong")}); kms.CodeOf(err) != kms.CodeKeyFile {
			t.Errorf("%s with a wrong passphrase: got %v", name, err)
		}
		if _, err := transfer.Read(data, transfer.Options{}); kms.CodeOf(err) != kms.CodeKeyFile || !strings.Contains(kms.AsError(err).Advice(), "--passphrase-file") {
			t.Errorf("%s without a passphrase: got %v", name, err)
		}
	}
}

// What is no key, or no good one, is refused in words that help.
func TestOtherFilesAreRefused(t *testing.T) {
	k, other := newKeys(t), newKeys(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // G403: that is the point
	fatal(t, err)
	public, err := x509.MarshalPKIXPublicKey(k.ec.Public())
	fatal(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	fatal(t, err)
	mismatched := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(other.ed[32:]), "d": b64(k.ed.Seed())}
	for _, c := range []struct {
		name  string
		data  []byte
		o     transfer.Options
		words string
	}{
		{name: "nothing", words: "not a key"},
		{name: "blanks", data: []byte(" \n"), words: "not a key"},
		{name: "prose", data: []byte("these are words"), words: "not a key"},
		{name: "a public key", data: block("PUBLIC KEY", public), words: "no private key: it has PUBLIC KEY"},
		{name: "two keys", data: append(block("PRIVATE KEY", pkcs8(t, k.ec)), block("PRIVATE KEY", pkcs8(t, k.ed))...), words: "several"},
		{name: "half a block", data: []byte("-----BEGIN PRIVATE KEY-----\nAAAA"), words: "no whole block"},
		{name: "weak RSA", data: block("PRIVATE KEY", pkcs8(t, weak)), words: "1024 bits"},
		{name: "another curve", data: block("PRIVATE KEY", pkcs8(t, p224)), words: "not supported"},
		{name: "old encryption", data: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}}), words: "old way"},
		{name: "cut short", data: pkcs8(t, k.ec)[:60], words: "key"},
		{name: "another algorithm", data: pkcs8(t, k.ec), o: transfer.Options{Algorithm: kms.RSA2048}, words: "rsa-2048"},
		{name: "another length", data: aes32, o: transfer.Options{Algorithm: kms.AES128GCM}, words: "aes-128-gcm"},
		{name: "text for bytes", data: []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ!?-_&%"), o: transfer.Options{Algorithm: kms.AES256GCM}, words: "not a key"},
		{name: "jwk of two", data: webKey(t, mismatched), words: "do not belong together"},
		{name: "public jwk", data: webKey(t, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(k.ed[32:])}), words: "public"},
		{name: "jwk of another length", data: webKey(t, map[string]string{"kty": "oct", "k": b64(aes32), "alg": "A128GCM"}), words: "A128GCM"},
		{name: "json", data: []byte(`{"a":1}`), words: "kty"},
		{name: "hex that is none", data: []byte("xyz"), o: transfer.Options{Format: transfer.Hex}, words: "hexadecimal"},
		{name: "too slow", data: stretched(t, 2_000_000_000), o: transfer.Options{Passphrase: phrase("x")}, words: "rounds"},
		{name: "a wrong phrase", data: bundle(t, k.rsa, "phrase"), o: transfer.Options{Passphrase: phrase("other")}, words: "passphrase is wrong"},
	} {
		f, err := transfer.Read(c.data, c.o)
		e := kms.AsError(err)
		if err == nil || e.Code != kms.CodeKeyFile || !strings.Contains(e.What+e.Next, c.words) || f.Material.Len() != 0 {
			t.Errorf("%s: got %v (%q)", c.name, err, c.words)
		}
	}
	if _, err := transfer.Read(make([]byte, transfer.MaxFile+1), transfer.Options{}); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("a large file: got %v", err)
	}
	if f, err := transfer.Read([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ!?-_&%"), transfer.Options{Format: transfer.Raw}); err != nil || f.Algorithm != kms.AES256GCM {
		t.Errorf("text that is said to be bytes: got %v", err)
	}
}

// stretched is an encrypted key that asks for so many rounds.
func stretched(t testing.TB, rounds int) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		fatal(t, err)
		return b
	}
	oid := func(last ...int) asn1.ObjectIdentifier {
		return append(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5}, last...)
	}
	kdf := marshal(struct {
		Salt []byte
		N    int
	}{[]byte("saltsalt"), rounds})
	params := marshal(struct{ KDF, Cipher pkix.AlgorithmIdentifier }{
		pkix.AlgorithmIdentifier{Algorithm: oid(12), Parameters: asn1.RawValue{FullBytes: kdf}},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: asn1.RawValue{FullBytes: marshal(make([]byte, 16))}},
	})
	return marshal(struct {
		A pkix.AlgorithmIdentifier
		D []byte
	}{pkix.AlgorithmIdentifier{Algorithm: oid(13), Parameters: asn1.RawValue{FullBytes: params}}, make([]byte, 32)})
}

func FuzzRead(f *testing.F) {
	for _, seed := range files(f, newKeys(f)) {
		f.Add(seed.data, "")
	}
	f.Add(stretched(f, 1000), "")
	f.Add(aes32, "raw")
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		if len(data) > 8<<10 { // time is what limits the search
			return
		}
		got, err := transfer.Read(data, transfer.Options{Format: transfer.Format(format), Passphrase: phrase("phrase")})
		if err != nil {
			if c := kms.CodeOf(err); c != kms.CodeKeyFile && c != kms.CodeTooLarge {
				t.Errorf("got %v", err)
			}
			return
		}
		if got.Material.Len() == 0 || len(got.Fits) == 0 || got.Algorithm == 0 || got.Kind == "" || got.Container == "" {
			t.Errorf("got %+v", got)
		}
	})
}
