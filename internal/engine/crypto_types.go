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
	Items   []EncryptItem
}

// EncryptItem is one plaintext with its encryption context, or with raw additional data (not both).
type EncryptItem struct {
	Plaintext []byte
	Context   kms.Context
	AAD       []byte
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
	Items   []DecryptItem
}

// DecryptItem is one ciphertext with the context or additional data of its encryption.
type DecryptItem struct {
	Ciphertext []byte
	Context    kms.Context
	AAD        []byte
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
}

// ReEncryptItem is one ciphertext, the context it was made with, and the context it gets.
type ReEncryptItem struct {
	Ciphertext  []byte
	FromContext kms.Context
	FromAAD     []byte
	ToContext   kms.Context
	ToAAD       []byte
}

// ReEncryptOutput answers item by item.
type ReEncryptOutput struct {
	From, To kms.ID
	Version  uint32 // of To
	Items    []EncryptedItem
}

// DataKeyInput asks for data keys: random bytes, each with its encryption under a key.
type DataKeyInput struct {
	Key              kms.Ref
	Bytes            int // length of each data key, 1 to MaxDataKey
	Count            int // 0 means 1
	Context          kms.Context
	AAD              []byte
	WithoutPlaintext bool
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
	Items   []SignItem
}

// SignItem is a message, or its digest by the scheme's hash.
type SignItem struct {
	Message  []byte
	Digested bool
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
	Err       *kms.Error
}

// VerifyInput asks whether signatures verify.
type VerifyInput struct {
	Key     kms.Ref
	Version uint32 // 0: the primary version
	Scheme  kms.Scheme
	Items   []VerifyItem
}

// VerifyItem is a message (or digest) and its signature.
type VerifyItem struct {
	Message   []byte
	Digested  bool
	Signature []byte
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
	Key     kms.Ref
	Version uint32 // 0: the primary version
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
