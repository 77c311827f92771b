package soft

import (
	"crypto/ed25519"
	"crypto/x509"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Derive makes the key of a context. What it gives does what the key's layouts do, or signs; a MAC key beside the key is not derived.
func (h *handle) Derive(context []byte) (provider.Handle, error) {
	if len(context) == 0 {
		return nil, kms.Errorf(kms.CodeBadRequest, "a key was to be derived without a context")
	}
	if len(context) > MaxAAD {
		return nil, kms.Errorf(kms.CodeTooLarge, "the context has %d bytes, the limit is %d", len(context), MaxAAD)
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, kms.Errorf(kms.CodeInternal, "the key was put away while it was asked for")
	}
	k, err := h.key.derive(h.algorithm, context)
	if err != nil {
		return nil, err
	}
	return &handle{algorithm: h.algorithm, profile: h.profile, key: k}, nil
}

// PublicKey is the public half of an Ed25519 key.
func (h *handle) PublicKey() ([]byte, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, kms.Errorf(kms.CodeInternal, "the key was put away while it was asked for")
	}
	private, ok := h.key.private.(ed25519.PrivateKey)
	if !ok {
		return nil, kms.Errorf(kms.CodeAlgorithm, "no key pair is derived from %s keys", h.algorithm)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the public key could not be written").Because(err)
	}
	return der, nil
}

func (k *key) derive(a kms.Algorithm, context []byte) (*key, error) {
	if private, ok := k.private.(ed25519.PrivateKey); ok {
		okm := kdf.Key256(private, context)
		defer clear(okm[:])
		derived, err := parseEd25519(nil, a, secret.Copy(okm[:ed25519.SeedSize]))
		if err != nil {
			return nil, kms.Errorf(kms.CodeInternal, "the key could not be derived").Because(err)
		}
		return derived, nil
	}
	if len(a.Facts().Layouts) == 0 || k.box == nil {
		return nil, kms.Errorf(kms.CodeAlgorithm, "no key is derived from this %s key", a)
	}
	okm := kdf.Key256(k.raw.Reveal(reveal.Key{}), context)
	defer clear(okm[:])
	n := k.raw.Len() // at most 32, and as many follow
	return &key{raw: secret.Copy(okm[:n]), nonces: secret.Copy(okm[n : n+kms.MACKeyBytes]), plain: new(layoutCipher), fixed: new(layoutCipher)}, nil
}
