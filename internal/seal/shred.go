package seal

import (
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// A shred row: 01 | epoch u32 | box(label Shred) of the 32-byte secret, with the place as associated data: 121 bytes.
const shredRowSize = tagSize + box.Overhead + ShredSize

// WrapShred wraps a shred secret under the current epoch. Place is Place.Bytes.
// Errors: CodeSealed if the epochs were erased, CodeInternal if the secret was.
func (e *Epochs) WrapShred(s *secret.Bytes, place []byte) ([]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	one := e.live[e.current()]
	if one == nil || one.raw.Len() == 0 {
		return nil, kms.Errorf(kms.CodeSealed, "the epoch KEKs were erased")
	}
	raw := s.Reveal(reveal.Key{})
	if len(raw) != ShredSize {
		return nil, kms.Errorf(kms.CodeInternal, "a shred secret of %d bytes, want %d", len(raw), ShredSize)
	}
	head := tag(one.number)
	out := append(make([]byte, 0, shredRowSize), head[:]...)
	return one.key.Seal(out, box.Shred, head[:], raw, place)
}

// OpenShred opens a shred row. Errors: CodeRecordDamaged, which names a missing epoch; CodeSealed.
func (e *Epochs) OpenShred(row, place []byte) (*secret.Bytes, error) {
	number, head, sealed, ok := readTag(row)
	if !ok || len(row) != shredRowSize {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "a shred secret of %d bytes is not of a form that this program knows", len(row))
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	one := e.live[number]
	if one == nil {
		return nil, e.gone(number)
	}
	if one.raw.Len() == 0 {
		return nil, kms.Errorf(kms.CodeSealed, "the epoch KEKs were erased")
	}
	raw, err := one.key.Open(nil, box.Shred, head, sealed, place)
	if err != nil {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the shred secret does not open: it is damaged, or was moved").Because(err)
	}
	return secret.Take(raw), nil
}

// gone says why an epoch is not there: older than all that are, it was destroyed by design.
func (e *Epochs) gone(number uint32) error {
	for n := range e.live {
		if n < number {
			return missing(e.dirs, number)
		}
	}
	err := kms.Errorf(kms.CodeRecordDamaged, "the shred secret is under epoch %d, whose KEK was destroyed: the row comes from an old copy of the store", number)
	err.Next = "nothing: what was destroyed stays destroyed"
	return err
}

// Rewrap brings a shred row under the current epoch. changed is false if it is there already.
// Errors: those of OpenShred.
func (e *Epochs) Rewrap(row, place []byte) (out []byte, changed bool, err error) {
	s, err := e.OpenShred(row, place)
	if err != nil {
		return nil, false, err
	}
	defer s.Zero()
	if n, _ := WrappedUnder(row); n == e.Current() {
		return row, false, nil
	}
	out, err = e.WrapShred(s, place)
	return out, err == nil, err
}
