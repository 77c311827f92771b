package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

func emptyStore(t *testing.T, s store.Store) {
	if h := head(t, s); h != (store.Head{}) {
		t.Fatalf("head: got %v, want the zero head", h)
	}
	absent(t, s, "k")
	if rs := everything(t, s, "", 10); len(rs) != 0 {
		t.Fatalf("scan: got %d records, want none", len(rs))
	}
	rs, rev, err := s.Get(t.Context())
	if err != nil || len(rs) != 0 || rev != 0 {
		t.Fatalf("get of nothing: got %d records at %d, %v", len(rs), rev, err)
	}
	refuse(t, s, put("k", "v", at(1)), store.ErrConflict)
}

func roundTrip(t *testing.T, s store.Store) {
	binary := string([]byte{0, 1, 0xff, 0, 0x80})
	r1 := commit(t, s, put(binary, binary, nil))
	r2 := commit(t, s, put("empty", "", nil))
	if r1 != 1 || r2 != 2 {
		t.Fatalf("revisions: got %d and %d, want 1 and 2", r1, r2)
	}
	expect(t, s, binary, binary, r1)
	expect(t, s, "empty", "", r2)
	r3 := commit(t, s, put("empty", "no more", nil))
	expect(t, s, "empty", "no more", r3)
	r4 := commit(t, s, del("empty"))
	absent(t, s, "empty")
	r5 := commit(t, s, del("never was"))
	if r4 != 4 || r5 != 5 || head(t, s).Rev != 5 {
		t.Fatalf("deletions: got revisions %d, %d and head %d; want 4, 5, 5", r4, r5, head(t, s).Rev)
	}
	r6 := commit(t, s, put("empty", "again", at(0)))
	expect(t, s, "empty", "again", r6)
}

func conditions(t *testing.T, s store.Store) {
	r1 := commit(t, s, put("k", "1", at(0)))
	refuse(t, s, put("k", "2", at(0)), store.ErrConflict)
	refuse(t, s, put("k", "2", at(r1+1)), store.ErrConflict)
	r2 := commit(t, s, put("k", "2", at(r1)))
	refuse(t, s, put("k", "3", at(r1)), store.ErrConflict)
	if r2 != r1+1 {
		t.Fatalf("revision: got %d, want %d: a refused transaction takes none", r2, r1+1)
	}
	// A condition on a key that is only read.
	x := put("other", "v", nil)
	x.If = []store.Cond{{Key: []byte("k"), Rev: r1}}
	refuse(t, s, x, store.ErrConflict)
	x.If = []store.Cond{{Key: []byte("k"), Rev: r2}, {Key: []byte("k"), Rev: r2}, {Key: []byte("no"), Rev: 0}}
	commit(t, s, x)
	x.If = []store.Cond{{Key: []byte("k"), Rev: r2}, {Key: []byte("k"), Rev: r1}}
	refuse(t, s, x, store.ErrConflict)
	commit(t, s, del("k"))
	refuse(t, s, put("k", "3", at(r2)), store.ErrConflict)
	commit(t, s, put("k", "3", at(0)))
}

