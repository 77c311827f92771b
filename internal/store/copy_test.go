package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

func written(t testing.TB, head store.Head, recs ...store.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	err := store.WriteCopy(context.Background(), &b, head, func(yield func(store.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzCopy: nothing that is offered as a copy breaks the reader, and what it takes is byte for byte what the writer writes.
func FuzzCopy(f *testing.F) {
	f.Add(written(f, store.Head{}))
	f.Add(written(f, store.Head{Rev: 9, Hash: [32]byte{1}},
		store.Record{Key: []byte("a"), Rev: 9, Value: []byte("v")}, store.Record{Key: []byte("b"), Rev: 1}))
	f.Add([]byte("KHCOPY\x00\x02"))
	f.Add([]byte("KHCOPY\x00\x01\x01\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var recs []store.Record
		head, err := store.ReadCopy(t.Context(), bytes.NewReader(b), func(r store.Record) error {
			recs = append(recs, store.Record{Key: bytes.Clone(r.Key), Rev: r.Rev, Value: bytes.Clone(r.Value)})
			return nil
		})
		if err == nil && !bytes.Equal(written(t, head, recs...), b) {
			t.Fatal("a copy was taken that the writer would not write")
		}
	})
}

func TestACopyOfALaterFormatIsNotDamage(t *testing.T) {
	_, err := store.ReadCopy(t.Context(), strings.NewReader("KHCOPY\x00\x02"), nil)
	if err == nil || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "version 2") {
		t.Fatalf("got %v, want an error that names the version", err)
	}
}

func TestAWrongCopyIsRefused(t *testing.T) {
	a, b := store.Record{Key: []byte("a"), Rev: 1}, store.Record{Key: []byte("b"), Rev: 2}
	for name, c := range map[string][]byte{
		"out of order":     written(t, store.Head{Rev: 2}, b, a),
		"one key twice":    written(t, store.Head{Rev: 2}, a, a),
		"after the head":   written(t, store.Head{Rev: 1}, a, b),
		"no revision":      written(t, store.Head{Rev: 1}, store.Record{Key: []byte("a")}),
		"an empty key":     written(t, store.Head{Rev: 1}, store.Record{Rev: 1}),
		"too long a key":   written(t, store.Head{Rev: 1}, store.Record{Key: make([]byte, store.MaxKey+1), Rev: 1}),
		"too big a value":  written(t, store.Head{Rev: 1}, store.Record{Key: []byte("a"), Rev: 1, Value: make([]byte, store.MaxValue+1)}),
		"a hash of naught": written(t, store.Head{Hash: [32]byte{1}}),
	} {
		if _, err := store.ReadCopy(t.Context(), bytes.NewReader(c), func(store.Record) error { return nil }); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
}

func TestReadCopyPassesOnWhatItsCallerSays(t *testing.T) {
	c := written(t, store.Head{Rev: 1}, store.Record{Key: []byte("a"), Rev: 1})
	stop := errors.New("stop")
	if _, err := store.ReadCopy(t.Context(), bytes.NewReader(c), func(store.Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("put: got %v, want its own error", err)
	}
	broken := io.MultiReader(bytes.NewReader(c[:20]), failing{stop})
	if _, err := store.ReadCopy(t.Context(), broken, func(store.Record) error { return nil }); !errors.Is(err, stop) || errors.Is(err, store.ErrDamaged) {
		t.Fatalf("read: got %v, want the reader's error", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
