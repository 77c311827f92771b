package engine

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/rotation"
)

// Limits of use are kept by budgets: a part of the limit is reserved in the store before any of it is used, so that whatever crashes, no use is forgotten. Counting is then
// an atomic subtraction. Keys without limits have no budget.

// What a budget counts.
const (
	operations = iota
	bytesProtected
	dimensions
)

const (
	maxBudgets    = 1 << 16          // in memory; more are given back and reserved anew
	budgetSweep   = time.Minute      // what was not used for so long is given back
	budgetsAtOnce = 100              // given back in one transaction
	budgetsEnd    = 10 * time.Second // how long giving back may take when the server is sealed: what is left counts as used
)

// budgets are those of versions that were used lately.
type budgets struct {
	mu sync.Mutex // guards of
	of map[budgetOf]*budget
}

type budgetOf struct {
	key    kms.ID
	number uint32
}

// budget is what is reserved for a version and not used.
type budget struct {
	budgetOf
	left [dimensions]atomic.Int64
	used atomic.Bool // since the last sweep

	mu   sync.Mutex // serialises reservations; guards gone
	gone bool       // it was given back: there is another one, or will be
}

// take uses a part of what is reserved.
func (b *budget) take(d int, n int64) bool {
	for {
		left := b.left[d].Load()
		if left < n {
			return false
		}
		if b.left[d].CompareAndSwap(left, left-n) {
			return true
		}
	}
}

// amount is what an operation costs.
type amount [dimensions]int64

func cost(items, bytes int) amount { return amount{int64(items), int64(bytes)} }

// costOf is the cost of items.
func costOf(n int, size func(i int) int) amount {
	total := 0
	for i := range n {
		total += size(i)
	}
	return cost(n, total)
}

// limited tells whether some key of the operation protects under limits.
func (w *work) limited() bool {
	for i := range w.n {
		if k := &w.keys[i]; k.need == lifecycle.Protect && k.Period.Operations|k.Period.Bytes != 0 {
			return true
		}
	}
	return false
}

// spend counts what the operation is about to do with a version: CodeCryptoperiod if that is more than it may. It comes before the work, so that what crashes is counted.
func (w *work) spend(ctx context.Context, k *admitted, n uint32, need amount) error {
	limits := [dimensions]uint64{k.Period.Operations, k.Period.Bytes}
	if limits == [dimensions]uint64{} || k.need != lifecycle.Protect {
		return nil
	}
	for {
		b := w.e.budgetFor(ctx, w.o, budgetOf{k.ID, n})
		again, err := w.spendFrom(ctx, b, k.Key, limits, need)
		if !again {
			return err
		}
	}
}

func (w *work) spendFrom(ctx context.Context, b *budget, k *keyring.Key, limits [dimensions]uint64, need amount) (again bool, err error) {
	for d := range dimensions {
		if limits[d] == 0 || need[d] == 0 || b.take(d, need[d]) {
			continue
		}
		if again, err = w.reserve(ctx, b, k, d, limits[d], need[d]); !again && err == nil {
			continue
		}
		for before := range d {
			if limits[before] != 0 { //nolint:gosec // G602: below d, which is below dimensions
				b.left[before].Add(need[before]) //nolint:gosec // G602: the same
			}
		}
		return again, err
	}
	return false, nil
}

// reserve takes from a budget that has too little left, after reserving more. again: the budget was given back meanwhile.
func (w *work) reserve(ctx context.Context, b *budget, k *keyring.Key, d int, limit uint64, need int64) (again bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // who hangs up must not leave it unknown what is reserved
	for !b.gone {
		if b.take(d, need) {
			return false, nil
		}
		missing := uint64(need - b.left[d].Load()) //nolint:gosec // G115: both are bounded and not negative
		granted, asked := uint64(0), false
		var refused error
		_, _, err := w.o.records.Update(ctx, func(tx *records.Tx) error {
			granted, asked, refused = 0, false, nil
			c, err := tx.Counter(b.key, b.number)
			if err != nil {
				return err
			}
			used := &c.Operations
			if d == bytesProtected {
				used = &c.Bytes
			}
			if *used > limit || missing > limit-*used {
				refused = exhausted(k, b.number, d, limit)
			} else {
				granted = min(max(rotation.Share(limit), missing), limit-*used)
				*used += granted
			}
			// Asked also by what is refused: the limit may have been lowered since, or the key was off when it was asked before.
			if *used >= rotation.Trigger(limit) && !c.Asked && lifecycle.PrimaryAt(&k.Key, w.now) == b.number {
				c.Asked, asked = true, true
				if err := tx.PutDue(records.Due{Namespace: k.Namespace, Key: k.ID, At: w.now.UTC(), What: records.DueRotate, Version: b.number}); err != nil {
					return err
				}
			}
			if granted == 0 && !asked {
				return nil
			}
			return tx.PutCounter(b.key, b.number, c)
		})
		if err != nil {
			return false, err
		}
		b.left[d].Add(int64(granted)) //nolint:gosec // G115: at most rotation.MaxLimit
		if asked {
			w.e.jobs.kick()
		}
		if refused != nil {
			return false, refused
		}
	}
	return true, nil
}

