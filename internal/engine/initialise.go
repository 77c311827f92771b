package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/secret"
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
	if r := e.clock.Look(); r.Wall.Before(clock.Floor) {
		return out, kms.Errorf(kms.CodeClock, "the machine's clock says %s", spelt(r.Wall))
	}
	var recovery secret.Released
	if in.Recovery && in.KeyFile.Len() == 0 {
		in.KeyFile = secret.Random(keyfile.SeedSize)
		recovery = keyfile.Text(in.KeyFile)
		defer in.KeyFile.Zero()
		defer func() {
			if out.Recovery.Len() == 0 {
				recovery.Zero()
			}
		}()
	}
	enrolled, shares, err := e.recipients(now, in)
	if err != nil {
		return out, err
	}
	config, root, err := seal.Init(seal.InitParams{Cluster: e.cfg.Cluster, Development: in.Dev, Now: now, Recipients: enrolled})
	if err != nil {
		return out, err
	}
	defer root.Zero()
	if err := root.Move(e.cfg.Memory); err != nil {
		return out, err
	}
	if c.DryRun {
		for _, s := range shares {
			s.Zero()
		}
		return out, nil
	}
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
		if err := tx.PutClock(records.Clock{Mark: now.UTC()}); err != nil {
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
	out.Recovery = recovery
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
