package soft

import (
	"crypto/ecdh"
	"crypto/rsa"
	"errors"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/transport"
)

// Import opens a parcel, reads the key in it and proves it like a new one. What it refuses is told once it was opened: that takes
// whoever wrapped it for this server, so it is no oracle for anybody else.
func (p *Provider) Import(s provider.Spec, by provider.Handle, parcel provider.Parcel, wrap *box.Key, place []byte) (provider.Imported, error) {
	a := s.Algorithm
	kind, err := p.mayCreate(a)
	if err != nil {
		return provider.Imported{}, err
	}
	if err := checkPlace(wrap, place); err != nil {
		return provider.Imported{}, err
	}
	h, ok := by.(*handle)
	switch {
	case parcel.Clear != nil:
	case !ok:
		return provider.Imported{}, kms.Errorf(kms.CodeInternal, "the key that opens the parcel is of another provider")
	default:
		if err := kms.CheckTransport(parcel.Transport, h.algorithm, a, p.profile); err != nil {
			return provider.Imported{}, err
		}
	}
	if a.Facts().SlowSign { // the self-test signs
		leave, err := p.pool.enter()
		if err != nil {
			return provider.Imported{}, err
		}
		defer leave()
	}
	var in provider.Imported
	secret.Do(func() { in, err = p.take(kind, s, h, parcel, wrap, place) })
	return in, err
}

func (p *Provider) take(kind *kind, s provider.Spec, by *handle, parcel provider.Parcel, wrap *box.Key, place []byte) (provider.Imported, error) {
	given, err := arrive(s, by, parcel)
	if err != nil {
		return provider.Imported{}, err
	}
	defer given.Zero()
	a := s.Algorithm
	m, err := p.read(kind, a, given.key)
	if err != nil {
		return provider.Imported{}, err
	}
	defer m.erase()
	switch {
	case given.mac != nil:
		m.beside, m.mac = true, secret.Copy(given.mac.Reveal(reveal.Key{}))
	case s.MAC:
		err = p.makeBeside(m)
	}
	if err != nil {
		return provider.Imported{}, err
	}
	in := provider.Imported{}
	if m.public == nil {
		in.Bytes, in.KCV = m.secret.Len(), transport.KCVOf(a, m.secret)
	}
	if in.Wrapped, err = m.wrap(wrap, place); err != nil {
		return provider.Imported{}, err
	}
	in.Public, in.Check = m.public, m.check()
	h, err := p.prove(kind, a, in.Generated, wrap, place)
	if err != nil {
		return provider.Imported{}, kms.Errorf(kms.CodeSelfTest, "the %s key that was to be imported failed its self-test", a).Because(err)
	}
	h.Close()
	return in, nil
}

// unwrap opens a parcel with this key, in whatever of its forms the transport wants it.
func (h *handle) unwrap(p provider.Parcel) (*secret.Bytes, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, kms.Errorf(kms.CodeInternal, "the key was put away while it was asked for")
	}
	with := any(transport.Wrap(h.key.raw.Reveal(reveal.Key{})))
	switch private := h.key.private.(type) {
	case *rsa.PrivateKey, *ecdh.PrivateKey:
		with = private
	case *kemKey:
		with = transport.HybridSeed(private.seed.Reveal(reveal.Key{}))
	}
	out, err := transport.Open(p.Transport, with, p.Info, p.Bytes)
	if errors.Is(err, transport.ErrOpen) {
		e := kms.Errorf(kms.CodeDecryptFailed, "the wrapped key material does not open: it was wrapped for another import, by another transport, or was changed")
		e.Next = "wrap the material again with the public key and the information of this import's token"
		return nil, e
	}
	return out, err
}

// read takes what arrived as material of an algorithm: a symmetric key as it is, a private key as PKCS #8.
func (p *Provider) read(kind *kind, a kms.Algorithm, arrived *secret.Bytes) (*material, error) {
	m := &material{algorithm: a, form: kind.form}
	var err error
	switch {
	case !a.Facts().Asymmetric:
		err = goodSecret(a, arrived.Reveal(reveal.Key{}))
		m.secret = secret.Copy(arrived.Reveal(reveal.Key{}))
	default:
		m.secret, err = p.readPKCS8(kind, a, arrived.Reveal(reveal.Key{}))
	}
	if err != nil {
		m.secret.Zero()
		return nil, kms.AsError(err)
	}
	k, err := kind.parse(p, a, secret.Copy(m.secret.Reveal(reveal.Key{})))
	if err != nil {
		m.secret.Zero()
		return nil, notAKey(a).Because(err)
	}
	m.public = k.public
	k.erase()
	if m.public != nil {
		if err := agree(arrived.Reveal(reveal.Key{}), m.public); err != nil {
			m.secret.Zero()
			return nil, err
		}
	}
	return m, nil
}

func notAKey(a kms.Algorithm) *kms.Error {
	return kms.Errorf(kms.CodeKeyFile, "the material is not a key of %s", a)
}

// goodSecret refuses a symmetric key of another length, and one that no random source made.
func goodSecret(a kms.Algorithm, key []byte) error {
	f := a.Facts()
	if fits := len(key) == f.Bits/8 || f.MaxBytes > 0 && len(key) >= f.MinBytes && len(key) <= f.MaxBytes; !fits {
		if f.MaxBytes > 0 {
			return kms.Errorf(kms.CodeKeyFile, "the material has %d bytes, and an %s key has %d to %d", len(key), a, f.MinBytes, f.MaxBytes)
		}
		return kms.Errorf(kms.CodeKeyFile, "the material has %d bytes, and an %s key has %d", len(key), a, f.Bits/8)
	}
	same := byte(0)
	for _, b := range key {
		same |= b ^ key[0]
	}
	if same == 0 {
		return kms.Errorf(kms.CodeKeyFile, "all bytes of the key are the same: no random source made it")
	}
	return nil
}
