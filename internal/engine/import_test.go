package engine_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// importable makes a key that waits for its material.
func (w *world) importable(name string, a kms.Algorithm, u kms.Usage) kms.Key {
	w.t.Helper()
	out, err := w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: name, Algorithm: a, Usage: u, Import: true, Exportable: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key
}

func (w *world) importToken(in engine.ImportTokenInput) engine.ImportTokenOutput {
	w.t.Helper()
	out, err := w.e.CreateImportToken(w.t.Context(), admin, in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// wrapFor wraps material as a client does, with nothing but what the token says.
func wrapFor(t testing.TB, tok engine.ImportTokenOutput, material []byte) []byte {
	t.Helper()
	public, err := transport.ParsePublic(tok.Public)
	if err != nil {
		t.Fatal(err)
	}
	parcel, err := transport.Seal(tok.Transport, public.Key, tok.Info, secret.Copy(material))
	if err != nil {
		t.Fatal(err)
	}
	return parcel
}

// bring imports material into a key under a token of its own.
func (w *world) bring(key string, version uint32, material []byte, expires time.Time) (engine.ImportMaterialOutput, error) {
	w.t.Helper()
	tok := w.importToken(engine.ImportTokenInput{Key: kms.Ref(key), Version: version, Transport: kms.HPKEP256})
	return w.e.ImportKeyMaterial(w.t.Context(), admin, engine.ImportMaterialInput{
		Key: kms.Ref(key), Token: tok.ID, Material: wrapFor(w.t, tok, material), Expires: expires,
	})
}

func (w *world) mustBring(key string, version uint32, material []byte, expires time.Time) engine.ImportMaterialOutput {
	w.t.Helper()
	out, err := w.bring(key, version, material, expires)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

var aesKey = bytes.Repeat([]byte("0123456789abcdef"), 2)

// A key that was made elsewhere works here, and says where it came from: by every transport, and after a restart.
func TestMaterialIsImportedByEveryTransport(t *testing.T) { // P12
	w := newWorld(t)
	for _, tr := range kms.AllTransports() {
		if tr.Symmetric() {
			continue
		}
		name := "byok/" + tr.String()
		k := w.importable(name, kms.AES256GCM, 0)
		if k.Switch != kms.PendingImport || k.Primary != 0 || k.Origin != kms.Imported {
			t.Fatalf("a key that waits for its material: got %+v", k)
		}
		_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: kms.Ref(name), Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
		wantCode(t, err, kms.CodeKeyPendingImport)
		in := engine.ImportTokenInput{Key: kms.Ref(name), Transport: tr}
		if len(tr.Facts().Keys) > 1 {
			in.By = kms.RSA2048 // the quickest
		}
		tok := w.importToken(in)
		if tok.Version != 1 || len(tok.Public) == 0 || (len(tok.Info) > 0) != tr.Facts().Info || !tok.Expires.Equal(w.now.Add(24*time.Hour)) {
			t.Fatalf("%s: token %+v", tr, tok)
		}
		out, err := w.e.ImportKeyMaterial(t.Context(), admin, engine.ImportMaterialInput{Key: kms.Ref(name), Token: tok.ID, Material: wrapFor(t, tok, aesKey)})
		if err != nil {
			t.Fatalf("%s: %v", tr, err)
		}
		v := out.Versions[0]
		if out.Key.Switch != kms.Enabled || out.Key.Primary != 1 || v.Origin != kms.Imported || v.Source != "" || v.State != kms.Active {
			t.Errorf("%s: got %+v %+v", tr, out.Key, v)
		}
		if !bytes.Equal(v.Check, transport.CheckSecret(kms.AES256GCM, secret.Copy(aesKey))) || len(out.KCV.CMAC) != 3 || len(out.KCV.Zero) != 3 {
			t.Errorf("%s: check value %x, KCV %x", tr, v.Check, out.KCV)
		}
		c := w.encrypt(name, "secret", nil)
		w.restart()
		if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
			t.Errorf("%s: after a restart got %q %v", tr, got, err)
		}
	}
}

// A token is for one import, of one key, for a while.
func TestAnImportTokenIsForOneImport(t *testing.T) {
	w := newWorld(t)
	w.importable("a", kms.AES256GCM, 0)
	w.importable("b", kms.AES256GCM, 0)
	tok := w.importToken(engine.ImportTokenInput{Key: "a"})
	send := func(key string, tok engine.ImportTokenOutput, parcel []byte) error {
		_, err := w.e.ImportKeyMaterial(t.Context(), admin, engine.ImportMaterialInput{Key: kms.Ref(key), Token: tok.ID, Material: parcel})
		return err
	}
	parcel := wrapFor(t, tok, aesKey)
	wantCode(t, send("b", tok, parcel), kms.CodeImportToken)
	changed := bytes.Clone(parcel)
	changed[len(changed)-1] ^= 1
	wantCode(t, send("a", tok, changed), kms.CodeDecryptFailed)
	other := w.importToken(engine.ImportTokenInput{Key: "a"})
	wantCode(t, send("a", other, parcel), kms.CodeDecryptFailed)

	late := w.importToken(engine.ImportTokenInput{Key: "b", Lifetime: time.Hour})
	forB := wrapFor(t, late, aesKey)
	w.now = w.now.Add(time.Hour)
	wantCode(t, send("b", late, forB), kms.CodeImportToken)
	w.e.Upkeep(t.Context())
	wantCode(t, send("b", late, forB), kms.CodeImportToken)
	if recs := w.records(audit.Filter{Action: kms.ExpireKeyMaterial}); len(recs) != 1 || !strings.Contains(recs[0].Detail, late.ID.String()) {
		t.Errorf("records of tokens that ended: %+v", recs)
	}

	if err := send("a", tok, parcel); err != nil {
		t.Fatalf("failed attempts used the token up: %v", err)
	}
	wantCode(t, send("a", tok, parcel), kms.CodeImportToken)
	wantCode(t, send("a", other, wrapFor(t, other, bytes.Repeat([]byte("another 16 bytes"), 2))), kms.CodeImportToken) // for version 1, which is there
	for i := range 9 {
		_, err := w.e.CreateImportToken(t.Context(), admin, engine.ImportTokenInput{Key: "a", Transport: kms.HPKEP256})
		switch {
		case i < 7 && err != nil: // other is open still
			t.Fatal(err)
		case i >= 7:
			wantCode(t, err, kms.CodeTooLarge)
		}
	}
	_, err := w.e.CreateImportToken(t.Context(), admin, engine.ImportTokenInput{Key: "a", Lifetime: 8 * 24 * time.Hour})
	wantCode(t, err, kms.CodeBadRequest)
}

// Imported material expires at its second, is erased, and comes back only as what it was.
func TestImportedMaterialExpiresAndComesBack(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	until := w.now.Add(48 * time.Hour)
	w.mustBring("k", 0, aesKey, until)
	c := w.encrypt("k", "secret", nil)

	w.now = until.Add(-time.Second)
	if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
		t.Fatalf("before its end: got %q %v", got, err)
	}
	w.now = until
	_, err := w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeMaterialExpired)
	w.e.Upkeep(t.Context())
	_, err = w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeMaterialExpired)
	w.restart()
	_, err = w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeMaterialExpired)

	_, err = w.bring("k", 1, bytes.Repeat([]byte("fedcba9876543210"), 2), time.Time{})
	wantCode(t, err, kms.CodeCheckValue)
	out := w.mustBring("k", 1, aesKey, time.Time{})
	if v := out.Versions[0]; v.Number != 1 || !v.ExpiresAt.IsZero() || out.Key.Latest != 1 {
		t.Errorf("what came back: got %+v", v)
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
		t.Errorf("after it came back: got %q %v", got, err)
	}

	// By hand there is a waiting time, and a way back. // P7
	_, err = w.e.ExpireKeyMaterial(t.Context(), admin, engine.ExpireInput{Key: "k", Version: 1, Window: time.Hour})
	wantCode(t, err, kms.CodeWindow)
	set, err := w.e.ExpireKeyMaterial(t.Context(), admin, engine.ExpireInput{Key: "k", Version: 1, Window: 7 * 24 * time.Hour})
	if err != nil || !set.Versions[0].ExpiresAt.Equal(w.now.Add(7*24*time.Hour)) {
		t.Fatalf("by hand: %+v %v", set.Versions, err)
	}
	if _, err = w.e.ExpireKeyMaterial(t.Context(), admin, engine.ExpireInput{Key: "k", Version: 1, Keep: true}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	w.e.Upkeep(t.Context())
	if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
		t.Errorf("after it was kept: got %q %v", got, err)
	}
}

