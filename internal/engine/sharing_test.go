package engine_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

func (w *world) public(ref kms.Ref) []byte {
	w.t.Helper()
	out, err := w.e.GetPublicKey(w.t.Context(), user, engine.PublicKeyInput{Key: ref})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.DER
}

// The other side is Go's own library: it knows nothing of this code.
func TestBothSidesDeriveTheSameSecret(t *testing.T) {
	w := newWorld(t)
	for a, curve := range map[kms.Algorithm]ecdh.Curve{kms.ECDHP256: ecdh.P256(), kms.ECDHP384: ecdh.P384(), kms.ECDHP521: ecdh.P521(), kms.X25519: ecdh.X25519()} {
		ref := kms.Ref(a.String())
		k := w.create(a.String(), a, 0)
		theirs, err := curve.GenerateKey(rand.Reader)
		wantCode(t, err, 0)
		peer, err := x509.MarshalPKIXPublicKey(theirs.PublicKey())
		wantCode(t, err, 0)
		parsed, err := x509.ParsePKIXPublicKey(w.public(ref))
		wantCode(t, err, 0)
		var ours *ecdh.PublicKey
		switch p := parsed.(type) {
		case *ecdh.PublicKey:
			ours = p
		case interface {
			ECDH() (*ecdh.PublicKey, error)
		}:
			ours, err = p.ECDH()
			wantCode(t, err, 0)
		}
		want, err := theirs.ECDH(ours)
		wantCode(t, err, 0)
		out, err := w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: ref, PeerPublic: peer})
		if err != nil || !bytes.Equal(out.Secret.Wire(release.Wire{}), want) || out.Version != 1 || out.Key != k.ID || out.Scheme != kms.SchemeECDH {
			t.Fatalf("%s: got %+v %v", a, out, err)
		}
		salt, info := []byte("salt"), "orders"
		if want, err = hkdf.Key(sha256.New, want, salt, info, 48); err != nil {
			t.Fatal(err)
		}
		out, err = w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: ref, PeerPublic: peer, KDF: engine.HKDFSHA256, Salt: salt, Info: []byte(info), Length: 48})
		if err != nil || !bytes.Equal(out.Secret.Wire(release.Wire{}), want) {
			t.Fatalf("%s: derived %d bytes, %v", a, out.Secret.Len(), err)
		}
		recs := w.records(audit.Filter{Action: kms.DeriveSharedSecret, Key: k.ID})
		if len(recs) != 2 || recs[0].Scheme != kms.SchemeECDH || recs[0].Keys[0].Version != 1 || recs[0].Bytes != 48 {
			t.Fatalf("%s: records %+v", a, recs)
		}
	}
	// The secret of an older version can still be derived, and is another one.
	peer := w.public("x25519")
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "x25519"}); err != nil {
		t.Fatal(err)
	}
	_, err := w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "x25519", PeerPublic: peer})
	wantCode(t, err, kms.CodeBadRequest)
	var secrets [3][]byte
	for v := 1; v < len(secrets); v++ {
		out, err := w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "x25519", Version: uint32(v), PeerPublic: peer})
		wantCode(t, err, 0)
		secrets[v] = out.Secret.Wire(release.Wire{})
	}
	if len(secrets[1]) == 0 || bytes.Equal(secrets[1], secrets[2]) {
		t.Fatal("two versions agree on one secret")
	}
}

// Go's own ML-KEM encapsulates for a key that never left the server.
func TestAnEncapsulationFromOutsideOpens(t *testing.T) {
	w := newWorld(t)
	w.create("kem", kms.MLKEM768, 0)
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}
	if _, err := asn1.Unmarshal(w.public("kem"), &spki); err != nil {
		t.Fatal(err)
	}
	public, err := mlkem.NewEncapsulationKey768(spki.Public.Bytes)
	wantCode(t, err, 0)
	shared, ciphertext := public.Encapsulate()
	out, err := w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Ciphertext: ciphertext})
	if err != nil || !bytes.Equal(out.Secret.Wire(release.Wire{}), shared) {
		t.Fatalf("another secret, %v", err)
	}
	// Implicit rejection: what was altered opens to something else, always the same.
	ciphertext[0] ^= 1
	a, err := w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Ciphertext: ciphertext})
	wantCode(t, err, 0)
	b, err := w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Ciphertext: ciphertext})
	wantCode(t, err, 0)
	if bytes.Equal(a.Secret.Wire(release.Wire{}), shared) || !bytes.Equal(a.Secret.Wire(release.Wire{}), b.Secret.Wire(release.Wire{})) {
		t.Fatal("an altered encapsulation was not rejected as FIPS 203 does")
	}
}

