// Package provider is the port to what holds and uses key material: software, and later hardware.
// Material enters and leaves a provider wrapped only. providertest holds the contract as executable tests.
package provider

import (
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// Generated is a new version's material, wrapped, with what may be known of it.
type Generated struct {
	Wrapped []byte // under the wrapping key, bound to place
	Public  []byte // DER SubjectPublicKeyInfo; nil for symmetric keys
	Check   []byte // check value, 8 bytes: binds the material to its record
	Source  string // the random source, e.g. "getrandom"
	Handle  Handle // the version, opened from Wrapped: it has proved itself. Close it after use. Nil for what was imported
}

// Spec says what material is to be made, or taken in.
type Spec struct {
	Algorithm kms.Algorithm
	Bytes     int  // of the raw material, where the algorithm lets it be chosen (kms.CheckSize); 0: the algorithm's own. Not of an import
	MAC       bool // a MAC key of kms.MACKeyBytes stands beside the key; an HMAC key is its own, for every hash
	GivenMAC  bool // of an import: that MAC key follows the key in the parcel. Without it one is made
}

// Parcel is key material as another system wrapped it.
type Parcel struct {
	Transport kms.Transport
	Info      []byte // what HPKE binds it to; else empty
	Bytes     []byte
	Clear     *secret.Bytes // instead of Transport and Bytes: nobody wrapped it, it came in a backup. Whoever hands it over erases it
	ClearMAC  *secret.Bytes // the MAC key beside it, where Spec says that it is given
}

// Imported is a version made of material that came from elsewhere.
type Imported struct {
	Generated
	Bytes int           // of the raw material of symmetric keys
	KCV   transport.KCV // of AES keys
}

// Receiver is whom material is wrapped for.
type Receiver struct {
	Transport kms.Transport
	Public    []byte // DER SubjectPublicKeyInfo; nil where By wraps
	By        Handle // a wrapping key of this provider
	MAC       bool   // the MAC key that stands beside the key follows it; CodeNotFound where there is none
	Info      []byte // what HPKE binds it to; else empty
	Clear     bool   // nobody: the material leaves as it is, with the MAC key that stands beside it, for a backup or an export in the clear
}

// Exported is material on its way out.
type Exported struct {
	Bytes []byte        // wrapped
	KCV   transport.KCV // of AES keys

	Clear, MAC *secret.Bytes // instead: in the clear. Whoever gets them erases them. MAC is nil where none stands beside the key, or the key is its own
}

// Sealed is a version's material as it is kept.
type Sealed struct {
	Algorithm kms.Algorithm
	Wrapped   []byte
	Wrap      *box.Key
	Place     []byte
	Check     []byte
}

// Provider makes and opens material. Place is the canonical name of where the material belongs (key id ‖ version …);
// it is bound into the wrapping, so that material moved elsewhere does not open.
type Provider interface {
	// Generate makes material. Slow kinds wait for a place in a bounded pool.
	Generate(s Spec, wrap *box.Key, place []byte) (Generated, error)
	// GeneratePair makes a key pair that the provider does not keep: a DER SubjectPublicKeyInfo, and a DER PKCS #8 PrivateKeyInfo
	// that the caller owns and erases. CodeAlgorithm for algorithms without a private key or a standard form of it. Slow kinds
	// wait for a place in the pool.
	GeneratePair(a kms.Algorithm) (public []byte, private *secret.Bytes, err error)
	// Open unwraps material and verifies its check value. The errors are kms.Errors.
	Open(a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (Handle, error)
	// Import opens a parcel with by, a handle of this provider whose private or wrapping key the transport is for (nil where it is in the clear), checks that it
	// holds a good key of the algorithm, and wraps that as Generate wraps a new one. Source is empty. CodeDecryptFailed for every reason not
	// to open; CodeKeyFile for what is not a key of the algorithm, or a weak one; those of kms.CheckTransport.
	Import(s Spec, by Handle, p Parcel, wrap *box.Key, place []byte) (Imported, error)
	// Export opens material and wraps it for a receiver: symmetric keys as they are, private keys as PKCS #8. CodeAlgorithm for
	// private keys without a standard form; CodeBadRequest for a receiver's key that is none; those of kms.CheckTransport and Open.
	Export(s Sealed, to Receiver) (Exported, error)
	// Random gives n random bytes.
	Random(n int) ([]byte, error)
	// Healthy tells whether keys can be made: CodeRandomness if the random source fails. It asks the source now, so that one that came back is seen.
	Healthy() error
}

// Handle uses one version's material. It is safe for concurrent use, and consults the algorithm table at its own door.
// Every error is a *kms.Error; failures to decrypt or verify have one code each whatever the reason.
type Handle interface {
	Cipher
	Signer
	Authenticator
	Agreement
	Formatter
	// Derive makes the key of a context: HKDF-SHA-256 of the material, without a salt, with the context as info (RFC 5869), as transit
	// derives. Of a symmetric key as many bytes as it has, and 32 more for the nonces of convergent encryption, which seals in transit's own
	// layouts alone; of an Ed25519 key the seed. The caller closes it after use. CodeAlgorithm for other keys; CodeBadRequest without a context.
	Derive(context []byte) (Handle, error)
	// PublicKey is the public half of an Ed25519 key, also of one that Derive made, whose public half is kept nowhere: a DER
	// SubjectPublicKeyInfo. CodeAlgorithm for other keys.
	PublicKey() ([]byte, error)
	// Close erases what can be erased. A closed handle fails.
	Close()
}

// Cipher encrypts data, or wraps key material that another system holds.
type Cipher interface {
	// Seal appends the encryption of plaintext to dst. For AES-GCM and (X)ChaCha20-Poly1305: a box (package box, with the label
	// of the cipher) over header and aad; for AES-SIV: the deterministic form of one.
	// For RSA-OAEP: the raw OAEP ciphertext with label aad; the header is not covered.
	// In transit's own layouts (kms.CheckLayout): nonce, ciphertext and tag, with aad as it is; the header must be empty, as they commit to none.
	// For key wrapping (KW, KWP): the wrapped key; header and aad must be empty, as the mode covers neither.
	Seal(dst, header, plaintext, aad []byte, s kms.Scheme) ([]byte, error)
	// Open appends the plaintext to dst.
	Open(dst, header, sealed, aad []byte, s kms.Scheme) ([]byte, error)
}

// Signer signs and verifies.
type Signer interface {
	// Sign signs a message, or a digest of it where the form says so (not for Ed25519 and SLH-DSA; of ML-DSA it is μ). ECDSA
	// signatures are ASN.1 DER. Kinds that sign slowly wait for a place in a bounded pool.
	Sign(message []byte, form kms.Form, s kms.Scheme) ([]byte, error)
	// Verify checks a signature: nil, or CodeBadSignature.
	Verify(message, signature []byte, form kms.Form, s kms.Scheme) error
}

// Authenticator makes and checks MACs, with the key or, where a MAC key stands beside it, with that (kms.CheckBeside).
type Authenticator interface {
	// MAC appends the full-length HMAC or CMAC of message to dst.
	MAC(dst, message []byte, s kms.Scheme) ([]byte, error)
	// VerifyMAC compares in constant time: nil, or CodeBadMAC. Truncated MACs are refused.
	VerifyMAC(message, mac []byte, s kms.Scheme) error
}

// Agreement makes shared secrets. Whoever gets one owns and erases it. A raw ECDH secret is not uniform: it is meant for a key
// derivation function (SP 800-56C), never to be a key itself.
type Agreement interface {
	// Agree is ECDH with the other side's public key, a DER SubjectPublicKeyInfo: Z, the x coordinate of the shared point in the
	// length of the field (SP 800-56A rev. 3 §5.7.1.2), or the output of X25519 (RFC 7748 §6.1). CodeBadRequest for a key of
	// another curve or kind, a point that is not on the curve, and a key that makes X25519 give zeros.
	Agree(peer []byte) (*secret.Bytes, error)
	// Encapsulate makes a secret of 32 bytes and a ciphertext from which this key's private half, and nobody else, gets it.
	Encapsulate() (ciphertext []byte, shared *secret.Bytes, err error)
	// Decapsulate gets the secret out of a ciphertext. A ciphertext of another length: CodeDecryptFailed. One of the right length
	// that was changed, or made for another key, gives a secret that nobody else has, without an error (implicit rejection,
	// FIPS 203 §6.3): whoever uses the secret notices.
	Decapsulate(ciphertext []byte) (*secret.Bytes, error)
}

// Formatter encrypts numerals into as many numerals of the same radix.
type Formatter interface {
	// Format appends the FF1 encryption, or decryption, of numerals to dst: each below radix. Nothing is authenticated: any
	// numerals decrypt, to something. CodeBadRequest outside the limits of SP 800-38G and of the provider.
	Format(dst []uint16, radix int, tweak []byte, numerals []uint16, decrypt bool) ([]uint16, error)
}
