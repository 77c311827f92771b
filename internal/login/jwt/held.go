package jwt

import (
	"crypto/sha256"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/authn/oidc"
)

// maxHeld is how many sources have their keys held. Beyond, any other makes room: its keys are fetched again.
const maxHeld = 1024

// held are the keys of sources, by what describes a source whole: mounts that describe the same one share its keys, and its turn to be asked.
type held struct {
	mu   sync.Mutex // guards keys
	keys map[[32]byte]*oidc.Keys
}

// keys are those of a mount.
func (m *Method) keys(c *config) (*oidc.Keys, error) {
	of, err := json.Marshal(&config{Issuer: c.Issuer, IssuerCA: c.IssuerCA, Keys: c.Keys, KeysCA: c.KeysCA, PublicKeys: c.PublicKeys})
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(of)
	m.held.mu.Lock()
	defer m.held.mu.Unlock()
	if k := m.held.keys[id]; k != nil {
		return k, nil
	}
	source, err := c.source()
	if err != nil {
		return nil, err
	}
	k, err := oidc.NewKeys(source, m.now)
	if err != nil {
		return nil, err
	}
	if m.held.keys == nil {
		m.held.keys = map[[32]byte]*oidc.Keys{}
	}
	if len(m.held.keys) >= maxHeld {
		for other := range m.held.keys {
			delete(m.held.keys, other)
			break
		}
	}
	m.held.keys[id] = k
	return k, nil
}
