package client

import (
	"context"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Limits of one batch request. A longer list of items is sent as several requests.
const (
	maxItems = 1024
	maxBatch = 3 << 20 // bytes of input; the server takes 4 MiB, counted with names and contexts
)

// Result is the answer to one item of a batch: a value, or an *Error.
type Result[T any] struct {
	Value T
	Err   error
}

// result is what every item of a batch answer has.
type result[P any] interface {
	GetOk() P
	GetError() *keyholdv1.ErrorDetail
}

// batch sends items in as many requests as they need, in order. If a request fails, the results so far come with its error.
func batch[In, Req, T any, R result[P], P any](items []In, size func(In) int, request func(In) Req, send func([]Req) ([]R, error), convert func(P) T) ([]Result[T], error) {
	out := make([]Result[T], 0, len(items))
	for len(items) > 0 {
		n, bytes := 0, 0
		var requests []Req
		for n < len(items) && n < maxItems {
			if bytes += size(items[n]); n > 0 && bytes > maxBatch {
				break
			}
			requests = append(requests, request(items[n]))
			n++
		}
		answers, err := send(requests)
		if err == nil && len(answers) != n {
			err = &Error{Code: CodeInternal, Title: "internal error", What: "the server answered another number of items than it was asked", Next: "report it with the request id"}
		}
		if err != nil {
			return out, err
		}
		for _, a := range answers {
			if e := fromDetail(a.GetError()); e != nil {
				out = append(out, Result[T]{Err: e})
				continue
			}
			out = append(out, Result[T]{Value: convert(a.GetOk())})
		}
		items = items[n:]
	}
	return out, nil
}

// size of a context in bytes.
func (c Context) size() int {
	n := 0
	for k, v := range c {
		n += len(k) + len(v)
	}
	return n
}

// EncryptBatch encrypts many items, which may name different keys. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) EncryptBatch(ctx context.Context, items []EncryptInput, options ...Option) ([]Result[EncryptOutput], error) {
	return batch(items, func(in EncryptInput) int { return len(in.Plaintext) + len(in.AAD) + in.Context.size() }, fromEncryptInput,
		func(items []*keyholdv1.EncryptRequest) ([]*keyholdv1.EncryptResult, error) {
			res, err := invoke(ctx, c, c.crypto.EncryptBatch, &keyholdv1.EncryptBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toEncrypt)
}

// DecryptBatch opens many ciphertexts. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) DecryptBatch(ctx context.Context, items []DecryptInput, options ...Option) ([]Result[DecryptOutput], error) {
	return batch(items, func(in DecryptInput) int { return len(in.Ciphertext) + len(in.AAD) + in.Context.size() }, fromDecryptInput,
		func(items []*keyholdv1.DecryptRequest) ([]*keyholdv1.DecryptResult, error) {
			res, err := invoke(ctx, c, c.crypto.DecryptBatch, &keyholdv1.DecryptBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toDecrypt)
}

// ReEncryptBatch moves many ciphertexts. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) ReEncryptBatch(ctx context.Context, items []ReEncryptInput, options ...Option) ([]Result[ReEncryptOutput], error) {
	return batch(items, func(in ReEncryptInput) int {
		return len(in.Ciphertext) + len(in.FromAAD) + len(in.ToAAD) + in.FromContext.size() + in.ToContext.size()
	}, fromReEncryptInput,
		func(items []*keyholdv1.ReEncryptRequest) ([]*keyholdv1.ReEncryptResult, error) {
			res, err := invoke(ctx, c, c.crypto.ReEncryptBatch, &keyholdv1.ReEncryptBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toReEncrypt)
}

// GenerateDataKeyBatch makes many data keys. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) GenerateDataKeyBatch(ctx context.Context, items []GenerateDataKeyInput, options ...Option) ([]Result[GenerateDataKeyOutput], error) {
	return batch(items, func(in GenerateDataKeyInput) int { return int(in.Length) + len(in.AAD) + in.Context.size() }, fromGenerateDataKeyInput,
		func(items []*keyholdv1.GenerateDataKeyRequest) ([]*keyholdv1.GenerateDataKeyResult, error) {
			res, err := invoke(ctx, c, c.crypto.GenerateDataKeyBatch, &keyholdv1.GenerateDataKeyBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toGenerateDataKey)
}

// SignBatch signs many messages. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) SignBatch(ctx context.Context, items []SignInput, options ...Option) ([]Result[SignOutput], error) {
	return batch(items, func(in SignInput) int { return len(in.Message) }, fromSignInput,
		func(items []*keyholdv1.SignRequest) ([]*keyholdv1.SignResult, error) {
			res, err := invoke(ctx, c, c.crypto.SignBatch, &keyholdv1.SignBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toSign)
}

// VerifyBatch checks many signatures. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) VerifyBatch(ctx context.Context, items []VerifyInput, options ...Option) ([]Result[VerifyOutput], error) {
	return batch(items, func(in VerifyInput) int { return len(in.Message) + len(in.Signature) }, fromVerifyInput,
		func(items []*keyholdv1.VerifyRequest) ([]*keyholdv1.VerifyResult, error) {
			res, err := invoke(ctx, c, c.crypto.VerifyBatch, &keyholdv1.VerifyBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toVerify)
}

// GenerateMACBatch makes many codes. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) GenerateMACBatch(ctx context.Context, items []GenerateMACInput, options ...Option) ([]Result[GenerateMACOutput], error) {
	return batch(items, func(in GenerateMACInput) int { return len(in.Message) }, fromGenerateMACInput,
		func(items []*keyholdv1.GenerateMacRequest) ([]*keyholdv1.GenerateMacResult, error) {
			res, err := invoke(ctx, c, c.crypto.GenerateMacBatch, &keyholdv1.GenerateMacBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toGenerateMAC)
}

// VerifyMACBatch checks many codes. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) VerifyMACBatch(ctx context.Context, items []VerifyMACInput, options ...Option) ([]Result[VerifyOutput], error) {
	return batch(items, func(in VerifyMACInput) int { return len(in.Message) + len(in.MAC) }, fromVerifyMACInput,
		func(items []*keyholdv1.VerifyMacRequest) ([]*keyholdv1.VerifyMacResult, error) {
			res, err := invoke(ctx, c, c.crypto.VerifyMacBatch, &keyholdv1.VerifyMacBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toVerifyMAC)
}
