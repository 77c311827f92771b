package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

const rewrapRetry = 5 * time.Second // until a campaign that waits looks again

// step is one turn of one key's campaign.
type step struct {
	e        *Engine
	o        *opened
	mark     *records.Wanted
	at       *campaignAt
	key      records.Key
	campaign records.Campaign
	rows     int // that were looked at
}

func (s *step) next(ctx context.Context) (worked bool, err error) {
	if s.key, err = s.o.records.Key(ctx, s.mark.Namespace, s.mark.Key); err != nil {
		return false, err
	}
	if s.campaign, err = s.o.records.Campaign(ctx, s.mark.Key); err != nil {
		return false, err
	}
	under := s.campaign.Rev != 0 && s.campaign.State == records.CampaignRunning
	switch {
	case s.key.Rev == 0 || s.key.Switch == kms.DestroyedKey:
		return true, s.give(ctx, under)
	case s.campaign.State == records.CampaignPaused:
		return true, s.unmark(ctx)
	}
	if !under { // the usual end of a rotation: no data keys, and no reason to open the key
		some, err := s.anyLeft(ctx)
		if err != nil {
			return false, err
		}
		if !some {
			return true, s.unmark(ctx)
		}
	}
	if why := s.forbidden(ctx); why != nil {
		s.e.campaigns.hold(s.at, time.Now().Add(rewrapRetry), why.Error())
		return false, nil
	}
	s.e.campaigns.hold(s.at, time.Time{}, "")
	if !under || s.campaign.Target != s.key.Primary {
		return true, s.aim(ctx, under)
	}
	return true, s.page(ctx)
}

// forbidden tells why the key does not re-wrap now.
func (s *step) forbidden(ctx context.Context) error {
	k := &s.key.Key
	if err := lifecycle.KeyPermits(k.Switch, lifecycle.Rewrap, lifecycle.Terms{Freeze: k.Freeze}); err != nil {
		return err
	}
	v, err := s.version(ctx, k.Primary, lifecycle.Protect)
	if err != nil {
		return err
	}
	v.Release()
	return nil
}

// version opens a version of the key if its state permits a need. What protects may do so although the key is suspended: inside, nothing new is protected.
func (s *step) version(ctx context.Context, n uint32, need lifecycle.Need) (*keyring.Version, error) {
	v, err := s.o.ring.Version(ctx, &keyring.Key{Key: s.key.Key}, n)
	if err != nil {
		return nil, err
	}
	now := s.e.now()
	err = lifecycle.VersionPermits(lifecycle.StateAt(&v.Version, now), need, lifecycle.TermsAt(&s.key.Key, &v.Version, now))
	if err == nil && lifecycle.Expired(&v.Version, now) {
		err = kms.Errorf(kms.CodeMaterialExpired, "the imported material of version %d expired at %s", n, spelt(v.ExpiresAt))
	}
	if err != nil {
		v.Release()
		return nil, err
	}
	if v.Handle == nil { // a compromised version that is in the archive
		return s.o.ring.Archived(ctx, &keyring.Key{Key: s.key.Key}, n)
	}
	return v, nil
}

// unchanged reads the key and the campaign within the transaction, and fails if they are not as they were seen.
func (s *step) unchanged(tx *records.Tx) (records.Campaign, error) {
	k, _, err := tx.Key(s.mark.Namespace, s.mark.Key)
	if err != nil {
		return records.Campaign{}, err
	}
	c, _, err := tx.Campaign(s.mark.Key)
	if err == nil && (k.Rev != s.key.Rev || c.Rev != s.campaign.Rev) {
		err = errStale
	}
	return c, err
}

// unmark forgets that a campaign was wanted, if nothing has changed.
func (s *step) unmark(ctx context.Context) error {
	_, _, err := s.o.records.Update(ctx, func(tx *records.Tx) error {
		if _, err := s.unchanged(tx); err != nil {
			return err
		}
		return tx.EndWanted(s.mark.Key)
	})
	s.e.campaigns.forget(s.mark.Key)
	return err
}

// record makes a change of the campaign with its audit record.
func (s *step) record(ctx context.Context, do func(w *work, tx *records.Tx, c *records.Campaign) error) error {
	return s.e.direct(ctx, s.o, kms.Call{Namespace: s.mark.Namespace}, kms.RewrapDataKeys, func(w *work, tx *records.Tx) error {
		c, err := s.unchanged(tx)
		if err != nil {
			return err
		}
		w.rec.Items, w.rec.Bytes = nil, 0
		w.rec.Resource = clipTo(s.key.Name, 255)
		w.rec.Keys = append(w.rec.Keys[:0], keyUse(s.mark.Key, s.key.Primary, s.key.Rev))
		previous := c.Change
		if err := do(w, tx, &c); err != nil {
			return err
		}
		then := w.stamp // what else wants the leaf hash
		w.onCommit(previous, func(leaf [32]byte) error {
			if then != nil {
				if err := then(leaf); err != nil {
					return err
				}
			}
			c.Change, c.Changed = leaf, w.now.UTC()
			return tx.PutCampaign(c)
		})
		return nil
	})
}
