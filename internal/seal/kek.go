package seal

import (
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// ShredSize is the size of a shred secret in bytes.
const ShredSize = box.KeySize

// NewShredSecret makes a shred secret: without it, what is wrapped with it is gone.
func NewShredSecret() *secret.Bytes { return secret.Random(ShredSize) }

// KEK is a namespace's key-encryption key. It never shows its bytes. It is safe for concurrent use.
type KEK struct {
	raw *secret.Bytes
	key *box.Key // over the same bytes
}

// NewKEK makes a random KEK.
func NewKEK() *KEK {
	k, _ := kekOf(secret.Random(box.KeySize)) // the size is right
	return k
}

func kekOf(raw *secret.Bytes) (*KEK, error) {
	if raw.Len() != box.KeySize {
		raw.Zero()
		return nil, box.ErrOpen
	}
	key, err := box.NewKey(raw)
	if err != nil {
		return nil, err
	}
	return &KEK{raw: raw, key: key}, nil
}

// Check is the check value: HKDF-Expand(SHA-512, KEK, "keyhold/kek-check/v1" ‖ 00, 8). It is zero for an erased KEK.
func (k *KEK) Check() (check [8]byte) {
	if k.raw.Len() == 0 {
		return check
	}
	okm := kdf.Expand(k.raw.Reveal(reveal.Key{}), []byte("keyhold/kek-check/v1\x00"))
	defer clear(okm[:])
	return [8]byte(okm[:])
}

// Wrapping gives the key under which a provider wraps material: it exists only while both the KEK and the shred secret
// do. Erase it after use. Place is Place.Bytes.
func (k *KEK) Wrapping(shred *secret.Bytes, place []byte) (*box.Key, error) {
	w, err := k.key.Derive(shred, place)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the wrapping key could not be derived: the KEK or the shred secret was erased").Because(err)
	}
	return w, nil
}

// Zero erases the KEK.
func (k *KEK) Zero() {
	if k != nil {
		k.raw.Zero()
	}
}

// kekAAD binds a wrapped KEK to cluster and place.
func (r *Root) kekAAD(place []byte) []byte {
	b := make([]byte, 0, 16+len(place))
	b = append(b, r.cluster[:]...)
	return append(b, place...)
}

// WrapKEK wraps a KEK under HKDF(root key, shred secret, place), in 121 bytes: 01 | root generation u32 | box.
// Errors: CodeSealed if the root was erased, CodeInternal if the KEK or the shred secret was.
func (r *Root) WrapKEK(k *KEK, shred *secret.Bytes, place []byte) ([]byte, error) {
	top := r.newest()
	if top.raw.Len() == 0 {
		return nil, errErased()
	}
	raw := k.raw.Reveal(reveal.Key{})
	if len(raw) != box.KeySize {
		return nil, kms.Errorf(kms.CodeInternal, "the KEK was erased")
	}
	w, err := top.key.Derive(shred, place)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the shred secret was erased").Because(err)
	}
	defer w.Zero()
	head := tag(top.generation)
	out := append(make([]byte, 0, tagSize+box.Overhead+box.KeySize), head[:]...)
	return w.Seal(out, box.KEK, head[:], raw, r.kekAAD(place))
}

// UnwrapKEK opens a wrapped KEK. Errors: CodeRecordDamaged, for every reason not to open; CodeSealed.
func (r *Root) UnwrapKEK(wrapped []byte, shred *secret.Bytes, place []byte) (*KEK, error) {
	bad := kms.Errorf(kms.CodeRecordDamaged, "the wrapped KEK does not open: it is damaged, was moved, or its shred secret is another")
	generation, head, sealed, ok := readTag(wrapped)
	if !ok {
		return nil, bad
	}
	k, ok := r.under(generation)
	if !ok {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the wrapped KEK is under root generation %d, which is not there", generation)
	}
	if k.raw.Len() == 0 {
		return nil, errErased()
	}
	w, err := k.key.Derive(shred, place)
	if err != nil {
		return nil, bad.Because(err)
	}
	defer w.Zero()
	raw, err := w.Open(nil, box.KEK, head, sealed, r.kekAAD(place))
	if err != nil {
		return nil, bad.Because(err)
	}
	return kekOf(r.memory.Keep(secret.Take(raw)))
}

// RewrapKEK brings a wrapped KEK under the newest root generation. changed is false if it is there already.
// Errors: those of UnwrapKEK.
func (r *Root) RewrapKEK(wrapped []byte, shred *secret.Bytes, place []byte) (out []byte, changed bool, err error) {
	k, err := r.UnwrapKEK(wrapped, shred, place)
	if err != nil {
		return nil, false, err
	}
	defer k.Zero()
	if n, _ := WrappedUnder(wrapped); n == r.Generation() {
		return wrapped, false, nil
	}
	out, err = r.WrapKEK(k, shred, place)
	return out, err == nil, err
}
