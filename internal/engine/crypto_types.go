package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits of cryptographic requests.
const (
	MaxPlaintext = 64 << 10 // bytes of one item; larger data goes through envelope encryption
	MaxMessage   = 64 << 10 // bytes of one message to sign or MAC; larger messages are digested by the client
	MaxItems     = 1024     // items of one batch
	MaxBatch     = 4 << 20  // bytes of input of one batch
	MaxRandom    = 64 << 10 // bytes of one GenerateRandom
	MaxDataKey   = 1024     // bytes of one data key
	MaxPeerKey   = 1024     // bytes of another's public key: a SubjectPublicKeyInfo of P-521 has 158
	MaxDerived   = 1024     // bytes of one derived secret, of its salt and of its info
	MaxWrap      = 4096     // bytes of one material to wrap (package soft has the same limit)
	MaxFormatted = 1024     // characters of one text whose format is kept
	MaxTweak     = 256      // bytes of one tweak
)

// Every operation of this file takes Items, one or many: a batch on one key is one operation with one record. The
// outcome of an item is in the item; the error of the call is for what concerns all of them.
// A call with a single item that fails answers that failure as the error of the call.

// EncryptInput asks for the encryption of items under a key's primary (or a named) version.
type EncryptInput struct {
	Key     kms.Ref
	Version uint32     // 0: the primary version
	Scheme  kms.Scheme // 0: the algorithm's default
	Raw     bool       // RSA only: answer the bare OAEP ciphertext, without key and version in front
	Boxed   bool       // refuse a key whose ciphertexts do not bind context and additional data: RSA
	Plain   bool       `json:",omitzero"` // of a key that has it (Transit.Plain), transit's own layout; of RSA the bare ciphertext
	Items   []EncryptItem
}

// EncryptItem is one plaintext with its encryption context, or with raw additional data (not both).
type EncryptItem struct {
	Plaintext  []byte
	Context    kms.Context
	AAD        []byte
	Derivation []byte `json:",omitzero"` // with Plain, what a derived key is derived for; other keys pass over it, as transit does
}

// EncryptOutput answers item by item.
type EncryptOutput struct {
	Key     kms.ID
	Version uint32
	Items   []EncryptedItem
}

// EncryptedItem is a ciphertext or an error.
type EncryptedItem struct {
	Ciphertext []byte
	Err        *kms.Error
}

// DecryptInput asks for plaintexts. All ciphertexts are of one key.
type DecryptInput struct {
	Key     kms.Ref    // may be empty: the first ciphertext names its key. If set, ciphertexts of another key are refused
	Version uint32     // for raw RSA ciphertexts, which do not carry their version
	Scheme  kms.Scheme // for raw RSA ciphertexts; 0: the default
	Raw     bool
	Plain   bool `json:",omitzero"` // ciphertexts of transit's own layout too, and bare ones of RSA: what is no Keyhold ciphertext of the key
	Items   []DecryptItem
}

// DecryptItem is one ciphertext with the context or additional data of its encryption.
type DecryptItem struct {
	Ciphertext []byte
	Context    kms.Context
	AAD        []byte
	Version    uint32 `json:",omitzero"` // with Plain, the version that made it: it has to be the one that a Keyhold ciphertext names
	Derivation []byte `json:",omitzero"`
}

// DecryptOutput answers item by item.
type DecryptOutput struct {
	Key   kms.ID
	Items []DecryptedItem
}

// DecryptedItem is a plaintext or an error.
type DecryptedItem struct {
	Plaintext secret.Released
	Version   uint32
	Err       *kms.Error
}

// ReEncryptInput moves ciphertexts from one key or version to another without showing the plaintext.
type ReEncryptInput struct {
	From  kms.Ref // may be empty: the first ciphertext names its key
	To    kms.Ref
	Items []ReEncryptItem

	FromScheme kms.Scheme // of raw RSA ciphertexts; 0: the default
	FromRaw    bool
	ToScheme   kms.Scheme // 0: the algorithm's default
	ToRaw      bool       // RSA only
	ToBoxed    bool       // refuse a key whose ciphertexts do not bind context and additional data: RSA

	ToVersion uint32 `json:",omitzero"` // 0: the primary version
	Plain     bool   `json:",omitzero"` // as EncryptInput and DecryptInput have it, of both sides
}

