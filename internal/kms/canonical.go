package kms

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// The kinds of additional authenticated data. They are part of the ciphertext format and never change.
const (
	aadNone byte = 0
	aadMap  byte = 1
	aadRaw  byte = 2
)

// fewItems is the number of context entries that are put in order without an allocation of their own.
const fewItems = 4

// AppendContextAAD appends the canonical form of an encryption context to dst (docs/formats.md, "Additional
// authenticated data"): kind ‖ binding id of the key ‖ for each entry in byte order of the names: u32 length ‖ name ‖
// u32 length ‖ value. The binding id is the same in every replica of a key, so that a ciphertext opens there too.
//
// An empty context and a nil one are the same, none. Whether the context is within its limits is Context.Check's business.
func AppendContextAAD(dst []byte, binding ID, c Context) []byte {
	if len(c) == 0 {
		return appendBinding(dst, aadNone, binding)
	}
	dst = slices.Grow(dst, 1+len(binding)+c.canonicalSize())
	return c.appendItems(appendBinding(dst, aadMap, binding))
}

// AppendRawAAD appends the canonical form of additional authenticated data that is one string of bytes: kind ‖ binding
// id ‖ u32 length ‖ bytes. No bytes are the same as none.
func AppendRawAAD(dst []byte, binding ID, raw []byte) []byte {
	if len(raw) == 0 {
		return appendBinding(dst, aadNone, binding)
	}
	dst = slices.Grow(dst, 1+len(binding)+4+len(raw))
	return appendItem(appendBinding(dst, aadRaw, binding), raw)
}

// ContextDigest is what an audit record holds of an encryption context: SHA-256 over its canonical form without the
// binding id, so that one context has one digest under every key. It is zero for none.
func ContextDigest(c Context) [32]byte {
	if len(c) == 0 {
		return [32]byte{}
	}
	var buf [256]byte
	return sha256.Sum256(c.appendItems(append(slices.Grow(buf[:0], 1+c.canonicalSize()), aadMap)))
}

// RawDigest is ContextDigest for additional authenticated data that is one string of bytes.
func RawDigest(raw []byte) [32]byte {
	if len(raw) == 0 {
		return [32]byte{}
	}
	var buf [256]byte
	return sha256.Sum256(appendItem(append(slices.Grow(buf[:0], 5+len(raw)), aadRaw), raw))
}

func appendBinding(dst []byte, kind byte, binding ID) []byte {
	dst = slices.Grow(dst, 1+len(binding))
	return append(append(dst, kind), binding[:]...)
}

func (c Context) canonicalSize() int {
	n := 8 * len(c)
	for k, v := range c {
		n += len(k) + len(v)
	}
	return n
}

func (c Context) appendItems(dst []byte) []byte {
	var few [fewItems]string
	names := few[:0]
	for k := range c {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		dst = appendItem(appendItem(dst, k), c[k])
	}
	return dst
}

// appendItem writes one length-prefixed item. Items are bounded far below 4 GiB: a context by Context.Check, raw
// data by the limit of a request.
func appendItem[T string | []byte](dst []byte, item T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(item))) //nolint:gosec // G115: bounded, see above
	return append(dst, item...)
}
