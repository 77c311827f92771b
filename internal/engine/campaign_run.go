package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/datakey"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// How campaigns go about it. A page is one transaction and one audit record: of each data key a condition, its row and two of the index, beside the
// outbox, the key and the campaign.
const (
	rewrapPage    = 50               // data keys in one page
	rewrapTurns   = 16               // keys that are looked at in one round, one page each
	rewrapRetry   = 5 * time.Second  // until a campaign that waits looks again
	rewrapKnown   = 4096             // campaigns whose speed is remembered
	countedAtMost = 1 << 24          // data keys, when a campaign is aimed
	workedGap     = 10 * time.Second // between two pages, beyond which a campaign is taken not to have worked
)

// campaigns is what one process knows of the campaigns that it works on. What they do is decided by what is in the store.
type campaigns struct {
	mu    sync.Mutex // guards what follows
	ended chan struct{}
	at    map[kms.ID]*campaignAt
}

// campaignAt is where one campaign is.
type campaignAt struct {
	meter   datakey.Meter
	waits   time.Time         // until then
	why     string            // it waits
	stuck   map[uint32]string // versions of which nothing more can be re-wrapped, and why
	version uint32            // data keys under it …
	after   kms.ID            // … up to this one were tried
	single  int               // data keys to be tried one by one, because one of a page is damaged
}

func (s *campaigns) of(key kms.ID) *campaignAt {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.at[key]
	if a == nil {
		if s.at == nil || len(s.at) >= rewrapKnown {
			s.at = map[kms.ID]*campaignAt{}
		}
		a = &campaignAt{stuck: map[uint32]string{}}
		s.at[key] = a
	}
	return a
}

func (s *campaigns) forget(key kms.ID) {
	s.mu.Lock()
	delete(s.at, key)
	s.mu.Unlock()
}

// working tells whether a run is under way.
func (s *campaigns) working() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended != nil
}

// look answers how fast a campaign goes, or why it waits.
func (s *campaigns) look(key kms.ID) (speed float64, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.at[key]; a != nil {
		return a.meter.PerSecond(), a.why
	}
	return 0, ""
}

func (s *campaigns) hold(a *campaignAt, until time.Time, why string) {
	s.mu.Lock()
	a.waits, a.why = until, why
	s.mu.Unlock()
}

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

// choose finds data keys under a version that can be opened. A nil version: there are none.
func (s *step) choose(ctx context.Context) (*keyring.Version, []kms.ID, error) {
	for n := uint32(0); ; {
		var err error
		if n, err = s.o.records.NextDataKeyVersion(ctx, s.mark.Key, records.Held, n); err != nil || n == 0 {
			return nil, nil, err
		}
		if _, stuck := s.at.stuck[n]; stuck || n == s.key.Primary {
			continue
		}
		if s.at.version != n {
			s.at.version, s.at.after, s.at.single = n, kms.ID{}, 0
		}
		v, err := s.version(ctx, n, lifecycle.Rewrap)
		if err != nil {
			if k := kms.AsError(err).Kind(); k == kms.KindUnavailable || k == kms.KindInternal {
				return nil, nil, err
			}
			s.at.stuck[n] = kms.AsError(err).What
			continue
		}
		most := rewrapPage
		if s.at.single > 0 {
			most = 1
		}
		ids, err := s.o.records.DataKeyIDs(ctx, s.mark.Key, records.Held, n, s.at.after, most)
		if err == nil && len(ids) > 0 {
			return v, ids, nil
		}
		v.Release()
		if err != nil {
			return nil, nil, err
		}
		s.at.stuck[n] = "they do not open"
	}
}

// rewrap brings a page of data keys under another version. Each one is written only if it is as it was read.
func (s *step) rewrap(ctx context.Context, from, to *keyring.Version, ids []kms.ID) error {
	began := time.Now()
	return s.record(ctx, func(w *work, tx *records.Tx, c *records.Campaign) error {
		was, err := tx.DataKeysOf(s.mark.Key, ids)
		if err != nil {
			return err
		}
		var done []records.DataKey
		var old []records.DataKey
		var share shared
		failed := 0
		for i := range was {
			d := was[i]
			if d.Rev == 0 || d.State != records.DataKeyActive || d.Version != from.Number {
				continue // revoked or re-wrapped meanwhile
			}
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