// An imported key is rotated by what its owner brings, and by the server only when told to.
func TestAnImportedKeyIsNeverRotatedSilently(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	w.mustBring("k", 0, aesKey, time.Time{})
	old := w.encrypt("k", "one", nil)
	_, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"})
	wantCode(t, err, kms.CodeImported)
	_, err = w.bring("k", 0, aesKey, time.Time{})
	wantCode(t, err, kms.CodeExists)
	out := w.mustBring("k", 0, bytes.Repeat([]byte("second material!"), 2), time.Time{})
	if out.Key.Primary != 2 || out.Versions[0].Number != 2 {
		t.Fatalf("got %+v", out.Key)
	}
	if got, err := w.decrypt(user, old, nil); err != nil || got != "one" {
		t.Errorf("what version 1 made: got %q %v", got, err)
	}
	made, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Generate: true})
	if err != nil || made.Versions[0].Origin != kms.Generated || made.Key.Origin != kms.Imported {
		t.Errorf("told to generate: got %+v %v", made, err)
	}
	_, err = w.bringAgain("k", 3)
	wantCode(t, err, kms.CodeImportToken)
}

func (w *world) bringAgain(key string, n uint32) (engine.ImportTokenOutput, error) {
	return w.e.CreateImportToken(w.t.Context(), admin, engine.ImportTokenInput{Key: kms.Ref(key), Version: n})
}