// ReEncryptItem is one ciphertext, the context it was made with, and the context it gets.
type ReEncryptItem struct {
	Ciphertext  []byte
	FromContext kms.Context
	FromAAD     []byte
	ToContext   kms.Context
	ToAAD       []byte
	Version     uint32 `json:",omitzero"` // as DecryptItem has it
	Derivation  []byte `json:",omitzero"` // of both sides
}

// ReEncryptOutput answers item by item.
type ReEncryptOutput struct {
	From, To    kms.ID
	Version     uint32 // of To
	FromVersion uint32 // of the last item's ciphertext
	Items       []EncryptedItem
}

// DataKeyInput asks for data keys: random bytes, each with its encryption under a key.
type DataKeyInput struct {
	Key              kms.Ref
	Bytes            int // length of each data key, 1 to MaxDataKey
	Count            int // 0 means 1
	Context          kms.Context
	AAD              []byte
	WithoutPlaintext bool

	Version    uint32 `json:",omitzero"` // 0: the primary version
	Plain      bool   `json:",omitzero"` // as EncryptInput has it
	Derivation []byte `json:",omitzero"`
}

// DataKeyOutput answers the data keys.
type DataKeyOutput struct {
	Key     kms.ID
	Version uint32
	Items   []DataKeyItem
}

// DataKeyItem is one data key. Plaintext is empty if it was not asked for.
type DataKeyItem struct {
	Plaintext  secret.Released
	Ciphertext []byte
}

// SignInput asks for signatures.
type SignInput struct {
	Key     kms.Ref
	Version uint32
	Scheme  kms.Scheme
	Salt    kms.Salt // of RSA-PSS
	Items   []SignItem

	// Choose, where it is set, says instead of Scheme what the request means, once the algorithm of the key's version is known.
	Choose func(kms.Algorithm) (kms.Scheme, error) `json:"-"`
}

// SignItem is a message, or its digest by the scheme's hash.
type SignItem struct {
	Message    []byte
	Digested   bool
	Derivation []byte `json:",omitzero"` // what a derived key is derived for; other keys pass over it
}

// SignOutput answers item by item.
type SignOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []SignedItem
}

// SignedItem is a signature or an error.
type SignedItem struct {
	Signature []byte
	Public    []byte // of a derived key, what verifies it: a DER SubjectPublicKeyInfo
	Err       *kms.Error
}

// VerifyInput asks whether signatures verify.
type VerifyInput struct {
	Key     kms.Ref
	Version uint32 // 0: the primary version
	Scheme  kms.Scheme
	Salt    kms.Salt // of RSA-PSS
	Items   []VerifyItem

	// Choose, where it is set, says instead of Scheme what the request means, once the algorithm of the key's version is known.
	Choose func(kms.Algorithm) (kms.Scheme, error) `json:"-"`
}

// VerifyItem is a message (or digest) and its signature.
type VerifyItem struct {
	Message    []byte
	Digested   bool
	Signature  []byte
	Derivation []byte `json:",omitzero"`
}

// VerifyOutput answers item by item; Err is nil where the signature (or MAC) verifies.
type VerifyOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []VerifiedItem
}

// VerifiedItem is nil or an error of CodeBadSignature or CodeBadMAC.
type VerifiedItem struct{ Err *kms.Error }

// MACInput asks for MACs.
type MACInput struct {
	Key     kms.Ref
	Version uint32
	Scheme  kms.Scheme // 0: the algorithm's default
	Items   []MACItem
}

// MACItem is one message.
type MACItem struct{ Message []byte }

// MACOutput answers item by item.
type MACOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []MadeMAC
}

// MadeMAC is a MAC or an error.
type MadeMAC struct {
	MAC []byte
	Err *kms.Error
}

// VerifyMACInput asks whether MACs verify.
type VerifyMACInput struct {
	Key     kms.Ref
	Version uint32
	Scheme  kms.Scheme // 0: the algorithm's default
	Items   []VerifyMACItem
}

// VerifyMACItem is a message and its MAC.
type VerifyMACItem struct{ Message, MAC []byte }

// RandomInput asks for random bytes.
type RandomInput struct{ Bytes int }

// RandomOutput answers them.
type RandomOutput struct{ Bytes secret.Released }

// PublicKeyInput asks for the public half of an asymmetric key's version.
type PublicKeyInput struct {
	Key        kms.Ref
	Version    uint32 // 0: the primary version
	Derivation []byte `json:",omitzero"` // of a derived key: the public half of what is derived for it
}

// PublicKeyOutput is the public half.
type PublicKeyOutput struct {
	Key       kms.ID
	Version   uint32
	Algorithm kms.Algorithm
	Usage     kms.Usage
	Schemes   []kms.Scheme
	DER       []byte // SubjectPublicKeyInfo, RFC 5280 §4.1
	Created   time.Time
}

