package mode

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// CMAC is the AES-CMAC of a message under a key of 16, 24 or 32 bytes: SP 800-38B §6.2, with the tag of full length (Tlen = 128).
func CMAC(key, message []byte) (tag [aes.BlockSize]byte, err error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return tag, err
	}
	return cmac(block, message), nil
}

func cmac(block cipher.Block, message []byte) (tag [aes.BlockSize]byte) {
	var sub [aes.BlockSize]byte // L, then K1, then K2 where the last block is not whole: §6.1
	block.Encrypt(sub[:], sub[:])
	double(&sub)

	// All blocks but the last are chained; an empty message has one last block, which is not whole.
	for len(message) > aes.BlockSize {
		subtle.XORBytes(tag[:], tag[:], message[:aes.BlockSize])
		block.Encrypt(tag[:], tag[:])
		message = message[aes.BlockSize:]
	}
	if len(message) < aes.BlockSize {
		double(&sub)
		tag[len(message)] ^= 0x80
	}
	subtle.XORBytes(tag[:], tag[:], message)
	subtle.XORBytes(tag[:], tag[:], sub[:])
	block.Encrypt(tag[:], tag[:])
	clear(sub[:])
	return tag
}

// double multiplies by x in GF(2^128), SP 800-38B §5.3 with R = 0…0 10000111, without a branch on the bit that falls out.
func double(b *[aes.BlockSize]byte) {
	out := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ -out&0x87
}
