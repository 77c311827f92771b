// Package floe is FLOE, Fast Lightweight Online Encryption: authenticated encryption of streams of any length in constant
// memory, with random access to what was encrypted. It follows the C2SP specification c2sp.org/FLOE and ePrint 2025/2275,
// with the one set of parameters that is fixed there: AES-256-GCM with random nonces, HKDF-Expand with SHA-384, an IV of
// 32 bytes.
//
//	stream  = parameters 10 ‖ IV 32 ‖ header tag 32 ‖ segments
//	segment = u32 (FFFFFFFF, or the length of the last segment) ‖ nonce 12 ‖ ciphertext ‖ tag 16
//
// The header tag commits to the key and the associated data, so that a stream opens under one key only. Each segment is
// bound to its number and to whether it is the last.
//
// The package refuses other parameters, segments above MaxSegment, a stream without its last segment and anything after
// it, all with ErrOpen: there is one error for every reason why a stream is not what was encrypted.
//
// Invariants:
//   - Plaintext is released only after its segment was authenticated, and the last segment's only when the stream ends there.
//   - The size that a ReaderAt tells is authenticated.
//   - Memory is bounded by a few segments, whatever the stream's length.
package floe

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in bytes.
const (
	KeySize    = 32
	HeaderSize = paramsSize + ivSize + tagSize
	Overhead   = lengthSize + gcmOverhead // of each segment
	MinSegment = Overhead + 1
	MaxSegment = 1 << 20 // the most that this package holds in memory at once, and reads or writes

	paramsSize     = 10
	ivSize         = 32
	tagSize        = 32
	messageKeySize = 48
	lengthSize     = 4
	gcmOverhead    = 12 + 16
)

const (
	maxSegments = 1 << 40    // of one stream (AEAD_MAX_SEGMENTS)
	rotation    = 20         // segments under one AES key, as a power of two (AEAD_ROTATION_MASK)
	notLast     = 0xFFFFFFFF // in the place of a length
)

// ErrOpen says that a stream is not what was encrypted under this key with this associated data: it was altered, cut
// short, extended or put together from others, or the key is not its key.
var ErrOpen = errors.New("the data are not what was encrypted under this key")

// ErrTooLong says that a stream would have more segments than one may have.
var ErrTooLong = fmt.Errorf("the data have more than %d segments", uint64(maxSegments))

// errKey is a mistake of the caller.
var errKey = fmt.Errorf("a key of FLOE has %d bytes", KeySize)

// stream is what the two ends of a stream share.
type stream struct {
	prefix  [paramsSize + ivSize]byte // parameters and IV, which begin the header and each derivation
	aad     []byte
	message []byte // MESSAGE_KEY: the keys of the segments are derived from it
	segment int    // length of a segment, encrypted, in bytes
	rotate  uint   // rotation, unless a test says otherwise
}

// room is the plaintext of a whole segment, in bytes.
func (s *stream) room() int { return s.segment - Overhead }

func checkSegment(segment int) error {
	if segment < MinSegment || segment > MaxSegment {
		return fmt.Errorf("a segment of %d bytes: want %d to %d", segment, MinSegment, MaxSegment)
	}
	return nil
}

// params is PARAM_ENCODE.
func params(segment int) [paramsSize]byte {
	var p [paramsSize]byte                             // AEAD and hash have the number 0
	binary.BigEndian.PutUint32(p[2:], uint32(segment)) //nolint:gosec // G115: at most MaxSegment
	binary.BigEndian.PutUint32(p[6:], ivSize)
	return p
}

// derive is FLOE_KDF.
func (s *stream) derive(key []byte, purpose string, size int) ([]byte, error) {
	return hkdf.Expand(sha512.New384, key, string(s.prefix[:])+purpose+string(s.aad), size)
}

