package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// Unseal takes one share, or a whole passphrase or key file, and opens the root key when it can.
func (e *Engine) Unseal(ctx context.Context, c kms.Call, in UnsealInput) (Status, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open.Load() != nil {
		return e.status(ctx), nil
	}
	if c.Principal == nil || c.Principal.Method != kms.AuthLocal {
		// A passphrase costs much memory and a second of work, and a reset costs the custodians theirs.
		if in.Reset || in.Passphrase.Len() > 0 || in.KeyFile.Len() > 0 {
			return Status{}, kms.Errorf(kms.CodeOnlyLocal, "from elsewhere than the server's machine, the server is unsealed with shares")
		}
	}
	if c.DryRun {
		return e.status(ctx), nil
	}
	if in.Reset {
		e.forgetShares()
		return e.status(ctx), nil
	}
	sys, config, err := e.readConfig(ctx)
	if err != nil {
		return Status{}, err
	}
	if config.Development() != e.cfg.Dev {
		return Status{}, kms.Errorf(kms.CodeDevelopmentStore, "%s", map[bool]string{
			true:  "this is a development store: it is marked so for ever, and a production server does not open it",
			false: "this is not a development store: a development server does not open it"}[config.Development()])
	}
	if config.Cluster() != e.cfg.Cluster {
		return Status{}, kms.Errorf(kms.CodeConflict, "the store belongs to cluster %s, this data directory to %s", config.Cluster(), e.cfg.Cluster)
	}
	private, err := e.private(config, in)
	if err != nil || private == nil {
		if err != nil {
			_ = e.note(c, kms.UnsealServer, err, "refused")
		}
		return e.status(ctx), err
	}
	defer private.Zero()
	e.forgetShares()
	if err := e.openWith(ctx, c, sys, config, private); err != nil {
		return e.status(ctx), err
	}
	return e.status(ctx), nil
}

func (e *Engine) forgetShares() {
	if e.collector != nil {
		e.collector.Reset()
		e.collector = nil
	}
}

func (e *Engine) readConfig(ctx context.Context) (records.System, *seal.Config, error) {
	sys, err := records.ReadSystem(ctx, e.cfg.Store)
	if err != nil {
		return sys, nil, err
	}
	if sys.Config == nil {
		return sys, nil, kms.Errorf(kms.CodeNotInitialised, "the server has no root key yet")
	}
	config, err := seal.ParseConfig(sys.Config)
	return sys, config, err
}

// private finds a recipient's private key: nil while more shares are needed.
func (e *Engine) private(config *seal.Config, in UnsealInput) (*seal.Private, error) {
	switch {
	case in.KeyFile.Len() > 0:
		return config.WithSeed(seal.KindKeyFile, in.KeyFile)
	case in.Passphrase.Len() > 0:
		return config.WithPassphrase(in.Passphrase, e.cfg.Profile)
	case in.Share.Len() == 0:
		return nil, kms.Errorf(kms.CodeBadRequest, "give a share, a passphrase or a key file")
	}
	if e.collector == nil {
		var err error
		if e.collector, err = seal.NewCollector(config); err != nil {
			return nil, err
		}
	}
	p, err := e.collector.Add(in.Share)
	if err != nil || !p.Complete() {
		return nil, err
	}
	private, err := e.collector.Private()
	if err != nil {
		e.forgetShares()
	}
	return private, err
}

// openWith opens everything below the root key, checks that the store is not behind its log, finishes what a crash left
// undone, and only then admits operations.
func (e *Engine) openWith(ctx context.Context, c kms.Call, sys records.System, config *seal.Config, private *seal.Private) (err error) {
	root, err := config.Open(private)
	if err != nil {
		return e.note(c, kms.UnsealServer, err, "refused")
	}
	o := &opened{root: root, config: config, cluster: config.Cluster(), dev: config.Development()}
	defer func() {
		if err != nil {
			o.zero()
		}
	}()
	if err := root.Move(e.cfg.Memory); err != nil {
		return err
	}
	if err := root.Verify(config); err != nil {
		return err
	}
	if o.chain, err = seal.OpenKeychain(root, sys.Keychain); err != nil {
		return err
	}
	o.records = records.New(e.cfg.Store, o.chain, o.cluster)
	if err := e.restoreTime(ctx, o); err != nil {
		return err
	}
	job, _, err := o.records.Job(ctx, jobEpoch)
	if err != nil {
		return err
	}
	if o.epochs, err = seal.OpenEpochs(e.dirs(), root, max(job.Target, 1)); err != nil {
		return err
	}
	if err := e.checkHead(ctx, c); err != nil {
		return err
	}
	if err := e.checkLogEnd(ctx, c, o.records); err != nil {
		return err
	}
	if err := e.keyLog(o); err != nil {
		return err
	}
	if err := e.recoverOutbox(ctx, o.records); err != nil {
		return err
	}
	e.furnish(o)
	if err := e.note(c, kms.UnsealServer, nil, fmt.Sprintf("root generation %d, epoch %d", root.Generation(), o.epochs.Current())); err != nil {
		return err
	}
	e.open.Store(o)
	e.tell([]Touch{{Kind: records.TouchAll}})
	e.jobs.kick()
	return nil
}

// furnish makes the caches of an opened server.
func (e *Engine) furnish(o *opened) {
	o.ring = keyring.New(keyring.Config{Records: o.records, Provider: e.cfg.Provider, Root: o.root, Epochs: o.epochs,
		Keys: e.cfg.Keys, Versions: e.cfg.Versions, Attach: attach})
	o.rules, o.shown, o.who, o.shelf = newRulebook(o.records, e.cfg.Paths), newShown(), newAccesses(), newShelf()
}

func (o *opened) zero() {
	if o.ring != nil {
		o.ring.Clear()
	}
	if o.epochs != nil {
		o.epochs.Zero()
	}
	if o.chain != nil {
		o.chain.Zero()
	}
	o.root.Zero()
}

// drained waits until no operation uses o any more.
func (o *opened) drained() {
	for range 5000 {
		if o.users.Load() == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// shut seals: nothing is admitted from here on; what is under way ends, then the keys are erased.
func (e *Engine) shut(c kms.Call, a kms.Action) {
	o := e.open.Swap(nil)
	e.forgetShares()
	if o == nil {
		return
	}
	for _, f := range e.cfg.Forget {
		f(Touch{Kind: records.TouchAll})
	}
	o.drained()
	e.closeBudgets(o)
	e.closeTime(context.Background(), o)
	if e.cfg.Log != nil {
		w := &work{e: e, call: &c, now: e.now()}
		w.begin(a)
		w.rec.Outcome, w.rec.Detail = audit.OK, "the keys are erased from memory"
		if _, err := e.cfg.Log.Unkeyed(&w.rec); err != nil {
			e.log.Error("record_not_written", "action", a.String(), "error", err)
		}
		e.keepLastLogEnd(o)
	}
	o.zero()
}

// Seal erases the root key and everything under it from memory.
func (e *Engine) Seal(ctx context.Context, c kms.Call) (Status, error) {
	if _, err := use(ctx, e, c, &sealServer, &struct{}{}); err != nil {
		return Status{}, err
	}
	if c.DryRun {
		return e.Status(ctx), nil
	}
	e.flushOutbox(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut(c, kms.SealServer)
	return e.status(ctx), nil
}

var sealServer = op[struct{}, struct{}]{
	name: kms.SealServer,
	do:   func(context.Context, *work, *struct{}) (struct{}, error) { return struct{}{}, nil },
}
