package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

// RunCopy runs what concerns copies: open makes an empty store, restore makes one from what Export wrote.
func RunCopy(t *testing.T, open func(*testing.T) store.Store, restore func(*testing.T, io.Reader) (store.Store, error)) {
	t.Run("ACopyMakesAnEqualStore", func(t *testing.T) { copyEqual(t, open, restore) })
	t.Run("ACopyIsOneSnapshot", func(t *testing.T) { copyWhileWriting(t, open, restore) })
	t.Run("ADamagedCopyIsRefused", func(t *testing.T) { copyDamaged(t, open, restore) })
	t.Run("AFailingWriterEndsAnExport", func(t *testing.T) { copyFails(t, open) })
}

func copyEqual(t *testing.T, open func(*testing.T) store.Store, restore func(*testing.T, io.Reader) (store.Store, error)) {
	for _, n := range []int{0, 1, 1200} {
		s := open(t)
		load(t, s, someKeys(n))
		if n > 1 {
			commit(t, s, del(string(everything(t, s, "", 100)[5].Key)))
			commit(t, s, put("empty value", "", nil))
		}
		want, wantHead := everything(t, s, "", 100), head(t, s)
		var b bytes.Buffer
		rev, err := s.Export(t.Context(), &b)
		if err != nil || rev != wantHead.Rev {
			t.Fatalf("export: got %d, %v; want %d", rev, err, wantHead.Rev)
		}
		shut(t, s)
		r, err := restore(t, &b)
		if err != nil {
			t.Fatalf("import: %v", err)
		}
		if err := same(everything(t, r, "", 77), want); err != nil {
			t.Fatalf("a copy of %d records: %v", n, err)
		}
		if got := head(t, r); got != wantHead {
			t.Fatalf("head: got %v, want %v", got, wantHead)
		}
		// It goes on where the original was, and who followed the original forgets everything.
		x := put("next", "v", at(0))
		if got := commit(t, r, x); got != wantHead.Rev+1 || head(t, r) != hashed(wantHead, got, x) {
			t.Fatalf("the next revision: got %d, head %v", got, head(t, r))
		}
		if es := follow(t, r, wantHead.Rev, wantHead.Rev+1); len(es) != 1 || string(es[0].Key) != "next" {
			t.Fatalf("feed: got %v", es)
		}
		if wantHead.Rev > 0 {
			for _, err := range r.Feed(t.Context(), 0) {
				if !errors.Is(err, store.ErrPruned) {
					t.Fatalf("feed from before the copy: got %v, want ErrPruned", err)
				}
				break
			}
		}
		shut(t, r)
	}
}

// copyWhileWriting: a pair of keys is always equal; the copy has them equal, and its head is the one of that moment.
func copyWhileWriting(t *testing.T, open func(*testing.T) store.Store, restore func(*testing.T, io.Reader) (store.Store, error)) {
	s := open(t)
	defer shut(t, s)
	ctx, stop := context.WithCancel(t.Context())
	heads := map[store.Rev]store.Head{}
	var wg sync.WaitGroup
	started := make(chan struct{})
	wg.Go(func() {
		h := store.Head{}
		for i := 0; ctx.Err() == nil; i++ {
			v := fmt.Appendf(nil, "%d", i)
			x := store.Txn{Then: []store.Write{{Key: []byte("a"), Value: v}, {Key: []byte("z"), Value: v}}}
			rev, err := s.Commit(t.Context(), x)
			if err != nil {
				t.Errorf("commit: %v", err)
				return
			}
			h = hashed(h, rev, x)
			heads[rev] = h
			if i == 5 {
				close(started)
			}
		}
	})
	<-started
	var copies [5]bytes.Buffer
	var revs [5]store.Rev
	for i := range copies {
		var err error
		if revs[i], err = s.Export(t.Context(), &copies[i]); err != nil {
			t.Fatalf("export: %v", err)
		}
	}
	stop()
	wg.Wait()
	for i := range copies {
		r, err := restore(t, &copies[i])
		if err != nil {
			t.Fatalf("import: %v", err)
		}
		rs := everything(t, r, "", 10)
		if len(rs) != 2 || !bytes.Equal(rs[0].Value, rs[1].Value) || rs[0].Rev != revs[i] || head(t, r) != heads[revs[i]] {
			t.Fatalf("copy at %d: got %v, head %v, want head %v", revs[i], rs, head(t, r), heads[revs[i]])
		}
		shut(t, r)
	}
}

func copyDamaged(t *testing.T, open func(*testing.T) store.Store, restore func(*testing.T, io.Reader) (store.Store, error)) {
	s := open(t)
	load(t, s, someKeys(20))
	var b bytes.Buffer
	if _, err := s.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	whole := b.Bytes()
	try := func(what string, c []byte) {
		if r, err := restore(t, bytes.NewReader(c)); err == nil {
			shut(t, r)
			t.Errorf("%s was accepted", what)
		}
	}
	for _, cut := range []int{0, 1, 7, 8, 9, len(whole) / 2, len(whole) - 33, len(whole) - 1} {
		try(fmt.Sprintf("the first %d of %d bytes", cut, len(whole)), whole[:cut])
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/23 {
		c := bytes.Clone(whole)
		c[i] ^= 0x10
		try(fmt.Sprintf("a copy with byte %d changed", i), c)
	}
	try("a copy with something behind it", append(bytes.Clone(whole), 0))
}

var errWriter = errors.New("the writer fails")

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errWriter
	}
	return len(p), nil
}

func copyFails(t *testing.T, open func(*testing.T) store.Store) {
	s := open(t)
	defer shut(t, s)
	commit(t, s, put("k", string(make([]byte, store.MaxValue)), nil))
	var whole bytes.Buffer
	if _, err := s.Export(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 100, whole.Len() - 1} {
		if _, err := s.Export(t.Context(), &failingWriter{left: n}); !errors.Is(err, errWriter) {
			t.Fatalf("export into a writer that takes %d bytes: got %v", n, err)
		}
	}
}
