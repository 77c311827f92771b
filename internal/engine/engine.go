// Package engine is the path that every operation on a key takes, from every dialect: admit (resolve, authorize, look at
// the state) → perform → settle (record durably, check once more, release).
//
// Operations are data: a descriptor says which keys an operation wants, with which permission and need, and what it
// does with the keys it is given. use runs what reads, change runs what writes inside the store transaction that
// carries its audit record. There is no other way to a key (architecture, invariants 1 to 5).
//
// The engine reads no wire format, opens no file and listens to no network.
package engine

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/cache"
	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/store"
)

// Recorder is where records go. Append returns when the record is durable; a record that cannot be made durable is an
// error, and then nothing is released. *audit.Log is the real one.
type Recorder interface {
	Append(*audit.Record) (audit.Position, error)
	AppendEncoded(body, annex []byte) (audit.Position, error)
	Healthy() error
}

// Touch says what to forget after a change.
type Touch = records.Touch

// Config is what an engine is made of.
type Config struct {
	Cluster     kms.ID // identity of the data, made with the data directory
	Store       store.Store
	Log         *audit.Log // for reading, proving and recovery
	Recorder    Recorder   // nil: Log
	Provider    provider.Provider
	ShredDir    string // where epoch KEKs live: never in the store, never in ordinary backups
	EscrowDir   string // where their escrow copies are put
	Profile     kms.Profile
	Dev         bool          // a development server: it alone may open a development store
	Restore     bool          // accept a store that is behind its audit log
	Keys        int           // keyring cache sizes; 0: defaults
	Versions    int           //
	EpochPeriod time.Duration // how often the shred epoch rolls; 0: 24 h
	Memory      *arena.Arena  // where the root key lives, and every key that is opened under it; nil: the heap
	Logger      *slog.Logger
	Forget      []func(Touch)                   // told of every change before it is answered
	Observe     func(kms.Action, time.Duration) // told how long each operation took, its durable record included; may be nil
	Witnesses   func() []WitnessStatus          // how it stands with witnesses of the log; may be nil
	Sinks       func() []SinkStatus             // how it stands with copies of the audit log elsewhere; may be nil

	// Accounts are the 12-digit numbers by which AWS's names mean namespaces. One that is not there has a number of its own all the same.
	Accounts map[kms.Namespace]string

	// Logins are the methods by which somebody without a token proves who it is, by type.
	Logins map[login.Type]login.Method

	// Paths are what paths of the Vault dialect stand for, in its ACL policies.
	Paths []kms.Path

	Now     func() time.Time     // the machine's clock; nil: time.Now
	Elapsed func() time.Duration // see clock.Config
	MaxJump time.Duration        // how far the clock may jump ahead before destruction is suspended; 0: 24 h
}

// Engine is the core of the server. It starts sealed, or not initialised.
type Engine struct {
	cfg     Config
	rec     Recorder
	log     *slog.Logger
	clock   timekeeper
	now     func() time.Time       // the clock's
	open    atomic.Pointer[opened] // nil while sealed
	blocked atomic.Pointer[kms.Error]
	counts  counters
	denials denialLimiter
	works   works
	methods map[login.Type]login.Method
	stamp   atomic.Uint64 // milliseconds and count of the last ordered id
	// strangers limits the records of what nobody in particular attempts: wrong shares, wrong enrolment codes.
	strangers *rate.Limiter
	// failures limits the records of logins that failed.
	failures *rate.Limiter

	mu        sync.Mutex // guards what follows, and serialises init, unseal, seal
	collector *seal.Collector

	outbox  outbox
	jobs    jobs
	due     dueWork
	duties  map[records.What]duty
	budgets budgets
	alarm   rotationAlarm
	ledger  ledger

	campaigns campaigns

	missed atomic.Uint64 // uses of keys that are pending destruction
	stop   context.CancelFunc
	work   sync.WaitGroup
	closed atomic.Bool
}