func whole(t *testing.T, s store.Store) {
	commit(t, s, put("c", "old", nil))
	x := store.Txn{
		If: []store.Cond{{Key: []byte("a")}, {Key: []byte("c"), Rev: 7}},
		Then: []store.Write{
			{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")}, {Key: []byte("c"), Delete: true},
		},
	}
	refuse(t, s, x, store.ErrConflict)
	absent(t, s, "a")
	absent(t, s, "b")
	expect(t, s, "c", "old", 1)
	x.If[1].Rev = 1
	if rev := commit(t, s, x); rev != 2 {
		t.Fatalf("revision: got %d, want 2: one for the whole transaction", rev)
	}
	expect(t, s, "a", "1", 2)
	expect(t, s, "b", "2", 2)
	absent(t, s, "c")
}

func malformed(t *testing.T, s store.Store) {
	a := store.Write{Key: []byte("a"), Value: []byte("1")}
	many := make([]store.Write, 20)
	for i := range many {
		many[i].Key = fmt.Appendf(nil, "k%d", i%19)
	}
	for name, x := range map[string]store.Txn{
		"an empty key written":   {Then: []store.Write{{Value: []byte("v")}}},
		"an empty key demanded":  {If: []store.Cond{{}}, Then: []store.Write{a}},
		"a deletion and a value": {Then: []store.Write{{Key: []byte("a"), Value: []byte("v"), Delete: true}}},
		"one key twice":          {Then: []store.Write{a, a}},
		"put and delete":         {Then: []store.Write{a, {Key: []byte("a"), Delete: true}}},
		"one of many twice":      {Then: many},
	} {
		if _, err := s.Commit(t.Context(), x); !errors.Is(err, store.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
	for _, n := range []int{0, -1} {
		if _, _, err := s.Scan(t.Context(), nil, nil, n); !errors.Is(err, store.ErrMalformed) {
			t.Errorf("a page of %d: got %v, want ErrMalformed", n, err)
		}
	}
	if _, _, err := s.Get(t.Context(), nil); !errors.Is(err, store.ErrMalformed) {
		t.Errorf("get of an empty key: got %v, want ErrMalformed", err)
	}
	if h := head(t, s); h.Rev != 0 {
		t.Fatalf("head: got %d, want 0", h.Rev)
	}
}

func limits(t *testing.T, s store.Store) {
	long := strings.Repeat("k", store.MaxKey)
	big := strings.Repeat("v", store.MaxValue)
	rev := commit(t, s, put(long, big, nil))
	expect(t, s, long, big, rev)

	ops := func(conds, writes int) (x store.Txn) {
		for i := range conds {
			x.If = append(x.If, store.Cond{Key: fmt.Appendf(nil, "c%d", i)})
		}
		for i := range writes {
			x.Then = append(x.Then, store.Write{Key: fmt.Appendf(nil, "w%d", i)})
		}
		return x
	}
	bytesOf := func(n int) (x store.Txn) {
		for i := 0; n > 0; i++ {
			w := store.Write{Key: fmt.Appendf(nil, "b%03d", i), Value: make([]byte, min(n-4, store.MaxValue))}
			x.Then = append(x.Then, w)
			n -= 4 + len(w.Value)
		}
		return x
	}
	commit(t, s, ops(6, store.MaxOps-6))
	commit(t, s, bytesOf(store.MaxTxn))
	before := head(t, s)
	for name, x := range map[string]store.Txn{
		"operations": ops(6, store.MaxOps-5),
		"bytes":      bytesOf(store.MaxTxn + 5),
		"a key":      put(long+"k", "", nil),
		"a value":    put("k", big+"v", nil),
		"a condition": {
			If: []store.Cond{{Key: []byte(long + "k")}}, Then: []store.Write{{Key: []byte("k")}},
		},
	} {
		if _, err := s.Commit(t.Context(), x); !errors.Is(err, store.ErrTooBig) {
			t.Errorf("%s: got %v, want ErrTooBig", name, err)
		}
	}
	if _, _, err := s.Scan(t.Context(), nil, nil, store.MaxPage+1); !errors.Is(err, store.ErrTooBig) {
		t.Errorf("a page: got %v, want ErrTooBig", err)
	}
	if _, _, err := s.Get(t.Context(), []byte(long+"k")); !errors.Is(err, store.ErrTooBig) {
		t.Errorf("get: got %v, want ErrTooBig", err)
	}
	if _, _, err := s.Get(t.Context(), slices.Repeat([][]byte{{1}}, store.MaxOps+1)...); !errors.Is(err, store.ErrTooBig) {
		t.Errorf("get of many: got %v, want ErrTooBig", err)
	}
	if after := head(t, s); after != before {
		t.Fatalf("head: got %v, want %v", after, before)
	}
}

func pureCheck(t *testing.T, s store.Store) {
	r := commit(t, s, put("k", "v", nil))
	tok := store.Token{1}
	x := store.Txn{If: []store.Cond{{Key: []byte("k"), Rev: r}}, Token: tok}
	if rev := commit(t, s, x); rev != r {
		t.Fatalf("check: got %d, want %d", rev, r)
	}
	if rev := commit(t, s, store.Txn{}); rev != r {
		t.Fatalf("nothing at all: got %d, want %d", rev, r)
	}
	x.If[0].Rev = 0
	refuse(t, s, x, store.ErrConflict)
	y := put("k", "w", nil)
	y.Token = tok
	if rev := commit(t, s, y); rev != r+1 {
		t.Fatalf("the token of a check: got %d, want %d", rev, r+1)
	}
}

func token(t *testing.T, s store.Store) {
	x := put("k", "1", at(0))
	x.Token, x.Fresh = store.Token{1, 2, 3}, true
	r := commit(t, s, x)
	x.Fresh = false
	before := head(t, s)
	if rev := commit(t, s, x); rev != r {
		t.Fatalf("the same again: got %d, want %d", rev, r)
	}
	y := put("other", "2", nil)
	y.Token = x.Token
	if rev := commit(t, s, y); rev != r {
		t.Fatalf("another with the same token: got %d, want %d", rev, r)
	}
	absent(t, s, "other")
	if after := head(t, s); after != before {
		t.Fatalf("head: got %v, want %v", after, before)
	}
	// A refused transaction leaves its token unused.
	z := put("k", "2", at(0))
	z.Token = store.Token{9}
	refuse(t, s, z, store.ErrConflict)
	z.If[0].Rev = r
	if rev := commit(t, s, z); rev != r+1 {
		t.Fatalf("after a conflict: got %d, want %d", rev, r+1)
	}
	// The zero token is none.
	for range 2 {
		commit(t, s, put("n", "", nil))
	}
	if h := head(t, s); h.Rev != r+3 {
		t.Fatalf("without a token: got head %d, want %d", h.Rev, r+3)
	}
}

func tokenRace(t *testing.T, s store.Store) {
	const tokens, callers = 20, 8
	for i := range tokens {
		var revs [callers]store.Rev
		var errs [callers]error
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				x := put(fmt.Sprintf("k%d", i), fmt.Sprint(c), at(0))
				x.Token = store.Token{15: byte(i + 1)}
				revs[c], errs[c] = s.Commit(t.Context(), x)
			})
		}
		wg.Wait()
		for c := range callers {
			if errs[c] != nil || revs[c] != store.Rev(i+1) {
				t.Fatalf("token %d, caller %d: got %d, %v; want %d", i, c, revs[c], errs[c], i+1)
			}
		}
	}
}

