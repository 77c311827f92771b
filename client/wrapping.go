package client

import (
	"context"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// WrapKeyInput asks for the wrapping of key material as other systems read it.
type WrapKeyInput struct {
	Key      string
	Material []byte // 1 to 4,096 bytes; with "aes-kw" a multiple of 8 and at least 16
	Version  uint32 // 0: the primary version
	Scheme   string // "aes-kwp" or "aes-kw"; empty: "aes-kwp"
}

// WrapKeyOutput is wrapped material, which names neither key nor version.
type WrapKeyOutput struct {
	Wrapped []byte `json:"wrapped"`
	KeyID   string `json:"key_id"`
	Version uint32 `json:"version"`
	Scheme  string `json:"scheme"`
}

// UnwrapKeyInput asks for material.
type UnwrapKeyInput struct {
	Key     string
	Wrapped []byte
	Version uint32 // 0: the primary version
	Scheme  string // "aes-kwp" or "aes-kw"; empty: "aes-kwp"
}

// UnwrapKeyOutput is material: use it and erase it.
type UnwrapKeyOutput struct {
	Material []byte `json:"material"`
	KeyID    string `json:"key_id"`
	Version  uint32 `json:"version"`
	Scheme   string `json:"scheme"`
}

func fromWrapKeyInput(in WrapKeyInput) *keyholdv1.WrapKeyRequest {
	return &keyholdv1.WrapKeyRequest{Key: in.Key, Material: in.Material, Version: in.Version, Scheme: in.Scheme}
}

func toWrapKey(p *keyholdv1.WrapKeyResponse) WrapKeyOutput {
	return WrapKeyOutput{Wrapped: p.GetWrapped(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func fromUnwrapKeyInput(in UnwrapKeyInput) *keyholdv1.UnwrapKeyRequest {
	return &keyholdv1.UnwrapKeyRequest{Key: in.Key, Wrapped: in.Wrapped, Version: in.Version, Scheme: in.Scheme}
}

func toUnwrapKey(p *keyholdv1.UnwrapKeyResponse) UnwrapKeyOutput {
	return UnwrapKeyOutput{Material: p.GetMaterial(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

// WrapKey wraps key material (AES-KWP or AES-KW).
func (c *Client) WrapKey(ctx context.Context, in WrapKeyInput, options ...Option) (WrapKeyOutput, error) {
	res, err := invoke(ctx, c, c.crypto.WrapKey, fromWrapKeyInput(in), reads, options)
	return toWrapKey(res), err
}

// UnwrapKey opens wrapped key material.
func (c *Client) UnwrapKey(ctx context.Context, in UnwrapKeyInput, options ...Option) (UnwrapKeyOutput, error) {
	res, err := invoke(ctx, c, c.crypto.UnwrapKey, fromUnwrapKeyInput(in), reads, options)
	return toUnwrapKey(res), err
}

// WrapKeyBatch wraps many materials. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) WrapKeyBatch(ctx context.Context, items []WrapKeyInput, options ...Option) ([]Result[WrapKeyOutput], error) {
	return batch(items, func(in WrapKeyInput) int { return len(in.Material) }, fromWrapKeyInput,
		func(items []*keyholdv1.WrapKeyRequest) ([]*keyholdv1.WrapKeyResult, error) {
			res, err := invoke(ctx, c, c.crypto.WrapKeyBatch, &keyholdv1.WrapKeyBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toWrapKey)
}

// UnwrapKeyBatch opens many. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) UnwrapKeyBatch(ctx context.Context, items []UnwrapKeyInput, options ...Option) ([]Result[UnwrapKeyOutput], error) {
	return batch(items, func(in UnwrapKeyInput) int { return len(in.Wrapped) }, fromUnwrapKeyInput,
		func(items []*keyholdv1.UnwrapKeyRequest) ([]*keyholdv1.UnwrapKeyResult, error) {
			res, err := invoke(ctx, c, c.crypto.UnwrapKeyBatch, &keyholdv1.UnwrapKeyBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toUnwrapKey)
}