// KDF is what becomes of an agreed value.
type KDF uint8

// The derivations.
const (
	RawSecret  KDF = iota // the agreed value Z itself, for a derivation of the caller's own
	HKDFSHA256            // RFC 5869; a two-step derivation of SP 800-56C rev. 2 §5
)

// ParseKDF reads the name of a derivation; the empty string is RawSecret.
func ParseKDF(s string) (KDF, error) {
	switch s {
	case "":
		return RawSecret, nil
	case "hkdf-sha-256":
		return HKDFSHA256, nil
	}
	return 0, kms.Errorf(kms.CodeBadRequest, "the kdf is not one that this server knows: want hkdf-sha-256, or none")
}

// DeriveInput asks for a secret that is shared with the holder of another key pair.
type DeriveInput struct {
	Key        kms.Ref
	Version    uint32 // 0: the primary version
	PeerPublic []byte // DER SubjectPublicKeyInfo on the same curve
	KDF        KDF
	Salt, Info []byte // of the KDF
	Length     int    // bytes of the KDF's output, 1 to MaxDerived; 0: 32
}

// SharedSecret is a secret that somebody else can have too: by agreement, or by decapsulation.
type SharedSecret struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Secret  secret.Released
}

// EncapsulateInput asks for a shared secret for the holder of a key.
type EncapsulateInput struct {
	Key     kms.Ref
	Version uint32 // 0: the primary version
}

// EncapsulateOutput is a shared secret with its encapsulation, which does not name its version.
type EncapsulateOutput struct {
	SharedSecret
	Ciphertext []byte
}

// DecapsulateInput asks for the shared secret of an encapsulation.
type DecapsulateInput struct {
	Key        kms.Ref
	Version    uint32 // 0: the only version; refused if there are more
	Ciphertext []byte
}

// WrapInput asks for the wrapping of key material as other systems read it, or for its opening.
type WrapInput struct {
	Key     kms.Ref
	Version uint32     // 0: the primary version
	Scheme  kms.Scheme // 0: AES-KWP
	Items   []WrapItem
}

// WrapItem is material, or wrapped material.
type WrapItem struct{ Material []byte }

// WrapOutput answers item by item.
type WrapOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []WrappedItem
}

// WrappedItem is wrapped material or an error.
type WrappedItem struct {
	Wrapped []byte
	Err     *kms.Error
}

// UnwrapOutput answers item by item.
type UnwrapOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []UnwrappedItem
}

// UnwrappedItem is material or an error.
type UnwrappedItem struct {
	Material secret.Released
	Err      *kms.Error
}

// FormatInput asks for the encryption of texts to texts of the same form, or for their decryption.
type FormatInput struct {
	Key            kms.Ref
	Version        uint32 // 0: the primary version; to decrypt, the only version: refused if there are more
	Alphabet       string // a name, or 2 to 1,024 different characters; empty: digits
	PreserveOthers bool   // characters outside the alphabet stay where they are; without it they are refused
	Items          []FormatItem

	alphabet *alphabet // filled by check
}

// FormatItem is one text with its tweak, which is not secret.
type FormatItem struct{ Text, Tweak []byte }

// EncryptFormatOutput answers item by item.
type EncryptFormatOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []EncryptedText
}

// EncryptedText is a text or an error.
type EncryptedText struct {
	Text string
	Err  *kms.Error
}

// DecryptFormatOutput answers item by item.
type DecryptFormatOutput struct {
	Key     kms.ID
	Version uint32
	Scheme  kms.Scheme
	Items   []DecryptedText
}

// DecryptedText is a text or an error.
type DecryptedText struct {
	Text secret.Released
	Err  *kms.Error
}

// DataKeyPairInput asks for a key pair that the server does not keep, its private half encrypted under a key.
type DataKeyPairInput struct {
	Key              kms.Ref       // a symmetric encryption key
	Algorithm        kms.Algorithm // of the pair
	Context          kms.Context
	AAD              []byte
	WithoutPlaintext bool
}

// DataKeyPairOutput is the pair.
type DataKeyPairOutput struct {
	Key        kms.ID
	Version    uint32
	Algorithm  kms.Algorithm
	Public     []byte          // DER SubjectPublicKeyInfo
	Private    secret.Released // DER PKCS #8; empty if it was not asked for
	Ciphertext []byte          // of the private half
}
