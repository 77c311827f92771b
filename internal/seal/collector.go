package seal

import (
	"slices"
	"sync"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/shares"
	"github.com/keyhold/keyhold/internal/secret"
)

// Collector takes custodian shares one by one until they open the root key. It is safe for concurrent use.
// The first share says which share set is being collected.
type Collector struct {
	config *Config

	mu    sync.Mutex // guards given
	given []*shares.Share
}

// Progress says how far a collection is. It holds nothing secret.
type Progress struct {
	Recipient kms.ID // zero until the first share
	K, N      int    // 0 until the first share, unless there is one share set only
	Given     []int  // indexes, ascending
}

// Complete tells whether enough shares are there.
func (p Progress) Complete() bool { return p.K > 0 && len(p.Given) >= p.K }

// NewCollector collects shares for the share recipients of a configuration. Errors: CodeNotFound if it has none.
func NewCollector(c *Config) (*Collector, error) {
	if err := c.has(KindShares); err != nil {
		return nil, err
	}
	return &Collector{config: c}, nil
}

// Add takes the text of one share, which stays the caller's. A share is checked by itself and against those before it;
// one that is refused leaves the collection as it was. Every error is CodeBadShare.
func (c *Collector) Add(text *secret.Bytes) (Progress, error) {
	s, err := shares.Parse(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.refuse(s)
	}
	if err != nil {
		s.Zero()
		return c.progress(), err
	}
	c.given = append(c.given, s)
	return c.progress(), nil
}

// refuse says why a share cannot be taken.
func (c *Collector) refuse(s *shares.Share) error {
	r, ok := c.recipient(s.Set)
	if !ok {
		return kms.Errorf(kms.CodeBadShare, "the share is of set %s, which does not open this root key: it is of another cluster, or was replaced", s.Set)
	}
	if q, _ := r.Quorum(); q.K != int(s.K) || q.N != int(s.N) {
		return kms.Errorf(kms.CodeBadShare, "the share says %d of %d, its set is %d of %d", s.K, s.N, q.K, q.N)
	}
	for _, have := range c.given {
		if err := have.Fits(s); err != nil {
			return err
		}
		if have.Equal(s) {
			return kms.Errorf(kms.CodeBadShare, "share %d was given already", s.Index)
		}
		if have.Index == s.Index {
			return kms.Errorf(kms.CodeBadShare, "another share with number %d was given already: one of the two is false", s.Index)
		}
	}
	if len(c.given) >= int(s.K) {
		return kms.Errorf(kms.CodeBadShare, "%d shares are there already, no more are needed", s.K)
	}
	return nil
}

func (c *Collector) recipient(set shares.SetID) (Recipient, bool) {
	for _, r := range c.config.recipients {
		if q, ok := r.Quorum(); ok && q.Set == set {
			return r, true
		}
	}
	return Recipient{}, false
}

// Progress tells how far the collection is.
func (c *Collector) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress()
}

func (c *Collector) progress() Progress {
	var p Progress
	sets := 0
	for _, r := range c.config.recipients {
		q, ok := r.Quorum()
		if !ok || len(c.given) > 0 && q.Set != c.given[0].Set {
			continue
		}
		sets++
		p = Progress{Recipient: r.ID, K: q.K, N: q.N}
	}
	if len(c.given) == 0 {
		p.Recipient = kms.ID{}
		if sets > 1 {
			return Progress{}
		}
	}
	for _, s := range c.given {
		p.Given = append(p.Given, int(s.Index))
	}
	slices.Sort(p.Given)
	return p
}

// Private combines the shares into the recipient's private key, and forgets them, whatever the outcome: where they do
// not fit together it cannot be told which of them is false.
// Errors: CodeBadShare if shares are missing (nothing is forgotten then), CodeWrongShares.
func (c *Collector) Private() (*Private, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.progress(); !p.Complete() {
		return nil, kms.Errorf(kms.CodeBadShare, "%d of the %d shares needed are there", len(p.Given), p.K)
	}
	defer c.reset()
	seed, err := shares.Combine(c.given)
	if err != nil {
		return nil, err
	}
	defer seed.Zero()
	return c.config.WithSeed(KindShares, seed)
}

// Open combines the shares and opens the root key with them.
// Errors: CodeBadShare if shares are missing, CodeWrongShares, CodeRecordDamaged.
func (c *Collector) Open() (*Root, error) {
	p, err := c.Private()
	if err != nil {
		return nil, err
	}
	defer p.Zero()
	return c.config.Open(p)
}

// Reset forgets and erases every share.
func (c *Collector) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

func (c *Collector) reset() {
	for _, s := range c.given {
		s.Zero()
	}
	c.given = nil
}
