package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/store"
)

// The descriptors of looking after the server.
var (
	rollEpochOp = op[struct{}, struct{}]{
		name: kms.RollEpoch,
		do:   func(context.Context, *work, *struct{}) (struct{}, error) { return struct{}{}, nil },
	}
	readJobs = op[JobsInput, JobsOutput]{
		name: kms.ReadJobs,
		check: func(in *JobsInput) error {
			if in.Due < 0 || in.Due > dueShowable {
				return kms.Errorf(kms.CodeTooLarge, "%d of what is due were asked for: want 1 to %d", in.Due, dueShowable)
			}
			if in.Due == 0 {
				in.Due = dueShown
			}
			return nil
		},
		do: func(ctx context.Context, w *work, in *JobsInput) (JobsOutput, error) {
			due, err := w.e.shownDue(ctx, w.o, in.Due)
			if err != nil {
				return JobsOutput{}, err
			}
			return JobsOutput{Jobs: append(w.e.jobs.all(), due...)}, nil
		},
	}
	readHealth = op[struct{}, Status]{
		name: kms.ReadHealth,
		do:   func(ctx context.Context, w *work, _ *struct{}) (Status, error) { return w.e.Status(ctx), nil },
	}
	checkStore  = op[struct{}, CheckStoreOutput]{name: kms.CheckStore, do: doCheckStore}
	exportStore = op[struct{}, struct{}]{
		name: kms.ExportStore,
		do:   func(context.Context, *work, *struct{}) (struct{}, error) { return struct{}{}, nil },
	}
)

// RollEpoch rolls the shred epoch now: what was destroyed before cannot be opened afterwards, whatever copy of the store
// it is read from.
func (e *Engine) RollEpoch(ctx context.Context, c kms.Call) (JobsOutput, error) {
	if _, err := use(ctx, e, c, &rollEpochOp, &struct{}{}); err != nil {
		return JobsOutput{}, err
	}
	if c.DryRun {
		return JobsOutput{Jobs: e.jobs.all()}, nil
	}
	if err := e.begin(ctx, c); err != nil {
		return JobsOutput{}, err
	}
	r := &e.jobs.rolls
	patience := time.NewTimer(rollWait)
	defer patience.Stop()
	select {
	case <-e.endEpochs(c):
		r.mu.Lock()
		defer r.mu.Unlock()
		return JobsOutput{Jobs: e.jobs.all()}, r.failed
	case <-patience.C: // it goes on; the list of jobs tells how far it is
	case <-ctx.Done():
	}
	return JobsOutput{Jobs: e.jobs.all()}, nil
}

func (e *Engine) begin(ctx context.Context, c kms.Call) error {
	o, err := e.hold(ctx)
	if err != nil {
		return err
	}
	defer o.release()
	return e.beginEpoch(context.WithoutCancel(ctx), o, c)
}

// Jobs lists the scheduled work and how it stands.
func (e *Engine) Jobs(ctx context.Context, c kms.Call, in JobsInput) (JobsOutput, error) {
	return use(ctx, e, c, &readJobs, &in)
}

// ReadHealth answers the detailed condition to those who may see it.
func (e *Engine) ReadHealth(ctx context.Context, c kms.Call) (Status, error) {
	return use(ctx, e, c, &readHealth, &struct{}{})
}

// CheckStore proves that every record is authentic and that every key opens.
func (e *Engine) CheckStore(ctx context.Context, c kms.Call) (CheckStoreOutput, error) {
	return use(ctx, e, c, &checkStore, &struct{}{})
}

// ExportStore writes a consistent copy of the sealed records. It opens nowhere without the root key and, for keys that were
// destroyed, not even with it once the epoch has rolled.
func (e *Engine) ExportStore(ctx context.Context, c kms.Call, w io.Writer) (kms.Rev, error) {
	if _, err := use(ctx, e, c, &exportStore, &struct{}{}); err != nil || c.DryRun {
		return 0, err
	}
	rev, err := e.cfg.Store.Export(ctx, w)
	if err != nil {
		return 0, kms.Errorf(kms.CodeStoreUnavailable, "the store could not be exported").Because(err)
	}
	return rev, nil
}

const damagedShown = 100

// checker is a store that can read all that it keeps: its feed, and the hash over it, beside the records.
type checker interface {
	Check(ctx context.Context, see func(store.Record) error) error
}

