package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/receipt"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// weighed is a store that keeps the conditions and writes of its transactions, outbox and housekeeping aside.
type weighed struct {
	store.Store
	mu   sync.Mutex // guards txns
	txns []store.Txn
}

func (s *weighed) Commit(ctx context.Context, t store.Txn) (store.Rev, error) {
	s.mu.Lock()
	s.txns = append(s.txns, t)
	s.mu.Unlock()
	return s.Store.Commit(ctx, t)
}

// erasing gives the transactions since a mark that remove a shred row, by what they write.
func (s *weighed) erasing(from int) (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.txns[from:] {
		erases, n := false, 0
		for _, w := range t.Then {
			erases = erases || w.Key[0] == 'R' && w.Delete
			if w.Key[0] != 'O' { // rows of the outbox are cleared along the way
				n++
			}
		}
		if erases {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

func (s *weighed) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.txns)
}

// tenant is a namespace of its own with an administrator and a user.
type tenant struct{ admin, user, op kms.Call }

func (w *world) tenant(ns string) tenant {
	w.t.Helper()
	op, err := ownNamespace(w, ns)
	if err != nil {
		w.t.Fatal(err)
	}
	in := func(c kms.Call) kms.Call {
		p := *c.Principal
		p.Namespace = kms.Namespace(ns)
		c.Principal, c.Namespace = &p, kms.Namespace(ns)
		return c
	}
	return tenant{admin: in(admin), user: in(user), op: op}
}

func (w *world) keysIn(t tenant, n int) []byte {
	w.t.Helper()
	for i := range n {
		if _, err := w.e.CreateKey(w.t.Context(), t.admin, engine.CreateKeyInput{Name: fmt.Sprintf("subject/%d", i), Algorithm: kms.AES256GCM}); err != nil {
			w.t.Fatal(err)
		}
	}
	out, err := w.e.Encrypt(w.t.Context(), t.user, engine.EncryptInput{Key: "subject/0", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Items[0].Ciphertext
}

// However many keys there are, erasing one of them, or all of a tenant, is one small transaction. LIF-11
func TestErasureCostsTheSameHoweverManyKeysThereAre(t *testing.T) {
	cost := func(keys int) (one, all []int) {
		st := &weighed{Store: mem.Open(mem.Config{})}
		w := newWorldOn(t, st)
		x := w.tenant("acme")
		w.keysIn(x, keys)
		if _, err := w.schedule(x.admin, engine.DestroyInput{Key: "subject/1", Window: week}); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(week)
		from := st.mark()
		w.e.Upkeep(t.Context())
		one = st.erasing(from)
		if _, err := w.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: week}); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(week)
		from = st.mark()
		w.e.Upkeep(t.Context())
		all = st.erasing(from)[:1] // the roll that follows also removes what the KEK's loss has made useless
		return one, all
	}
	fewOne, fewAll := cost(2)
	manyOne, manyAll := cost(150)
	if fmt.Sprint(fewOne) != fmt.Sprint(manyOne) || len(manyOne) != 1 || manyOne[0] > 7 {
		t.Errorf("one key: %v writes among 2 keys, %v among 150; want one transaction of at most 7", fewOne, manyOne)
	}
	if fmt.Sprint(fewAll) != fmt.Sprint(manyAll) || manyAll[0] > 6 {
		t.Errorf("a namespace: %v writes with 2 keys, %v with 150; want one transaction of at most 6", fewAll, manyAll)
	}
	t.Logf("writes: %v for a key, %v for a namespace", manyOne, manyAll)
}

// A tenant's end: nothing works in its window, it can be saved, and afterwards nothing opens and nobody of it gets in. LIF-11, P7
func TestANamespaceIsShredded(t *testing.T) {
	w := newWorld(t)
	x := w.tenant("acme")
	c := w.keysIn(x, 3)
	w.create("kept", kms.AES256GCM, 0)
	kept := w.encrypt("kept", "y", nil)
	tok, err := w.e.CreateToken(t.Context(), x.admin, engine.CreateTokenInput{Principal: "svc/x", Roles: []kms.Role{kms.RoleUser}, TTL: 60 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.CreateCredential(t.Context(), x.admin, engine.CreateCredentialInput{Subject: "spiffe://x/y", Principal: "svc/y"}); err != nil {
		t.Fatal(err)
	}
	decrypt := func() error {
		_, err := w.decrypt(x.user, c, nil)
		return err
	}
	for name, bad := range map[string]struct {
		c    kms.Call
		in   engine.NamespaceDestroyInput
		want kms.Code
	}{
		"the operators' home": {operator(), engine.NamespaceDestroyInput{Name: kms.SystemNamespace}, kms.CodeBadRequest},
		"too soon":            {x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: time.Hour}, kms.CodeWindow},
		"another one":         {x.admin, engine.NamespaceDestroyInput{Name: "default"}, kms.CodeNotFound},
		"by a user":           {x.user, engine.NamespaceDestroyInput{Name: "acme"}, kms.CodeDenied},
		"by another tenant":   {as("eve", kms.RoleAdmin), engine.NamespaceDestroyInput{Name: "acme"}, kms.CodeNotFound},
	} {
		_, err := w.e.ScheduleNamespaceDestruction(t.Context(), bad.c, bad.in)
		if kms.CodeOf(err) != bad.want {
			t.Errorf("%s: got %v want %s", name, err, bad.want)
		}
	}
	schedule := func() engine.NamespaceDestructionOutput {
		t.Helper()
		out, err := w.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: week})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := schedule()
	if out.Keys != 3 || out.Principals != 2 || out.More || !out.Namespace.DestroyAt.Equal(w.now.Add(week)) {
		t.Errorf("it would reach %+v", out)
	}
	wantCode(t, decrypt(), kms.CodeNamespacePending)
	for name, err := range map[string]error{
		"create":   second(w.e.CreateKey(t.Context(), x.admin, engine.CreateKeyInput{Name: "n", Algorithm: kms.AES256GCM})),
		"policy":   second(w.e.PutPolicy(t.Context(), x.admin, engine.PutPolicyInput{ID: "p", Text: aPolicy})),
		"again":    second(w.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme"})),
		"operator": second(w.e.UpdateNamespace(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})),
	} {
		if kms.CodeOf(err) != kms.CodeNamespacePending {
			t.Errorf("%s: got %v", name, err)
		}
	}
	eve := as("eve", kms.RoleUser)
	eve.Namespace = "acme"
	_, err = w.decrypt(eve, c, nil)
	wantCode(t, err, kms.CodeDenied) // a stranger learns nothing
	if _, err := w.e.DescribeKey(t.Context(), x.user, engine.KeyInput{Key: "subject/1"}); err != nil {
		t.Errorf("looking: %v", err)
	}
	if _, err := w.e.CreateToken(t.Context(), x.admin, engine.CreateTokenInput{Principal: "saver", Roles: []kms.Role{kms.RoleAdmin}}); err != nil {
		t.Errorf("a token to save it with: %v", err)
	}
	// The last one but the operators' stays.
	_, err = w.e.ScheduleNamespaceDestruction(t.Context(), admin, engine.NamespaceDestroyInput{Name: kms.DefaultNamespace})
	wantCode(t, err, kms.CodeConflict)

	w.now = w.now.Add(week - time.Second)
	w.e.Upkeep(t.Context())
	if _, err := w.e.CancelNamespaceDestruction(t.Context(), x.admin, engine.NamespaceInput{Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	if err := decrypt(); err != nil {
		t.Fatalf("after it was saved: %v", err)
	}
	_, err = w.e.ReadNamespaceReceipt(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})
	wantCode(t, err, kms.CodeNotFound)
	schedule()
	w.restart()
	wantCode(t, decrypt(), kms.CodeNamespacePending)
	w.now = w.now.Add(week)
	_, err = w.e.CancelNamespaceDestruction(t.Context(), x.admin, engine.NamespaceInput{Name: "acme"})
	wantCode(t, err, kms.CodeWindow)
	w.e.Upkeep(t.Context())

	wantCode(t, decrypt(), kms.CodeNamespaceDestroyed)
	_, err = w.e.CancelNamespaceDestruction(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})
	wantCode(t, err, kms.CodeNamespaceDestroyed)
	_, err = w.e.Identities().Token(t.Context(), tok.Info.ID)
	wantCode(t, err, kms.CodeUnauthenticated)
	_, err = w.e.Identities().Certificate(t.Context(), "spiffe://x/y")
	wantCode(t, err, kms.CodeUnauthenticated)
	if _, err := w.e.CreateCredential(t.Context(), admin, engine.CreateCredentialInput{Subject: "spiffe://x/y", Principal: "svc/y"}); err != nil {
		t.Errorf("its certificate elsewhere: %v", err)
	}
	_, err = w.e.CreateNamespace(t.Context(), operator(), engine.NamespaceInput{Name: "acme"})
	wantCode(t, err, kms.CodeExists)
	if got, err := w.decrypt(user, kept, nil); err != nil || got != "y" {
		t.Errorf("another namespace's key: %q %v", got, err)
	}
	got, err := w.e.ReadNamespaceReceipt(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})
	if err != nil || got.Destruction.State != engine.DestructionIrrecoverable {
		t.Fatalf("%+v %v", got, err)
	}
	r, err := verify.Receipt(got.Note, w.keys())
	if err != nil || r.What != receipt.OfNamespace || r.Namespace != "acme" || r.Keys != 3 || r.Principals != 2 || r.Proven.Record.Action != kms.DestroyNamespace {
		t.Errorf("%v\n%s", err, got.Note)
	}
	ns, err := w.e.DescribeNamespace(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})
	if err != nil || !ns.Namespace.Destroyed.Equal(w.now) || !ns.Namespace.Irrecoverable.Equal(w.now) {
		t.Errorf("%+v %v", ns, err)
	}
	// The server goes on with it as it is: its checks, the next epoch, the next root.
	if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount != 0 {
		t.Errorf("store check: %+v %v", out, err)
	}
	if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
		t.Error(err)
	}
	if _, err := w.e.RotateRoot(t.Context(), operator()); err != nil {
		t.Error(err)
	}
	w.restart()
	wantCode(t, decrypt(), kms.CodeNamespaceDestroyed)
	if got, err := w.decrypt(user, kept, nil); err != nil || got != "y" {
		t.Errorf("another namespace's key after root and epoch changed: %q %v", got, err)
	}
}

