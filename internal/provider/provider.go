// Package provider is the port to what holds and uses key material: software, and later hardware.
// Material enters and leaves a provider wrapped only. providertest holds the contract as executable tests.
package provider

import (
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
)

// Generated is a new version's material, wrapped, with what may be known of it.
type Generated struct {
	Wrapped []byte // under the wrapping key, bound to place
	Public  []byte // DER SubjectPublicKeyInfo; nil for symmetric keys
	Check   []byte // check value, 8 bytes: binds the material to its record
	Source  string // the random source, e.g. "getrandom"
}

// Provider makes and opens material. Place is the canonical name of where the material belongs (key id ‖ version …);
// it is bound into the wrapping, so that material moved elsewhere does not open.
type Provider interface {
	// Generate makes material of an algorithm. Slow kinds wait for a place in a bounded pool.
	Generate(a kms.Algorithm, wrap *box.Key, place []byte) (Generated, error)
	// Open unwraps material and verifies its check value. The errors are kms.Errors.
	Open(a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (Handle, error)
	// Random gives n random bytes.
	Random(n int) ([]byte, error)
}

// Handle uses one version's material. It is safe for concurrent use, and consults the algorithm table at its own door.
// Every error is a *kms.Error; failures to decrypt or verify have one code each whatever the reason.
type Handle interface {
	// Seal appends the encryption of plaintext to dst. For AES-GCM and (X)ChaCha20-Poly1305: a box (package box, with the label
	// of the cipher) over header and aad.
	// For RSA-OAEP: the raw OAEP ciphertext with label aad; the header is not covered.
	Seal(dst, header, plaintext, aad []byte, s kms.Scheme) ([]byte, error)
	// Open appends the plaintext to dst.
	Open(dst, header, sealed, aad []byte, s kms.Scheme) ([]byte, error)
	// Sign signs a message, or a digest of it where digested is true (not for Ed25519, ML-DSA and SLH-DSA). ECDSA
	// signatures are ASN.1 DER. Kinds that sign slowly wait for a place in a bounded pool.
	Sign(message []byte, digested bool, s kms.Scheme) ([]byte, error)
	// Verify checks a signature: nil, or CodeBadSignature.
	Verify(message, signature []byte, digested bool, s kms.Scheme) error
	// MAC appends the full-length HMAC or CMAC of message to dst.
	MAC(dst, message []byte, s kms.Scheme) ([]byte, error)
	// VerifyMAC compares in constant time: nil, or CodeBadMAC. Truncated MACs are refused.
	VerifyMAC(message, mac []byte, s kms.Scheme) error
	// Close erases what can be erased. A closed handle fails.
	Close()
}
