package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/keyhold/keyhold/internal/box"
)

// A sealed store record: 01 | store-key epoch u32 | logical version u64 | box(label Record). The first 13 bytes are the
// box's header.
const recordHeadSize = 13

// RecordOverhead is what sealing adds to a record, in bytes.
const RecordOverhead = recordHeadSize + box.Overhead

// SealRecord appends the sealed record to dst. aad says where the record belongs; logical is the record's own version,
// counted up by its writer, and is authenticated.
func (k *Keychain) SealRecord(dst []byte, logical uint64, plaintext, aad []byte) ([]byte, error) {
	var head [recordHeadSize]byte
	head[0] = 1
	epoch := k.StoreEpoch()
	binary.BigEndian.PutUint32(head[1:], epoch)
	binary.BigEndian.PutUint64(head[5:], logical)
	if need := len(dst) + RecordOverhead + len(plaintext); cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	out, err := k.storeKeys[epoch].Seal(append(dst, head[:]...), box.Record, head[:], plaintext, aad)
	if err != nil {
		return nil, fmt.Errorf("seal record: %w", err)
	}
	return out, nil
}

// OpenRecord appends the plaintext of a sealed record to dst and tells the record's logical version.
// Every error is ErrRecord, possibly wrapped.
func (k *Keychain) OpenRecord(dst, sealed, aad []byte) (logical uint64, plaintext []byte, err error) {
	if len(sealed) < RecordOverhead || sealed[0] != 1 {
		return 0, nil, ErrRecord
	}
	head := sealed[:recordHeadSize]
	key, ok := k.storeKeys[binary.BigEndian.Uint32(head[1:])]
	if !ok {
		return 0, nil, fmt.Errorf("%w: there is no store key %d", ErrRecord, binary.BigEndian.Uint32(head[1:]))
	}
	out, err := key.Open(dst, box.Record, head, sealed[recordHeadSize:], aad)
	if err != nil {
		return 0, nil, ErrRecord
	}
	return binary.BigEndian.Uint64(head[5:]), out, nil
}

// RecordEpoch tells which store key a sealed record is under, without opening it: for counting what a change of the
// store key has left. ok is false if it is not a sealed record.
func RecordEpoch(sealed []byte) (epoch uint32, ok bool) {
	if len(sealed) < RecordOverhead || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}
