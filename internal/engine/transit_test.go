package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// transit makes a key of the Vault dialect.
func (w *world) transit(name string, a kms.Algorithm, t kms.Transit) kms.Ref {
	w.t.Helper()
	t.Mac = true
	out, err := w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: name, Algorithm: a, Transit: t})
	if err != nil {
		w.t.Fatal(err)
	}
	return kms.RefTo(out.Key.ID)
}

// TestADerivedKeyIsUsedWithAContextAlone: who has no word for the context, or gives none, does nothing with it.
func TestADerivedKeyIsUsedWithAContextAlone(t *testing.T) {
	w := newWorld(t)
	k := w.transit("d", kms.AES256GCM, kms.Transit{Derived: true})
	text := []engine.EncryptItem{{Plaintext: []byte("x"), Derivation: []byte("c")}}
	for what, try := range map[string]func() error{
		"encrypt": func() error {
			_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: k, Items: text})
			return err
		},
		"re-encrypt to it": func() error {
			w.create("from", kms.AES256GCM, 0)
			_, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{To: k, Items: []engine.ReEncryptItem{{Ciphertext: w.encrypt("from", "x", nil)}}})
			return err
		},
		"a data key": func() error {
			_, err := w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: k, Bytes: 32})
			return err
		},
		"a pair": func() error {
			_, err := w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: k, Algorithm: kms.ECDSAP256})
			return err
		},
		"a managed data key": func() error {
			_, err := w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: k, Name: "n"})
			return err
		},
	} {
		if err := try(); kms.CodeOf(err) != kms.CodeUsage {
			t.Errorf("%s: got %v want %s", what, err, kms.CodeUsage)
		}
	}
	for what, c := range map[string]struct {
		it   engine.EncryptItem
		want kms.Code
	}{
		"no context": {engine.EncryptItem{Plaintext: []byte("x")}, kms.CodeDerivation}, "a long one": {engine.EncryptItem{Derivation: make([]byte, engine.MaxDerivation+1)}, kms.CodeTooLarge},
		"an encryption context": {engine.EncryptItem{Derivation: []byte("c"), Context: kms.Context{"a": "b"}}, kms.CodeBadRequest},
		"the longest":           {engine.EncryptItem{Derivation: make([]byte, engine.MaxDerivation)}, 0},
	} {
		_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: k, Plain: true, Items: []engine.EncryptItem{c.it}})
		if kms.CodeOf(err) != c.want {
			t.Errorf("%s: got %v want %s", what, err, c.want)
		}
	}
}

// TestABatchOfContextsOpensAcrossARestart: items of several contexts and versions, some of them wrong, are apart from each other.
func TestABatchOfContextsOpensAcrossARestart(t *testing.T) {
	w := newWorld(t)
	for _, tr := range []kms.Transit{{Derived: true}, {Derived: true, Convergent: true}} {
		k := w.transit(fmt.Sprint(tr.Convergent), kms.AES128GCM, tr)
		var in []engine.DecryptItem
		for n := range uint32(3) {
			var items []engine.EncryptItem
			for i := range 12 {
				items = append(items, engine.EncryptItem{Plaintext: bytes.Repeat([]byte{byte(i)}, i), AAD: []byte{byte(n)}, Derivation: fmt.Append(nil, "context ", i%3)})
			}
			if n > 0 {
				if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: k}); err != nil {
					t.Fatal(err)
				}
			}
			out, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: k, Plain: true, Items: items})
			if err != nil || out.Version != n+1 {
				t.Fatalf("version %d, %v", out.Version, err)
			}
			for i, it := range items {
				in = append(in, engine.DecryptItem{Ciphertext: out.Items[i].Ciphertext, AAD: it.AAD, Derivation: it.Derivation, Version: out.Version})
			}
		}
		in[5].Derivation, in[6].Version, in[7].AAD, in[8].Derivation = []byte("another"), 3, nil, nil
		w.restart()
		got, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: k, Plain: true, Items: in})
		if err != nil {
			t.Fatal(err)
		}
		for i, it := range got.Items {
			want := kms.Code(0)
			switch i {
			case 5, 6, 7:
				want = kms.CodeDecryptFailed
			case 8:
				want = kms.CodeDerivation
			}
			if it.Err == nil && want != 0 || it.Err != nil && it.Err.Code != want {
				t.Errorf("item %d: got %v want %s", i, it.Err, want)
			}
			if p := it.Plaintext.Wire(release.Wire{}); want == 0 && !bytes.Equal(p, bytes.Repeat([]byte{byte(i % 12)}, i%12)) {
				t.Errorf("item %d: got %x", i, p)
			}
		}
		want := kms.SchemeTransitAESGCM
		if tr.Convergent {
			want = kms.SchemeConvergentAESGCM
		}
		if recs := w.records(audit.Filter{Action: kms.Encrypt, Outcome: audit.OK}); len(recs) == 0 || recs[0].Record.Scheme != want {
			t.Errorf("the newest record does not say %s", want)
		}
	}
}

