package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// RootSize is the size of a root key in bytes.
const RootSize = box.KeySize

// Root is the opened root key, in one generation, or two while a rotation is under way. It never shows its bytes.
// It is immutable and safe for concurrent use.
type Root struct {
	cluster kms.ID
	keys    []rootKey    // ascending; the last one wraps what is new
	memory  *arena.Arena // where it lives, with every key that is opened under it; nil: the heap
}

type rootKey struct {
	generation uint32
	raw        *secret.Bytes
	key        *box.Key // over the same bytes
}

// Cluster is the cluster whose root this is.
func (r *Root) Cluster() kms.ID { return r.cluster }

// Move moves the root key into an arena, as every keychain, epoch KEK and KEK that is opened under it from then on. It is for the
// caller that opened the root, before it shares it.
func (r *Root) Move(to *arena.Arena) error {
	r.memory = to
	keys := r.keys
	r.keys = nil
	for _, k := range keys {
		if err := r.add(k.generation, k.raw); err != nil {
			return err
		}
	}
	return nil
}

// Generation is the newest generation: what is wrapped now is wrapped under it.
func (r *Root) Generation() uint32 { return r.newest().generation }

// Zero erases the root key. Everything that is opened already stays open.
func (r *Root) Zero() {
	if r == nil {
		return
	}
	for _, k := range r.keys {
		k.raw.Zero()
	}
}

func (r *Root) newest() rootKey { return r.keys[len(r.keys)-1] }

// add takes the bytes over.
func (r *Root) add(generation uint32, raw *secret.Bytes) error {
	if raw.Len() != RootSize {
		return fmt.Errorf("root key of %d bytes, want %d", raw.Len(), RootSize)
	}
	raw = r.memory.Keep(raw)
	key, err := box.NewKey(raw)
	if err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	r.keys = append(r.keys, rootKey{generation: generation, raw: raw, key: key})
	return nil
}

// under finds a generation.
func (r *Root) under(generation uint32) (rootKey, bool) {
	for _, k := range r.keys {
		if k.generation == generation {
			return k, true
		}
	}
	return rootKey{}, false
}

// derive gives a key or a check value of one use, bound to cluster and generation:
// HKDF-Expand(SHA-512, root, label ‖ 00 ‖ cluster ‖ generation u32, n).
func (r *Root) derive(k rootKey, label string, n int) ([]byte, error) {
	raw := k.raw.Reveal(reveal.Key{})
	if len(raw) != RootSize {
		return nil, errErased()
	}
	info := append([]byte(label), 0)
	info = append(info, r.cluster[:]...)
	info = binary.BigEndian.AppendUint32(info, k.generation)
	okm := kdf.Expand(raw, info)
	defer clear(okm[:])
	return append(make([]byte, 0, n), okm[:n]...), nil
}

func errErased() *kms.Error { return kms.Errorf(kms.CodeSealed, "the root key was erased") }

func (r *Root) check(k rootKey) (check [16]byte, err error) {
	out, err := r.derive(k, "keyhold/root-check/v1", len(check))
	copy(check[:], out)
	return check, err
}

// describe is the public entry of the newest generation.
func (r *Root) describe(now time.Time) Generation {
	k := r.newest()
	check, _ := r.check(k) // fails only for an erased key, and then seal leaves a MAC that does not verify
	return Generation{Number: k.generation, Created: fromMillis(millis(now)), Check: check}
}

// mac is HMAC-SHA-256 over a body, under a key derived from one generation for one use.
func (r *Root) mac(k rootKey, label string, body []byte) ([macSize]byte, error) {
	key, err := r.derive(k, label, sha256.Size)
	if err != nil {
		return [macSize]byte{}, err
	}
	defer clear(key)
	return kdf.MAC(key, body), nil
}

const configMAC = "keyhold/config-mac/v1"

// seal counts the configuration up and puts the MAC of the newest generation on it.
func (r *Root) seal(c *Config) *Config {
	c.serial++
	c.mac, _ = r.mac(r.newest(), configMAC, c.body()) // fails only for an erased key: the MAC is then 0 and never verifies
	return c
}

// Verify tells whether a configuration was written with this root key, and has its generations.
// Errors: CodeRecordDamaged, CodeSealed if the root was erased.
func (r *Root) Verify(c *Config) error {
	if c.cluster != r.cluster {
		return kms.Errorf(kms.CodeRecordDamaged, "the seal configuration is of cluster %s, the root key of cluster %s", c.cluster, r.cluster)
	}
	if len(c.generations) != len(r.keys) {
		return notOurs(c, r)
	}
	for i, k := range r.keys {
		check, err := r.check(k)
		if err != nil {
			return err
		}
		if g := c.generations[i]; g.Number != k.generation || !hmac.Equal(g.Check[:], check[:]) {
			return notOurs(c, r)
		}
	}
	want, err := r.mac(r.newest(), configMAC, c.body())
	if err != nil {
		return err
	}
	if !hmac.Equal(want[:], c.mac[:]) {
		return kms.Errorf(kms.CodeRecordDamaged, "the seal configuration was altered: its MAC does not verify under the root key")
	}
	return nil
}

func notOurs(c *Config, r *Root) error {
	return kms.Errorf(kms.CodeRecordDamaged, "the seal configuration (root generation %d) and the root key in use (generation %d) do not belong together", c.Generation(), r.Generation())
}
