package soft

import (
	"crypto/fips140"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// Limits of a provider.
const (
	MaxRandom    = 128 << 10           // bytes of one Random call
	MaxMessage   = 16 << 20            // bytes of one input or ciphertext; dialects have lower limits of their own
	MaxAAD       = 1 << 20             // bytes of additional authenticated data
	MaxPlace     = 1 << 10             // bytes of a place
	MaxWrapped   = 4 << 10             // bytes of wrapped material: RSA-4096 takes about 2500
	CheckSize    = transport.CheckSize // bytes of a check value
	DefaultQueue = 16                  // slow generations and signatures that may wait
	maxWorkers   = 64
	maxQueue     = 1 << 10
)

// Config is what a provider is made of. The zero value is usable.
type Config struct {
	// Profile is the rule set. Where Go's FIPS 140-3 module enforces (GODEBUG=fips140=only) it is kms.ProfileFIPS whatever is set
	// here: what the module refuses, no profile can permit, and the algorithm table says so better.
	Profile kms.Profile
	// Workers is the number of slow generations (RSA, SLH-DSA) and slow signatures (SLH-DSA) at a time; 0: half the processors, at least one. At most 64.
	Workers int
	// Queue is the number of them that may wait for a worker before CodeBusy; 0: DefaultQueue, negative: none.
	// At most 1024.
	Queue int
	// Random is the random source; nil: crypto/rand. Keys and Random are made of it, but for ECDSA keys of the NIST
	// curves and RSA keys: those are made by Go from crypto/rand whatever is set here, after a sample of this source has passed.
	Random io.Reader
	// Source names the random source in key records; empty: "getrandom", or "sp800-90a-drbg" where Go's FIPS mode is on.
	Source string
}

// Provider makes and opens software keys. It is safe for concurrent use.
type Provider struct {
	profile kms.Profile
	source  string
	random  *tested
	pool    *pool
}

var _ provider.Provider = (*Provider)(nil)

// New makes a provider and runs the start-up health test on its random source, CodeRandomness if that fails, and, the first time in a process, the known-answer tests of what is
// not in Go's FIPS module: CodeSelfTest.
func New(c Config) (*Provider, error) {
	if c.Profile != kms.ProfileDefault && c.Profile != kms.ProfileFIPS {
		return nil, fmt.Errorf("software provider: there is no profile %d", c.Profile)
	}
	if fips140.Enforced() {
		c.Profile = kms.ProfileFIPS
	}
	if c.Workers == 0 {
		c.Workers = min(max(1, runtime.GOMAXPROCS(0)/2), maxWorkers)
	}
	switch {
	case c.Queue == 0:
		c.Queue = DefaultQueue
	case c.Queue < 0:
		c.Queue = 0
	}
	if c.Workers < 0 || c.Workers > maxWorkers || c.Queue > maxQueue {
		return nil, fmt.Errorf("software provider: %d workers and a queue of %d, want at most %d and %d", c.Workers, c.Queue, maxWorkers, maxQueue)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Source == "" {
		c.Source = defaultSource()
	}
	p := &Provider{
		profile: c.Profile, source: c.Source,
		random: &tested{from: c.Random},
		pool:   newPool(c.Workers, c.Queue),
	}
	if err := p.random.start(); err != nil {
		return nil, err
	}
	if err := knownAnswersOf(c.Profile); err != nil {
		return nil, err
	}
	return p, nil
}

// Healthy tells whether keys can be made: a sample of the random source passes its health tests now, and all before did. CodeRandomness.
func (p *Provider) Healthy() error { return p.random.sample() }

// Random gives n random bytes, 1 to MaxRandom, that passed the health tests.
func (p *Provider) Random(n int) ([]byte, error) {
	if n < 1 {
		return nil, kms.Errorf(kms.CodeBadRequest, "%d random bytes were asked for, at least 1 is needed", n)
	}
	if n > MaxRandom {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d random bytes were asked for, the limit is %d", n, MaxRandom)
	}
	b := make([]byte, n)
	if err := p.random.fill(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Generate makes material, wraps it, opens what it wrapped and proves that it works. Errors: CodeAlgorithm, CodeProfile and CodeBadRequest from the algorithm table, CodeBusy when too many slow generations wait, CodeRandomness, CodeInternal.
func (p *Provider) Generate(s provider.Spec, wrap *box.Key, place []byte) (provider.Generated, error) {
	a := s.Algorithm
	kind, err := p.mayCreate(a)
	if err != nil {
		return provider.Generated{}, err
	}
	if err := kms.CheckSize(a, s.Bytes); err != nil {
		return provider.Generated{}, err
	}
	if err := checkPlace(wrap, place); err != nil {
		return provider.Generated{}, err
	}
	if a.Facts().Slow {
		leave, err := p.pool.enter()
		if err != nil {
			return provider.Generated{}, err
		}
		defer leave()
	}
	var made provider.Generated
	erasing(a, func() { made, err = p.generate(kind, s, wrap, place) })
	return made, err
}

// erasing runs what handles material, so that nothing of it is left in memory. Of symmetric keys nothing is: their bytes are where secret.Bytes has them,
// and the box erases after itself. What keys of pairs are parsed and computed into is Go's.
func erasing(a kms.Algorithm, f func()) {
	if a.Facts().Asymmetric {
		secret.Do(f)
		return
	}
	f()
}

func (p *Provider) generate(kind *kind, s provider.Spec, wrap *box.Key, place []byte) (provider.Generated, error) {
	m, err := p.make(kind, s.Algorithm, s.Bytes)
	if err != nil {
		return provider.Generated{}, err
	}
	defer m.erase()
	if s.MAC {
		if err := p.makeBeside(m); err != nil {
			return provider.Generated{}, err
		}
	}
	wrapped, err := m.wrap(wrap, place)
	if err != nil {
		return provider.Generated{}, err
	}
	made := provider.Generated{Wrapped: wrapped, Public: m.public, Check: m.check(), Source: p.source}
	h, err := p.prove(kind, s.Algorithm, made, wrap, place)
	if err != nil {
		return provider.Generated{}, err
	}
	made.Handle = h
	return made, nil
}

// prove opens what was just wrapped, as a later reader will, and runs the self-test on it.
func (p *Provider) prove(kind *kind, a kms.Algorithm, made provider.Generated, wrap *box.Key, place []byte) (*handle, error) {
	h, err := p.open(kind, a, made.Wrapped, wrap, place, made.Check)
	if err == nil {
		if h.key.box != nil { // it shows its key to no cipher
			err = h.selfTest(made.Public)
		} else {
			secret.Do(func() { err = h.selfTest(made.Public) })
		}
		if err == nil {
			h.pool = p.poolOf(a) // from here on: what proved it is in the pool already
			return h, nil
		}
		h.Close()
	}
	return nil, kms.Errorf(kms.CodeInternal, "a new %s key failed its self-test and was thrown away", a).Because(err)
}

// Open unwraps material and verifies its check value. Errors: CodeRecordDamaged, one for every reason not to open;
// CodeCheckValue; CodeAlgorithm; CodeProfile for an algorithm that the profile refuses whole; CodeInternal for a missing wrapping key or place.
func (p *Provider) Open(a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (provider.Handle, error) {
	kind := kindOf(a)
	if kind == nil {
		return nil, noAlgorithm()
	}
	if err := checkPlace(wrap, place); err != nil {
		return nil, err
	}
	if err := kms.CheckLoad(a, p.profile); err != nil {
		return nil, err
	}
	var h *handle
	var err error
	erasing(a, func() { h, err = p.open(kind, a, wrapped, wrap, place, check) }) // what the handle holds is erased after it is put away
	if err != nil {
		return nil, err
	}
	h.pool = p.poolOf(a)
	return h, nil
}

// poolOf is where the signatures of an algorithm wait for their turn: nil where they are quick.
func (p *Provider) poolOf(a kms.Algorithm) *pool {
	if a.Facts().SlowSign {
		return p.pool
	}
	return nil
}

// mayCreate asks the algorithm table whether keys of an algorithm may be made for any usage: which one is its caller's to check.
func (p *Provider) mayCreate(a kms.Algorithm) (*kind, error) {
	kind := kindOf(a)
	if kind == nil {
		return nil, noAlgorithm()
	}
	var err error
	for _, u := range a.Usages() {
		if _, err = kms.CheckCreate(a, u, p.profile); err == nil {
			return kind, nil
		}
	}
	if err == nil { // it is for no usage at all
		err = noAlgorithm()
	}
	return nil, err
}

func noAlgorithm() *kms.Error {
	return kms.Errorf(kms.CodeAlgorithm, "there is no such algorithm among software keys")
}

func checkPlace(wrap *box.Key, place []byte) error {
	if wrap == nil {
		return kms.Errorf(kms.CodeInternal, "key material was handled without a wrapping key")
	}
	if len(place) == 0 || len(place) > MaxPlace {
		return kms.Errorf(kms.CodeInternal, "key material was handled with a place of %d bytes, want 1 to %d", len(place), MaxPlace)
	}
	return nil
}
