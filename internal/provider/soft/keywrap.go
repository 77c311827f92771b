package soft

import (
	"errors"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func wrapWith(wrap func(key, dst, material []byte) ([]byte, error)) sealer {
	return func(k *key, _ *scheme, dst, header, material, aad []byte) ([]byte, error) {
		if err := checkAlone(header, aad); err != nil {
			return nil, err
		}
		out, err := wrap(k.raw.Reveal(reveal.Key{}), dst, material)
		if err != nil {
			return nil, kms.AsError(err)
		}
		return out, nil
	}
}

func unwrapWith(unwrap func(key, dst, wrapped []byte) ([]byte, error)) sealer {
	return func(k *key, _ *scheme, dst, header, wrapped, aad []byte) ([]byte, error) {
		if err := checkAlone(header, aad); err != nil {
			return nil, err
		}
		out, err := unwrap(k.raw.Reveal(reveal.Key{}), dst, wrapped)
		if errors.Is(err, mode.ErrOpen) {
			return nil, decryptFailed()
		}
		if err != nil {
			return nil, kms.AsError(err)
		}
		return out, nil
	}
}

// checkAlone: neither mode has a place for anything but the material.
func checkAlone(header, aad []byte) error {
	if len(header) > 0 || len(aad) > 0 {
		return kms.Errorf(kms.CodeBadRequest, "key wrapping covers the material alone: it takes no header, context or additional data")
	}
	return nil
}

func ff1Format(k *key, dst []uint16, radix int, tweak []byte, numerals []uint16, decrypt bool) ([]uint16, error) {
	out, err := mode.FF1(k.raw.Reveal(reveal.Key{}), dst, radix, tweak, numerals, decrypt)
	if err != nil {
		return nil, kms.AsError(err)
	}
	return out, nil
}
