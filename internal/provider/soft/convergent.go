package soft

import (
	"crypto/hkdf"
	"crypto/sha512"
	"crypto/subtle"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// A convergent ciphertext is a box (package box) without anything random, and with AES-SIV in the place of AES-GCM:
//
//	okm  = HKDF-Expand(SHA-512, K, label ‖ 00 ‖ header ‖ SHA-512/256(aad), 96)    → SIV key (64) ‖ commitment (32)
//	body = commitment (32) ‖ AES-SIV of plaintext and aad: V (16) ‖ ciphertext
//
// Like a box it opens under one key, header and aad only. Unlike one it is the same for the same plaintext: that is what it is
// for, and what it gives away. K has 32 bytes: that is all the strength that AES-256 can use, and HKDF makes the SIV's two keys of it.
const (
	sivKeySize           = 64
	convergentCommitment = 32
	convergentOverhead   = convergentCommitment + mode.SIVSize
)

func convergentSeal(k *key, s *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	okm, err := convergentKeys(k, s, header, aad)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	if need := len(dst) + convergentOverhead + len(plaintext); cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	out, err := mode.SealSIV(okm[:sivKeySize], append(dst, okm[sivKeySize:]...), plaintext, aad)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the encryption failed").Because(err)
	}
	return out, nil
}

func convergentOpen(k *key, s *scheme, dst, header, sealed, aad []byte) ([]byte, error) {
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	if len(sealed) < convergentOverhead {
		return nil, decryptFailed()
	}
	okm, err := convergentKeys(k, s, header, aad)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	if subtle.ConstantTimeCompare(okm[sivKeySize:], sealed[:convergentCommitment]) != 1 {
		return nil, decryptFailed()
	}
	out, err := mode.OpenSIV(okm[:sivKeySize], dst, sealed[convergentCommitment:], aad)
	if err != nil {
		return nil, decryptFailed()
	}
	return out, nil
}

func convergentKeys(k *key, s *scheme, header, aad []byte) ([]byte, error) {
	digest := sha512.Sum512_256(aad)
	info := append(append([]byte(s.label), 0), header...)
	okm, err := hkdf.Expand(sha512.New, k.raw.Reveal(reveal.Key{}), string(append(info, digest[:]...)), sivKeySize+convergentCommitment)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the key could not be derived").Because(err)
	}
	return okm, nil
}
