package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// Limits of enrolment.
const (
	enrollTTL = 15 * time.Minute
	adminTTL  = 12 * time.Hour
)

// Init makes the root key of an empty store, seals it to at least two recipients, and makes the keychain, the first shred
// epoch, the system namespace and the default namespace, all in one transaction. The server stays sealed: that the shares
// are good is proven by unsealing with them.
func (e *Engine) Init(ctx context.Context, c kms.Call, in InitInput) (out InitOutput, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sys, err := records.ReadSystem(ctx, e.cfg.Store)
	if err != nil {
		return out, err
	}
	if sys.Config != nil {
		return out, kms.Errorf(kms.CodeInitialised, "this store has a root key already")
	}
	if in.Dev != e.cfg.Dev {
		return out, kms.Errorf(kms.CodeDevelopmentStore, "a development store is initialised by a development server, and by no other")
	}
	now := e.now()
	enrolled, shares, err := e.recipients(now, in)
	if err != nil {
		return out, err
	}
	config, root, err := seal.Init(seal.InitParams{Cluster: e.cfg.Cluster, Development: in.Dev, Now: now, Recipients: enrolled})
	if err != nil {
		return out, err
	}
	defer root.Zero()
	chain, blob, err := seal.NewKeychain(root)
	if err != nil {
		return out, err
	}
	defer chain.Zero()
	// Epochs that lie here belong to an initialisation that was interrupted before its store knew of it: nothing is under them.
	dirs := e.dirs()
	if err := seal.AbandonEpochs(dirs, now); err != nil {
		return out, err
	}
	epochs, err := seal.CreateEpochs(dirs, root, config, now)
	if err != nil {
		return out, err
	}
	defer epochs.Zero()
	o := &opened{records: records.New(e.cfg.Store, chain, config.Cluster()), root: root, chain: chain, epochs: epochs, config: config,
		cluster: config.Cluster(), dev: in.Dev}
	code, enrollment := newCode(now)
	err = e.direct(ctx, o, c, kms.InitServer, func(w *work, tx *records.Tx) error {
		w.rec.Namespace = kms.SystemNamespace
		w.rec.Detail = fmt.Sprintf("%d shares of which %d open the root key, %d recipients", in.Shares, in.Threshold, len(enrolled))
		if err := tx.PutSystem(records.System{Config: config.Bytes(), Keychain: blob}); err != nil {
			return err
		}
		if err := tx.PutEnrollment(enrollment); err != nil {
			return err
		}
		return e.firstNamespaces(w, tx, o)
	})
	if err != nil {
		return out, err
	}
	for _, s := range shares {
		text, err := s.Text()
		s.Zero()
		if err != nil {
			return out, err
		}
		out.Shares = append(out.Shares, text)
	}
	out.Cluster, out.AuditKey = config.Cluster(), chain.PublicKey()
	out.Enrollment = Enrollment{Code: code, Expires: enrollment.Expires}
	return out, nil
}

func (e *Engine) dirs() seal.Dirs { return seal.Dirs{Shred: e.cfg.ShredDir, Escrow: e.cfg.EscrowDir} }

func (e *Engine) recipients(now time.Time, in InitInput) (all []seal.Enrolment, parts []shareText, err error) {
	s, made, err := seal.NewShares(now, "custodians", in.Threshold, in.Shares)
	if err != nil {
		return nil, nil, err
	}
	all = append(all, s)
	for _, m := range made {
		parts = append(parts, m)
	}
	if in.Passphrase.Len() > 0 {
		p, err := seal.NewPassphrase(now, "passphrase", in.Passphrase, e.cfg.Profile)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, p)
	}
	if in.KeyFile.Len() > 0 {
		k, err := seal.NewKeyFile(now, "key file", in.KeyFile)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, k)
	}
	return all, parts, nil
}

// shareText is a share that can be printed once and erased.
type shareText interface {
	Text() (secret.Released, error)
	Zero()
}