// Material comes only into keys that were created for it, and only from those who manage them.
func TestWhoMayImport(t *testing.T) {
	w := newWorld(t)
	w.create("generated", kms.AES256GCM, 0)
	_, err := w.e.CreateImportToken(t.Context(), admin, engine.ImportTokenInput{Key: "generated"})
	wantCode(t, err, kms.CodeImportToken)
	w.importable("k", kms.AES256GCM, 0)
	_, err = w.e.CreateImportToken(t.Context(), user, engine.ImportTokenInput{Key: "k"})
	wantCode(t, err, kms.CodeDenied)
	tok := w.importToken(engine.ImportTokenInput{Key: "k"})
	_, err = w.e.ImportKeyMaterial(t.Context(), user, engine.ImportMaterialInput{Key: "k", Token: tok.ID, Material: wrapFor(t, tok, aesKey)})
	wantCode(t, err, kms.CodeDenied)

	// Under a wrapping key of the server it takes the right to unwrap with that, which who manages it does not have.
	w.create("transport", kms.AES256Wrap, 0)
	_, err = w.e.CreateImportToken(t.Context(), admin, engine.ImportTokenInput{Key: "k", Transport: kms.TransportKWP, WrappingKey: "transport"})
	wantCode(t, err, kms.CodeDenied)
}

// What is exported is what was imported, and only a key that was created exportable leaves.
func TestExportAndImportElsewhere(t *testing.T) {
	w, elsewhere := newWorld(t), newWorld(t)
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		a        kms.Algorithm
		u        kms.Usage
		material []byte
	}{{"aes", kms.AES256GCM, 0, aesKey}, {"ec", kms.ECDSAP256, 0, der}} {
		w.importable(c.name, c.a, c.u)
		here := w.mustBring(c.name, 0, c.material, time.Time{})
		elsewhere.importable(c.name, c.a, c.u)
		for _, tr := range []kms.Transport{kms.HPKEMLKEM768X25519, kms.RSAAESSHA256} {
			in := engine.ImportTokenInput{Key: kms.Ref(c.name), Transport: tr}
			if tr == kms.RSAAESSHA256 {
				in.By, in.Version = kms.RSA2048, 1
			}
			tok := elsewhere.importToken(in)
			out, err := w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: kms.Ref(c.name), Public: tok.Public, Transport: tr, Info: tok.Info})
			if err != nil {
				t.Fatalf("%s by %s: %v", c.name, tr, err)
			}
			there, err := elsewhere.e.ImportKeyMaterial(t.Context(), admin, engine.ImportMaterialInput{Key: kms.Ref(c.name), Token: tok.ID, Material: out.Wrapped, Public: here.Versions[0].Public})
			if err != nil || !bytes.Equal(there.Versions[0].Check, here.Versions[0].Check) || !bytes.Equal(out.Check, here.Versions[0].Check) {
				t.Errorf("%s by %s: check value %x there, %x here, %v", c.name, tr, there.Versions[0].Check, here.Versions[0].Check, err)
			}
		}
	}
	recs := w.records(audit.Filter{Action: kms.ExportKey})
	if len(recs) != 4 || !strings.Contains(recs[0].Detail, "sha256:") {
		t.Errorf("records of exports: %+v", recs)
	}

	w.create("stays", kms.AES256GCM, 0)
	receiver, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(receiver.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: "stays", Public: public})
	wantCode(t, err, kms.CodeNotExportable)
	_, err = w.e.ExportKey(t.Context(), user, engine.ExportInput{Key: "aes", Public: public})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: "ec", Public: public, Transport: kms.OAEPSHA256})
	wantCode(t, err, kms.CodeAlgorithm)
	_, err = w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: "aes", Public: []byte("no key")})
	wantCode(t, err, kms.CodeBadRequest)
	_, err = w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: "aes"})
	wantCode(t, err, kms.CodeBadRequest)
}

