package pebble

import (
	"io"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/storetest"
)

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDir(t *testing.T, dir string) store.Store { return mustOpen(t, Config{Dir: dir}) }

func TestPebbleKeepsTheContract(t *testing.T) { storetest.RunDurable(t, openDir) }

func TestPebbleForgetsItsFeed(t *testing.T) {
	storetest.RunPruning(t, 32, func(t *testing.T) store.Store {
		return mustOpen(t, Config{Dir: t.TempDir(), Retain: 32, RetainFor: -1})
	})
}

func TestPebbleCopies(t *testing.T) {
	storetest.RunCopy(t,
		func(t *testing.T) store.Store { return openDir(t, t.TempDir()) },
		func(t *testing.T, r io.Reader) (store.Store, error) {
			dir := t.TempDir()
			if _, err := Import(t.Context(), Config{Dir: dir}, r); err != nil {
				return nil, err
			}
			return openDir(t, dir), nil
		})
}