// firstNamespaces makes the home of operators and the default namespace. In development separation of duties is off
// there, visibly, so that one token can do everything.
func (e *Engine) firstNamespaces(w *work, tx *records.Tx, o *opened) error {
	made := make(map[kms.Namespace]*newKEK, 2)
	for _, ns := range []kms.Namespace{kms.SystemNamespace, kms.DefaultNamespace} {
		kek, err := makeKEK(o, ns)
		if err != nil {
			return err
		}
		made[ns] = kek
		if err := tx.PutNamespaceShred(ns, kek.shred); err != nil {
			return err
		}
	}
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		for ns, kek := range made {
			n := records.Namespace{Name: ns, SeparationOfDuties: !o.dev, Dev: o.dev, Created: w.now.UTC(), KEK: kek.wrapped,
				KEKCheck: kek.check, Change: leaf}
			if ns == kms.SystemNamespace {
				n.Description = "operators"
			}
			if err := tx.PutNamespace(n); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

var codeText = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// newCode makes a one-time enrolment code of 160 bits, in groups that can be read aloud.
func newCode(now time.Time) (secret.Released, records.Enrollment) {
	b := make([]byte, 20)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	text := codeText.EncodeToString(b)
	clear(b)
	var grouped strings.Builder
	for i := 0; i < len(text); i += 8 {
		if i > 0 {
			grouped.WriteByte('-')
		}
		grouped.WriteString(text[i:min(i+8, len(text))])
	}
	code := []byte(grouped.String())
	return secret.Release(code), records.Enrollment{Digest: token.Digest(code), Expires: now.Add(enrollTTL).UTC()}
}

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
	if err := root.Verify(config); err != nil {
		return err
	}
	if o.chain, err = seal.OpenKeychain(root, sys.Keychain); err != nil {
		return err
	}
	o.records = records.New(e.cfg.Store, o.chain, o.cluster)
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
	o.rules = newRulebook(o.records)
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
	if e.cfg.Log != nil {
		w := &work{e: e, call: &c, now: e.now()}
		w.begin(a)
		w.rec.Outcome, w.rec.Detail = audit.OK, "the keys are erased from memory"
		if _, err := e.cfg.Log.Unkeyed(&w.rec); err != nil {
			e.log.Error("record_not_written", "action", a.String(), "error", err)
		}
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

// Status tells the server's condition. It names no secrets, and needs no credential.
func (e *Engine) Status(ctx context.Context) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status(ctx)
}

func (e *Engine) status(ctx context.Context) Status {
	s := Status{Sealed: true, Problem: e.Health()}
	s.Ready = s.Problem == nil
	config := (*seal.Config)(nil)
	if o := e.open.Load(); o != nil {
		s.Sealed, config, s.Epoch, s.AuditKey = false, o.config, o.epochs.Current(), o.chain.PublicKey()
	} else if _, c, err := e.readConfig(ctx); err == nil {
		config = c
	}
	if config == nil {
		return s
	}
	s.Initialised, s.Dev, s.Cluster, s.RootGen = true, config.Development(), config.Cluster(), config.Generation()
	for _, r := range config.Recipients() {
		s.Recipients = append(s.Recipients, RecipientInfo{ID: r.ID.String(), Kind: r.Kind.String(), Label: r.Label, Fingerprint: r.Fingerprint()})
		if q, ok := r.Quorum(); ok {
			s.Threshold = q.K
		}
	}
	if e.collector != nil {
		s.Given = e.collector.Progress().Given
	}
	return s
}

// Enroll redeems a one-time code: the first administrator gets a token of the operator role, which ends after 12 hours.
func (e *Engine) Enroll(ctx context.Context, c kms.Call, in EnrollInput) (out CreateTokenOutput, err error) {
	o, err := e.Identities().enter(ctx)
	if err != nil {
		return out, err
	}
	defer o.users.Add(-1)
	name := in.Principal
	if name == "" {
		name = "admin"
	}
	if err := checkIdentity(name, nil, nil); err != nil {
		return out, err
	}
	c.Namespace = kms.SystemNamespace
	c.Principal = &kms.Principal{Name: name, Namespace: kms.SystemNamespace, Method: kms.AuthCode}
	err = e.direct(ctx, o, c, kms.EnrollAdministrator, func(w *work, tx *records.Tx) error {
		out = CreateTokenOutput{}
		code, there, err := tx.Enrollment()
		if err != nil {
			return err
		}
		got := token.Digest(in.Code.Reveal(reveal.Key{}))
		// 160 random bits need no limit on guesses, and a limit would let strangers void the code.
		if !there || code.Used || w.now.After(code.Expires) || subtle.ConstantTimeCompare(got[:], code.Digest[:]) != 1 {
			return kms.Errorf(kms.CodeUnauthenticated, "the enrolment code is not in force: it is wrong, was used, or its 15 minutes are over")
		}
		code.Used = true
		if err := tx.PutEnrollment(code); err != nil {
			return err
		}
		out, err = w.putToken(tx, records.Token{Namespace: kms.SystemNamespace, Principal: name, Roles: []kms.Role{kms.RoleOperator}}, adminTTL)
		return err
	})
	return out, err
}

// MintEnrollment makes a new enrolment code, on the authority of a quorum of custodian shares.
func (e *Engine) MintEnrollment(ctx context.Context, c kms.Call, in MintInput) (out Enrollment, err error) {
	o, err := e.Identities().enter(ctx)
	if err != nil {
		return out, err
	}
	defer o.users.Add(-1)
	c.Namespace = kms.SystemNamespace
	p := system
	if c.Principal != nil {
		p = c.Principal
	}
	shown := *p
	shown.Method = kms.AuthShares
	c.Principal = &shown
	if err := quorum(o.config, in.Shares); err != nil {
		return out, e.note(c, kms.MintEnrollment, err, "refused")
	}
	code, row := newCode(e.now())
	err = e.direct(ctx, o, c, kms.MintEnrollment, func(_ *work, tx *records.Tx) error { return tx.PutEnrollment(row) })
	return Enrollment{Code: code, Expires: row.Expires}, err
}

// quorum proves that shares open the root key, without opening anything with it.
func quorum(config *seal.Config, shares []*secret.Bytes) error {
	collect, err := seal.NewCollector(config)
	if err != nil {
		return err
	}
	defer collect.Reset()
	for _, s := range shares {
		if _, err := collect.Add(s); err != nil {
			return err
		}
	}
	if p := collect.Progress(); !p.Complete() {
		return kms.Errorf(kms.CodeBadShare, "%d shares were given, %d are needed", len(p.Given), p.K)
	}
	private, err := collect.Private()
	if err != nil {
		return err
	}
	defer private.Zero()
	return config.VerifyRecipient(private)
}
