package seal

import (
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/kms"
)

// PlaceKind says what a place is the place of. The numbers are part of the format.
type PlaceKind uint8

// The kinds of places.
const (
	PlaceNamespace PlaceKind = 1 // a namespace's KEK; no key id, version 0 or the KEK's own number
	PlaceVersion   PlaceKind = 2 // a key version's material
	PlaceSecret    PlaceKind = 3 // another secret of a namespace, named by an id
	PlaceArchive   PlaceKind = 4 // a namespace's archive KEK; no key id, version 0
	PlaceArchived  PlaceKind = 5 // a key version's archived material
)

// Place is where wrapped material belongs. Its bytes are bound into the wrapping key and into the wrapping of the shred
// secret, so that material moved elsewhere does not open.
type Place struct {
	Kind      PlaceKind
	Namespace kms.Namespace
	Key       kms.ID
	Version   uint32
}

// Bytes is the canonical form:
// "keyhold/place/v1" ‖ 00 ‖ kind u8 ‖ namespace u8-prefixed ‖ key id 16 ‖ version u32.
func (p Place) Bytes() []byte {
	b := make([]byte, 0, 17+2+kms.MaxNamespace+16+4)
	b = append(b, "keyhold/place/v1\x00"...)
	b = append(b, byte(p.Kind), byte(len(p.Namespace))) // a parsed namespace has at most 63 bytes
	b = append(b, p.Namespace...)
	b = append(b, p.Key[:]...)
	return binary.BigEndian.AppendUint32(b, p.Version)
}
