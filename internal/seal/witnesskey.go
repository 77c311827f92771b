package seal

import (
	"crypto/ed25519"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// WitnessKey is the Ed25519 key with which a witness cosigns the checkpoints of other logs (C2SP tlog-cosignature). It belongs to no store
// and stands below no root: its seed lies in a key file.
type WitnessKey struct {
	public [ed25519.PublicKeySize]byte
	key    *secret.Bytes
}

// NewWitnessKey makes the key of a seed of 32 bytes.
func NewWitnessKey(seed *secret.Bytes) (*WitnessKey, error) {
	raw := seed.Reveal(reveal.Key{})
	if len(raw) != ed25519.SeedSize {
		return nil, errErased()
	}
	return &WitnessKey{publicOf(seed), secret.Take(ed25519.NewKeyFromSeed(raw))}, nil
}

// Public is the public key, 32 bytes.
func (k *WitnessKey) Public() []byte { return k.public[:] }

// Sign makes an Ed25519 signature (RFC 8032) of 64 bytes.
func (k *WitnessKey) Sign(msg []byte) ([]byte, error) {
	key := k.key.Reveal(reveal.Key{})
	if len(key) != ed25519.PrivateKeySize {
		return nil, errErased()
	}
	return ed25519.Sign(key, msg), nil
}

// Zero erases the key.
func (k *WitnessKey) Zero() { k.key.Zero() }