func doCheckStore(ctx context.Context, w *work, _ *struct{}) (out CheckStoreOutput, err error) {
	found := func(what string) {
		out.DamagedCount++
		if len(out.Damaged) < damagedShown {
			out.Damaged = append(out.Damaged, what)
		}
	}
	err = w.o.records.Walk(ctx, func(place string, err error) {
		out.Records++
		if err != nil {
			found("record " + place + ": " + kms.AsError(err).Code.Title())
		}
	})
	if err != nil {
		return out, err
	}
	// What a store keeps beside the records, which nobody asks for until it is needed.
	if whole, ok := w.e.cfg.Store.(checker); ok {
		if err := whole.Check(ctx, func(store.Record) error { return nil }); errors.Is(err, store.ErrDamaged) {
			found(err.Error())
		} else if err != nil {
			return out, kms.Errorf(kms.CodeStoreUnavailable, "the store could not be read to its end").Because(err)
		}
	}
	// Every version is opened anew, past the cache.
	fresh := keyring.New(keyring.Config{Records: w.o.records, Provider: w.e.cfg.Provider, Root: w.o.root, Epochs: w.o.epochs, Keys: 64, Versions: 64})
	defer fresh.Clear()
	for ns := kms.Namespace(""); ; {
		page, next, err := w.o.records.Namespaces(ctx, ns, 100)
		if err != nil {
			return out, err
		}
		for _, n := range page {
			if !n.Destroyed.IsZero() {
				continue // none of its keys opens, by design
			}
			if err := checkKeys(ctx, w, fresh, n.Name, &out, found); err != nil {
				return out, err
			}
		}
		if next == "" {
			return out, checkSecrets(ctx, w, fresh, found)
		}
		ns = next
	}
}

// checkSecrets opens every value that is kept.
func checkSecrets(ctx context.Context, w *work, ring *keyring.Ring, found func(string)) error {
	for after := (kms.ID{}); ; {
		page, next, err := w.o.records.Secrets(ctx, after, 200)
		if kms.CodeOf(err) == kms.CodeRecordDamaged {
			return nil // as with keys
		}
		if err != nil {
			return err
		}
		gone, err := destroyedAmong(ctx, w.o, page, func(s *records.Secret) kms.Namespace { return s.Namespace })
		if err != nil {
			return err
		}
		for i := range page {
			for _, v := range page[i].Versions {
				if v.Destroyed || gone[page[i].Namespace] {
					continue
				}
				value, there, err := ring.OpenSecret(ctx, page[i].Namespace, v.Value)
				clear(value)
				switch {
				case kms.CodeOf(err) == kms.CodeCancelled:
					return err
				case err != nil:
					found(fmt.Sprintf("secret %s, version %d: %s", page[i].ID, v.Number, kms.AsError(err).Error()))
				case !there: // destroyed in between, or lost
					if now, err := w.versionNow(ctx, page[i].ID, v.Number); err == nil && !now.Destroyed {
						found(fmt.Sprintf("secret %s, version %d: its value is missing", page[i].ID, v.Number))
					}
				}
			}
		}
		if after = next; next.IsZero() {
			return nil
		}
	}
}

func checkKeys(ctx context.Context, w *work, ring *keyring.Ring, ns kms.Namespace, out *CheckStoreOutput, found func(string)) error {
	for after := (kms.ID{}); ; {
		keys, next, err := w.o.records.Keys(ctx, ns, after, 200)
		if kms.CodeOf(err) == kms.CodeRecordDamaged {
			return nil // named by the walk; what follows it in this page cannot be listed
		}
		if err != nil {
			return err
		}
		for i := range keys {
			out.Keys++
			k := &keyring.Key{Key: keys[i]}
			for n := uint32(1); n <= k.Latest; n++ {
				v, err := ring.Version(ctx, k, n)
				if err == nil && v.Handle == nil { // in the archive, from where it is opened for this one look
					v, err = ring.Archived(ctx, k, n)
				}
				if err == nil {
					v.Release()
					_, err = w.o.proveVersion(ctx, ring, k, n)
				}
				switch kms.CodeOf(err) {
				case 0:
					out.Versions++
				case kms.CodeKeyDestroyed:
				case kms.CodeCancelled:
					return err
				default:
					found("key " + k.ID.String() + ": " + kms.AsError(err).Error())
				}
			}
		}
		if next.IsZero() {
			return nil
		}
		after = next
	}
}