func aliasing(t *testing.T, s store.Store) {
	key, value := []byte("key"), []byte("value")
	if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: key, Value: value}}}); err != nil {
		t.Fatal(err)
	}
	key[0], value[0] = 'X', 'X'
	for range 2 {
		r := get(t, s, "key")
		if string(r.Value) != "value" {
			t.Fatalf("get: got %q", r.Value)
		}
		r.Value[0], r.Key[0] = 'Y', 'Y'
		rs := everything(t, s, "", 10)
		if len(rs) != 1 || string(rs[0].Key) != "key" || string(rs[0].Value) != "value" {
			t.Fatalf("scan: got %v", rs)
		}
		rs[0].Value[0], rs[0].Key[0] = 'Z', 'Z'
		es := follow(t, s, 0, 1)
		if len(es) != 1 || string(es[0].Key) != "key" {
			t.Fatalf("feed: got %v", es)
		}
		es[0].Key[0] = 'W'
	}
}

// someKeys are n different keys that share prefixes, end in zeros and 0xff, and come in no order.
func someKeys(n int) []string {
	rng := rand.New(rand.NewPCG(1, 2))
	const alphabet = "\x00\x01a/b\x7f\x80\xfe\xff"
	seen := make(map[string]bool)
	var keys []string
	for len(keys) < n {
		b := make([]byte, 1+rng.IntN(6))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		if !seen[string(b)] {
			seen[string(b)] = true
			keys = append(keys, string(b))
		}
	}
	return keys
}

func load(t *testing.T, s store.Store, keys []string) []store.Record {
	t.Helper()
	var want []store.Record
	for chunk := range slices.Chunk(keys, 100) {
		var x store.Txn
		for _, k := range chunk {
			x.Then = append(x.Then, store.Write{Key: []byte(k), Value: []byte("v" + k)})
		}
		rev := commit(t, s, x)
		for _, k := range chunk {
			want = append(want, store.Record{Key: []byte(k), Rev: rev, Value: []byte("v" + k)})
		}
	}
	slices.SortFunc(want, func(a, b store.Record) int { return bytes.Compare(a.Key, b.Key) })
	return want
}

func scanOrder(t *testing.T, s store.Store) {
	want := load(t, s, someKeys(1500))
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func() []byte {
		k := want[rng.IntN(len(want))].Key
		return k[:rng.IntN(len(k)+1)]
	}
	for range 300 {
		prefix, after, n := pick(), pick(), 1+rng.IntN(50)
		if rng.IntN(3) == 0 {
			after = nil
		}
		var expected []store.Record
		for _, r := range want {
			if len(expected) < n && bytes.HasPrefix(r.Key, prefix) && (after == nil || bytes.Compare(r.Key, after) > 0) {
				expected = append(expected, r)
			}
		}
		got, rev, err := s.Scan(t.Context(), prefix, after, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := same(got, expected); err != nil {
			t.Fatalf("scan %q after %q, %d: %v", prefix, after, n, err)
		}
		if rev != head(t, s).Rev {
			t.Fatalf("scan: got revision %d, want %d", rev, head(t, s).Rev)
		}
	}
}

func scanPages(t *testing.T, s store.Store) {
	want := load(t, s, someKeys(1100))
	for _, page := range []int{1, 7, 100, store.MaxPage} {
		if err := same(everything(t, s, "", page), want); err != nil {
			t.Fatalf("pages of %d: %v", page, err)
		}
	}
	// A page goes on after a key that has been removed meanwhile.
	first, _, err := s.Scan(t.Context(), nil, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, del(string(first[9].Key)))
	second, _, err := s.Scan(t.Context(), nil, first[9].Key, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := same(second, want[10:20]); err != nil {
		t.Fatal(err)
	}
}

// snapshot: writers keep two keys equal in one transaction; no reader ever sees them differ.
func snapshot(t *testing.T, s store.Store) {
	const rounds = 200
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for last := store.Rev(0); ctx.Err() == nil; {
				rs, rev, err := s.Get(t.Context(), []byte("a"), []byte("none"), []byte("z"))
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				if !bytes.Equal(rs[0].Value, rs[2].Value) || rs[0].Rev != rs[2].Rev || rs[0].Rev > rev || rev < last {
					t.Errorf("get: got %q at %d and %q at %d in a snapshot of %d, after one of %d",
						rs[0].Value, rs[0].Rev, rs[2].Value, rs[2].Rev, rev, last)
					return
				}
				last = rev
			}
		})
	}
	for i := range rounds {
		v := fmt.Appendf(nil, "%d", i)
		commit(t, s, store.Txn{Then: []store.Write{{Key: []byte("a"), Value: v}, {Key: []byte("z"), Value: v}}})
	}
	stop()
	wg.Wait()
}

