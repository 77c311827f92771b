package engine_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/receipt"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const week = 7 * 24 * time.Hour

// destroy asks for the destruction of a key and lets its window pass.
func (w *world) destroy(name string) {
	w.t.Helper()
	c := admin
	c.Reason = "the customer left"
	if _, err := w.schedule(c, engine.DestroyInput{Key: kms.Ref(name), Window: week}); err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(week)
}

func (w *world) keys() verify.Keys {
	w.t.Helper()
	k, err := verify.ParseKeys([]byte(w.key))
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) receipt(name string) engine.ReceiptOutput {
	w.t.Helper()
	out, err := w.e.ReadReceipt(w.t.Context(), admin, engine.KeyInput{Key: kms.Ref(name)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// A key that is destroyed gets a receipt, which verifies offline, when no epoch key is left that could bring it back. LIF-12, W5
func TestADestructionEndsInAReceipt(t *testing.T) {
	w := newWorld(t)
	out, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "orders", Algorithm: kms.AES256GCM, Description: "orders of\nshop \"x\"",
		Labels: map[string]string{"team": "shop", "data": "ordér"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "orders"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.ReadReceipt(t.Context(), admin, engine.KeyInput{Key: "orders"})
	wantCode(t, err, kms.CodeNotFound)
	w.destroy("orders")
	if got := w.receipt("orders"); got.Destruction.State != engine.DestructionScheduled || len(got.Note) != 0 {
		t.Fatalf("in its window: %+v", got)
	}
	asked := w.now.Add(-week)
	w.e.Upkeep(t.Context())

	got := w.receipt("orders")
	d := got.Destruction
	if d.State != engine.DestructionIrrecoverable || !d.RequestedAt.Equal(asked) || d.RequestedBy != "alice" || d.Reason != "the customer left" || !d.Erased.Equal(w.now) {
		t.Fatalf("after the roll: %+v", d)
	}
	k, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "orders"})
	if err != nil || k.Key.Switch != kms.DestroyedKey || !k.Key.Destroyed.Equal(w.now) || !k.Key.Irrecoverable.Equal(w.now) {
		t.Fatalf("the key shows %+v, %v", k.Key, err)
	}
	r, err := verify.Receipt(got.Note, w.keys())
	if err != nil {
		t.Fatalf("%v\n%s", err, got.Note)
	}
	if r.Key != out.Key.ID || r.Name != "orders" || r.VersionsAll != 2 || len(r.Versions) != 2 || r.Versions[0].State != kms.Destroyed || len(r.Versions[1].Check) == 0 ||
		r.Description != "orders of\nshop \"x\"" || len(r.Labels) != 2 || r.Labels[0] != (receipt.Label{Name: "data", Value: "ordér"}) ||
		r.Proven.Record.Action != kms.DestroyKey || !r.Due.Equal(w.now) || r.Epoch != 1 {
		t.Errorf("the receipt says %+v", r.Receipt)
	}
	if got.VerifierKey != w.key {
		t.Errorf("the key to verify it with: got %q want %q", got.VerifierKey, w.key)
	}
	// The sign-off is on the record, and a second look changes nothing.
	n := len(w.records(audit.Filter{Action: kms.DestroyKey}))
	w.e.Upkeep(t.Context())
	if again := w.receipt("orders"); !bytes.Equal(again.Note, got.Note) || n != 2 || len(w.records(audit.Filter{Action: kms.DestroyKey})) != n {
		t.Errorf("%d records of the destruction, want 2: that it was erased, and that it is final", n)
	}
	w.restart()
	if again := w.receipt("orders"); !bytes.Equal(again.Note, got.Note) {
		t.Error("the receipt is another one after a restart")
	}
}

// Whatever single byte of a receipt is changed, it does not verify any more.
func TestNoByteOfAReceiptCanBeChanged(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.destroy("k")
	w.e.Upkeep(t.Context())
	msg := w.receipt("k").Note
	keys := w.keys()
	if _, err := verify.Receipt(msg, keys); err != nil {
		t.Fatal(err)
	}
	for i := range msg {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			bad := bytes.Clone(msg)
			bad[i] ^= flip
			if _, err := verify.Receipt(bad, keys); err == nil {
				t.Fatalf("byte %d with %#x flipped verifies:\n%s", i, flip, bad)
			}
		}
	}
	for name, bad := range map[string][]byte{
		"cut":              msg[:len(msg)-1],
		"longer":           append(bytes.Clone(msg), '\n'),
		"a second line":    append(bytes.Clone(msg), "— x AAAAAAAA\n"...),
		"a checkpoint":     w.log.Checkpoint(),
		"another one's":    []byte(strings.Replace(string(msg), `name: "k"`, `name: "l"`, 1)),
		"an empty one":     nil,
		"the proof's":      {},
		"too long for one": bytes.Repeat([]byte("a"), receipt.Max+1),
	} {
		if _, err := verify.Receipt(bad, keys); err == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	other := newWorld(t)
	if _, err := verify.Receipt(msg, other.keys()); err == nil {
		t.Error("it verifies with another log's key")
	}
}