// A wrong version would go unnoticed, so it is not guessed: neither for an encapsulation nor for a text.
func TestAVersionThatNobodyWouldMissIsNotGuessed(t *testing.T) {
	w := newWorld(t)
	w.create("kem", kms.XWing, 0)
	w.create("ff1", kms.AES128FF1, 0)
	capsule, err := w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: "kem"})
	wantCode(t, err, 0)
	decapsulate := func(v uint32) error {
		return second(w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Version: v, Ciphertext: capsule.Ciphertext}))
	}
	decrypt := func(v uint32) error {
		return second(w.e.DecryptFormat(t.Context(), user, engine.FormatInput{Key: "ff1", Version: v, Items: []engine.FormatItem{{Text: []byte("123456")}}}))
	}
	wantCode(t, decapsulate(0), 0)
	wantCode(t, decrypt(0), 0)
	for _, k := range []kms.Ref{"kem", "ff1"} {
		if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	for by, do := range map[string]func(uint32) error{"Encapsulate": decapsulate, "EncryptFormat": decrypt} {
		err := do(0)
		wantCode(t, err, kms.CodeBadRequest)
		if got, want := kms.AsError(err).Advice(), "name the version that "+by+" answered"; got != want {
			t.Errorf("advice: got %q want %q", got, want)
		}
		wantCode(t, do(1), 0)
		wantCode(t, do(2), 0)
		wantCode(t, do(3), kms.CodeVersionNotFound)
	}
	if n := len(w.records(audit.Filter{Action: kms.Decapsulate, Outcome: audit.Refused})); n != 2 {
		t.Errorf("%d refusals on the record, want 2", n)
	}
}

func TestWrappedMaterialIsWhatOthersRead(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256Wrap, 0)
	item := func(n int) engine.WrapItem { return engine.WrapItem{Material: bytes.Repeat([]byte{0x5a}, n)} }
	// One record for the batch, with every item's outcome.
	out, err := w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Scheme: kms.SchemeKW, Items: []engine.WrapItem{item(16), item(17), item(8), item(4096)}})
	if err != nil || out.Scheme != kms.SchemeKW || out.Version != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	for i, want := range []int{24, 0, 0, 4104} {
		if got := len(out.Items[i].Wrapped); got != want || (out.Items[i].Err == nil) != (want > 0) {
			t.Errorf("item %d: %d bytes, want %d, %v", i, got, want, out.Items[i].Err)
		}
	}
	recs := w.records(audit.Filter{Action: kms.WrapKey})
	if len(recs) != 1 || len(recs[0].Items) != 4 || recs[0].Items[1].Code != kms.CodeBadRequest || recs[0].Items[3].Code != 0 || recs[0].Scheme != kms.SchemeKW {
		t.Fatalf("records: %+v", recs)
	}
	for _, n := range []int{1, 7, 8, 9, 32, 4096} {
		c, err := w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{item(n)}})
		wantCode(t, err, 0)
		d, err := w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{Material: c.Items[0].Wrapped}}})
		if err != nil || d.Items[0].Material.Len() != n || d.Scheme != kms.SchemeKWP {
			t.Errorf("%d bytes: %d came back by %s, %v", n, d.Items[0].Material.Len(), d.Scheme, err)
		}
	}
	_, err = w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{}}})
	if c := kms.CodeOf(err); c != kms.CodeBadRequest {
		t.Errorf("nothing was wrapped: %v", err)
	}
	// After a rotation the primary version is tried, and the refusal says what else there is.
	old := out.Items[0].Wrapped
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Scheme: kms.SchemeKW, Items: []engine.WrapItem{{Material: old}}})
	wantCode(t, err, kms.CodeDecryptFailed)
	if got, want := kms.AsError(err).Advice(), "name the version that WrapKey answered: without one the primary version is tried"; got != want {
		t.Errorf("advice: got %q want %q", got, want)
	}
	if _, err = w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Version: 1, Scheme: kms.SchemeKW, Items: []engine.WrapItem{{Material: old}}}); err != nil {
		t.Error(err)
	}
}