// Of two last namespaces whose ends are asked for at once, one stays.
func TestTheLastNamespaceStaysHoweverManyAskAtOnce(t *testing.T) {
	w := newWorld(t)
	x := w.tenant("acme")
	var done atomic.Int32
	var all sync.WaitGroup
	for _, c := range []kms.Call{x.admin, admin} {
		all.Go(func() {
			_, err := w.e.ScheduleNamespaceDestruction(t.Context(), c, engine.NamespaceDestroyInput{Name: c.Namespace})
			if err == nil {
				done.Add(1)
			} else if kms.CodeOf(err) != kms.CodeConflict {
				t.Error(err)
			}
		})
	}
	if all.Wait(); done.Load() != 1 {
		t.Errorf("%d of the last two are going to be destroyed", done.Load())
	}
}

// Cancelling and destroying at the end of the window: one of the two happens, never both, whoever comes first.
func TestEitherSavedOrDestroyed(t *testing.T) {
	saves := 0
	for i := range 16 {
		var at atomic.Int64
		at.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Unix())
		w := newWorld(t, func(c *engine.Config) { c.Now = func() time.Time { return time.Unix(at.Load(), 0) } })
		w.create("k", kms.AES256GCM, 0)
		c := w.encrypt("k", "x", nil)
		out, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: week})
		if err != nil {
			t.Fatal(err)
		}
		at.Store(out.Key.DestroyAt.Unix() - 1)
		w.e.Upkeep(t.Context()) // the mark of time comes along
		var all sync.WaitGroup
		var saved error
		all.Go(func() {
			if i%2 == 0 {
				runtime.Gosched()
			}
			_, saved = w.e.CancelKeyDestruction(t.Context(), admin, engine.CancelInput{Key: "k"})
		})
		all.Go(func() {
			at.Store(out.Key.DestroyAt.Unix())
			w.e.Upkeep(t.Context())
		})
		all.Wait()
		w.e.Upkeep(t.Context())
		_, err = w.decrypt(user, c, nil)
		erased := w.records(audit.Filter{Action: kms.DestroyKey, Outcome: audit.OK, Key: out.Key.ID})
		switch {
		case saved == nil:
			saves++
			if err != nil || len(erased) != 0 {
				t.Errorf("try %d: saved, then %v, with %d records of its destruction", i, err, len(erased))
			}
		case kms.CodeOf(saved) == kms.CodeWindow || kms.CodeOf(saved) == kms.CodeKeyDestroyed:
			if kms.CodeOf(err) != kms.CodeKeyDestroyed || len(erased) != 1 {
				t.Errorf("try %d: not saved (%v), and %v, with %d records of its destruction", i, saved, err, len(erased))
			}
		default:
			t.Errorf("try %d: %v", i, saved)
		}
	}
	t.Logf("%d of 16 were saved", saves)
}

