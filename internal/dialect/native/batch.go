package native

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// atOnce is how many operations of one batch run at the same time. They share group commits of the audit log.
const atOnce = 32

// use is what one operation of a batch has in common: items with the same use are one operation with one record.
type use struct {
	key, to string // to: of a re-encryption
	version uint32
	scheme  string
	raw     bool
	apart   string // what else keeps items apart: the whole request for a data key, whose items share one context
}

// item is what a batch looks at in each of its items before the engine does.
type item struct {
	use  use
	size int // bytes of input
}

// batch groups items by their use, runs each group, and gives every item of a group that failed the group's error. The
// request is refused as a whole only if that is the same for all of them because of the caller or the server, not of an item.
func batch[M any](items []M, look func(M) item, run func(u use, at []int) error, fail func(i int, e *keyholdv1.ErrorDetail)) error {
	groups, err := group(items, look)
	if err != nil {
		return err
	}
	failed := make([]error, len(groups))
	var wg sync.WaitGroup
	var caught sync.Map // a panic belongs to the request's own goroutine, which answers it
	slots := make(chan struct{}, atOnce)
	for i := range groups {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					caught.Store("panic", p)
				}
				<-slots
			}()
			failed[i] = run(groups[i].use, groups[i].at)
		})
	}
	wg.Wait()
	if p, ok := caught.Load("panic"); ok {
		panic(p)
	}
	if whole(failed) {
		return failed[0]
	}
	for i, err := range failed {
		if err != nil {
			for _, at := range groups[i].at {
				fail(at, detailOf(known(err)))
			}
		}
	}
	return nil
}

// members are the items of one use, in their order.
type members struct {
	use use
	at  []int
}

func group[M any](items []M, look func(M) item) ([]members, error) {
	if len(items) == 0 || len(items) > engine.MaxItems {
		return nil, kms.Errorf(kms.CodeTooLarge, "the batch has %d items: want 1 to %d", len(items), engine.MaxItems)
	}
	total, g := 0, 0
	var groups []members
	place := map[use]int{}
	for i, m := range items {
		it := look(m)
		if total += it.size; total > engine.MaxBatch {
			return nil, kms.Errorf(kms.CodeTooLarge, "the batch has more than %d bytes of input", engine.MaxBatch)
		}
		if g == len(groups) || groups[g].use != it.use { // most items are of the same use as the one before
			var there bool
			if g, there = place[it.use]; !there {
				g = len(groups)
				place[it.use] = g
				groups = append(groups, members{use: it.use})
			}
		}
		groups[g].at = append(groups[g].at, i)
	}
	return groups, nil
}

func whole(failed []error) bool {
	for _, err := range failed {
		if err == nil {
			return false
		}
		switch known(err).Kind() {
		case kms.KindUnauthenticated, kms.KindLimited, kms.KindUnavailable, kms.KindInternal:
		default:
			return false
		}
	}
	return true
}

// pick takes the items of a group out of a batch.
func pick[M, T any](items []M, at []int, convert func(M) T) []T {
	out := make([]T, len(at))
	for j, i := range at {
		out[j] = convert(items[i])
	}
	return out
}

// or is the first text that is not empty.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maker is the key that a ciphertext names: items that name no key are grouped by it. What is no ciphertext is left to
// the engine to refuse.
func maker(named string, ciphertext []byte, raw bool) string {
	if named != "" || raw {
		return named
	}
	if h, _, err := blob.Parse(ciphertext); err == nil {
		return h.Key.String()
	}
	return ""
}

func contextSize(c map[string]string) int {
	n := 0
	for k, v := range c {
		n += len(k) + len(v)
	}
	return n
}

// contextText is one text for each context, for comparison.
func contextText(c map[string]string, aad []byte) string {
	names := make([]string, 0, len(c))
	for k := range c {
		names = append(names, k)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, k := range names {
		fmt.Fprintf(&b, "%q=%q,", k, c[k])
	}
	fmt.Fprintf(&b, "%x", aad)
	return b.String()
}
