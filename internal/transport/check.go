package transport

import (
	"crypto/aes"
	"crypto/sha256"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// CheckSize is the size of a check value in bytes.
const CheckSize = 8

// CheckSecret is the check value of a symmetric key: 8 bytes of HKDF-SHA-512 with salt "keyhold/check/v1" and the algorithm's
// name as info. The key is HKDF's input here, never its PRK or an HMAC key, so that no MAC or box under the key is
// related to its check value.
func CheckSecret(a kms.Algorithm, key *secret.Bytes) []byte {
	okm := kdf.Key([]byte("keyhold/check/v1"), []byte(a.String()), key.Reveal(reveal.Key{}))
	defer clear(okm[:])
	return append(make([]byte, 0, CheckSize), okm[:CheckSize]...)
}

// CheckPublic is the check value of a key pair: the first 8 bytes of SHA-256 over its SubjectPublicKeyInfo.
func CheckPublic(spki []byte) []byte {
	sum := sha256.Sum256(spki)
	return sum[:CheckSize]
}

// KCV are the key check values that other systems show of an AES key, 3 bytes each, as hexadecimal digits have them on paper. They
// are for comparing by eye: 24 bits prove little, and nothing here relies on them.
type KCV struct {
	CMAC []byte // AES-CMAC of a block of zeros (ANSI X9.24-1:2017 annex A)
	Zero []byte // AES of a block of zeros, as older HSMs have it (PKCS #11 v3.1 §4.10.2)
}

const kcvSize = 3

// KCVOf makes them of an AES key of any use; they are empty for all others.
func KCVOf(a kms.Algorithm, key *secret.Bytes) KCV {
	if !isAES[a] {
		return KCV{}
	}
	raw := key.Reveal(reveal.Key{})
	var zeros, out [aes.BlockSize]byte
	block, err := aes.NewCipher(raw)
	if err != nil {
		return KCV{} // AES-SIV keys are two
	}
	block.Encrypt(out[:], zeros[:])
	mac, err := mode.CMAC(raw, zeros[:])
	if err != nil {
		return KCV{}
	}
	if a == kms.AES128CMAC || a == kms.AES256CMAC { // it would be part of the mode's subkey: SP 800-38B §6.1
		return KCV{CMAC: mac[:kcvSize]}
	}
	return KCV{CMAC: mac[:kcvSize], Zero: out[:kcvSize]}
}

var isAES = map[kms.Algorithm]bool{
	kms.AES128GCM: true, kms.AES192GCM: true, kms.AES256GCM: true, kms.AES128CMAC: true, kms.AES256CMAC: true,
	kms.AES128Wrap: true, kms.AES192Wrap: true, kms.AES256Wrap: true, kms.AES128FF1: true, kms.AES256FF1: true,
}
