package soft

import (
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/transport"
)

// Export opens material as Open does and wraps it for a receiver.
func (p *Provider) Export(s provider.Sealed, to provider.Receiver) (provider.Exported, error) {
	kind := kindOf(s.Algorithm)
	if kind == nil {
		return provider.Exported{}, noAlgorithm()
	}
	if err := checkPlace(s.Wrap, s.Place); err != nil {
		return provider.Exported{}, err
	}
	if err := kms.CheckLoad(s.Algorithm, p.profile); err != nil {
		return provider.Exported{}, err
	}
	if s.Algorithm.Facts().Asymmetric && kind.form != pkcs8Form && kind.pkcs8 == nil {
		return provider.Exported{}, kms.Errorf(kms.CodeAlgorithm, "there is no standard form in which an %s private key could be exported", s.Algorithm)
	}
	var under any
	if !to.Clear {
		with, release, err := p.receiver(s.Algorithm, to)
		if err != nil {
			return provider.Exported{}, err
		}
		defer release()
		under = with
	}
	var out provider.Exported
	var err error
	secret.Do(func() { out, err = p.give(kind, s, to, under) })
	return out, err
}

// receiver is what wraps, and what to call when it has.
func (p *Provider) receiver(a kms.Algorithm, to provider.Receiver) (under any, release func(), err error) {
	if !to.Transport.Symmetric() {
		public, err := transport.ParsePublic(to.Public)
		if err != nil {
			return nil, nil, err
		}
		return public.Key, func() {}, kms.CheckTransport(to.Transport, public.Algorithm, a, p.profile)
	}
	h, ok := to.By.(*handle)
	if !ok {
		return nil, nil, kms.Errorf(kms.CodeInternal, "the key that wraps is of another provider")
	}
	if err := kms.CheckTransport(to.Transport, h.algorithm, a, p.profile); err != nil {
		return nil, nil, err
	}
	h.mu.RLock()
	if h.closed {
		h.mu.RUnlock()
		return nil, nil, kms.Errorf(kms.CodeInternal, "the key was put away while it was asked for")
	}
	return transport.Wrap(h.key.raw.Reveal(reveal.Key{})), h.mu.RUnlock, nil
}

func (p *Provider) give(kind *kind, s provider.Sealed, to provider.Receiver, under any) (provider.Exported, error) {
	m, k, err := p.unseal(kind, s.Algorithm, s.Wrapped, s.Wrap, s.Place, s.Check)
	if err != nil {
		return provider.Exported{}, err
	}
	k.erase()
	defer m.erase()
	leaves, out := m.secret, provider.Exported{}
	if kind.form != pkcs8Form && m.public != nil {
		der, err := kind.pkcs8(m)
		if err != nil {
			return provider.Exported{}, kms.Errorf(kms.CodeInternal, "the %s private key could not be written", s.Algorithm).Because(err)
		}
		leaves = secret.Take(der)
		defer leaves.Zero()
	}
	if m.public == nil {
		out.KCV = transport.KCVOf(s.Algorithm, m.secret)
	}
	if to.Clear {
		out.Clear = secret.Copy(leaves.Reveal(reveal.Key{}))
		if m.mac != nil {
			out.MAC = secret.Copy(m.mac.Reveal(reveal.Key{}))
		}
		return out, nil
	}
	if to.MAC {
		if m.mac == nil {
			return provider.Exported{}, kms.Errorf(kms.CodeNotFound, "no MAC key stands beside the %s key", s.Algorithm)
		}
		leaves = secret.Take(slices.Concat(leaves.Reveal(reveal.Key{}), m.mac.Reveal(reveal.Key{})))
		defer leaves.Zero()
	}
	out.Bytes, err = transport.Seal(to.Transport, under, to.Info, leaves)
	return out, err
}
