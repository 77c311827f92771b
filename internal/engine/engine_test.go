package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// world is a whole server without a network: engine, real audit log, real software provider, store.
type world struct {
	roll   bool // an operator orders to go on behind an altered log
	t      testing.TB
	dir    string
	store  store.Store
	log    *audit.Log
	e      *engine.Engine
	shares []*secret.Bytes
	code   *secret.Bytes
	key    string // verifier key of the log
	now    time.Time
	config engine.Config
	output *bytes.Buffer
}

type option func(*engine.Config)

func newWorld(t testing.TB, opts ...option) *world {
	t.Helper()
	return newWorldOn(t, mem.Open(mem.Config{}), opts...)
}

func newWorldOn(t testing.TB, st store.Store, opts ...option) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), store: st, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), output: &bytes.Buffer{}}
	w.start(opts...)
	out, err := w.e.Init(t.Context(), local(), engine.InitInput{Shares: 3, Threshold: 2, KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Shares {
		w.shares = append(w.shares, secret.Copy(s.Wire(release.Wire{})))
	}
	w.code = secret.Copy(out.Enrollment.Code.Wire(release.Wire{}))
	w.key = out.AuditKey
	w.unseal()
	return w
}

func (w *world) start(opts ...option) {
	w.t.Helper()
	cluster := kms.ID{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}
	var err error
	w.log, err = audit.Open(audit.Config{Dir: filepath.Join(w.dir, "audit"), Node: "n1", Cluster: cluster.String(), SegmentBytes: 1 << 20, SealAndRoll: w.roll,
		Head: func() (kms.Rev, [32]byte) {
			h, err := w.store.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := soft.New(soft.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.config = engine.Config{Cluster: cluster, Store: w.store, Log: w.log, Provider: p, ShredDir: filepath.Join(w.dir, "shred"),
		EscrowDir: filepath.Join(w.dir, "escrow"), Now: func() time.Time { return w.now }, Logins: testLogins,
		Logger: slog.New(slog.NewTextHandler(w.output, nil))}
	for _, o := range opts {
		o(&w.config)
	}
	if w.e, err = engine.New(w.config); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.stop)
}

// stop closes the engine and the log, as a server does.
func (w *world) stop() {
	if err := w.e.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) restart(opts ...option) {
	w.t.Helper()
	w.stop()
	w.start(opts...)
	w.unseal()
}

func (w *world) unseal() {
	w.t.Helper()
	for _, s := range w.shares[:2] {
		if _, err := w.e.Unseal(w.t.Context(), local(), engine.UnsealInput{Share: s}); err != nil {
			w.t.Fatal(err)
		}
	}
	if st := w.e.Status(w.t.Context()); st.Sealed || !st.Ready {
		w.t.Fatalf("after unsealing: %+v", st)
	}
}

func local() kms.Call {
	return kms.Call{Principal: &kms.Principal{Name: "uid:0", Namespace: kms.SystemNamespace, Method: kms.AuthLocal}, Namespace: kms.SystemNamespace, Dialect: kms.DialectNative}
}

// as is a call by a principal with roles in the default namespace.
func as(name string, roles ...kms.Role) kms.Call {
	return kms.Call{Principal: &kms.Principal{Name: name, Namespace: kms.DefaultNamespace, Roles: roles, Method: kms.AuthToken},
		Namespace: kms.DefaultNamespace, Dialect: kms.DialectNative, Remote: netip.MustParseAddrPort("127.0.0.1:4000"), RequestID: "r1"}
}

func operator() kms.Call {
	c := as("op", kms.RoleOperator)
	c.Principal.Namespace = kms.SystemNamespace
	c.Namespace = kms.SystemNamespace
	return c
}

var (
	admin = as("alice", kms.RoleAdmin)
	user  = as("svc/orders", kms.RoleUser)
)

func (w *world) create(name string, a kms.Algorithm, u kms.Usage) kms.Key {
	w.t.Helper()
	out, err := w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: name, Algorithm: a, Usage: u})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key
}

func (w *world) encrypt(name, plaintext string, c kms.Context) []byte {
	w.t.Helper()
	out, err := w.e.Encrypt(w.t.Context(), user, engine.EncryptInput{Key: kms.Ref(name), Items: []engine.EncryptItem{{Plaintext: []byte(plaintext), Context: c}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Items[0].Ciphertext
}

func (w *world) decrypt(c kms.Call, ciphertext []byte, ctx kms.Context) (string, error) {
	out, err := w.e.Decrypt(w.t.Context(), c, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: ciphertext, Context: ctx}}})
	if err != nil {
		return "", err
	}
	return string(out.Items[0].Plaintext.Wire(release.Wire{})), nil
}

func (w *world) records(f audit.Filter) []audit.Entry {
	w.t.Helper()
	page, err := w.log.List(w.t.Context(), f, "", 500)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Entries
}

func wantCode(t testing.TB, err error, want kms.Code) {
	t.Helper()
	if got := kms.CodeOf(err); got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

func TestEncryptDecryptAcrossRestart(t *testing.T) {
	w := newWorld(t)
	k := w.create("payments", kms.AES256GCM, 0)
	ctx := kms.Context{"tenant": "a"}
	c := w.encrypt("payments", "card", ctx)
	if got, err := w.decrypt(user, c, ctx); err != nil || got != "card" {
		t.Fatalf("got %q %v", got, err)
	}
	_, err := w.decrypt(user, c, kms.Context{"tenant": "b"})
	wantCode(t, err, kms.CodeDecryptFailed)
	w.restart()
	if got, err := w.decrypt(user, c, ctx); err != nil || got != "card" {
		t.Fatalf("after a restart: got %q %v", got, err)
	}
	recs := w.records(audit.Filter{Key: k.ID})
	if len(recs) != 5 {
		t.Fatalf("%d records of the key, want 5", len(recs))
	}
}
