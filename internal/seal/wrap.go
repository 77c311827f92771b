package seal

import (
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/kms"
)

// Everything that is wrapped starts with the same five bytes, which are the box's header too:
// 01 | number u32, where the number is that of the root generation, or of the epoch, that wraps it.
const tagSize = 5

func tag(number uint32) [tagSize]byte {
	t := [tagSize]byte{1}
	binary.BigEndian.PutUint32(t[1:], number)
	return t
}

// readTag splits what is wrapped into its number and the box.
func readTag(wrapped []byte) (number uint32, head, sealed []byte, ok bool) {
	if len(wrapped) < tagSize || wrapped[0] != 1 {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint32(wrapped[1:tagSize]), wrapped[:tagSize], wrapped[tagSize:], true
}

// WrappedUnder tells which root generation wraps a keychain blob or a wrapped KEK, or which epoch a shred row is under,
// without opening it: for counting what a rotation or a roll has left. It is certain only once the blob opened.
// The error is CodeRecordDamaged.
func WrappedUnder(wrapped []byte) (uint32, error) {
	n, _, _, ok := readTag(wrapped)
	if !ok {
		return 0, kms.Errorf(kms.CodeRecordDamaged, "a wrapped key of %d bytes is not of a form that this program knows", len(wrapped))
	}
	return n, nil
}
