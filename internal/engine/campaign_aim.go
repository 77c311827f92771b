package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyhold/keyhold/internal/records"
)

const countedAtMost = 1 << 24 // data keys, when a campaign is aimed

// wantRewrap notes, in the transaction that gives a reason for it, that data keys of a key have to come under its primary version.
func wantRewrap(tx *records.Tx, k *records.Key, by, cause string) error {
	return tx.WantRewrap(records.Wanted{Namespace: k.Namespace, Key: k.ID, Cause: cause, By: by})
}

// rewrapIfPrimaryChanged is asked by every change of a key: whatever makes another version primary begins a campaign.
func (w *work) rewrapIfPrimaryChanged(tx *records.Tx, k *records.Key) error {
	was, there, err := tx.Key(k.Namespace, k.ID)
	if err != nil || !there || was.Primary == k.Primary {
		return err
	}
	return wantRewrap(tx, k, w.call.Principal.Name, fmt.Sprintf("version %d became primary", k.Primary))
}

// aim begins a campaign, or turns one towards a newer primary version. Where nothing is under an older version, none begins.
func (s *step) aim(ctx context.Context, under bool) error {
	left, err := s.countLeft(ctx)
	if err != nil {
		return err
	}
	if !under && left.held == 0 {
		return s.unmark(ctx)
	}
	s.e.campaigns.forget(s.mark.Key)
	return s.record(ctx, func(w *work, _ *records.Tx, c *records.Campaign) error {
		verb := "aimed anew"
		if !under {
			*c = records.Campaign{ID: s.e.newID(w.now), Namespace: s.mark.Namespace, Key: s.mark.Key, State: records.CampaignRunning,
				Cause: s.mark.Cause, By: s.mark.By, Rate: s.mark.Rate, Began: w.now.UTC()}
		}
		if c.Target == 0 {
			verb = "begins"
		}
		c.Target, c.Total = s.key.Primary, c.Done+uint64(left.held) //nolint:gosec // G115: a count
		w.rec.Detail = clipTo(fmt.Sprintf("campaign %s %s: %d data keys to version %d%s", c.ID, verb, left.held, c.Target, left.where()), 1024)
		return nil
	})
}

// give ends the campaign of a key that is gone.
func (s *step) give(ctx context.Context, under bool) error {
	if !under {
		return s.unmark(ctx)
	}
	err := s.record(ctx, func(w *work, tx *records.Tx, c *records.Campaign) error {
		c.State, c.Ended, c.Left = records.CampaignCancelled, w.now.UTC(), c.Total-min(c.Done, c.Total)
		c.Note = "the key was destroyed"
		w.rec.Detail = "campaign " + c.ID.String() + " ends: " + c.Note
		return tx.EndWanted(s.mark.Key)
	})
	s.e.campaigns.forget(s.mark.Key)
	return err
}

// finish ends a campaign that has nothing more to do. What is left is said, with its reason.
func (s *step) finish(ctx context.Context) error {
	left, err := s.countLeft(ctx)
	if err != nil {
		return err
	}
	var note strings.Builder
	for _, v := range left.versions {
		why := s.at.stuck[v.Version]
		if why == "" {
			s.e.campaigns.forget(s.mark.Key)
			return errStale // one that came under an older version although none can: look again
		}
		fmt.Fprintf(&note, "%d left under version %d: %s. ", v.Held, v.Version, why)
	}
	if left.held == 0 {
		fmt.Fprintf(&note, "0 data keys left under versions other than %d. ", s.key.Primary)
	}
	if left.outside > 0 {
		fmt.Fprintf(&note, "%d known by fingerprint are under other versions: who holds them has to re-wrap them. ", left.outside)
	}
	err = s.record(ctx, func(w *work, tx *records.Tx, c *records.Campaign) error {
		c.State, c.Ended = records.CampaignDone, w.now.UTC()
		c.Left = uint64(left.held) //nolint:gosec // G115: a count
		c.Note = clipTo(strings.TrimSpace(note.String()), 512)
		w.rec.Detail = clipTo(fmt.Sprintf("campaign %s ends: %d re-wrapped in %d pages. %s", c.ID, c.Done, c.Pages, c.Note), 1024)
		return tx.EndWanted(s.mark.Key)
	})
	if err == nil {
		s.e.campaigns.forget(s.mark.Key)
	}
	return err
}

// leftOver counts the data keys that are not under the primary version.
type leftOver struct {
	held, outside int
	versions      []DataKeyCount
}

func (l *leftOver) where() string {
	var parts []string
	for _, v := range l.versions {
		parts = append(parts, fmt.Sprintf("%d under version %d", v.Held, v.Version))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// anyLeft tells whether a data key that is kept here is under another version than the primary one.
func (s *step) anyLeft(ctx context.Context) (bool, error) {
	for v := uint32(0); ; {
		var err error
		if v, err = s.o.records.NextDataKeyVersion(ctx, s.mark.Key, records.Held, v); err != nil || v == 0 {
			return false, err
		}
		if v != s.key.Primary {
			return true, nil
		}
	}
}

func (s *step) countLeft(ctx context.Context) (l leftOver, err error) {
	for _, h := range []records.Holding{records.Held, records.Outside} {
		for v := uint32(0); ; {
			if v, err = s.o.records.NextDataKeyVersion(ctx, s.mark.Key, h, v); err != nil {
				return l, err
			}
			if v == 0 {
				break
			}
			if v == s.key.Primary {
				continue
			}
			n, err := s.o.records.CountDataKeysHeld(ctx, s.mark.Key, h, v, countedAtMost)
			if err != nil {
				return l, err
			}
			if h == records.Outside {
				l.outside += n
				continue
			}
			l.held += n
			if len(l.versions) < maxCountedOf {
				l.versions = append(l.versions, DataKeyCount{Version: v, Held: n})
			}
		}
	}
	return l, nil
}
