package engine_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// carried wraps material for the wrapping key of a namespace.
func (w *world) carried(c kms.Call, material []byte) []byte {
	w.t.Helper()
	out, err := w.e.ReadWrappingKey(w.t.Context(), c, engine.WrappingKeyInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	return wrapFor(w.t, engine.ImportTokenOutput{Public: out.Public, Transport: kms.RSAAESSHA256}, material)
}

func bringing(name string, parcel []byte) engine.BringInput {
	return engine.BringInput{Material: parcel, Transport: kms.RSAAESSHA256,
		CreateKeyInput: engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM, Transit: kms.Transit{Mac: true}}}
}

// TestANamespaceHasOneWrappingKey: whoever asks first, however many ask at once; another namespace has another, and looking makes none.
func TestANamespaceHasOneWrappingKey(t *testing.T) {
	w := newWorld(t)
	dry := admin
	dry.DryRun = true
	if out, err := w.e.ReadWrappingKey(t.Context(), dry, engine.WrappingKeyInput{}); err != nil || out.Public != nil {
		t.Errorf("a dry run: got %x, %v", out.Public, err)
	}
	_, err := w.e.BringKey(t.Context(), admin, bringing("early", bytes.Repeat([]byte{1}, 560)))
	wantCode(t, err, kms.CodeBadRequest)
	got := make(chan []byte, 2)
	for range cap(got) {
		go func() {
			out, err := w.e.ReadWrappingKey(t.Context(), admin, engine.WrappingKeyInput{})
			if err != nil {
				t.Error(err)
			}
			got <- out.Public
		}()
	}
	if a, b := <-got, <-got; len(a) == 0 || !bytes.Equal(a, b) {
		t.Fatalf("got %x and %x", a, b)
	}
	parcel := w.carried(admin, aesKey)
	for _, e := range w.records(audit.Filter{Action: kms.ReadWrappingKey}) {
		if e.Record.Change && !strings.Contains(e.Record.Detail, "rsa-4096") {
			t.Errorf("the record says %q", e.Record.Detail)
		}
	}
	if _, err := w.e.CreateNamespace(t.Context(), operator(), engine.NamespaceInput{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	there := admin
	there.Namespace, there.Principal = "other", &kms.Principal{Name: "alice", Namespace: "other", Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}
	w.carried(there, aesKey)
	_, err = w.e.BringKey(t.Context(), there, bringing("k", parcel))
	wantCode(t, err, kms.CodeDecryptFailed)
	if _, err := w.e.BringKey(t.Context(), admin, bringing("k", parcel)); err != nil {
		t.Error(err)
	}
}

// TestWhatIsBroughtStays: through restarts and epochs, for the key that wraps as for what came under it; once, however often it is asked for.
func TestWhatIsBroughtStays(t *testing.T) {
	w := newWorld(t)
	parcel := w.carried(admin, aesKey)
	roll := func() {
		t.Helper()
		if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
			t.Fatal(err)
		}
		w.e.Upkeep(t.Context())
		w.restart()
	}
	roll()
	dry := admin
	dry.DryRun = true
	if _, err := w.e.BringKey(t.Context(), dry, bringing("k", parcel)); err != nil {
		t.Fatal(err)
	}
	once := admin
	once.Token = "once"
	first, err := w.e.BringKey(t.Context(), once, bringing("k", parcel))
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.e.BringKey(t.Context(), once, bringing("k", parcel))
	if err != nil || again.Key.ID != first.Key.ID {
		t.Errorf("repeated: got %v, %v want %v", again.Key.ID, err, first.Key.ID)
	}
	if k := first.Key; k.Origin != kms.Imported || k.Transit.Rotates || !k.Transit.Plain || first.Versions[0].Origin != kms.Imported {
		t.Errorf("got %+v", first)
	}
	c := w.encrypt("k", "secret", nil)
	once.Token = "next"
	next := engine.BringVersionInput{Key: "k", Material: w.carried(admin, bytes.Repeat([]byte("fedcba9876543210"), 2)), Transport: kms.RSAAESSHA256}
	for range 2 {
		if out, err := w.e.BringVersion(t.Context(), once, next); err != nil || out.Key.Primary != 2 || out.Key.Latest != 2 {
			t.Fatalf("a version: got %+v, %v", out.Key, err)
		}
	}
	roll()
	if got, err := w.decrypt(user, c, nil); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = w.e.BringVersion(t.Context(), admin, next)
	wantCode(t, err, kms.CodeExists)
	_, err = w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"})
	wantCode(t, err, kms.CodeImported)
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	next.Material = w.carried(admin, bytes.Repeat([]byte("0f1e2d3c4b5a6978"), 2))
	if _, err = w.e.BringVersion(t.Context(), admin, next); kms.AsError(err) == nil {
		t.Error("a version came into a key that is disabled")
	}
}

// TestWhatCannotBeBroughtIsRefused, before anything is made of it.
func TestWhatCannotBeBroughtIsRefused(t *testing.T) {
	w := newWorld(t)
	parcel := w.carried(admin, aesKey)
	for name, c := range map[string]struct {
		change func(*engine.BringInput)
		code   kms.Code
	}{
		"nothing":          {func(in *engine.BringInput) { in.Material = nil }, kms.CodeTooLarge},
		"too much":         {func(in *engine.BringInput) { in.Material = make([]byte, 9000) }, kms.CodeTooLarge},
		"no RSA":           {func(in *engine.BringInput) { in.Transport = kms.HPKEP256 }, kms.CodeBadRequest},
		"one block":        {func(in *engine.BringInput) { in.Transport = kms.OAEPSHA256 }, kms.CodeBadRequest},
		"no transport":     {func(in *engine.BringInput) { in.Transport = 0 }, kms.CodeBadRequest},
		"of no dialect":    {func(in *engine.BringInput) { in.Transit = kms.Transit{} }, kms.CodeBadRequest},
		"convergent":       {func(in *engine.BringInput) { in.Transit.Derived, in.Transit.Convergent = true, true }, kms.CodeBadRequest},
		"by schedule":      {func(in *engine.BringInput) { in.Period = &kms.Period{Every: 86400} }, kms.CodeBadRequest},
		"of a length":      {func(in *engine.BringInput) { in.Bytes = 32 }, kms.CodeBadRequest},
		"another key type": {func(in *engine.BringInput) { in.Algorithm = kms.Ed25519 }, kms.CodeKeyFile},
		"another length":   {func(in *engine.BringInput) { in.Algorithm = kms.AES128GCM }, kms.CodeKeyFile},
		"another hash":     {func(in *engine.BringInput) { in.Transport = kms.RSAAESSHA384 }, kms.CodeDecryptFailed},
		"changed":          {func(in *engine.BringInput) { in.Material[len(in.Material)-1] ^= 1 }, kms.CodeDecryptFailed},
		"cut":              {func(in *engine.BringInput) { in.Material = in.Material[:512] }, kms.CodeDecryptFailed},
	} {
		in := bringing("k", bytes.Clone(parcel))
		c.change(&in)
		if _, err := w.e.BringKey(t.Context(), admin, in); kms.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
	_, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "k"})
	wantCode(t, err, kms.CodeKeyNotFound)
	w.create("made", kms.AES256GCM, 0)
	_, err = w.e.BringVersion(t.Context(), admin, engine.BringVersionInput{Key: "made", Material: parcel, Transport: kms.RSAAESSHA256})
	wantCode(t, err, kms.CodeImportToken)
	w.importable("waits", kms.AES256GCM, 0)
	_, err = w.e.BringVersion(t.Context(), admin, engine.BringVersionInput{Key: "waits", Material: parcel, Transport: kms.RSAAESSHA256})
	wantCode(t, err, kms.CodeBadRequest)
}
