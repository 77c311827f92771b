package soft

import (
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// makeBeside makes the MAC key that stands beside new material. CodeRandomness.
func (p *Provider) makeBeside(m *material) error {
	m.beside = true
	if ownMAC(m.algorithm) {
		return nil
	}
	b := make([]byte, kms.MACKeyBytes)
	if err := p.random.fill(b); err != nil {
		return err
	}
	m.mac = secret.Take(b)
	return nil
}

// arrival is what a parcel held: a key, and the MAC key that followed it or nil.
type arrival struct{ key, mac *secret.Bytes }

func (a arrival) Zero() {
	a.key.Zero()
	a.mac.Zero()
}

// arrive opens a parcel; one in the clear is copied.
func arrive(s provider.Spec, by *handle, p provider.Parcel) (arrival, error) {
	if p.Clear == nil {
		arrived, err := by.unwrap(p)
		if err != nil {
			return arrival{}, err
		}
		defer arrived.Zero()
		return splitMAC(s, arrived)
	}
	given := arrival{key: secret.Copy(p.Clear.Reveal(reveal.Key{}))}
	if s.MAC && s.GivenMAC && !ownMAC(s.Algorithm) {
		if p.ClearMAC.Len() != kms.MACKeyBytes {
			given.Zero()
			return arrival{}, kms.Errorf(kms.CodeKeyFile, "the MAC key beside the key has %d bytes: want %d", p.ClearMAC.Len(), kms.MACKeyBytes)
		}
		given.mac = secret.Copy(p.ClearMAC.Reveal(reveal.Key{}))
	}
	return given, nil
}

// splitMAC takes a MAC key off the end of what arrived, where one is said to be there.
func splitMAC(s provider.Spec, arrived *secret.Bytes) (arrival, error) {
	b := arrived.Reveal(reveal.Key{})
	if !s.MAC || !s.GivenMAC || ownMAC(s.Algorithm) {
		return arrival{key: secret.Copy(b)}, nil
	}
	at := len(b) - kms.MACKeyBytes
	if at < 1 {
		return arrival{}, kms.Errorf(kms.CodeKeyFile, "the material has %d bytes: want a key, and a MAC key of %d after it", len(b), kms.MACKeyBytes)
	}
	return arrival{key: secret.Copy(b[:at]), mac: secret.Copy(b[at:])}, nil
}
