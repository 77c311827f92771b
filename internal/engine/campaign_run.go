package engine

import (
	"context"
	"errors"
	"time"

	"github.com/keyhold/keyhold/internal/datakey"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

const rewrapTurns = 16 // keys that are looked at in one round, one page each

// rewrapWanted begins the work of campaigns beside whatever else happens, if there is any.
func (e *Engine) rewrapWanted(ctx context.Context, o *opened) error {
	some, _, err := o.records.WantedRewraps(ctx, kms.ID{}, 1)
	if err != nil || len(some) == 0 {
		return err
	}
	s := &e.campaigns
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || e.closed.Load() {
		return nil
	}
	s.ended = make(chan struct{})
	over := s.ended
	e.work.Go(func() {
		defer func() {
			s.mu.Lock()
			s.ended = nil
			s.mu.Unlock()
			close(over)
		}()
		e.do(jobRewrap, e.runCampaigns)
	})
	return nil
}

// runCampaigns goes round the keys that want one, a page each, until there is nothing to do or it has to wait.
func (e *Engine) runCampaigns() error {
	var after kms.ID
	r := campaignRun{e: e}
	for worked := false; ; {
		some, next, err := r.round(after)
		worked = worked || some
		if err != nil || next.IsZero() && !worked {
			return err
		}
		if after = next; after.IsZero() {
			worked = false
		}
		if !e.rest(0) {
			return nil
		}
	}
}

// campaignRun is one run of the campaigns' job.
type campaignRun struct {
	e       *Engine
	pacer   datakey.Pacer
	overrun time.Duration
}

// round gives each of the next keys one turn.
func (r *campaignRun) round(after kms.ID) (worked bool, next kms.ID, err error) {
	var wanted []records.Wanted
	err = r.opened(func(o *opened) (err error) {
		wanted, next, err = o.records.WantedRewraps(context.Background(), after, rewrapTurns)
		return err
	})
	for i := range wanted {
		if err != nil {
			break
		}
		some := false
		err = r.opened(func(o *opened) (err error) {
			some, err = r.turn(context.Background(), o, &wanted[i]) // a page is short
			return err
		})
		worked = worked || some
	}
	return worked, next, err
}

// opened runs something that needs the server unsealed: nothing if it is sealed or stops. Between two of these it can be sealed.
func (r *campaignRun) opened(f func(*opened) error) error {
	o, ok := r.e.holds()
	if !ok {
		return nil
	}
	defer o.release()
	return f(o)
}

// turn does the next thing that a key's campaign needs, and rests.
func (r *campaignRun) turn(ctx context.Context, o *opened, m *records.Wanted) (worked bool, err error) {
	at := r.e.campaigns.of(m.Key)
	if time.Now().Before(at.waits) {
		return false, nil
	}
	s := step{e: r.e, o: o, mark: m, at: at}
	began := time.Now()
	worked, err = s.next(ctx)
	if errors.Is(err, errStale) {
		return true, nil // something came between: the next turn sees it
	}
	if err != nil || s.rows == 0 {
		return worked, err
	}
	r.e.jobs.set(jobRewrap, func(i *JobInfo) { i.State = "running" })
	took := time.Since(began)
	others := int(o.users.Load()) - 1
	pause := r.pacer.Next(datakey.Sample{Took: took, Overrun: r.overrun, Rows: s.rows, Others: others}, s.campaign.Rate)
	r.e.campaigns.mu.Lock()
	at.meter.Add(s.rows, took+pause)
	r.e.campaigns.mu.Unlock()
	r.pause(o, pause)
	return true, nil
}

// pause rests. Meanwhile the server can be sealed: who seals waits for users, and this one is none.
func (r *campaignRun) pause(o *opened, d time.Duration) {
	o.users.Add(-1)
	defer o.users.Add(1)
	began := time.Now()
	const look = time.Second // a long rest, at a low rate, ends when the server does
	for left := d; left > 0; left = d - time.Since(began) {
		if !r.e.rest(min(left, look)) {
			return
		}
	}
	r.overrun = max(time.Since(began)-d, 0)
}