// create is startEncryption.
func create(key, aad []byte, segment int) (*stream, []byte, error) {
	if len(key) != KeySize {
		return nil, nil, errKey
	}
	if err := checkSegment(segment); err != nil {
		return nil, nil, err
	}
	s := &stream{aad: bytes.Clone(aad), segment: segment, rotate: rotation}
	p := params(segment)
	copy(s.prefix[:], p[:])
	rand.Read(s.prefix[paramsSize:]) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24: it ends the process
	tag, err := s.keys(key)
	return s, append(bytes.Clone(s.prefix[:]), tag...), err
}

// keys derives the message key and answers the header tag.
func (s *stream) keys(key []byte) ([]byte, error) {
	tag, err := s.derive(key, "HEADER_TAG:", tagSize)
	if err != nil {
		return nil, err
	}
	s.message, err = s.derive(key, "MESSAGE_KEY:", messageKeySize)
	return tag, err
}

// open is startDecryption.
func open(header, key, aad []byte) (*stream, error) {
	if len(key) != KeySize {
		return nil, errKey
	}
	if len(header) != HeaderSize {
		return nil, ErrOpen
	}
	segment := binary.BigEndian.Uint32(header[2:])
	if segment < MinSegment || segment > MaxSegment {
		return nil, ErrOpen
	}
	s := &stream{aad: bytes.Clone(aad), segment: int(segment), rotate: rotation}
	copy(s.prefix[:], header)
	if p := params(s.segment); !bytes.Equal(p[:], header[:paramsSize]) {
		return nil, ErrOpen
	}
	tag, err := s.keys(key)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(tag, header[paramsSize+ivSize:]) != 1 {
		s.erase()
		return nil, ErrOpen
	}
	return s, nil
}

// erase forgets the keys.
func (s *stream) erase() { clear(s.message) }

// epoch is the number of the AES key of a segment.
func (s *stream) epoch(n uint64) uint64 { return n >> s.rotate }

// aead is the cipher of an epoch (DERIVE_KEY).
func (s *stream) aead(epoch uint64) (cipher.AEAD, error) {
	key, err := s.derive(s.message, "DEK:"+string(binary.BigEndian.AppendUint64(nil, epoch<<s.rotate)), KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// scratch holds what would else be allocated for each segment.
type scratch [9]byte

// place is the associated data of a segment.
func (p *scratch) place(n uint64, last bool) []byte {
	binary.BigEndian.PutUint64(p[:], n)
	p[8] = 0
	if last {
		p[8] = 1
	}
	return p[:]
}

// seal is encryptSegment; the segment is appended to dst.
func (s *stream) seal(dst []byte, a cipher.AEAD, p *scratch, plaintext []byte, n uint64, last bool) []byte {
	length := uint32(notLast)
	if last {
		length = uint32(len(plaintext) + Overhead) //nolint:gosec // G115: at most MaxSegment
	}
	return a.Seal(binary.BigEndian.AppendUint32(dst, length), nil, plaintext, p.place(n, last)) //nolint:gosec // G407: the AEAD draws its nonces itself
}

// open is decryptSegment; the plaintext is appended to dst, which must not overlap the segment.
func (s *stream) open(dst []byte, a cipher.AEAD, p *scratch, segment []byte, n uint64, last bool) ([]byte, error) {
	if len(segment) < Overhead || len(segment) > s.segment || !last && len(segment) != s.segment {
		return nil, ErrOpen
	}
	want := uint32(notLast)
	if last {
		want = uint32(len(segment)) //nolint:gosec // G115: at most MaxSegment
	}
	if binary.BigEndian.Uint32(segment) != want {
		return nil, ErrOpen
	}
	plaintext, err := a.Open(dst, nil, segment[lengthSize:], p.place(n, last))
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

// Size is how long the stream of so many bytes of plaintext is, in bytes. It answers an error for what cannot be a stream.
func Size(plaintext int64, segment int) (int64, error) {
	if err := checkSegment(segment); err != nil {
		return 0, err
	}
	room := int64(segment - Overhead)
	segments := max(1, (plaintext+room-1)/room)
	if plaintext < 0 || segments > maxSegments {
		return 0, ErrTooLong
	}
	return HeaderSize + plaintext + segments*Overhead, nil
}
