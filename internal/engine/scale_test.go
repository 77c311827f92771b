package engine_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// What depends on how much a store holds is counted here, not timed: the records that an operation reads. Sizes are full with KEYHOLD_LONG=1.

func size(short, long int) int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return long
	}
	return short
}

// counted counts the records that are read from a store, by kind.
type counted struct {
	store.Store
	read [256]atomic.Int64
}

func (s *counted) Get(ctx context.Context, keys ...[]byte) ([]store.Record, kms.Rev, error) {
	for _, k := range keys {
		s.read[k[0]].Add(1)
	}
	return s.Store.Get(ctx, keys...)
}

func (s *counted) Scan(ctx context.Context, prefix, after []byte, n int) ([]store.Record, kms.Rev, error) {
	recs, rev, err := s.Store.Scan(ctx, prefix, after, n)
	for _, r := range recs {
		s.read[r.Key[0]].Add(1)
	}
	return recs, rev, err
}

// during counts the records of some kinds, all if none are named, that are read while something is done.
func (s *counted) during(do func(), kinds ...byte) (n int64) {
	count := func() (n int64) {
		for k := range s.read {
			if len(kinds) == 0 {
				n += s.read[k].Load()
			}
		}
		for _, k := range kinds {
			n += s.read[k].Load()
		}
		return n
	}
	n = count()
	do()
	return count() - n
}

func populate(t *testing.T, w *world, n int) {
	t.Helper()
	var group sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: fmt.Sprintf("f-%010d", i), Algorithm: kms.AES256GCM}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// However many keys there are: unsealing and a round of the jobs read none of them, a page of the list reads little more than it shows, the first use of
// a key reads its four records, and the next one none.
func TestNothingLooksThroughAllKeys(t *testing.T) {
	st := &counted{Store: mem.Open(mem.Config{})}
	w := newWorldOn(t, st)
	keys := size(4_000, 200_000)
	populate(t, w, keys)

	if n := st.during(func() { w.restart() }, 'K', 'V', 'n', 'R'); n > 4 {
		t.Errorf("starting and unsealing read %d records of keys", n)
	}
	if n := st.during(func() { w.e.Upkeep(t.Context()) }, 'K', 'V', 'n', 'R'); n > 4 {
		t.Errorf("a round of the jobs read %d records of keys", n)
	}
	var page engine.ListKeysOutput
	var err error
	n := st.during(func() { page, err = w.e.ListKeys(t.Context(), admin, engine.ListKeysInput{Limit: 100}) })
	if err != nil || len(page.Keys) != 100 || n > 110 {
		t.Errorf("a page of 100 keys read %d records (%d keys, %v)", n, len(page.Keys), err)
	}
	first := st.during(func() { w.encrypt(fmt.Sprintf("f-%010d", keys/2), "x", nil) }, 'K', 'V', 'n', 'R')
	again := st.during(func() { w.encrypt(fmt.Sprintf("f-%010d", keys/2), "x", nil) })
	if first > 6 || again != 0 { // and the two of the namespace's KEK
		t.Errorf("the first use of a key read %d records, the next one %d", first, again)
	}
}

// A filter that selects nothing does not make one request look through everything: it says where to go on.
func TestAFilteredListIsBounded(t *testing.T) {
	st := &counted{Store: mem.Open(mem.Config{})}
	w := newWorldOn(t, st)
	keys := size(5_000, 50_000)
	populate(t, w, keys)
	last := fmt.Sprintf("f-%010d", keys-1)
	in := engine.ListKeysInput{Limit: 10, Filter: engine.KeyFilter{NamePrefix: last}}
	for found := 0; ; {
		var out engine.ListKeysOutput
		var err error
		if n := st.during(func() { out, err = w.e.ListKeys(t.Context(), admin, in) }); err != nil || n > 2_600 {
			t.Fatalf("one request read %d records (%v)", n, err)
		}
		found += len(out.Keys)
		if in.Page = out.Next; in.Page == "" {
			if found != 1 {
				t.Fatalf("found %d keys called %s", found, last)
			}
			return
		}
	}
}