// Whatever fails in the course of a destruction, it is carried out to its end, each step once: nothing is called erased or irrecoverable that is not,
// and there is one receipt.
func TestADestructionSurvivesEveryFault(t *testing.T) {
	for name, fault := range map[string]struct {
		store     int32
		log, kept bool
	}{
		"the log fails": {storeWorks, true, false}, "the log fails and keeps it": {storeWorks, true, true},
		"the store is full": {storeFull, false, false}, "outcome unknown, done": {unknownDone, false, false},
		"outcome unknown, not done": {unknownNotDone, false, false}, "a conflict": {storeConflict, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := &badStore{Store: mem.Open(mem.Config{}), seen: make(map[store.Token]bool)}
			f := &onceFaulty{}
			opt := func(c *engine.Config) { f.Log, c.Recorder = c.Log, f }
			w := newWorldOn(t, st, opt)
			x := w.tenant("acme")
			c := w.keysIn(x, 2)
			w.create("k", kms.AES256GCM, 0)
			if _, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: week}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: week}); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(week)
			f.persisted.Store(fault.kept)
			f.fails.Store(fault.log)
			st.left.Store(3)
			st.mode.Store(fault.store)
			w.e.Upkeep(t.Context())
			st.mode.Store(storeWorks)
			f.fails.Store(false)
			w.restart(opt) // what is owed is appended before anything else
			for range 3 {
				w.now = w.now.Add(time.Hour) // what failed waits before it is tried again
				w.e.Upkeep(t.Context())
			}
			key := w.receipt("k")
			ns, err := w.e.ReadNamespaceReceipt(t.Context(), x.op, engine.NamespaceInput{Name: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string]engine.ReceiptOutput{"key": key, "namespace": ns} {
				if _, err := verify.Receipt(got.Note, w.keys()); got.Destruction.State != engine.DestructionIrrecoverable || err != nil {
					t.Errorf("%s: %s, %v", what, got.Destruction.State, err)
				}
			}
			_, err = w.decrypt(x.user, c, nil)
			wantCode(t, err, kms.CodeNamespaceDestroyed)
			for _, a := range []kms.Action{kms.DestroyKey, kms.DestroyNamespace} {
				seen := map[kms.ID]bool{}
				for _, r := range w.records(audit.Filter{Action: a, Outcome: audit.OK}) {
					seen[r.Record.ID] = true
				}
				if len(seen) != 2 {
					t.Errorf("%s: %d changes, want 2: erased, and final", a, len(seen))
				}
			}
		})
	}
}
