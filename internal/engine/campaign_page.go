package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// A page is one transaction and one audit record: of each data key a condition, its row and two of the index, beside the outbox, the key and the campaign.
const (
	rewrapPage = 25               // data keys in one page
	workedGap  = 10 * time.Second // between two pages, beyond which a campaign is taken not to have worked
)

// page re-wraps the next data keys, or ends the campaign if there are none.
func (s *step) page(ctx context.Context) error {
	from, ids, err := s.choose(ctx)
	if err != nil {
		return err
	}
	if from == nil {
		return s.finish(ctx)
	}
	defer from.Release()
	to, err := s.version(ctx, s.key.Primary, lifecycle.Protect)
	if err != nil {
		return err
	}
	defer to.Release()
	s.rows = len(ids)
	err = s.rewrap(ctx, from, to, ids)
	switch {
	case errors.Is(err, errStale):
		return err
	case kms.CodeOf(err) == kms.CodeRecordDamaged && len(ids) > 1:
		s.at.single = len(ids) // one of them is damaged: the others are not to suffer
		return nil
	case kms.CodeOf(err) == kms.CodeRecordDamaged:
	case err != nil:
		return err
	}
	s.at.single = max(s.at.single-1, 0)
	s.at.after = ids[len(ids)-1]
	return nil
}

// choose finds data keys under a version that can be opened. A nil version: there are none. It goes on behind the page before: what was re-wrapped
// leaves traces in the store's index for a while, and a search from its beginning would pass over all of them for each page.
func (s *step) choose(ctx context.Context) (*keyring.Version, []kms.ID, error) {
	for {
		if v, ids, err := s.pick(ctx); err != nil || v != nil {
			return v, ids, err
		}
		n, err := s.o.records.NextDataKeyVersion(ctx, s.mark.Key, records.Held, s.at.version)
		if err != nil || n == 0 {
			return nil, nil, err
		}
		s.at.version, s.at.after, s.at.single = n, kms.ID{}, 0
	}
}

// pick opens the version that is under way, and finds the next data keys under it. A nil version: there are none that can be re-wrapped, and why is noted.
func (s *step) pick(ctx context.Context) (*keyring.Version, []kms.ID, error) {
	n := s.at.version
	if _, stuck := s.at.stuck[n]; stuck || n == 0 || n == s.key.Primary {
		return nil, nil, nil
	}
	v, err := s.version(ctx, n, lifecycle.Rewrap)
	if err != nil {
		if k := kms.AsError(err).Kind(); k == kms.KindUnavailable || k == kms.KindInternal {
			return nil, nil, err
		}
		s.at.stuck[n] = kms.AsError(err).What
		return nil, nil, nil
	}
	most := rewrapPage
	if s.at.single > 0 {
		most = 1
	}
	ids, err := s.o.records.DataKeyIDs(ctx, s.mark.Key, records.Held, n, s.at.after, most)
	if err != nil || len(ids) == 0 {
		v.Release()
		if err == nil {
			s.at.stuck[n] = "they do not open" // if any is left
		}
		return nil, nil, err
	}
	return v, ids, nil
}

// rewrap brings a page of data keys under another version. Each one is written only if it is as it was read.
func (s *step) rewrap(ctx context.Context, from, to *keyring.Version, ids []kms.ID) error {
	began := time.Now()
	return s.record(ctx, func(w *work, tx *records.Tx, c *records.Campaign) error {
		was, err := tx.DataKeysOf(s.mark.Key, ids)
		if err != nil {
			return err
		}
		old, done := make([]records.DataKey, 0, len(was)), make([]records.DataKey, 0, len(was))
		var share shared
		failed := 0
		for i := range was {
			d := was[i]
			if d.Rev == 0 || d.State != records.DataKeyActive || d.Version != from.Number {
				continue // revoked or re-wrapped meanwhile
			}
			runtime.Gosched() // who waits for an answer goes first
			wrapped, err := s.e.rewrapOne(&share, &s.key.Key, from, to, &d)
			item := audit.Item{Bytes: uint32(len(d.Wrapped))} //nolint:gosec // G115: at most a stored value
			if err != nil {
				failed++
				item.Code = kms.AsError(err).Code
			} else {
				d.Wrapped, d.Version, d.Rewrapped = wrapped, to.Number, w.now.UTC()
				d.Wraps++
				old, done = append(old, was[i]), append(done, d)
			}
			w.rec.Items = append(w.rec.Items, item)
			w.rec.Bytes += uint64(item.Bytes)
		}
		w.rec.Keys = append(w.rec.Keys[:0], keyUse(s.mark.Key, from.Number, s.key.Rev), keyUse(s.mark.Key, to.Number, s.key.Rev))
		c.Done, c.Failed, c.Pages = c.Done+uint64(len(done)), c.Failed+uint64(failed), c.Pages+1 //nolint:gosec // G115: counts
		c.Worked += s.worked(w.now, c, began).Milliseconds()
		w.rec.Detail = fmt.Sprintf("campaign %s page %d: %d data keys from version %d to %d, %s to %s", c.ID, c.Pages, len(done), from.Number, to.Number, ids[0], ids[len(ids)-1])
		if failed > 0 {
			w.rec.Detail += fmt.Sprintf("; %d do not open", failed)
		}
		w.stamp = func(leaf [32]byte) error {
			for i := range done {
				done[i].Change = leaf
				if err := tx.PutDataKey(old[i], done[i]); err != nil {
					return err
				}
			}
			return nil
		}
		return nil
	})
}

// worked is the time since the page before, unless the campaign stood still between them.
func (s *step) worked(now time.Time, c *records.Campaign, began time.Time) time.Duration {
	if gap := now.Sub(c.Changed); gap >= 0 && gap < workedGap {
		return gap
	}
	return time.Since(began)
}

// rewrapOne opens a data key with one version and seals it with another.
func (e *Engine) rewrapOne(share *shared, k *kms.Key, from, to *keyring.Version, d *records.DataKey) ([]byte, error) {
	h, body, err := blob.Parse(d.Wrapped)
	if err != nil {
		return nil, err
	}
	if h.Key != k.ID || h.Version != from.Number {
		return nil, kms.Errorf(kms.CodeWrongKey, "the data key is under version %d of key %s, and not where its record says", h.Version, h.Key)
	}
	old, err := kms.CheckScheme(from.Algorithm, k.Usage, kms.NoScheme, e.cfg.Profile, false)
	if err != nil {
		return nil, err
	}
	share.aad = appendAAD(share.aad[:0], k.ID, d.Context, d.AAD)
	plain, err := from.Handle.Open(nil, d.Wrapped[:len(d.Wrapped)-len(body)], body, share.aad, old)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	s, err := kms.CheckScheme(to.Algorithm, k.Usage, kms.NoScheme, e.cfg.Profile, true)
	if err != nil {
		return nil, err
	}
	return sealItem(share, admitted{Key: &keyring.Key{Key: *k}}, to, s, false, plain, d.Context, d.AAD)
}