// Every refusal of the newer operations is on the record, with its code, and nothing comes out.
func TestRefusalsToShareAreRecorded(t *testing.T) {
	w := newWorld(t)
	w.create("agree", kms.ECDHP256, 0)
	w.create("other", kms.ECDHP384, 0)
	w.create("kem", kms.MLKEM512, 0)
	w.create("kek", kms.AES128Wrap, 0)
	w.create("aes", kms.AES256GCM, 0)
	w.create("rsa", kms.RSA2048, kms.EncryptDecrypt)
	other, mallory := w.public("other"), as("mallory")
	for _, c := range []struct {
		name   string
		action kms.Action
		err    error
		want   kms.Code
	}{
		{"no peer", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree"})), kms.CodeBadRequest},
		{"no point", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree", PeerPublic: []byte("no key")})), kms.CodeBadRequest},
		{"another curve", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree", PeerPublic: other})), kms.CodeBadRequest},
		{"a salt for nothing", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree", PeerPublic: other, Salt: []byte{1}})), kms.CodeBadRequest},
		{"a length for nothing", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree", PeerPublic: other, Length: 32})), kms.CodeBadRequest},
		{"no such kdf", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "agree", PeerPublic: other, KDF: 9})), kms.CodeBadRequest},
		{"another usage", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "aes", PeerPublic: other})), kms.CodeUsage},
		{"a stranger", kms.DeriveSharedSecret, second(w.e.DeriveSharedSecret(t.Context(), mallory, engine.DeriveInput{Key: "agree", PeerPublic: other})), kms.CodeDenied},
		{"another usage", kms.Encapsulate, second(w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: "agree"})), kms.CodeUsage},
		{"no version", kms.Encapsulate, second(w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: "kem", Version: 2})), kms.CodeVersionNotFound},
		{"a stranger", kms.Encapsulate, second(w.e.Encapsulate(t.Context(), mallory, engine.EncapsulateInput{Key: "kem"})), kms.CodeDenied},
		{"nothing", kms.Decapsulate, second(w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem"})), kms.CodeBadRequest},
		{"a wrong length", kms.Decapsulate, second(w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Ciphertext: make([]byte, 17)})), kms.CodeDecryptFailed},
		{"too much", kms.Decapsulate, second(w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: "kem", Ciphertext: make([]byte, 4096)})), kms.CodeBadRequest},
		{"a scheme that encrypts", kms.WrapKey, second(w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Scheme: kms.SchemeAESGCM, Items: []engine.WrapItem{{Material: make([]byte, 16)}}})), kms.CodeAlgorithm},
		{"no items", kms.WrapKey, second(w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "kek"})), kms.CodeTooLarge},
		{"forged", kms.UnwrapKey, second(w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{Material: make([]byte, 24)}}})), kms.CodeDecryptFailed},
		{"a stranger", kms.UnwrapKey, second(w.e.UnwrapKey(t.Context(), mallory, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{Material: make([]byte, 24)}}})), kms.CodeDenied},
		{"a symmetric pair", kms.GenerateDataKeyPair, second(w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: "aes", Algorithm: kms.AES256GCM})), kms.CodeAlgorithm},
		{"no algorithm", kms.GenerateDataKeyPair, second(w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: "aes"})), kms.CodeAlgorithm},
		{"under an asymmetric key", kms.GenerateDataKeyPair, second(w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: "rsa", Algorithm: kms.Ed25519})), kms.CodeAlgorithm},
		{"under a wrapping key", kms.GenerateDataKeyPair, second(w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: "kek", Algorithm: kms.Ed25519})), kms.CodeUsage},
		{"a stranger", kms.GenerateDataKeyPair, second(w.e.GenerateDataKeyPair(t.Context(), mallory, engine.DataKeyPairInput{Key: "aes", Algorithm: kms.Ed25519})), kms.CodeDenied},
	} {
		if got := kms.CodeOf(c.err); got != c.want {
			t.Errorf("%s, %s: got %v want %s", c.action, c.name, c.err, c.want)
		}
	}
	want := map[kms.Action]int{kms.DeriveSharedSecret: 8, kms.Encapsulate: 3, kms.Decapsulate: 3, kms.WrapKey: 2, kms.UnwrapKey: 2, kms.GenerateDataKeyPair: 5}
	for a, n := range want {
		recs := w.records(audit.Filter{Action: a})
		for _, r := range recs {
			if r.Code == 0 || r.Outcome == audit.OK {
				t.Errorf("%s: a refusal was recorded as %s", a, r.Outcome)
			}
		}
		if len(recs) != n {
			t.Errorf("%s: %d records, want %d", a, len(recs), n)
		}
	}
}

func TestARehearsalSharesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("agree", kms.X25519, 0)
	w.create("kem", kms.MLKEM1024, 0)
	w.create("kek", kms.AES192Wrap, 0)
	w.create("ff1", kms.AES256FF1, 0)
	w.create("aes", kms.AES256SIV, 0)
	dry := user
	dry.DryRun = true
	derived, err := w.e.DeriveSharedSecret(t.Context(), dry, engine.DeriveInput{Key: "agree", PeerPublic: w.public("agree")})
	wantCode(t, err, 0)
	capsule, err := w.e.Encapsulate(t.Context(), dry, engine.EncapsulateInput{Key: "kem"})
	wantCode(t, err, 0)
	shared, err := w.e.Decapsulate(t.Context(), dry, engine.DecapsulateInput{Key: "kem", Ciphertext: make([]byte, 1568)})
	wantCode(t, err, 0)
	wrapped, err := w.e.WrapKey(t.Context(), dry, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{Material: make([]byte, 16)}}})
	wantCode(t, err, 0)
	material, err := w.e.UnwrapKey(t.Context(), dry, engine.WrapInput{Key: "kek", Items: []engine.WrapItem{{Material: make([]byte, 24)}}})
	wantCode(t, err, 0)
	text, err := w.e.EncryptFormat(t.Context(), dry, engine.FormatInput{Key: "ff1", Items: []engine.FormatItem{{Text: []byte("123456")}}})
	wantCode(t, err, 0)
	plain, err := w.e.DecryptFormat(t.Context(), dry, engine.FormatInput{Key: "ff1", Items: []engine.FormatItem{{Text: []byte("123456")}}})
	wantCode(t, err, 0)
	pair, err := w.e.GenerateDataKeyPair(t.Context(), dry, engine.DataKeyPairInput{Key: "aes", Algorithm: kms.RSA4096})
	wantCode(t, err, 0)
	if n := derived.Secret.Len() + capsule.Secret.Len() + len(capsule.Ciphertext) + shared.Secret.Len() + len(wrapped.Items) + len(material.Items) +
		len(text.Items) + len(plain.Items) + len(pair.Public) + len(pair.Ciphertext) + pair.Private.Len(); n != 0 {
		t.Errorf("a rehearsal answered %d bytes or items", n)
	}
	if n := len(w.records(audit.Filter{Outcome: audit.DryRun})); n != 8 {
		t.Errorf("%d dry runs on the record, want 8", n)
	}
}

// The length of an HMAC key is chosen once and kept by every version, through a restart.
func TestRotationKeepsTheLengthOfAKey(t *testing.T) {
	var made []int
	w := newWorld(t, func(c *engine.Config) { c.Provider = measured{c.Provider, &made} })
	for n, want := range map[int]kms.Code{16: 0, 512: 0, 15: kms.CodeBadRequest, 513: kms.CodeBadRequest, -1: kms.CodeBadRequest} {
		_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: fmt.Sprintf("mac%d", n), Algorithm: kms.HMACSHA256, Bytes: n})
		wantCode(t, err, want)
	}
	_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "aes", Algorithm: kms.AES256GCM, Bytes: 32})
	wantCode(t, err, kms.CodeBadRequest)
	made = nil
	if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "long", Algorithm: kms.HMACSHA512, Bytes: 100}); err != nil {
		t.Fatal(err)
	}
	tag, err := w.e.GenerateMAC(t.Context(), user, engine.MACInput{Key: "long", Items: []engine.MACItem{{Message: []byte("m")}}})
	wantCode(t, err, 0)
	w.restart(func(c *engine.Config) { c.Provider = measured{c.Provider, &made} })
	out, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "long"})
	if err != nil || out.Key.Bytes != 100 || len(made) != 2 || made[0] != 100 || made[1] != 100 {
		t.Fatalf("rotated: %d bytes, made %v, %v", out.Key.Bytes, made, err)
	}
	_, err = w.e.VerifyMAC(t.Context(), user, engine.VerifyMACInput{Key: "long", Version: 1, Items: []engine.VerifyMACItem{{Message: []byte("m"), MAC: tag.Items[0].MAC}}})
	wantCode(t, err, 0)
}