// A token outlives restarts, epochs and root keys; what came in by it too.
func TestAnImportOutlivesEpochsAndRestarts(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	tok := w.importToken(engine.ImportTokenInput{Key: "k", Transport: kms.HPKEMLKEM768X25519})
	parcel := wrapFor(t, tok, aesKey)
	roll := func() {
		t.Helper()
		if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
			t.Fatal(err)
		}
		w.e.Upkeep(t.Context())
	}
	roll()
	w.restart()
	if _, err := w.e.ImportKeyMaterial(t.Context(), admin, engine.ImportMaterialInput{Key: "k", Token: tok.ID, Material: parcel}); err != nil {
		t.Fatal(err)
	}
	c := w.encrypt("k", "secret", nil)
	roll()
	w.restart()
	if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
		t.Errorf("got %q %v", got, err)
	}
}

// Imported material is in no file, log or record in the clear, and neither is what was made to bring it in.
func TestImportedMaterialIsNowhereInTheClear(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	w.mustBring("k", 0, aesKey, w.now.Add(time.Hour))
	if _, err := w.e.ExportKey(t.Context(), admin, engine.ExportInput{Key: "k", Public: exportReceiver}); err != nil {
		t.Fatal(err)
	}
	var haystack bytes.Buffer
	haystack.Write(w.output.Bytes())
	if _, err := w.store.Export(t.Context(), &haystack); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		haystack.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, needle := range map[string]string{"bytes": string(aesKey), "hex": hex.EncodeToString(aesKey), "base64": base64.StdEncoding.EncodeToString(aesKey)} {
		if bytes.Contains(haystack.Bytes(), []byte(needle)) {
			t.Errorf("the material lies in the clear, as %s", name)
		}
	}
}

// A refused or repeated request changes nothing, and a dry run says what would come of it.
func TestADryRunOfAnImportKeepsItsToken(t *testing.T) {
	w := newWorld(t)
	k := w.importable("k", kms.AES256GCM, 0)
	tok := w.importToken(engine.ImportTokenInput{Key: "k"})
	in := engine.ImportMaterialInput{Key: "k", Token: tok.ID, Material: wrapFor(t, tok, aesKey)}
	dry := admin
	dry.DryRun = true
	if out, err := w.e.ImportKeyMaterial(t.Context(), dry, in); err != nil || out.Key.Primary != 1 {
		t.Fatalf("dry run: got %+v %v", out.Key, err)
	}
	if got, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil || got.Key.Switch != kms.PendingImport || got.Key.Rev != k.Rev && k.Rev != 0 {
		t.Fatalf("after the dry run: got %+v %v", got.Key, err)
	}
	once := admin
	once.Token = "import k"
	first, err := w.e.ImportKeyMaterial(t.Context(), once, in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.e.ImportKeyMaterial(t.Context(), once, in)
	if err != nil || again.Versions[0].Number != first.Versions[0].Number || !bytes.Equal(again.KCV.CMAC, first.KCV.CMAC) {
		t.Errorf("repeated: got %+v %v", again, err)
	}
	if got, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil || got.Key.Latest != 1 {
		t.Errorf("after it was repeated: got %+v %v", got.Key, err)
	}
	expired := in
	expired.Expires = w.now.Add(-time.Second)
	_, err = w.e.ImportKeyMaterial(t.Context(), admin, expired)
	wantCode(t, err, kms.CodeBadRequest)
}

// Many who bring the same import at once make one version.
func TestOneImportOfMany(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	tok := w.importToken(engine.ImportTokenInput{Key: "k", Transport: kms.HPKEP256})
	parcel := wrapFor(t, tok, aesKey)
	const callers = 8
	failed := make(chan error, callers)
	for range callers {
		go func() {
			_, err := w.e.ImportKeyMaterial(context.WithoutCancel(t.Context()), admin, engine.ImportMaterialInput{Key: "k", Token: tok.ID, Material: parcel})
			failed <- err
		}()
	}
	done := 0
	for range callers {
		switch err := <-failed; kms.CodeOf(err) {
		case 0:
			done++
		case kms.CodeImportToken:
		default:
			t.Errorf("got %v", err)
		}
	}
	if got, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil || done != 1 || got.Key.Latest != 1 {
		t.Errorf("%d imports, latest version %d: %v", done, got.Key.Latest, err)
	}
}
