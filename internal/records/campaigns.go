package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// CampaignState is where a campaign stands. The numbers are part of the format: append only.
type CampaignState uint8

// The states of a campaign.
const (
	CampaignRunning CampaignState = iota + 1
	CampaignPaused
	CampaignCancelled
	CampaignDone
)

// Campaign brings the managed data keys of one key under its primary version. There is one for each key: the running one, or the last.
// How far it is, the index of data keys says; the numbers here are for those who watch.
type Campaign struct {
	ID        kms.ID        `json:"id"`
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key"`
	State     CampaignState `json:"state"`
	Target    uint32        `json:"target"` // version
	Cause     string        `json:"cause"`
	Rate      uint32        `json:"rate,omitzero"` // data keys a second at most; 0: as the server's load permits
	Total     uint64        `json:"total"`         // data keys to re-wrap, as counted when it began and when it was aimed anew
	Done      uint64        `json:"done"`          // re-wrapped, over all targets
	Failed    uint64        `json:"failed"`        // of Left, those that were tried and did not open
	Left      uint64        `json:"left"`          // under other versions than the primary, when it ended
	Pages     uint64        `json:"pages"`
	Note      string        `json:"note,omitempty"` // why it waits, or what is left
	Began     time.Time     `json:"began"`
	By        string        `json:"by"`
	Changed   time.Time     `json:"changed"`
	Worked    int64         `json:"worked"` // milliseconds that it ran, without pauses
	Ended     time.Time     `json:"ended,omitzero"`
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Wanted marks a key whose data keys may be under an older version: a campaign has to look. It stands from the transaction that makes another
// version primary until the campaign has found none left, so that no crash forgets one.
type Wanted struct {
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key"`
	Cause     string        `json:"cause"`
	By        string        `json:"by"`
	Rate      uint32        `json:"rate,omitzero"`

	Rev kms.Rev `json:"-"`
}

const (
	wantedMark   = 0
	campaignMark = 1
)

func campaignsPath(mark byte, key kms.ID) []byte {
	return append([]byte{byte(kindCampaign), mark}, key[:]...)
}

// Campaign reads the newest campaign of a key; a zero Rev means there was none.
func (r *Records) Campaign(ctx context.Context, key kms.ID) (Campaign, error) {
	c, rev, err := load[Campaign](ctx, r, campaignsPath(campaignMark, key))
	c.Rev = rev
	return c, err
}

// Campaigns reads a page of the campaigns of all keys.
func (r *Records) Campaigns(ctx context.Context, after kms.ID, n int) (all []Campaign, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = campaignsPath(campaignMark, after)
	}
	more, err := scan(ctx, r, []byte{byte(kindCampaign), campaignMark}, from, n, func(_ []byte, c Campaign, rev kms.Rev) {
		c.Rev = rev
		all = append(all, c)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].Key
	}
	return all, next, err
}

// WantedRewraps reads a page of the keys that campaigns have to look at.
func (r *Records) WantedRewraps(ctx context.Context, after kms.ID, n int) (all []Wanted, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = campaignsPath(wantedMark, after)
	}
	more, err := scan(ctx, r, []byte{byte(kindCampaign), wantedMark}, from, n, func(_ []byte, w Wanted, rev kms.Rev) {
		w.Rev = rev
		all = append(all, w)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].Key
	}
	return all, next, err
}

// Campaign reads the newest campaign of a key within the transaction.
func (tx *Tx) Campaign(key kms.ID) (Campaign, bool, error) {
	c, rev, ok, err := fetch[Campaign](tx, campaignsPath(campaignMark, key))
	c.Rev = rev
	return c, ok, err
}

// PutCampaign writes the campaign of a key.
func (tx *Tx) PutCampaign(c Campaign) error { return tx.put(campaignsPath(campaignMark, c.Key), c) }

// Wanted reads the mark of a key.
func (tx *Tx) Wanted(key kms.ID) (Wanted, bool, error) {
	w, rev, ok, err := fetch[Wanted](tx, campaignsPath(wantedMark, key))
	w.Rev = rev
	return w, ok, err
}

// WantRewrap marks a key.
func (tx *Tx) WantRewrap(w Wanted) error { return tx.put(campaignsPath(wantedMark, w.Key), w) }

// EndWanted takes the mark back.
func (tx *Tx) EndWanted(key kms.ID) error { return tx.remove(campaignsPath(wantedMark, key)) }
