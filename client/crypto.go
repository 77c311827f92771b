package client

import (
	"context"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Context is an encryption context: authenticated with the ciphertext, not encrypted, and needed again to decrypt.
type Context map[string]string

// EncryptInput asks for the encryption of at most 64 KiB.
type EncryptInput struct {
	Key       string // id, name or alias/NAME
	Plaintext []byte
	Context   Context
	AAD       []byte // instead of a context
	Version   uint32 // 0: the primary version
	Scheme    string // empty: the default of the key's algorithm
	Raw       bool   // RSA keys: the bare OAEP ciphertext
}

// EncryptOutput is a ciphertext, which names its key and version.
type EncryptOutput struct {
	Ciphertext []byte `json:"ciphertext"`
	KeyID      string `json:"key_id"`
	Version    uint32 `json:"version"`
}

// DecryptInput asks for a plaintext.
type DecryptInput struct {
	Key        string // may be empty: the ciphertext names its key
	Ciphertext []byte
	Context    Context // exactly that of the encryption
	AAD        []byte
	Version    uint32 // for raw RSA ciphertexts
	Scheme     string // for raw RSA ciphertexts
	Raw        bool
}

// DecryptOutput is a plaintext.
type DecryptOutput struct {
	Plaintext []byte `json:"plaintext"`
	KeyID     string `json:"key_id"`
	Version   uint32 `json:"version"`
}

// ReEncryptInput moves a ciphertext to another key, version or context.
type ReEncryptInput struct {
	FromKey     string // may be empty: the ciphertext names its key
	ToKey       string
	Ciphertext  []byte
	FromContext Context
	FromAAD     []byte
	ToContext   Context
	ToAAD       []byte
}

// ReEncryptOutput is the new ciphertext.
type ReEncryptOutput struct {
	Ciphertext []byte `json:"ciphertext"`
	FromKeyID  string `json:"from_key_id"`
	ToKeyID    string `json:"to_key_id"`
	Version    uint32 `json:"version"` // of ToKey
}

// GenerateDataKeyInput asks for a data key.
type GenerateDataKeyInput struct {
	Key              string
	Length           uint32 // bytes; 0: 32
	Context          Context
	AAD              []byte
	WithoutPlaintext bool // answer the encrypted data key only
}

// GenerateDataKeyOutput is a data key: use Plaintext and erase it, store Ciphertext.
type GenerateDataKeyOutput struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext []byte `json:"ciphertext"`
	KeyID      string `json:"key_id"`
	Version    uint32 `json:"version"`
}

// SignInput asks for a signature.
type SignInput struct {
	Key      string
	Message  []byte // at most 64 KiB, or the digest of more
	Digested bool   // Message is the digest by the scheme's hash
	Version  uint32
	Scheme   string
}

// SignOutput is a signature.
type SignOutput struct {
	Signature []byte `json:"signature"`
	KeyID     string `json:"key_id"`
	Version   uint32 `json:"version"`
	Scheme    string `json:"scheme"`
}

// VerifyInput asks whether a signature verifies.
type VerifyInput struct {
	Key       string
	Message   []byte
	Digested  bool
	Signature []byte
	Version   uint32
	Scheme    string
}

// VerifyOutput says with what a signature or MAC was verified.
type VerifyOutput struct {
	KeyID   string `json:"key_id"`
	Version uint32 `json:"version"`
	Scheme  string `json:"scheme"`
}

// GenerateMACInput asks for a message authentication code.
type GenerateMACInput struct {
	Key     string
	Message []byte
	Version uint32
}

// GenerateMACOutput is a code.
type GenerateMACOutput struct {
	MAC     []byte `json:"mac"`
	KeyID   string `json:"key_id"`
	Version uint32 `json:"version"`
	Scheme  string `json:"scheme"`
}

// VerifyMACInput asks whether a code verifies.
type VerifyMACInput struct {
	Key     string
	Message []byte
	MAC     []byte
	Version uint32
}

