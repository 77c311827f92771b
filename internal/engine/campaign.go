package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/datakey"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// MaxCampaignRate is the highest rate that can be asked for, in data keys a second.
const MaxCampaignRate = 1_000_000

// The descriptors of campaigns. What a campaign does by itself begins in campaign_run.go.
var (
	startCampaign = change[CampaignInput, CampaignOutput]{
		name:  kms.RewrapDataKeys,
		roles: campaignRole(kms.RewrapDataKeys, lifecycle.Manage), // of a key that is disabled, it waits
		check: checkRate,
		do:    doStartCampaign,
	}
	pauseCampaign = control("paused", func(tx *records.Tx, c *records.Campaign, _ *CampaignInput, _ time.Time) error {
		if c.State == records.CampaignPaused {
			return kms.Errorf(kms.CodeAlreadyDone, "the campaign is paused already")
		}
		c.State = records.CampaignPaused
		return tx.EndWanted(c.Key)
	})
	resumeCampaign = control("goes on", func(tx *records.Tx, c *records.Campaign, _ *CampaignInput, _ time.Time) error {
		if c.State == records.CampaignRunning {
			return kms.Errorf(kms.CodeAlreadyDone, "the campaign is running already")
		}
		c.State = records.CampaignRunning
		return tx.WantRewrap(records.Wanted{Namespace: c.Namespace, Key: c.Key, Cause: c.Cause, By: c.By})
	})
	cancelCampaign = control("cancelled", func(tx *records.Tx, c *records.Campaign, _ *CampaignInput, now time.Time) error {
		c.State, c.Ended = records.CampaignCancelled, now
		c.Left = c.Total - min(c.Done, c.Total)
		return tx.EndWanted(c.Key)
	})
	setCampaignRate = control("rate set", func(_ *records.Tx, c *records.Campaign, in *CampaignInput, _ time.Time) error {
		if in.Rate == nil {
			return kms.Errorf(kms.CodeBadRequest, "the request names no rate")
		}
		c.Rate = *in.Rate
		return nil
	})
	readCampaign = op[CampaignInput, CampaignOutput]{
		name:  kms.ReadCampaign,
		roles: campaignRole(kms.ReadCampaign, lifecycle.Read),
		do: func(ctx context.Context, w *work, _ *CampaignInput) (CampaignOutput, error) {
			k := w.keys[0]
			c, err := w.o.records.Campaign(ctx, k.ID)
			if err != nil {
				return CampaignOutput{}, err
			}
			if c.Rev == 0 {
				return CampaignOutput{}, noCampaign(k.Name)
			}
			return CampaignOutput{Campaign: w.e.showCampaign(&c, k.Name)}, nil
		},
	}
	listCampaigns = op[PageInput, CampaignsOutput]{
		name:      kms.ReadCampaign,
		check:     func(in *PageInput) error { return checkLimit(&in.Limit) },
		authorize: func(w *work, _ *PageInput) error { return w.authorizeNamespace(kms.ListKeys) },
		do:        doListCampaigns,
	}
)

func campaignRole(a kms.Action, need lifecycle.Need) []role[CampaignInput] {
	return []role[CampaignInput]{{action: a, need: need, key: func(in *CampaignInput) (kms.Ref, error) { return in.Key, nil }}}
}

func checkRate(in *CampaignInput) error {
	if in.Rate != nil && *in.Rate > MaxCampaignRate {
		return kms.Errorf(kms.CodeTooLarge, "%d data keys a second were asked for: want at most %d, or 0 for as many as the load permits", *in.Rate, MaxCampaignRate)
	}
	return nil
}

func noCampaign(name string) error {
	return kms.Errorf(kms.CodeNotFound, "there was no campaign of key %q", name)
}

// StartCampaign begins a campaign by hand, for what an earlier one left. A rotation begins one by itself.
func (e *Engine) StartCampaign(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	out, err := alter(ctx, e, c, &startCampaign, &in)
	return out, e.atOnce(&out, err)
}

// PauseCampaign stops a campaign until it is resumed, also through restarts.
func (e *Engine) PauseCampaign(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	return alter(ctx, e, c, &pauseCampaign, &in)
}

// ResumeCampaign lets a paused campaign go on.
func (e *Engine) ResumeCampaign(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	out, err := alter(ctx, e, c, &resumeCampaign, &in)
	return out, e.atOnce(&out, err)
}

// atOnce lets a campaign that was asked for begin now, whatever it waited for before.
func (e *Engine) atOnce(out *CampaignOutput, err error) error {
	if err == nil {
		e.campaigns.forget(out.Campaign.Key)
		e.jobs.kick()
	}
	return err
}

// CancelCampaign ends a campaign. What it has re-wrapped stays so.
func (e *Engine) CancelCampaign(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	return alter(ctx, e, c, &cancelCampaign, &in)
}

// SetCampaignRate limits how many data keys a second a campaign re-wraps.
func (e *Engine) SetCampaignRate(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	return alter(ctx, e, c, &setCampaignRate, &in)
}

// ReadCampaign answers the newest campaign of a key.
func (e *Engine) ReadCampaign(ctx context.Context, c kms.Call, in CampaignInput) (CampaignOutput, error) {
	return use(ctx, e, c, &readCampaign, &in)
}

// ListCampaigns pages through the newest campaigns of the keys of a namespace.
func (e *Engine) ListCampaigns(ctx context.Context, c kms.Call, in PageInput) (CampaignsOutput, error) {
	return use(ctx, e, c, &listCampaigns, &in)
}

