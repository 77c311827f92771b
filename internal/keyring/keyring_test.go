package keyring_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// counting counts the reads of a store.
type counting struct {
	store.Store
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, keys...)
}

// closing counts open handles.
type closing struct {
	provider.Provider
	open atomic.Int64
}

type handle struct {
	provider.Handle
	of   *closing
	once sync.Once
}

func (c *closing) Open(a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (provider.Handle, error) {
	h, err := c.Provider.Open(a, wrapped, wrap, place, check)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &handle{Handle: h, of: c}, nil
}

func (h *handle) Close() {
	h.once.Do(func() { h.of.open.Add(-1) })
	h.Handle.Close()
}

type fixture struct {
	t     *testing.T
	f     *sealtest.Fixture
	store *counting
	prov  *closing
	rec   *records.Records
	ring  *keyring.Ring
}

func setup(t *testing.T, cfg keyring.Config) *fixture {
	t.Helper()
	p, err := soft.New(soft.Config{})
	if err != nil {
		t.Fatal(err)
	}
	x := &fixture{t: t, f: sealtest.New(t), store: &counting{Store: mem.Open(mem.Config{})}, prov: &closing{Provider: p}}
	x.rec = records.New(x.store, x.f.Keychain, x.f.Cluster)
	cfg.Records, cfg.Provider, cfg.Root, cfg.Epochs = x.rec, x.prov, x.f.Root, x.f.Epochs
	x.ring = keyring.New(cfg)
	place := seal.Place{Kind: seal.PlaceNamespace, Namespace: "default"}.Bytes()
	shred := seal.NewShredSecret()
	kek := seal.NewKEK()
	wrapped, err := x.f.Root.WrapKEK(kek, shred, place)
	if err != nil {
		t.Fatal(err)
	}
	row, err := x.f.Epochs.WrapShred(shred, place)
	if err != nil {
		t.Fatal(err)
	}
	x.update(func(tx *records.Tx) error {
		if err := tx.PutNamespaceShred("default", records.Shred{Row: row, Namespace: "default"}); err != nil {
			return err
		}
		return tx.PutNamespace(records.Namespace{Name: "default", KEK: wrapped})
	})
	return x
}

func (x *fixture) update(f func(*records.Tx) error) {
	x.t.Helper()
	_, touched, err := x.rec.Update(x.t.Context(), f)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, t := range touched {
		x.ring.Forget(t)
	}
}

func (x *fixture) key(i byte, versions uint32) kms.ID {
	x.t.Helper()
	id := kms.ID{1, i, 3, 4, 5, 6, 0x70}
	for n := uint32(1); n <= versions; n++ {
		place, err := x.ring.NewPlace(x.t.Context(), "default", id, n)
		if err != nil {
			x.t.Fatal(err)
		}
		gen, err := x.prov.Generate(provider.Spec{Algorithm: kms.AES256GCM}, place.Wrap, place.Name)
		if err != nil {
			x.t.Fatal(err)
		}
		x.update(func(tx *records.Tx) error {
			if err := tx.PutShred(id, n, place.Shred); err != nil {
				return err
			}
			return tx.PutVersion(records.Version{Version: kms.Version{Key: id, Number: n, Algorithm: kms.AES256GCM, State: kms.Active, Check: gen.Check}, Wrapped: gen.Wrapped})
		})
	}
	name := fmt.Sprintf("key/%d", i)
	x.update(func(tx *records.Tx) error {
		if _, err := tx.ClaimName("default", records.Name{Key: id, Name: name}); err != nil {
			return err
		}
		return tx.PutKey(records.Key{Key: kms.Key{ID: id, Namespace: "default", Name: name, Algorithm: kms.AES256GCM, Switch: kms.Enabled, Primary: versions, Latest: versions}})
	})
	return id
}

// A warm key costs no read of the store, by name or by id, and a key with many versions costs what one with one costs.
func TestAWarmKeyCostsNoRead(t *testing.T) {
	x := setup(t, keyring.Config{})
	many, one := x.key(1, 200), x.key(2, 1)
	use := func(ref kms.Ref, n uint32) int64 {
		before := x.store.gets.Load()
		k, err := x.ring.Resolve(t.Context(), "default", ref)
		if err != nil {
			t.Fatal(err)
		}
		v, err := x.ring.Version(t.Context(), k, n)
		if err != nil {
			t.Fatal(err)
		}
		v.Release()
		return x.store.gets.Load() - before
	}
	coldMany, coldOne := use(kms.RefTo(many), 100), use(kms.RefTo(one), 1)
	if coldMany > coldOne+2 { // the first of them also opens the namespace's KEK
		t.Errorf("cold: %d reads for a key with 200 versions, %d for one with 1", coldMany, coldOne)
	}
	for _, ref := range []kms.Ref{kms.RefTo(many), "key/1"} {
		use(ref, 100)
		if n := use(ref, 100); n != 0 {
			t.Errorf("warm %s: %d reads", ref, n)
		}
	}
}

func TestTheRingIsBoundedAndClosesWhatLeaves(t *testing.T) {
	x := setup(t, keyring.Config{Keys: 256, Versions: 256})
	id := x.key(1, 400)
	k, err := x.ring.Key(t.Context(), "default", id)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint32(1); n <= 400; n++ {
		v, err := x.ring.Version(t.Context(), k, n)
		if err != nil {
			t.Fatal(err)
		}
		v.Release()
	}
	_, versions := x.ring.Size()
	if versions > 256 || x.prov.open.Load() != int64(versions) {
		t.Fatalf("%d versions held, %d handles open", versions, x.prov.open.Load())
	}
	held, err := x.ring.Version(t.Context(), k, 400)
	if err != nil {
		t.Fatal(err)
	}
	x.ring.Clear()
	if x.prov.open.Load() != 1 {
		t.Fatalf("%d handles open after Clear, want the one in use", x.prov.open.Load())
	}
	if _, err := held.Handle.Seal(nil, make([]byte, 22), []byte("x"), nil, kms.SchemeAESGCM); err != nil {
		t.Fatalf("the handle in use: %v", err)
	}
	held.Release()
	if x.prov.open.Load() != 0 {
		t.Fatalf("%d handles open at the end", x.prov.open.Load())
	}
}

func TestAChangeEndsWhatWasResolved(t *testing.T) {
	x := setup(t, keyring.Config{})
	id := x.key(1, 1)
	before, err := x.ring.Resolve(t.Context(), "default", "key/1")
	if err != nil || before.Ended() {
		t.Fatal(err)
	}
	x.update(func(tx *records.Tx) error {
		k, _, err := tx.Key("default", id)
		if err != nil {
			return err
		}
		k.Switch = kms.Disabled
		return tx.PutKey(k)
	})
	if !before.Ended() {
		t.Fatal("the old state does not know that it ended")
	}
	after, err := x.ring.Resolve(t.Context(), "default", "key/1")
	if err != nil || after.Switch != kms.Disabled || after.Rev <= before.Rev {
		t.Fatalf("got %+v %v", after.Key, err)
	}
}

func TestMissingIsNotRemembered(t *testing.T) {
	x := setup(t, keyring.Config{})
	for range 2 {
		if _, err := x.ring.Resolve(t.Context(), "default", "key/9"); kms.CodeOf(err) != kms.CodeKeyNotFound {
			t.Fatalf("got %v", err)
		}
	}
	x.key(9, 1)
	if _, err := x.ring.Resolve(t.Context(), "default", "key/9"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.ring.Resolve(t.Context(), "other", "key/9"); kms.CodeOf(err) != kms.CodeKeyNotFound {
		t.Fatalf("another namespace: %v", err)
	}
}

func TestLeaseOnOneNodeIsForEver(t *testing.T) {
	x := setup(t, keyring.Config{})
	if !x.ring.Lease().Valid() {
		t.Fatal("a single node's lease is not valid")
	}
	if (keyring.Lease{Until: 5, Now: 5}).Valid() || !(keyring.Lease{Until: 5, Now: 4}).Valid() {
		t.Fatal("a lease is valid until its end, and not at it")
	}
}
