package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// forge puts a log of the node's name in the place of the real one: n records in one boot epoch, as a server writes them before unsealing. It needs no
// key, and has no checkpoint that could contradict it.
func (w *world) forge(n int) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "audit")
	if err := os.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Dir: dir, Node: "n1", Cluster: w.config.Cluster.String(), SegmentBytes: 1 << 20})
	if err != nil {
		w.t.Fatal(err)
	}
	for range n {
		r := &audit.Record{Time: w.now, Action: kms.Decrypt, Outcome: audit.OK, Method: kms.AuthSystem, Namespace: kms.SystemNamespace, Resource: "harmless"}
		if _, err := l.Append(r); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryUnseal() error {
	_, err := w.e.Unseal(w.t.Context(), local(), engine.UnsealInput{KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))})
	return err
}

// Whoever removes the checkpoints and rewrites a whole boot epoch as if it was before unsealing contradicts nothing in the log's files. The store does.
func TestALogThatTheStoreContradictsIsRefused(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"rewritten, as long":  func(w *world) { w.forge(500) },
		"rewritten, shorter":  func(w *world) { w.forge(1) },
		"gone":                func(w *world) { _ = os.RemoveAll(filepath.Join(w.dir, "audit")) },
		"the last epoch gone": func(w *world) { _ = os.RemoveAll(filepath.Join(w.dir, "audit", "n1", "0000000002")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("k", kms.AES256GCM, 0)
			w.restart()
			w.encrypt("k", "x", nil)
			w.stop()
			change(w)
			for range 2 { // being refused once changes nothing
				w.start()
				err := w.tryUnseal()
				wantCode(t, err, kms.CodeLogAltered)
				if !w.e.Status(t.Context()).Sealed {
					t.Fatal("the server opened behind a log that was put in place of its own")
				}
				if recs := w.records(audit.Filter{Action: kms.UnsealServer, Outcome: audit.Failed}); len(recs) == 0 || recs[0].Code != kms.CodeLogAltered {
					t.Errorf("the refusal is not on the record: %+v", recs)
				}
				w.stop()
			}
			w.roll = true
			w.start()
			if err := w.tryUnseal(); err != nil {
				t.Fatalf("by an operator's order: %v", err)
			}
			found := false
			for _, r := range w.records(audit.Filter{Action: kms.StartServer}) {
				found = found || r.Code == kms.CodeLogAltered && strings.Contains(r.Reason, "sealed and rolled by an operator's order")
			}
			if !found {
				t.Error("the order is not on the record")
			}
			w.roll = false
			w.restart()
			w.decryptable("k")
		})
	}
}

// The checkpoint goes into the store while the server works, not only when it is sealed in order.
func TestTheStoreKeepsTheLogsCheckpointWhileTheServerWorks(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	if err := w.e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		kept, _, err := w.store.Get(t.Context(), []byte("An1")) // the end of the log of node n1
		if err != nil {
			t.Fatal(err)
		}
		if kept[0].Rev != 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was kept")
		}
	}
	var copied bytes.Buffer
	if _, err := w.store.Export(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	old, err := mem.Import(t.Context(), mem.Config{}, &copied)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.store = old // as a power cut leaves it
	w.forge(100)
	w.start()
	wantCode(t, w.tryUnseal(), kms.CodeLogAltered)
}

// A store that is behind its log keeps an older checkpoint, which the log contains.
func TestAnOlderCheckpointInTheStoreIsFine(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.restart()
	for range 3 {
		w.encrypt("k", "x", nil)
		w.restart()
	}
	w.decryptable("k")
}

func (w *world) decryptable(name string) {
	w.t.Helper()
	if got, err := w.decrypt(user, w.encrypt(name, "secret", nil), nil); err != nil || got != "secret" {
		w.t.Errorf("got %q, %v", got, err)
	}
}