// PublicKey is the public half of an asymmetric key's version.
type PublicKey struct {
	DER       []byte    `json:"public_key"` // SubjectPublicKeyInfo: x509.ParsePKIXPublicKey reads it
	KeyID     string    `json:"key_id"`
	Version   uint32    `json:"version"`
	Algorithm string    `json:"algorithm"`
	Usage     string    `json:"usage"`
	Schemes   []string  `json:"schemes"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// Encrypt encrypts at most 64 KiB under a key.
func (c *Client) Encrypt(ctx context.Context, in EncryptInput, options ...Option) (EncryptOutput, error) {
	res, err := invoke(ctx, c, c.crypto.Encrypt, fromEncryptInput(in), reads, options)
	return toEncrypt(res), err
}

// Decrypt opens a ciphertext.
func (c *Client) Decrypt(ctx context.Context, in DecryptInput, options ...Option) (DecryptOutput, error) {
	res, err := invoke(ctx, c, c.crypto.Decrypt, fromDecryptInput(in), reads, options)
	return toDecrypt(res), err
}

// ReEncrypt moves a ciphertext; its plaintext does not leave the server.
func (c *Client) ReEncrypt(ctx context.Context, in ReEncryptInput, options ...Option) (ReEncryptOutput, error) {
	res, err := invoke(ctx, c, c.crypto.ReEncrypt, fromReEncryptInput(in), reads, options)
	return toReEncrypt(res), err
}

// GenerateDataKey makes a random data key and its encryption under a key.
func (c *Client) GenerateDataKey(ctx context.Context, in GenerateDataKeyInput, options ...Option) (GenerateDataKeyOutput, error) {
	res, err := invoke(ctx, c, c.crypto.GenerateDataKey, fromGenerateDataKeyInput(in), reads, options)
	return toGenerateDataKey(res), err
}

// Sign signs a message or digest.
func (c *Client) Sign(ctx context.Context, in SignInput, options ...Option) (SignOutput, error) {
	res, err := invoke(ctx, c, c.crypto.Sign, fromSignInput(in), reads, options)
	return toSign(res), err
}

// Verify checks a signature. No error means that it verifies; one that does not is an error of CodeBadSignature.
func (c *Client) Verify(ctx context.Context, in VerifyInput, options ...Option) (VerifyOutput, error) {
	res, err := invoke(ctx, c, c.crypto.Verify, fromVerifyInput(in), reads, options)
	return toVerify(res), err
}

// GenerateMAC makes a message authentication code.
func (c *Client) GenerateMAC(ctx context.Context, in GenerateMACInput, options ...Option) (GenerateMACOutput, error) {
	res, err := invoke(ctx, c, c.crypto.GenerateMac, fromGenerateMACInput(in), reads, options)
	return toGenerateMAC(res), err
}

// VerifyMAC checks a code. No error means that it verifies; one that does not is an error of CodeBadMAC.
func (c *Client) VerifyMAC(ctx context.Context, in VerifyMACInput, options ...Option) (VerifyOutput, error) {
	res, err := invoke(ctx, c, c.crypto.VerifyMac, fromVerifyMACInput(in), reads, options)
	return toVerifyMAC(res), err
}

// GenerateRandom answers random bytes of the server: at most 64 KiB.
func (c *Client) GenerateRandom(ctx context.Context, length uint32, options ...Option) ([]byte, error) {
	res, err := invoke(ctx, c, c.crypto.GenerateRandom, &keyholdv1.GenerateRandomRequest{Length: length}, reads, options)
	return res.GetRandom(), err
}

// GetPublicKey answers the public half of an asymmetric key. A version of 0 is the primary version.
func (c *Client) GetPublicKey(ctx context.Context, key string, version uint32, options ...Option) (PublicKey, error) {
	res, err := invoke(ctx, c, c.crypto.GetPublicKey, &keyholdv1.GetPublicKeyRequest{Key: key, Version: version}, reads, options)
	return PublicKey{
		DER: res.GetPublicKey(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Algorithm: res.GetAlgorithm(), Usage: res.GetUsage(),
		Schemes: res.GetSchemes(), CreatedAt: timeOf(res.GetCreatedAt()),
	}, err
}