func doStartCampaign(_ context.Context, w *work, tx *records.Tx, in *CampaignInput) (CampaignOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return CampaignOutput{}, err
	}
	c, there, err := tx.Campaign(k.ID)
	if err != nil {
		return CampaignOutput{}, err
	}
	if there && (c.State == records.CampaignRunning || c.State == records.CampaignPaused) {
		e := kms.Errorf(kms.CodeCampaign, "a campaign of key %q is under way: it brings every data key under version %d", k.Name, k.Primary)
		if c.State == records.CampaignPaused {
			e.Next = "resume it: keyhold campaign resume NAME"
		}
		return CampaignOutput{}, e
	}
	previous := c.Change
	c = records.Campaign{ID: w.e.newID(w.now), Namespace: k.Namespace, Key: k.ID, State: records.CampaignRunning, Cause: "by hand",
		Began: w.now.UTC(), Changed: w.now.UTC(), By: w.call.Principal.Name}
	if in.Rate != nil {
		c.Rate = *in.Rate
	}
	w.rec.Detail = "campaign " + c.ID.String() + " asked for"
	w.onCommit(previous, func(leaf [32]byte) error {
		c.Change = leaf
		if err := tx.WantRewrap(records.Wanted{Namespace: k.Namespace, Key: k.ID, Cause: c.Cause, By: c.By, Rate: c.Rate}); err != nil {
			return err
		}
		return tx.PutCampaign(c)
	})
	shown := w.e.showCampaign(&c, k.Name)
	shown.Target = k.Primary
	return CampaignOutput{Campaign: shown}, nil
}

// control is a change of a campaign that is under way.
func control(what string, turn func(*records.Tx, *records.Campaign, *CampaignInput, time.Time) error) change[CampaignInput, CampaignOutput] {
	return change[CampaignInput, CampaignOutput]{
		name:  kms.ControlCampaign,
		roles: campaignRole(kms.ControlCampaign, lifecycle.Read),
		check: checkRate,
		do: func(_ context.Context, w *work, tx *records.Tx, in *CampaignInput) (CampaignOutput, error) {
			k, err := w.key(tx)
			if err != nil {
				return CampaignOutput{}, err
			}
			c, there, err := tx.Campaign(k.ID)
			switch {
			case err != nil:
				return CampaignOutput{}, err
			case !there:
				return CampaignOutput{}, noCampaign(k.Name)
			case c.State != records.CampaignRunning && c.State != records.CampaignPaused:
				return CampaignOutput{}, kms.Errorf(kms.CodeCampaign, "the last campaign of key %q is over: it was %s at %s", k.Name, campaignState(c.State), spelt(c.Ended))
			}
			if err := turn(tx, &c, in, w.now.UTC()); err != nil {
				return CampaignOutput{}, err
			}
			c.Changed = w.now.UTC()
			w.rec.Detail = "campaign " + c.ID.String() + " " + what
			w.onCommit(c.Change, func(leaf [32]byte) error {
				c.Change = leaf
				return tx.PutCampaign(c)
			})
			return CampaignOutput{Campaign: w.e.showCampaign(&c, k.Name)}, nil
		},
	}
}

// doListCampaigns shows only campaigns of keys whose campaigns the caller may read.
func doListCampaigns(ctx context.Context, w *work, in *PageInput) (out CampaignsOutput, err error) {
	var after kms.ID
	if in.Page != "" {
		var ok bool
		if after, ok = pageID(in.Page); !ok {
			return out, badPage()
		}
	}
	for scanned := 0; scanned < scannedAtMost; {
		page, next, err := w.o.records.Campaigns(ctx, after, scanPage)
		if err != nil {
			return out, err
		}
		scanned += len(page)
		for i := range page {
			c := &page[i]
			after = c.Key
			if c.Namespace != w.call.Namespace {
				continue
			}
			k, err := w.o.records.Key(ctx, c.Namespace, c.Key)
			if err != nil {
				return out, err
			}
			if k.Rev == 0 {
				continue
			}
			if may, err := w.wouldAllow(ctx, &k.Key, kms.ReadCampaign); err != nil {
				return out, err
			} else if !may {
				continue
			}
			out.Campaigns = append(out.Campaigns, w.e.showCampaign(c, k.Name))
			if len(out.Campaigns) == in.Limit {
				out.Next = pageOf(after)
				return out, nil
			}
		}
		if next.IsZero() {
			return out, nil
		}
	}
	out.Next = pageOf(after)
	return out, nil
}

func campaignState(s records.CampaignState) string {
	switch s {
	case records.CampaignRunning:
		return "running"
	case records.CampaignPaused:
		return "paused"
	case records.CampaignCancelled:
		return "cancelled"
	case records.CampaignDone:
		return "done"
	}
	return "unknown"
}

// showCampaign adds what only this process knows: how fast it goes, and what it waits for.
func (e *Engine) showCampaign(c *records.Campaign, name string) CampaignInfo {
	out := CampaignInfo{
		ID: c.ID, Key: c.Key, KeyName: name, State: campaignState(c.State), Target: c.Target, Cause: c.Cause, Rate: c.Rate, Total: c.Total, Done: c.Done,
		Failed: c.Failed, Left: c.Left, Pages: c.Pages, Note: c.Note, Began: c.Began, By: c.By, Ended: c.Ended, Worked: float64(c.Worked) / 1000,
	}
	if c.State != records.CampaignRunning {
		return out
	}
	out.Left = c.Total - min(c.Done, c.Total)
	speed, why := e.campaigns.look(c.Key)
	if why != "" {
		out.State, out.Note = "waiting", why
		return out
	}
	out.PerSecond, out.Remaining = speed, datakey.Remaining(out.Left, speed).Seconds()
	return out
}
