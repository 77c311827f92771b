package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// CreateImportTokenInput asks for the key that the material of one import is wrapped for.
type CreateImportTokenInput struct {
	Key               string        // created with CreateKeyInput.Import
	Version           uint32        // whose material is brought back; 0: a new version
	Transport         string        // for example "hpke-p256"; empty: the strongest of the server's profile
	WrappingAlgorithm string        // of the key pair that is made, for the transports of RSA; empty: "rsa-3072"
	WrappingKey       string        // a wrapping key that both sides have, for "aes-kwp" and "aes-kw"
	Lifetime          time.Duration // 0: 24 h; at most 7 days
}

// ImportToken is what whoever wraps the material needs. Nothing of it is secret. Its JSON form is stable.
type ImportToken struct {
	TokenID       string    `json:"token_id"`
	KeyID         string    `json:"key_id"`
	Version       uint32    `json:"version"`         // that it makes or brings back
	Again         bool      `json:"again,omitempty"` // it brings back
	Algorithm     string    `json:"algorithm"`       // of the material
	Transport     string    `json:"transport"`
	PublicKey     []byte    `json:"public_key,omitempty"` // DER SubjectPublicKeyInfo
	Info          []byte    `json:"info,omitempty"`       // what HPKE binds the material to
	WrappingKeyID string    `json:"wrapping_key_id,omitempty"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
}

// ImportKeyMaterialInput brings wrapped material.
type ImportKeyMaterialInput struct {
	Key             string
	TokenID         string
	WrappedMaterial []byte    // as the token's transport wraps it
	WrappingKey     string    // of tokens for "aes-kwp" and "aes-kw"
	PublicKey       []byte    // what the public half has to be, DER SubjectPublicKeyInfo; nil: whatever it is
	ExpiresAt       time.Time // when the material is forgotten; zero: never
}

// KCV are the classic key check values of an AES key, 3 bytes each.
type KCV struct {
	CMAC []byte `json:"kcv_cmac,omitempty"`
	Zero []byte `json:"kcv_zero,omitempty"`
}

// ImportedKey is a key with the version that has material now.
type ImportedKey struct {
	Key
	KCV
}

// ExportKeyInput asks for a version's material, wrapped for a receiver.
type ExportKeyInput struct {
	Key             string
	Version         uint32 // 0: the primary version
	PublicKey       []byte // the receiver's, DER SubjectPublicKeyInfo
	WrappingKey     string // instead: a wrapping key of the server that the receiver has too
	WrappingVersion uint32 // 0: its primary version
	Transport       string // empty: what the receiver's key is used with
	Info            []byte // what HPKE binds the material to: of an import token, its Info
}

// ExportedKey is wrapped material.
type ExportedKey struct {
	WrappedMaterial []byte `json:"wrapped_material"`
	KeyID           string `json:"key_id"`
	Version         uint32 `json:"version"`
	Algorithm       string `json:"algorithm"`
	Transport       string `json:"transport"`
	Receiver        string `json:"receiver"` // fingerprint of its public key, or id and version of the wrapping key
	CheckValue      []byte `json:"check_value"`
	KCV
}

// CreateImportToken makes the key that the material of one import is wrapped for.
func (c *Client) CreateImportToken(ctx context.Context, in CreateImportTokenInput, options ...Option) (ImportToken, error) {
	req := &keyholdv1.CreateImportTokenRequest{Key: in.Key, Version: in.Version, Transport: in.Transport, WrappingAlgorithm: in.WrappingAlgorithm, WrappingKey: in.WrappingKey}
	if in.Lifetime != 0 {
		req.Lifetime = durationpb.New(in.Lifetime)
	}
	res, err := invoke(ctx, c, c.transfer.CreateImportToken, req, changes, options)
	return ImportToken{
		TokenID: res.GetTokenId(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Again: res.GetAgain(), Algorithm: res.GetAlgorithm(), Transport: res.GetTransport(),
		PublicKey: res.GetPublicKey(), Info: res.GetInfo(), WrappingKeyID: res.GetWrappingKeyId(), ExpiresAt: timeOf(res.GetExpiresAt()),
	}, err
}

// ImportKeyMaterial makes a version of material that arrives wrapped, or brings back the material of a version that expired.
func (c *Client) ImportKeyMaterial(ctx context.Context, in ImportKeyMaterialInput, options ...Option) (ImportedKey, error) {
	req := &keyholdv1.ImportKeyMaterialRequest{Key: in.Key, TokenId: in.TokenID, WrappedMaterial: in.WrappedMaterial, WrappingKey: in.WrappingKey, PublicKey: in.PublicKey}
	if !in.ExpiresAt.IsZero() {
		req.ExpiresAt = timestamppb.New(in.ExpiresAt)
	}
	res, err := invoke(ctx, c, c.transfer.ImportKeyMaterial, req, changes, options)
	if err != nil {
		return ImportedKey{}, err
	}
	k := ImportedKey{Key: toKey(res.GetKey()), KCV: KCV{CMAC: res.GetKcvCmac(), Zero: res.GetKcvZero()}}
	k.Versions = []KeyVersion{toVersion(res.GetVersion())}
	return k, nil
}

// ExpireKeyMaterial sets when the imported material of a version is forgotten. A window of 0 is the server's default of 30 days.
func (c *Client) ExpireKeyMaterial(ctx context.Context, key string, version uint32, window time.Duration, options ...Option) (Key, error) {
	req := &keyholdv1.ExpireKeyMaterialRequest{Key: key, Version: version}
	if window != 0 {
		req.Window = durationpb.New(window)
	}
	return keyOf(invoke(ctx, c, c.transfer.ExpireKeyMaterial, req, changes, options))
}

// KeepKeyMaterial takes an expiry back.
func (c *Client) KeepKeyMaterial(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.transfer.ExpireKeyMaterial, &keyholdv1.ExpireKeyMaterialRequest{Key: key, Version: version, Keep: true}, changes, options))
}

// GenerateNextVersion rotates a key as RotateKeyAt does, and also one whose material is imported: only this server has the new version.
func (c *Client) GenerateNextVersion(ctx context.Context, key string, d Dates, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RotateKey, &keyholdv1.RotateKeyRequest{
		Key: key, ActivateAt: stamp(d.ActivateAt), PreActive: d.PreActive, DeactivateAt: stamp(d.DeactivateAt), Generate: true,
	}, changes, options))
}

// ExportKey answers a version's material, wrapped for a receiver.
func (c *Client) ExportKey(ctx context.Context, in ExportKeyInput, options ...Option) (ExportedKey, error) {
	res, err := invoke(ctx, c, c.transfer.ExportKey, &keyholdv1.ExportKeyRequest{
		Key: in.Key, Version: in.Version, PublicKey: in.PublicKey, WrappingKey: in.WrappingKey, WrappingVersion: in.WrappingVersion, Transport: in.Transport, Info: in.Info,
	}, reads, options)
	return ExportedKey{
		WrappedMaterial: res.GetWrappedMaterial(), KeyID: res.GetKeyId(), Version: res.GetVersion(), Algorithm: res.GetAlgorithm(), Transport: res.GetTransport(),
		Receiver: res.GetReceiver(), CheckValue: res.GetCheckValue(), KCV: KCV{CMAC: res.GetKcvCmac(), Zero: res.GetKcvZero()},
	}, err
}
