package seal

import (
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Rotation of the root key, in steps that each can be repeated after a crash. There is no state but the configuration
// and the generation that every blob names:
//
//  1. BeginRotation: the configuration holds two generations. Store it, then use the new Root.
//  2. RewrapKeychain, RewrapKEK, Epochs.RewrapRoot over everything; each says whether it had anything to do.
//  3. FinishRotation, once nothing is left under the old generation. Store the configuration, then use the new Root.
//
// A server that starts in between opens both generations and goes on with step 2.

// BeginRotation makes a new root key, seals it to every recipient, and gives a configuration and a root that hold both
// generations; what is wrapped from then on is wrapped under the new one. The old Root stays the caller's to erase.
// Errors: CodeConflict while a rotation is under way, CodeRecordDamaged.
func (r *Root) BeginRotation(c *Config, now time.Time) (*Config, *Root, error) {
	if err := r.Verify(c); err != nil {
		return nil, nil, err
	}
	if len(c.generations) >= maxGenerations {
		return nil, nil, kms.Errorf(kms.CodeConflict, "a rotation of the root key to generation %d is under way: finish it first", c.Generation())
	}
	next, err := r.keep(0)
	if err == nil {
		err = next.add(r.Generation()+1, secret.Random(RootSize))
	}
	if err != nil {
		return nil, nil, err
	}
	n := c.clone()
	n.generations = append(n.generations, next.describe(now))
	for i, rec := range n.recipients {
		k := next.newest()
		s, err := sealTo(rec.Public, sealRoot, sealedContext(c.cluster, rec.ID, k.generation), k.raw)
		if err != nil {
			next.Zero()
			return nil, nil, kms.Errorf(kms.CodeInternal, "the new root key could not be sealed to the recipient %q", rec.Label).Because(err)
		}
		n.recipients[i].sealed = append(slices.Clone(rec.sealed), s)
	}
	return next.seal(n), next, nil
}

// FinishRotation drops the old generation. left is how many blobs are still wrapped under it: keychain, KEKs and epoch
// files together; it refuses while there are any. Errors: CodeConflict, CodeAlreadyDone, CodeRecordDamaged.
func (r *Root) FinishRotation(c *Config, left int) (*Config, *Root, error) {
	if err := r.Verify(c); err != nil {
		return nil, nil, err
	}
	if len(c.generations) < maxGenerations {
		return nil, nil, kms.Errorf(kms.CodeAlreadyDone, "no rotation of the root key is under way")
	}
	if left != 0 {
		return nil, nil, kms.Errorf(kms.CodeConflict, "%d keys are still wrapped under root generation %d: re-wrap them first", left, c.generations[0].Number)
	}
	next, err := r.keep(1)
	if err != nil {
		return nil, nil, err
	}
	n := c.clone()
	n.generations = n.generations[1:]
	for i := range n.recipients {
		n.recipients[i].sealed = n.recipients[i].sealed[1:]
	}
	return next.seal(n), next, nil
}

// Rotating tells whether the root is in the middle of a rotation.
func (r *Root) Rotating() bool { return len(r.keys) > 1 }

// keep copies the root's generations from the given place on, so that either can be erased without the other.
func (r *Root) keep(from int) (*Root, error) {
	next := &Root{cluster: r.cluster, memory: r.memory}
	for _, k := range r.keys[from:] {
		if err := next.add(k.generation, secret.Copy(k.raw.Reveal(reveal.Key{}))); err != nil {
			next.Zero()
			return nil, errErased()
		}
	}
	return next, nil
}
