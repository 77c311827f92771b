package floe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// A second implementation, written from the specification with nothing of the first: HKDF-Expand from HMAC (RFC 5869 §2.3), GCM
// with its nonce given, whole streams in memory.

type reference struct {
	key, iv, aad []byte
	segment      int
	mask         uint // AEAD_ROTATION_MASK
}

func (r reference) encodeParams() []byte {
	out := []byte{0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(r.segment))
	return binary.BigEndian.AppendUint32(out, 32)
}

func (r reference) kdf(key []byte, purpose string, n int) []byte {
	info := append(append(append(r.encodeParams(), r.iv...), purpose...), r.aad...)
	var out, t []byte
	for i := byte(1); len(out) < n; i++ {
		m := hmac.New(sha512.New384, key)
		m.Write(t)
		m.Write(info)
		m.Write([]byte{i})
		t = m.Sum(nil)
		out = append(out, t...)
	}
	return out[:n]
}

func (r reference) gcm(n uint64) cipher.AEAD {
	message := r.kdf(r.key, "MESSAGE_KEY:", 48)
	masked := n &^ (1<<r.mask - 1)
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], masked)
	block, err := aes.NewCipher(r.kdf(message, "DEK:"+string(be[:]), 32))
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

func (r reference) header() []byte {
	return append(append(r.encodeParams(), r.iv...), r.kdf(r.key, "HEADER_TAG:", 32)...)
}

func tail(n uint64, last bool) []byte {
	out := binary.BigEndian.AppendUint64(nil, n)
	if last {
		return append(out, 1)
	}
	return append(out, 0)
}

// sealSegment is one segment with a nonce.
func (r reference) sealSegment(nonce, plaintext []byte, n uint64, last bool) []byte {
	length := uint32(1<<32 - 1)
	if last {
		length = uint32(4 + 12 + len(plaintext) + 16)
	}
	out := append(binary.BigEndian.AppendUint32(nil, length), nonce...)
	return r.gcm(n).Seal(out, nonce, plaintext, tail(n, last))
}

// seal is a whole stream. emptyLast ends it with an empty segment even where the last could be full.
func (r reference) seal(plaintext []byte, emptyLast bool) []byte {
	out := r.header()
	room := r.segment - 32
	n := uint64(0)
	for ; len(plaintext) > room || emptyLast && len(plaintext) == room; n++ {
		nonce := make([]byte, 12)
		rand.Read(nonce)
		out = append(out, r.sealSegment(nonce, plaintext[:room], n, false)...)
		plaintext = plaintext[room:]
	}
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return append(out, r.sealSegment(nonce, plaintext, n, true)...)
}

// unseal opens a whole stream.
func (r reference) unseal(stream []byte) ([]byte, error) {
	r.iv = stream[10:42]
	if !hmac.Equal(stream[:74], r.header()) {
		return nil, fmt.Errorf("header")
	}
	stream = stream[74:]
	var out []byte
	for n := uint64(0); ; n++ {
		if len(stream) < 32 {
			return nil, fmt.Errorf("segment %d is missing", n)
		}
		length := int(binary.BigEndian.Uint32(stream))
		last := length != 1<<32-1
		if !last {
			length = r.segment
		}
		if length > len(stream) {
			return nil, fmt.Errorf("segment %d is short", n)
		}
		p, err := r.gcm(n).Open(nil, stream[4:16], stream[16:length], tail(n, last))
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", n, err)
		}
		out, stream = append(out, p...), stream[length:]
		if last {
			if len(stream) > 0 {
				return nil, fmt.Errorf("%d bytes after the last segment", len(stream))
			}
			return out, nil
		}
	}
}