// A key with thousands of versions costs what one with a single version does: to use, to describe, to rotate.
func TestManyVersionsCostNothing(t *testing.T) {
	st := &counted{Store: mem.Open(mem.Config{})}
	w := newWorldOn(t, st)
	versions := size(400, 10_000)
	old := map[string][]byte{}
	for _, name := range []string{"few", "many"} {
		w.create(name, kms.AES256GCM, 0)
		old[name] = w.encrypt(name, "old", nil)
	}
	for range versions - 1 {
		if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "many"}); err != nil {
			t.Fatal(err)
		}
	}
	w.restart() // nothing is in memory
	w.create("other", kms.AES256GCM, 0)
	for _, op := range []struct {
		what string
		most int64 // records that it may read more than for a key with one version
		do   func(name string)
	}{
		{"decrypting under the first version", 0, func(name string) {
			if got, err := w.decrypt(user, old[name], nil); err != nil || got != "old" {
				t.Fatalf("got %q %v", got, err)
			}
		}},
		{"encrypting", 2, func(name string) { w.encrypt(name, "new", nil) }}, // another version than the one above, and its shred row
		{"describing", 19, func(name string) { w.describe(name, versions) }},
		{"describing again", 0, func(name string) { w.describe(name, versions) }},
		{"rotating", 0, func(name string) {
			if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(name)}); err != nil {
				t.Fatal(err)
			}
		}},
		{"listing versions", 99, func(name string) {
			if _, err := w.e.ListVersions(t.Context(), admin, engine.VersionsInput{Key: kms.Ref(name), Limit: 100}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		few := st.during(func() { op.do("few") }, 'K', 'V', 'n', 'R')
		many := st.during(func() { op.do("many") }, 'K', 'V', 'n', 'R')
		if many > few+op.most {
			t.Errorf("%s reads %d records for one version, %d for %d", op.what, few, many, versions)
		}
	}
	// What is shown is of now, though it is kept: a version that changes is shown as it is.
	if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "few", Version: 1}); err != nil {
		t.Fatal(err)
	}
	if out, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "few"}); err != nil || out.Versions[1].State != kms.Deactivated {
		t.Errorf("got %+v %v", out, err)
	}
}

// describe looks at a key, which shows its newest versions.
func (w *world) describe(name string, versions int) {
	w.t.Helper()
	out, err := w.e.DescribeKey(w.t.Context(), admin, engine.KeyInput{Key: kms.Ref(name)})
	if err != nil {
		w.t.Fatal(err)
	}
	want := 1
	if name == "many" {
		want = min(versions, 20)
	}
	if len(out.Versions) != want || out.Versions[0].Number != out.Key.Latest {
		w.t.Fatalf("%s: %d versions, the first is %d of %d", name, len(out.Versions), out.Versions[0].Number, out.Key.Latest)
	}
}

// A roll of the epoch passes through all rows beside everything else, and what it leaves opens.
func TestARollOverManyKeysLosesNone(t *testing.T) {
	w := newWorld(t)
	keys := size(2_000, 100_000)
	populate(t, w, keys)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: fmt.Sprintf("meanwhile-%d", i), Algorithm: kms.AES256GCM}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for epoch := uint32(2); epoch <= 3; epoch++ {
		if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
			t.Fatal(err)
		}
		w.e.Upkeep(t.Context()) // to the end, however long it takes
		if got := w.e.Status(t.Context()).Epoch; got != epoch {
			t.Fatalf("got epoch %d, want %d", got, epoch)
		}
	}
	close(stop)
	<-stopped
	w.restart()
	out, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 0 || out.Versions < keys {
		t.Fatalf("got %+v %v", out, err)
	}
}
