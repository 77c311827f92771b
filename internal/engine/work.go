package engine

import (
	"context"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// work is one operation under way: what was admitted, and the record that will tell of it.
type work struct {
	e     *Engine
	o     *opened
	call  *kms.Call
	asked kms.Call // what call points to, where the work is one of works
	uses  [2]audit.KeyUse
	now   time.Time
	began time.Time // by the monotonic clock
	rules *rules
	keys  [2]admitted
	n     int
	in    any    // what is asked for
	alias string // by which the key that is being admitted was named
	held  [4]holding
	nHeld int
	more  []holding // beyond four
	rec   audit.Record

	version0 uint32 // of the first item of a batch

	cost      amount            // of what the operation is about to protect, where a key has limits
	authorize func(*work) error // where neither keys nor the namespace decide

	still func(context.Context) bool // what else has to hold when the output leaves; nil: nothing

	// Of changes only.
	stamp   func(leaf [32]byte) error
	pending *committed
	needs   need     // the approvals that the request takes
	granted []string // the names of those who gave them
	asks    bool     // for them, and does nothing else
	claimed uint32   // the epoch that a secret of this work may be wrapped under; 0: none
}

// admitted is a key that the caller may use for one role.
type admitted struct {
	*keyring.Key
	action kms.Action
	need   lifecycle.Need
	items  items
	alias  string // by which it was named; empty: otherwise
}

// holding is a version that the operation uses: before its output leaves, all of them have to be permitted still.
type holding struct {
	*keyring.Version // nil: only what is public of it is used
	role             int
	number           uint32
}

func (w *work) hold(h holding) {
	if w.nHeld < len(w.held) {
		w.held[w.nHeld] = h
		w.nHeld++
		return
	}
	w.more = append(w.more, h)
}

// eachHeld goes through the versions until one is not as it should be.
func (w *work) eachHeld(see func(holding) error) error {
	for i := range w.nHeld {
		if err := see(w.held[i]); err != nil {
			return err
		}
	}
	for _, h := range w.more {
		if err := see(h); err != nil {
			return err
		}
	}
	return nil
}

// letGo gives the versions back.
func (w *work) letGo() {
	_ = w.eachHeld(func(h holding) error {
		if h.Version != nil {
			h.Release()
		}
		return nil
	})
}

// works keeps what operations of the path are done with for other operations: it is a kilobyte or two. What goes back is empty.
type works struct{ pool sync.Pool }

// start begins an operation of the path. Its end gives the work back: nothing may hold it longer.
func (e *Engine) start(c *kms.Call, a kms.Action) *work {
	w, _ := e.works.pool.Get().(*work)
	if w == nil {
		w = new(work)
	}
	w.e, w.asked, w.now = e, *c, e.now()
	w.call = &w.asked
	w.rec.Keys = w.uses[:0]
	w.begin(a)
	return w
}

// finish ends an operation that start began.
func (w *work) finish() {
	w.end()
	kept := &w.e.works.pool
	*w = work{} // who asked, and for what, is nothing for the next one
	kept.Put(w)
}

func (w *work) begin(a kms.Action) {
	w.began = time.Now()
	w.rec.Action = a
	w.rec.Time = w.now
	w.rec.ID = w.e.newID(w.now)
	w.rec.Namespace = w.call.Namespace
	w.rec.Dialect = w.call.Dialect
	w.rec.RequestID = w.call.RequestID
	w.rec.Remote = w.call.Remote
	w.rec.Reason = w.call.Reason
	w.identify(w.call.Principal)
}

func (w *work) identify(p *kms.Principal) {
	if p == nil {
		return
	}
	w.rec.Method, w.rec.Alias, w.rec.Salt = p.Method, p.Alias, p.Salt
	w.rec.Name, w.rec.Home, w.rec.Credential = p.Name, p.Namespace, p.Credential
}

// enter refuses what cannot be served at all: nothing of this is recorded, since nobody was admitted to anything.
func (w *work) enter(ctx context.Context) error {
	if b := w.e.blocked.Load(); b != nil {
		return b
	}
	o, err := w.e.hold(ctx)
	if err != nil {
		return err
	}
	w.o = o
	if w.call.Principal == nil {
		return kms.Errorf(kms.CodeUnauthenticated, "the request carries no credential")
	}
	if len(w.call.Reason) > 256 || len(w.call.RequestID) > 64 || len(w.call.Token) > 128 {
		return kms.Errorf(kms.CodeTooLarge, "reason, request id and idempotency token have at most 256, 64 and 128 bytes")
	}
	return w.e.slowed(w.call.Principal)
}

func (w *work) end() {
	w.e.cfg.Observe(w.rec.Action, time.Since(w.began))
	w.letGo()
	w.unclaim()
	if w.o != nil {
		w.o.release()
	}
}
