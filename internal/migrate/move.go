package migrate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a run.
const (
	MaxParallel     = 16 // keys at a time
	DefaultParallel = 4
	giveUp          = 8 // keys in a row for which a server did not answer: the run ends
)

// Config is what a move is made of.
type Config struct {
	Source *Server
	Target *Server
	Tester *Server // the target, with the token that keys are tried with; nil: Target

	Prefix   string // of the keys' names at the target
	Parallel int    // keys at a time; 0: DefaultParallel
	Now      func() time.Time
}

// Mover moves keys.
type Mover struct {
	cfg Config
}

// New makes a mover.
func New(cfg Config) *Mover {
	if cfg.Tester == nil {
		cfg.Tester = cfg.Target
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = DefaultParallel
	}
	cfg.Parallel = min(cfg.Parallel, MaxParallel)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Mover{cfg}
}

// each does something for every key, some at a time. The first error ends it; keys under way are finished.
func (m *Mover) each(ctx context.Context, keys []Key, progress func(done, total int), do func(context.Context, *Key) error) error {
	var (
		mu    sync.Mutex // guards next, done and first
		next  int
		done  int
		first error
		all   sync.WaitGroup
	)
	take := func() *Key {
		mu.Lock()
		defer mu.Unlock()
		if next == len(keys) {
			return nil
		}
		if first == nil {
			first = ctx.Err()
		}
		if first != nil {
			return nil
		}
		next++
		return &keys[next-1]
	}
	for range min(m.cfg.Parallel, len(keys)) {
		all.Go(func() {
			for k := take(); k != nil; k = take() {
				err := do(ctx, k)
				mu.Lock()
				if first == nil {
					first = err
				}
				done++
				if progress != nil {
					progress(done, len(keys))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return first
}

// Move carries a plan out, and writes into it what became of each key. It goes on after a failure; the error tells that it ended before its time.
func (m *Mover) Move(ctx context.Context, keys []Key, progress func(done, total int)) error {
	for i := range keys {
		if keys[i].Outcome == Planned {
			keys[i].Outcome = Untried
		}
	}
	var mu sync.Mutex // guards silent
	silent := 0
	return m.each(ctx, keys, progress, func(ctx context.Context, k *Key) error {
		if k.Outcome != Untried || k.How != ByBackup && k.How != ByExport {
			return nil
		}
		err := m.move(ctx, k)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			k.Why = "the run ended while it was under way: run the command again"
			return ctx.Err()
		default:
			e := kms.AsError(err)
			k.Outcome, k.Why, k.Next = Failed, e.What, e.Advice()
		}
		var r *refusal
		mu.Lock()
		defer mu.Unlock()
		if silent++; err == nil || errors.As(err, &r) || kms.CodeOf(err) == kms.CodeKeyFile {
			silent = 0
		}
		if silent == giveUp {
			return err
		}
		return nil
	})
}

// move moves one key, and proves that it did.
func (m *Mover) move(ctx context.Context, k *Key) error {
	d, err := m.cfg.Source.describe(ctx, k.Name) // it may have been rotated since the plan
	if err != nil {
		return err
	}
	t := typeNamed(d.Type)
	if t == nil {
		return kms.Errorf(kms.CodeKeyFile, "key %s is of another type than it was in the plan", k.Name)
	}
	p, err := m.fetch(ctx, k, d, t)
	if err != nil {
		return err
	}
	defer p.Zero()
	err = m.cfg.Target.restore(ctx, k.Target, p)
	outcome := Moved
	if isThere(err) { // an attempt before this one did it, whose answer was lost; or somebody else
		outcome, err = There, nil
	}
	if err != nil {
		return err
	}
	there, err := m.cfg.Target.describe(ctx, k.Target)
	if err != nil {
		return err
	}
	k.Latest, k.Outcome = d.latest(), outcome
	switch v, said := m.prove(ctx, k, d, there, true); v {
	case same:
		k.Verified = said
	case another:
		return kms.Errorf(kms.CodeCheckValue, "the target has a key of that name, which is not the source's: %s", said)
	case unknown:
		if outcome == There {
			return kms.Errorf(kms.CodeExists, "the target has a key of that name, and it could not be told whether it is the same: %s", said)
		}
		k.Why = "not tried: " + said
	}
	return nil
}

func (m *Mover) fetch(ctx context.Context, k *Key, d *described, t *keyType) (*parcel, error) {
	if k.How == ByBackup {
		return m.cfg.Source.backup(ctx, k.Name)
	}
	return m.cfg.Source.exported(ctx, k.Name, d, t, m.cfg.Now().UTC())
}

// isThere tells whether a restore was refused because of the name. The code stands in every refusal of Keyhold's.
func isThere(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusBadRequest && strings.Contains(r.text, kms.CodeExists.String())
}

// absent tells whether a key was refused because there is none: where the route is missing there is a text.
func absent(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusNotFound && r.text == ""
}