// TestOnlyAKeyThatMayLeaveIsPlain: the request asks for transit's layout, the key decides; and a key that goes on in both forms opens both.
func TestOnlyAKeyThatMayLeaveIsPlain(t *testing.T) {
	w := newWorld(t)
	in := func(k kms.Ref, plain bool) engine.EncryptInput {
		return engine.EncryptInput{Key: k, Plain: plain, Items: []engine.EncryptItem{{Plaintext: []byte("x"), AAD: []byte("a")}}}
	}
	for _, c := range []struct {
		t     kms.Transit
		plain bool
	}{{kms.Transit{}, false}, {kms.Transit{Backup: true}, true}, {kms.Transit{Plain: true}, true}} {
		k := w.transit(fmt.Sprintf("%+v", c.plain)+fmt.Sprint(c.t.Backup), kms.AES256GCM, c.t)
		for _, asked := range []bool{false, true} {
			out, err := w.e.Encrypt(t.Context(), user, in(k, asked))
			if err != nil {
				t.Fatal(err)
			}
			made := out.Items[0].Ciphertext
			if plain := len(made) == 12+1+16; plain != (c.plain && asked) {
				t.Errorf("%+v, asked for %v: a ciphertext of %d bytes", c.t, asked, len(made))
			}
			for _, opens := range []bool{false, true} {
				want := kms.Code(0)
				if c.plain && asked && !opens {
					want = kms.CodeBadCiphertext
				}
				_, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: k, Plain: opens, Items: []engine.DecryptItem{{Ciphertext: made, AAD: []byte("a")}}})
				if kms.CodeOf(err) != want {
					t.Errorf("%+v, asked for %v, opened as %v: got %v want %s", c.t, asked, opens, err, want)
				}
			}
		}
	}
	if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "no", Algorithm: kms.ECDSAP256, Transit: kms.Transit{Derived: true}}); kms.CodeOf(err) != kms.CodeAlgorithm {
		t.Errorf("a derived ECDSA key: got %v want %s", err, kms.CodeAlgorithm)
	}
}

