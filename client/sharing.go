package client

import (
	"context"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// DeriveSharedSecretInput asks for a secret that is shared with the holder of another key pair.
type DeriveSharedSecretInput struct {
	Key           string
	PeerPublicKey []byte // DER SubjectPublicKeyInfo on the same curve: x509.MarshalPKIXPublicKey writes it
	Version       uint32 // 0: the primary version
	KDF           string // "hkdf-sha-256"; empty: the agreed value itself, which is not a key yet
	Salt          []byte // with a KDF
	Info          []byte // with a KDF: what the secret is for
	Length        uint32 // with a KDF: bytes; 0: 32
}

// SharedSecret is a secret that two sides have: use Secret and erase it.
type SharedSecret struct {
	Secret  []byte `json:"shared_secret"`
	KeyID   string `json:"key_id"`
	Version uint32 `json:"version"`
	Scheme  string `json:"scheme"`
}

// EncapsulateInput asks for a shared secret for a key.
type EncapsulateInput struct {
	Key     string
	Version uint32 // 0: the primary version
}

// EncapsulateOutput is a shared secret and its encapsulation. Keep Version beside Ciphertext, which does not name it.
type EncapsulateOutput struct {
	Ciphertext []byte `json:"ciphertext"`
	SharedSecret
}

// DecapsulateInput asks for the shared secret of an encapsulation.
type DecapsulateInput struct {
	Key        string
	Ciphertext []byte
	Version    uint32 // 0: the only version; refused if there are more
}

// GenerateDataKeyPairInput asks for a key pair that the server does not keep.
type GenerateDataKeyPairInput struct {
	Key              string // a symmetric encryption key
	Algorithm        string // of the pair, for example "ecdsa-p256"
	Context          Context
	AAD              []byte
	WithoutPlaintext bool // answer the private key encrypted only
}

// GenerateDataKeyPairOutput is a key pair: use PrivateKey and erase it, store PrivateKeyCiphertext, which Decrypt opens.
type GenerateDataKeyPairOutput struct {
	PublicKey            []byte `json:"public_key"`            // DER SubjectPublicKeyInfo
	PrivateKey           []byte `json:"private_key,omitempty"` // DER PKCS #8
	PrivateKeyCiphertext []byte `json:"private_key_ciphertext"`
	KeyID                string `json:"key_id"`
	Version              uint32 `json:"version"`
	Algorithm            string `json:"algorithm"`
}

// DeriveSharedSecret agrees on a secret with the holder of another key pair.
func (c *Client) DeriveSharedSecret(ctx context.Context, in DeriveSharedSecretInput, options ...Option) (SharedSecret, error) {
	res, err := invoke(ctx, c, c.crypto.DeriveSharedSecret, &keyholdv1.DeriveSharedSecretRequest{
		Key: in.Key, PeerPublicKey: in.PeerPublicKey, Version: in.Version, Kdf: in.KDF, Salt: in.Salt, Info: in.Info, Length: in.Length,
	}, reads, options)
	return SharedSecret{Secret: res.GetSharedSecret(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Scheme: res.GetScheme()}, err
}

// Encapsulate makes a shared secret and its encapsulation for a key. The public key (GetPublicKey) lets anybody do the same
// without the server.
func (c *Client) Encapsulate(ctx context.Context, in EncapsulateInput, options ...Option) (EncapsulateOutput, error) {
	res, err := invoke(ctx, c, c.crypto.Encapsulate, &keyholdv1.EncapsulateRequest{Key: in.Key, Version: in.Version}, reads, options)
	return EncapsulateOutput{Ciphertext: res.GetCiphertext(), SharedSecret: SharedSecret{
		Secret: res.GetSharedSecret(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Scheme: res.GetScheme(),
	}}, err
}

// Decapsulate answers the shared secret of an encapsulation. One that was altered, or made for another key or version, gives
// another secret instead of an error.
func (c *Client) Decapsulate(ctx context.Context, in DecapsulateInput, options ...Option) (SharedSecret, error) {
	res, err := invoke(ctx, c, c.crypto.Decapsulate, &keyholdv1.DecapsulateRequest{Key: in.Key, Ciphertext: in.Ciphertext, Version: in.Version}, reads, options)
	return SharedSecret{Secret: res.GetSharedSecret(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Scheme: res.GetScheme()}, err
}

// GenerateDataKeyPair makes a key pair and the private key's encryption under a key.
func (c *Client) GenerateDataKeyPair(ctx context.Context, in GenerateDataKeyPairInput, options ...Option) (GenerateDataKeyPairOutput, error) {
	res, err := invoke(ctx, c, c.crypto.GenerateDataKeyPair, &keyholdv1.GenerateDataKeyPairRequest{
		Key: in.Key, Algorithm: in.Algorithm, Context: in.Context, Aad: in.AAD, WithoutPlaintext: in.WithoutPlaintext,
	}, reads, options)
	return GenerateDataKeyPairOutput{
		PublicKey: res.GetPublicKey(), PrivateKey: res.GetPrivateKey(), PrivateKeyCiphertext: res.GetPrivateKeyCiphertext(),
		KeyID: res.GetKeyId(), Version: res.GetVersion(), Algorithm: res.GetAlgorithm(),
	}, err
}
