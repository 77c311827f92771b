// Package blob is the frame of a Keyhold ciphertext: the header that says which suite, which key and which version made
// what follows. docs/formats.md, "Keyhold blob v1", is its specification:
//
//	01 | suite 1 | key id 16 | version u32 big-endian | body
//
// The body of suite 01 is a box (package box, label Blob) over this header and the additional authenticated data: salt 24,
// commitment 32, nonce 12, ciphertext, tag 16. Suites 05 and 06 are boxes of ChaCha20-Poly1305 (label BlobChaCha) and of
// XChaCha20-Poly1305 (label BlobXChaCha, nonce 24). The body of suite 04 is convergent: nothing in it is random, commitment 32,
// synthetic IV 16, ciphertext (label BlobSIV). The body of suite 03 is the raw RSA-OAEP ciphertext, as long as the
// modulus; OAEP does not cover the header, so a changed header is found by the failing decryption under the named key.
//
// The package reads and writes frames and bounds them. It has no policy: it knows no key, and does not decide whether a
// suite may be used. Every refusal is kms.CodeBadCiphertext: what is refused here was never a Keyhold ciphertext, or
// was cut short, and says nothing of any key.
package blob

import (
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
)

// Suite says how the body is built.
type Suite uint8

// The suites. Numbers are for ever. Reserved, and refused until it is built: 02 for a key that never leaves an HSM; 00 and FF
// are never assigned.
const (
	Software   Suite = 1 // AES-GCM box
	OAEP       Suite = 3 // RSA-OAEP
	Convergent Suite = 4 // AES-SIV
	ChaCha     Suite = 5 // ChaCha20-Poly1305 box
	XChaCha    Suite = 6 // XChaCha20-Poly1305 box
)

// Sizes in bytes.
const (
	HeaderSize = 22
	MaxSize    = 16 << 20 // of a whole blob; dialects have lower limits of their own
	minOAEP    = 2048 / 8 // shortest modulus
	maxOAEP    = 4096 / 8 // longest modulus

	ConvergentOverhead = 32 + 16 // commitment, synthetic IV
)

const version1 = 1

// Header names what made the ciphertext. Key and Version are never zero in a parsed header.
type Header struct {
	Suite   Suite
	Key     kms.ID
	Version uint32
}

// suites bounds the body of each suite, in bytes. A suite that is absent is refused.
var suites = [...]struct {
	name     string
	min, max int
}{
	Software:   {"software", box.Overhead, MaxSize - HeaderSize},
	OAEP:       {"rsa-oaep", minOAEP, maxOAEP},
	Convergent: {"convergent", ConvergentOverhead, MaxSize - HeaderSize},
	ChaCha:     {"chacha20-poly1305", box.Overhead, MaxSize - HeaderSize},
	XChaCha:    {"xchacha20-poly1305", box.XChaChaOverhead, MaxSize - HeaderSize},
}

// ofScheme is the suite of each scheme that encrypts.
var ofScheme = map[kms.Scheme]Suite{
	kms.SchemeAESGCM:            Software,
	kms.SchemeOAEPSHA1:          OAEP,
	kms.SchemeOAEPSHA256:        OAEP,
	kms.SchemeOAEPSHA384:        OAEP,
	kms.SchemeOAEPSHA512:        OAEP,
	kms.SchemeChaCha20Poly1305:  ChaCha,
	kms.SchemeXChaCha20Poly1305: XChaCha,
	kms.SchemeAESSIV:            Convergent,
}

// Of is the suite that a scheme's ciphertexts have: 0, which is never assigned, for a scheme that does not encrypt.
func Of(s kms.Scheme) Suite { return ofScheme[s] }

// Boxed says whether the body authenticates the header, as boxes and the convergent form of them do; the body of OAEP does not
// and has a raw form.
func (s Suite) Boxed() bool { return s.known() && s != OAEP }

func (s Suite) String() string {
	if s.known() {
		return suites[s].name
	}
	return "unknown-suite"
}

func (s Suite) known() bool { return int(s) < len(suites) && suites[s].max > 0 }

// AppendHeader appends the 22 bytes of the header to dst.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, version1, byte(h.Suite))
	dst = append(dst, h.Key[:]...)
	return binary.BigEndian.AppendUint32(dst, h.Version)
}

// Parse splits a blob into its header and its body, which shares memory with it. The first HeaderSize bytes of the blob
// are the header as the box covers it. The only error is a *kms.Error of CodeBadCiphertext.
func Parse(blob []byte) (Header, []byte, error) {
	if len(blob) < HeaderSize {
		return Header{}, nil, bad("it has %d bytes, a Keyhold ciphertext has at least %d", len(blob), HeaderSize+box.Overhead)
	}
	if len(blob) > MaxSize {
		return Header{}, nil, bad("it has %d bytes, the limit is %d", len(blob), MaxSize)
	}
	if blob[0] != version1 {
		return Header{}, nil, bad("it does not begin with a format version that this server knows")
	}
	h := Header{Suite: Suite(blob[1]), Key: kms.ID(blob[2:18]), Version: binary.BigEndian.Uint32(blob[18:HeaderSize])}
	if !h.Suite.known() {
		return Header{}, nil, bad("it names suite %d, which this server does not know", blob[1])
	}
	if h.Key.IsZero() || h.Version == 0 {
		return Header{}, nil, bad("its header names no key version")
	}
	body := blob[HeaderSize:]
	if limits := suites[h.Suite]; len(body) < limits.min || len(body) > limits.max {
		return Header{}, nil, bad("its body has %d bytes, suite %s takes %d to %d", len(body), h.Suite, limits.min, limits.max)
	}
	return h, body, nil
}

// Names tells whether what may be a blob names a key as the one that made it. What does not is no blob of that key.
func Names(blob []byte, key kms.ID) bool {
	return len(blob) >= HeaderSize && blob[0] == version1 && kms.ID(blob[2:18]) == key
}

func bad(format string, args ...any) error {
	return kms.Errorf(kms.CodeBadCiphertext, "the ciphertext cannot be read: "+format, args...)
}