// TestLeastVersionsHoldForEveryOperation that can name a version, whoever asks: below the one nothing protects, below the other nothing works at all.
func TestLeastVersionsHoldForEveryOperation(t *testing.T) {
	w := newWorld(t)
	type operation struct {
		what     string
		protects bool
		do       func(k kms.Ref, n uint32) error
	}
	var one []byte // what version 1 of the key under trial made
	encrypts := []operation{
		{"encrypt", true, func(k kms.Ref, n uint32) error {
			out, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: k, Version: n, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
			if err == nil && one == nil {
				one = out.Items[0].Ciphertext
			}
			return err
		}},
		{"decrypt", false, func(k kms.Ref, _ uint32) error {
			_, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: k, Items: []engine.DecryptItem{{Ciphertext: one}}})
			return err
		}},
		{"re-encrypt from", false, func(k kms.Ref, _ uint32) error {
			_, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{From: k, To: k, Items: []engine.ReEncryptItem{{Ciphertext: one}}})
			return err
		}},
		{"data key", true, func(k kms.Ref, n uint32) error {
			_, err := w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: k, Version: n, Bytes: 32})
			return err
		}},
	}
	macs := []operation{
		{"mac", true, func(k kms.Ref, n uint32) error {
			out, err := w.e.GenerateMAC(t.Context(), user, engine.MACInput{Key: k, Version: n, Items: []engine.MACItem{{Message: []byte("x")}}})
			if err == nil && one == nil {
				one = out.Items[0].MAC
			}
			return err
		}},
		{"verify mac", false, func(k kms.Ref, n uint32) error {
			_, err := w.e.VerifyMAC(t.Context(), user, engine.VerifyMACInput{Key: k, Version: n, Items: []engine.VerifyMACItem{{Message: []byte("x"), MAC: one}}})
			return err
		}},
	}
	signs := []operation{
		{"sign", true, func(k kms.Ref, n uint32) error {
			out, err := w.e.Sign(t.Context(), user, engine.SignInput{Key: k, Version: n, Items: []engine.SignItem{{Message: []byte("x")}}})
			if err == nil && one == nil {
				one = out.Items[0].Signature
			}
			return err
		}},
		{"verify", false, func(k kms.Ref, n uint32) error {
			_, err := w.e.Verify(t.Context(), user, engine.VerifyInput{Key: k, Version: n, Items: []engine.VerifyItem{{Message: []byte("x"), Signature: one}}})
			return err
		}},
	}
	for a, all := range map[kms.Algorithm][]operation{kms.AES256GCM: encrypts, kms.HMACSHA256: macs, kms.Ed25519: signs} {
		one = nil
		k := kms.RefTo(w.create("least-"+a.String(), a, 0).ID)
		if err := all[0].do(k, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: k}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ protect, process uint32 }{{0, 0}, {1, 1}, {2, 0}, {2, 1}, {0, 2}, {2, 2}, {0, 1}, {1, 0}} {
			if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: k, MinProtect: &c.protect, MinProcess: &c.process}); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			for _, o := range all {
				want := kms.Code(0)
				if c.process > 1 || o.protects && c.protect > 1 {
					want = kms.CodeTooOld
				}
				if err := o.do(k, 1); kms.CodeOf(err) != want {
					t.Errorf("%s, %s with %+v: got %v want %s", a, o.what, c, err, want)
				}
				if o.protects {
					if err := o.do(k, 0); err != nil {
						t.Errorf("%s, %s with %+v, primary: %v", a, o.what, c, err)
					}
				}
			}
		}
		for _, bad := range []struct{ protect, process uint32 }{{3, 0}, {0, 3}, {1, 2}, {1 << 31, 1 << 31}} {
			if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: k, MinProtect: &bad.protect, MinProcess: &bad.process}); kms.CodeOf(err) != kms.CodeBadRequest {
				t.Errorf("%+v: got %v want %s", bad, err, kms.CodeBadRequest)
			}
		}
	}
}

// TestOnlyKeysOfTheVaultDialectAreLetGoLater, and for ever.
func TestOnlyKeysOfTheVaultDialectAreLetGoLater(t *testing.T) {
	w := newWorld(t)
	stays := kms.RefTo(w.create("stays", kms.AES256GCM, 0).ID)
	if _, err := w.e.AllowExport(t.Context(), admin, engine.AllowExportInput{Key: stays, Exportable: true}); kms.CodeOf(err) != kms.CodeNotExportable {
		t.Errorf("got %v want %s", err, kms.CodeNotExportable)
	}
	k := w.transit("goes", kms.AES256GCM, kms.Transit{})
	if _, err := w.e.AllowExport(t.Context(), user, engine.AllowExportInput{Key: k, Exportable: true}); kms.CodeOf(err) != kms.CodeDenied {
		t.Errorf("got %v want %s", err, kms.CodeDenied)
	}
	for _, in := range []engine.AllowExportInput{{Key: k, Exportable: true}, {Key: k}, {Key: k, Backup: true}, {Key: k}} {
		if _, err := w.e.AllowExport(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
	}
	if now := w.keyNow("goes"); !now.Exportable || !now.Transit.Backup || !now.Transit.Plain {
		t.Errorf("got %+v", now)
	}
	recs := w.records(audit.Filter{Action: kms.AllowExport, Outcome: audit.OK})
	if len(recs) != 4 || recs[len(recs)-1].Record.Detail != "exportable true" && recs[0].Record.Detail != "exportable true" {
		t.Errorf("got %d records", len(recs))
	}
}

// BenchmarkLayouts is one 32-byte encryption through the whole path without the log: as a Keyhold ciphertext, and in transit's own layouts.
func BenchmarkLayouts(b *testing.B) {
	w := newWorld(b, func(c *engine.Config) { c.Recorder = silent{c.Log} })
	for _, c := range []struct {
		name string
		t    kms.Transit
	}{{"boxed", kms.Transit{}}, {"plain", kms.Transit{Plain: true}}, {"derived", kms.Transit{Derived: true}}, {"convergent", kms.Transit{Derived: true, Convergent: true}}} {
		k := w.transit(c.name, kms.AES256GCM, c.t)
		in := engine.EncryptInput{Key: k, Plain: true, Items: []engine.EncryptItem{{Plaintext: make([]byte, 32), Derivation: []byte("context")}}}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.e.Encrypt(b.Context(), user, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