func runningHash(t *testing.T, s store.Store) {
	want := store.Head{}
	for _, x := range []store.Txn{
		put("a", "1", nil),
		{Then: []store.Write{{Key: []byte("b"), Value: []byte("2")}, {Key: []byte("a"), Delete: true}}},
		put("b", "", nil),
		del("never"),
	} {
		rev := commit(t, s, x)
		want = hashed(want, rev, x)
		if got := head(t, s); got != want {
			t.Fatalf("head: got %x, want %x", got, want)
		}
	}
}

func cancelled(t *testing.T, s store.Store) {
	commit(t, s, put("k", "v", nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := head(t, s)
	calls := map[string]func() error{
		"get":     func() error { _, _, err := s.Get(ctx, []byte("k")); return err },
		"scan":    func() error { _, _, err := s.Scan(ctx, nil, nil, 1); return err },
		"commit":  func() error { _, err := s.Commit(ctx, put("k", "w", nil)); return err },
		"confirm": func() error { _, err := s.Confirm(ctx); return err },
		"export":  func() error { _, err := s.Export(ctx, io.Discard); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	// Cancelled while it runs: either it happened, or it did not, or ErrUnknown and the token tells.
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		x := put(fmt.Sprintf("race%d", i), "v", at(0))
		x.Token = store.Token{14: byte(i >> 8), 15: byte(i + 1), 0: 1}
		go cancel()
		before = head(t, s)
		rev, err := s.Commit(ctx, x)
		cancel()
		switch {
		case err == nil:
			expect(t, s, string(x.Then[0].Key), "v", rev)
		case errors.Is(err, store.ErrUnknown):
			rev := commit(t, s, x)
			expect(t, s, string(x.Then[0].Key), "v", rev)
		case errors.Is(err, context.Canceled):
			absent(t, s, string(x.Then[0].Key))
		default:
			t.Fatalf("cancelled commit: got %v", err)
		}
	}
	if h := head(t, s); h.Rev < before.Rev {
		t.Fatalf("head went back from %d to %d", before.Rev, h.Rev)
	}
}

func closed(t *testing.T, s store.Store) {
	commit(t, s, put("k", "v", nil))
	waiting := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		for b, err := range s.Feed(t.Context(), 0) {
			if err != nil {
				waiting <- err
				return
			}
			if b.Through == 1 {
				close(started)
			}
		}
		waiting <- nil
	}()
	<-started
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ; j++ {
				_, err := s.Commit(t.Context(), put(fmt.Sprintf("%d/%d", i, j), "v", nil))
				if err != nil {
					if !errors.Is(err, store.ErrClosed) {
						t.Errorf("commit while closing: got %v, want ErrClosed", err)
					}
					return
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	wg.Wait()
	if err := <-waiting; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a waiting feed: got %v, want ErrClosed", err)
	}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"get":     func() error { _, _, err := s.Get(ctx, []byte("k")); return err },
		"scan":    func() error { _, _, err := s.Scan(ctx, nil, nil, 1); return err },
		"commit":  func() error { _, err := s.Commit(ctx, put("k", "w", nil)); return err },
		"confirm": func() error { _, err := s.Confirm(ctx); return err },
		"export":  func() error { _, err := s.Export(ctx, io.Discard); return err },
		"feed": func() error {
			for _, err := range s.Feed(ctx, 0) {
				return err
			}
			return nil
		},
	} {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}
