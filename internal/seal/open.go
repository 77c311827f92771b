package seal

import (
	"bytes"
	"crypto/hpke"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/passphrase"
	"github.com/keyhold/keyhold/internal/secret"
)

// Private is the private key of one recipient: what opens the root key, and escrow. Erase it after use.
type Private struct {
	recipient kms.ID
	key       hpke.PrivateKey
}

// Recipient is whose key it is.
func (p *Private) Recipient() kms.ID { return p.recipient }

// Zero erases the seed. The expanded key lies in the standard library's own memory until it is collected.
func (p *Private) Zero() {
	if p == nil || p.key == nil {
		return
	}
	if seed, err := p.key.Bytes(); err == nil {
		clear(seed)
	}
	p.key = nil
}

// WithSeed finds the recipient of a kind whose seed this is. The seed stays the caller's.
// Errors: CodeNotFound if there is no recipient of the kind, CodeWrongShares if it is the seed of none.
func (c *Config) WithSeed(kind Kind, seed *secret.Bytes) (*Private, error) {
	if err := c.has(kind); err != nil {
		return nil, err
	}
	sk, err := privateFrom(seed)
	if err != nil {
		return nil, err
	}
	if p, ok := c.match(kind, sk); ok {
		return p, nil
	}
	return nil, wrong(kind)
}

// WithPassphrase finds the recipient that a passphrase opens; it takes about a second for each passphrase recipient.
// Errors: CodeNotFound, CodeWrongShares, CodeProfile, CodeBadRequest.
func (c *Config) WithPassphrase(phrase *secret.Bytes, p kms.Profile) (*Private, error) {
	if err := c.has(KindPassphrase); err != nil {
		return nil, err
	}
	refused := error(nil)
	for _, r := range c.recipients {
		if r.Kind != KindPassphrase {
			continue
		}
		k, err := r.withPassphrase(phrase, p)
		switch {
		case err != nil:
			refused = err
		case k != nil:
			return k, nil
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, wrong(KindPassphrase)
}

// withPassphrase gives nil if the passphrase is not that of the recipient.
func (r Recipient) withPassphrase(phrase *secret.Bytes, p kms.Profile) (*Private, error) {
	params, err := passphrase.Parse(r.Params)
	if err != nil {
		return nil, err
	}
	seed, err := params.Seed(phrase, p)
	if err != nil {
		return nil, err
	}
	defer seed.Zero()
	sk, err := privateFrom(seed)
	if err != nil || !bytes.Equal(sk.PublicKey().Bytes(), r.Public) {
		return nil, err
	}
	return &Private{recipient: r.ID, key: sk}, nil
}

func (c *Config) has(kind Kind) error {
	for _, r := range c.recipients {
		if r.Kind == kind {
			return nil
		}
	}
	return kms.Errorf(kms.CodeNotFound, "the root key has no recipient of kind %s", kind)
}

// match compares public keys, which are public.
func (c *Config) match(kind Kind, sk hpke.PrivateKey) (*Private, bool) {
	public := sk.PublicKey().Bytes()
	for _, r := range c.recipients {
		if r.Kind == kind && bytes.Equal(r.Public, public) {
			return &Private{recipient: r.ID, key: sk}, true
		}
	}
	return nil, false
}

// wrong is the one answer to a secret that opens nothing.
func wrong(kind Kind) error {
	e := kms.Errorf(kms.CodeWrongShares, "the %s given opens no recipient of the root key", kind)
	if kind == KindShares {
		e.What = "the shares give a secret, but not that of a recipient of the root key: they are of another cluster, or the seal configuration was altered"
		return e
	}
	e.Next = "check that it is the " + kind.String() + " of this cluster"
	return e
}

// Open opens every generation of the root key with one recipient's private key, verifies check values, and then that
// the configuration was written with this root key. Errors: CodeWrongShares, CodeRecordDamaged.
func (c *Config) Open(p *Private) (*Root, error) {
	rec, ok := c.Recipient(p.recipient)
	if !ok || p.key == nil {
		return nil, kms.Errorf(kms.CodeWrongShares, "%s is not a recipient of this root key", p.recipient)
	}
	r := &Root{cluster: c.cluster}
	for i, g := range c.generations {
		raw, err := openFrom(p.key, sealRoot, sealedContext(c.cluster, rec.ID, g.Number), rec.sealed[i])
		if err == nil {
			err = r.add(g.Number, raw)
		}
		if err != nil {
			r.Zero()
			return nil, kms.Errorf(kms.CodeRecordDamaged, "the root key sealed to the recipient %q does not open: the seal configuration is damaged, or of another cluster", rec.Label).Because(err)
		}
	}
	if err := r.Verify(c); err != nil {
		r.Zero()
		return nil, err
	}
	return r, nil
}

// VerifyRecipient tells whether a recipient's private key opens the root key, and opens nothing.
func (c *Config) VerifyRecipient(p *Private) error {
	r, err := c.Open(p)
	r.Zero()
	return err
}
