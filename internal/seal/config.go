package seal

import (
	"bytes"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Config is the seal configuration: which root generations there are, and the root key sealed to each recipient.
// It is public, and is kept as one row in the clear. It is immutable: a change gives a new one, which the caller
// stores (conditionally on the old one) before using what came with it.
//
// Its MAC proves that whoever wrote it held the root key. It cannot prove that it is the newest one: putting an older
// row back is for the store's head to notice, and Serial shows it.
type Config struct {
	cluster     kms.ID
	development bool
	serial      uint64
	generations []Generation // ascending; one, or two during a rotation
	recipients  []Recipient
	mac         [macSize]byte // under the newest generation
}

// Generation is one root key.
type Generation struct {
	Number  uint32
	Created time.Time
	Check   [16]byte // check value: a hash of key, cluster and number; tells nothing of the key
}

// Cluster is the id that everything sealed below is bound to.
func (c *Config) Cluster() kms.ID { return c.cluster }

// Development tells whether the store is marked as a development store, for ever.
func (c *Config) Development() bool { return c.development }

// Serial is counted up by every change.
func (c *Config) Serial() uint64 { return c.serial }

// Generations lists the root generations, oldest first: two of them while a rotation is under way.
func (c *Config) Generations() []Generation { return slices.Clone(c.generations) }

// Generation is the number of the newest root generation, under which everything new is wrapped.
func (c *Config) Generation() uint32 { return c.newest().Number }

func (c *Config) newest() Generation { return c.generations[len(c.generations)-1] }

// Recipients lists the recipients.
func (c *Config) Recipients() []Recipient { return slices.Clone(c.recipients) }

// Recipient finds a recipient.
func (c *Config) Recipient(id kms.ID) (Recipient, bool) {
	i := slices.IndexFunc(c.recipients, func(r Recipient) bool { return r.ID == id })
	if i < 0 {
		return Recipient{}, false
	}
	return c.recipients[i], true
}

// InitParams is what a new root needs.
type InitParams struct {
	Cluster     kms.ID
	Development bool
	Now         time.Time
	Recipients  []Enrolment // at least two
}

// Init makes the first root key and seals it to every recipient. Errors: CodeBadRequest.
func Init(p InitParams) (*Config, *Root, error) {
	if p.Cluster.IsZero() {
		return nil, nil, kms.Errorf(kms.CodeBadRequest, "the cluster has no id")
	}
	if len(p.Recipients) < MinRecipients {
		return nil, nil, tooFew()
	}
	r := &Root{cluster: p.Cluster}
	if err := r.add(1, secret.Random(RootSize)); err != nil {
		return nil, nil, err
	}
	c := &Config{cluster: p.Cluster, development: p.Development}
	c.generations = []Generation{r.describe(p.Now)}
	for _, e := range p.Recipients {
		if err := c.enrol(r, e); err != nil {
			r.Zero()
			return nil, nil, err
		}
	}
	return r.seal(c), r, nil
}

func tooFew() error {
	return kms.Errorf(kms.CodeBadRequest, "the root key needs at least %d recipients, so that losing one loses nothing", MinRecipients)
}

// enrol adds a recipient to a configuration that is being made, with every generation of the root sealed to it.
func (c *Config) enrol(r *Root, e Enrolment) error {
	if why := e.r.flaw(); why != "" {
		return kms.Errorf(kms.CodeBadRequest, "the recipient %s", why)
	}
	if len(c.recipients) >= MaxRecipients {
		return kms.Errorf(kms.CodeTooLarge, "the root key has %d recipients, the limit is %d", len(c.recipients), MaxRecipients)
	}
	for _, have := range c.recipients {
		if have.ID == e.r.ID || have.Label == e.r.Label {
			return kms.Errorf(kms.CodeExists, "there is a recipient %q already", have.Label)
		}
		if bytes.Equal(have.Public, e.r.Public) {
			return kms.Errorf(kms.CodeExists, "the recipient %q has the same secret as %q: a copy is not a second way in", e.r.Label, have.Label)
		}
	}
	n := e.r
	n.sealed = nil
	for _, k := range r.keys {
		s, err := sealTo(n.Public, sealRoot, sealedContext(c.cluster, n.ID, k.generation), k.raw)
		if err != nil {
			return kms.Errorf(kms.CodeInternal, "the root key could not be sealed to the recipient %q", n.Label).Because(err)
		}
		n.sealed = append(n.sealed, s)
	}
	c.recipients = append(c.recipients, n)
	return nil
}

// clone copies what a change may touch.
func (c *Config) clone() *Config {
	n := *c
	n.generations = slices.Clone(c.generations)
	n.recipients = slices.Clone(c.recipients)
	for i := range n.recipients {
		n.recipients[i].sealed = slices.Clone(c.recipients[i].sealed)
	}
	return &n
}

// AddRecipient seals the root key to one more recipient. Errors: CodeBadRequest, CodeTooLarge, CodeExists, CodeRecordDamaged.
func (r *Root) AddRecipient(c *Config, e Enrolment) (*Config, error) {
	if err := r.Verify(c); err != nil {
		return nil, err
	}
	n := c.clone()
	if err := n.enrol(r, e); err != nil {
		return nil, err
	}
	return r.seal(n), nil
}

// RemoveRecipient takes a recipient out, never below two. Whoever holds its secret and an older copy of the
// configuration can still open that copy: rotate the root key afterwards.
// Errors: CodeNotFound, CodeBadRequest, CodeRecordDamaged.
func (r *Root) RemoveRecipient(c *Config, id kms.ID) (*Config, error) {
	if err := r.Verify(c); err != nil {
		return nil, err
	}
	if _, ok := c.Recipient(id); !ok {
		return nil, kms.Errorf(kms.CodeNotFound, "there is no recipient %s", id)
	}
	if len(c.recipients) <= MinRecipients {
		return nil, tooFew()
	}
	n := c.clone()
	n.recipients = slices.DeleteFunc(n.recipients, func(have Recipient) bool { return have.ID == id })
	return r.seal(n), nil
}
