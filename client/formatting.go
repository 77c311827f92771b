package client

import (
	"context"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// FormatInput asks for the encryption of a text to a text of the same length and alphabet, or for its decryption.
type FormatInput struct {
	Key            string
	Text           string
	Alphabet       string // for example "digits", "alphanumeric", or the characters themselves; empty: "digits"
	Tweak          []byte // not secret, at most 256 bytes: the same to decrypt as to encrypt
	PreserveOthers bool   // characters outside the alphabet stay where they are
	Version        uint32 // EncryptFormat: 0 is the primary version. DecryptFormat: 0 is the only version, and refused if there are more
}

// FormatOutput is a text. Keep Version beside an encrypted one, which does not name it.
type FormatOutput struct {
	Text    string `json:"text"`
	KeyID   string `json:"key_id"`
	Version uint32 `json:"version"`
	Scheme  string `json:"scheme"`
}

func fromEncryptFormat(in FormatInput) *keyholdv1.EncryptFormatRequest {
	return &keyholdv1.EncryptFormatRequest{
		Key: in.Key, Text: in.Text, Alphabet: in.Alphabet, Tweak: in.Tweak, PreserveOthers: in.PreserveOthers, Version: in.Version,
	}
}

func toEncryptFormat(p *keyholdv1.EncryptFormatResponse) FormatOutput {
	return FormatOutput{Text: p.GetText(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func fromDecryptFormat(in FormatInput) *keyholdv1.DecryptFormatRequest {
	return &keyholdv1.DecryptFormatRequest{
		Key: in.Key, Text: in.Text, Alphabet: in.Alphabet, Tweak: in.Tweak, PreserveOthers: in.PreserveOthers, Version: in.Version,
	}
}

func toDecryptFormat(p *keyholdv1.DecryptFormatResponse) FormatOutput {
	return FormatOutput{Text: p.GetText(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func (in FormatInput) size() int { return len(in.Text) + len(in.Tweak) + len(in.Alphabet) }

// EncryptFormat encrypts a text to a text of the same length and alphabet. It is deterministic, and nothing detects a change:
// use Encrypt wherever the form need not be kept.
func (c *Client) EncryptFormat(ctx context.Context, in FormatInput, options ...Option) (FormatOutput, error) {
	res, err := invoke(ctx, c, c.crypto.EncryptFormat, fromEncryptFormat(in), reads, options)
	return toEncryptFormat(res), err
}

// DecryptFormat opens what EncryptFormat made. Any text of the form opens to something: nothing tells a wrong one.
func (c *Client) DecryptFormat(ctx context.Context, in FormatInput, options ...Option) (FormatOutput, error) {
	res, err := invoke(ctx, c, c.crypto.DecryptFormat, fromDecryptFormat(in), reads, options)
	return toDecryptFormat(res), err
}

// EncryptFormatBatch encrypts many texts. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) EncryptFormatBatch(ctx context.Context, items []FormatInput, options ...Option) ([]Result[FormatOutput], error) {
	return batch(items, FormatInput.size, fromEncryptFormat,
		func(items []*keyholdv1.EncryptFormatRequest) ([]*keyholdv1.EncryptFormatResult, error) {
			res, err := invoke(ctx, c, c.crypto.EncryptFormatBatch, &keyholdv1.EncryptFormatBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toEncryptFormat)
}

// DecryptFormatBatch opens many texts. The results keep the order of the items; one that fails does not fail the others.
func (c *Client) DecryptFormatBatch(ctx context.Context, items []FormatInput, options ...Option) ([]Result[FormatOutput], error) {
	return batch(items, FormatInput.size, fromDecryptFormat,
		func(items []*keyholdv1.DecryptFormatRequest) ([]*keyholdv1.DecryptFormatResult, error) {
			res, err := invoke(ctx, c, c.crypto.DecryptFormatBatch, &keyholdv1.DecryptFormatBatchRequest{Items: items}, reads, options)
			return res.GetItems(), err
		}, toDecryptFormat)
}
