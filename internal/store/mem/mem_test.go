package mem_test

import (
	"io"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
	"github.com/keyhold/keyhold/internal/store/storetest"
)

func open(*testing.T) store.Store { return mem.Open(mem.Config{}) }

func TestMemKeepsTheContract(t *testing.T) { storetest.Run(t, open) }

func TestMemForgetsItsFeed(t *testing.T) {
	storetest.RunPruning(t, 32, func(*testing.T) store.Store { return mem.Open(mem.Config{Retain: 32}) })
}

func TestMemCopies(t *testing.T) {
	storetest.RunCopy(t, open, func(t *testing.T, r io.Reader) (store.Store, error) {
		return mem.Import(t.Context(), mem.Config{}, r)
	})
}