// opened is what exists only while the server is unsealed.
type opened struct {
	records *records.Records
	ring    *keyring.Ring
	rules   *rulebook
	shown   *cache.Cache[shownAt, []kms.Version]
	who     *accesses
	shelf   *shelf
	root    *seal.Root
	chain   *seal.Keychain
	epochs  *seal.Epochs
	config  *seal.Config
	cluster kms.ID
	dev     bool
	users   atomic.Int64 // operations under way; sealing waits for them before it erases

	keeping sync.Mutex // guards kept
	kept    []byte     // the checkpoint of the log that the store keeps
}

// New makes an engine. Start it before use.
func New(cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Recorder == nil {
		cfg.Recorder = cfg.Log
	}
	if cfg.Observe == nil {
		cfg.Observe = func(kms.Action, time.Duration) {}
	}
	if cfg.EpochPeriod == 0 {
		cfg.EpochPeriod = 24 * time.Hour
	}
	e := &Engine{cfg: cfg, rec: cfg.Recorder, log: cfg.Logger, strangers: rate.NewLimiter(1, 20),
		failures: rate.NewLimiter(failedLogins, failedLoginsBurst), methods: map[login.Type]login.Method{login.AppRole: appRole{}, tokenMount: tokenRole{}}}
	maps.Copy(e.methods, cfg.Logins)
	e.clock.Clock = clock.New(clock.Config{Wall: cfg.Now, Elapsed: cfg.Elapsed, Limit: cfg.MaxJump})
	e.now = e.clock.Now
	e.outbox.wake = make(chan struct{}, 1)
	e.jobs.init(e)
	e.ledger.init()
	e.budgets.of = map[budgetOf]*budget{}
	e.due.running, e.due.hands, e.duties = map[string]*JobInfo{}, map[string]bool{}, allDuties()
	return e, nil
}

// Start begins the scheduled work. The engine stays sealed until it is unsealed.
func (e *Engine) Start(ctx context.Context) error {
	ctx, e.stop = context.WithCancel(ctx)
	e.work.Go(func() { e.settleOutbox(ctx) })
	e.work.Go(func() { e.runJobs(ctx) })
	e.work.Go(func() { e.keepLedger(ctx) })
	return nil
}

// Close stops scheduled work, seals, and returns when nothing is under way. The store and the log are their owners' to close.
func (e *Engine) Close(ctx context.Context) error {
	if e.closed.Swap(true) {
		return nil
	}
	if e.stop != nil {
		e.stop()
	}
	e.work.Wait()
	e.flushOutbox(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut(kms.Call{Principal: system, Namespace: kms.SystemNamespace}, kms.StopServer)
	return nil
}

// Missed answers how often a key was asked for that is pending destruction.
func (e *Engine) Missed() uint64 { return e.missed.Load() }

// Sizes answers how many keys and unwrapped versions are in memory, and whether the server is unsealed.
func (e *Engine) Sizes() (keys, versions int, unsealed bool) {
	if o := e.open.Load(); o != nil {
		keys, versions = o.ring.Size()
		return keys, versions, true
	}
	return 0, 0, false
}

// Health tells why the engine cannot serve: nil if it can.
func (e *Engine) Health() *kms.Error {
	if b := e.blocked.Load(); b != nil {
		return b
	}
	if err := e.rec.Healthy(); err != nil {
		return kms.AsError(err)
	}
	if e.open.Load() == nil {
		return e.notOpen(context.Background())
	}
	if _, err := e.cfg.Store.Confirm(context.Background()); err != nil {
		return kms.Errorf(kms.CodeStoreUnavailable, "the store does not answer").Because(err)
	}
	if err := e.cfg.Provider.Healthy(); err != nil { // what there is can still be used; nothing new should come here
		return kms.AsError(err)
	}
	return nil
}

// notOpen says whether the server is sealed or was never initialised.
func (e *Engine) notOpen(ctx context.Context) *kms.Error {
	if e.closed.Load() {
		return kms.Errorf(kms.CodeStopping, "the server is stopping")
	}
	sys, err := records.ReadSystem(ctx, e.cfg.Store)
	if err != nil {
		return kms.AsError(err)
	}
	if sys.Config == nil {
		return kms.Errorf(kms.CodeNotInitialised, "the server has no root key yet")
	}
	return kms.Errorf(kms.CodeSealed, "the root key is not in memory")
}