func exhausted(k *keyring.Key, n uint32, d int, limit uint64) error {
	what := [dimensions]string{"operations", "bytes"}[d]
	return kms.Errorf(kms.CodeCryptoperiod, "version %d of key %q has protected what it may: its limit is %d %s, and this request is more than is left", n, k.Name, limit, what)
}

// budgetFor finds a version's budget.
func (e *Engine) budgetFor(ctx context.Context, o *opened, of budgetOf) *budget {
	bs := &e.budgets
	bs.mu.Lock()
	b := bs.of[of]
	var one *budget
	if b == nil {
		if len(bs.of) >= maxBudgets {
			for _, one = range bs.of { // any
				break
			}
		}
		b = &budget{budgetOf: of}
		bs.of[of] = b
	}
	bs.mu.Unlock()
	b.used.Store(true)
	if one != nil {
		if err := e.giveBack(context.WithoutCancel(ctx), o, []*budget{one}); err != nil {
			e.log.Warn("reserved_use_not_given_back", "error", err)
		}
	}
	return b
}

// giveBack ends budgets, and returns what they had reserved and not used.
func (e *Engine) giveBack(ctx context.Context, o *opened, all []*budget) error {
	left := make([]amount, len(all))
	for i, b := range all {
		b.mu.Lock()
		if !b.gone {
			b.gone = true
			for d := range dimensions {
				left[i][d] = max(b.left[d].Swap(math.MinInt64/2), 0) // who takes from it from here on finds nothing
			}
		}
		b.mu.Unlock()
	}
	e.budgets.mu.Lock()
	for _, b := range all {
		if e.budgets.of[b.budgetOf] == b {
			delete(e.budgets.of, b.budgetOf)
		}
	}
	e.budgets.mu.Unlock()
	_, _, err := o.records.Update(ctx, func(tx *records.Tx) error {
		for i, b := range all {
			if left[i] == (amount{}) {
				continue
			}
			c, err := tx.Counter(b.key, b.number)
			if err != nil {
				return err
			}
			c.Operations -= min(c.Operations, uint64(left[i][operations])) //nolint:gosec // G115: not negative
			c.Bytes -= min(c.Bytes, uint64(left[i][bytesProtected]))       //nolint:gosec // G115: not negative
			if err := tx.PutCounter(b.key, b.number, c); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// giveBackIdle gives back what was not used since the last time; all: everything, as sealing does.
func (e *Engine) giveBackIdle(ctx context.Context, o *opened, all bool) error {
	var idle []*budget
	e.budgets.mu.Lock()
	for _, b := range e.budgets.of {
		if !b.used.Swap(false) || all {
			idle = append(idle, b)
		}
	}
	e.budgets.mu.Unlock()
	for len(idle) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(idle), budgetsAtOnce)
		if err := e.giveBack(ctx, o, idle[:n]); err != nil {
			return err
		}
		idle = idle[n:]
	}
	return nil
}

// closeBudgets gives everything back before the keys that seal the store are gone.
func (e *Engine) closeBudgets(o *opened) {
	ctx, cancel := context.WithTimeout(context.Background(), budgetsEnd)
	defer cancel()
	if err := e.giveBackIdle(ctx, o, true); err != nil {
		e.log.Warn("reserved_use_not_given_back", "error", err)
	}
	e.budgets.mu.Lock()
	clear(e.budgets.of)
	e.budgets.mu.Unlock()
}
