package engine

import (
	"context"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
)

// The descriptors of encryption that keeps alphabet and length. A text has no room for a version or for a proof that nothing
// was changed: see mustName.
var (
	encryptFormat = op[FormatInput, EncryptFormatOutput]{
		name: kms.EncryptFormat,
		cost: func(in *FormatInput) amount {
			return costOf(len(in.Items), func(i int) int { return len(in.Items[i].Text) })
		},
		roles: []role[FormatInput]{formatRole(kms.EncryptFormat, lifecycle.Protect)},
		check: checkFormat,
		do:    doEncryptFormat,
	}
	decryptFormat = op[FormatInput, DecryptFormatOutput]{
		name:  kms.DecryptFormat,
		roles: []role[FormatInput]{formatRole(kms.DecryptFormat, lifecycle.Process)},
		check: checkFormat,
		do:    doDecryptFormat,
		erase: func(out *DecryptFormatOutput) {
			for i := range out.Items {
				out.Items[i].Text.Zero()
			}
		},
	}
)

// maxFormatBytes bounds a text with all that is preserved in it, in bytes.
const maxFormatBytes = 2 * MaxFormatted * utf8.UTFMax

func formatRole(a kms.Action, need lifecycle.Need) role[FormatInput] {
	return role[FormatInput]{action: a, need: need, key: func(in *FormatInput) (kms.Ref, error) { return in.Key, nil }}
}

func checkFormat(in *FormatInput) (err error) {
	if in.alphabet, err = parseAlphabet(in.Alphabet); err != nil {
		return err
	}
	return checkItems(len(in.Items), maxFormatBytes, func(i int) (int, error) {
		if n := len(in.Items[i].Tweak); n > MaxTweak {
			return 0, kms.Errorf(kms.CodeTooLarge, "the tweak has %d bytes, the limit is %d", n, MaxTweak)
		}
		return len(in.Items[i].Text), nil
	})
}

func doEncryptFormat(ctx context.Context, w *work, in *FormatInput) (EncryptFormatOutput, error) {
	v, s, err := w.openFor(ctx, kms.FormatPreserving, in.Version, kms.NoScheme, true)
	if err != nil {
		return EncryptFormatOutput{}, err
	}
	out := EncryptFormatOutput{Key: w.keys[0].ID, Version: v.Number, Scheme: s, Items: make([]EncryptedText, len(in.Items))}
	for i := range in.Items {
		text, err := in.reformat(v, i, false)
		out.Items[i].Text = string(text)
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(in.Items[i].Text), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doDecryptFormat(ctx context.Context, w *work, in *FormatInput) (DecryptFormatOutput, error) {
	if err := w.mustName(in.Version, kms.EncryptFormat); err != nil {
		return DecryptFormatOutput{}, err
	}
	v, s, err := w.openFor(ctx, kms.FormatPreserving, in.Version, kms.NoScheme, false)
	if err != nil {
		return DecryptFormatOutput{}, err
	}
	out := DecryptFormatOutput{Key: w.keys[0].ID, Version: v.Number, Scheme: s, Items: make([]DecryptedText, len(in.Items))}
	for i := range in.Items {
		text, err := in.reformat(v, i, true)
		out.Items[i].Text = secret.Release(text)
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(in.Items[i].Text), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// reformat encrypts or decrypts one text.
func (in *FormatInput) reformat(v *keyring.Version, i int, decrypt bool) ([]byte, error) {
	it := &in.Items[i]
	s, err := in.alphabet.read(it.Text, in.PreserveOthers)
	if err != nil {
		return nil, err
	}
	defer s.erase()
	numerals, err := v.Handle.Format(make([]uint16, 0, len(s.numerals)), len(in.alphabet.letters), it.Tweak, s.numerals, decrypt)
	if err != nil {
		return nil, err
	}
	defer clear(numerals)
	return in.alphabet.write(s, numerals), nil
}
