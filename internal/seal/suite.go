package seal

import (
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// The HPKE suite of recipients (RFC 9180 §7; KEM from draft-ietf-hpke-pq): a hybrid of ML-KEM-1024 and P-384, both of
// them approved and both as strong as the key they carry. HPKE only agrees on a key, by export (§5.3); package box
// does the sealing, because the GCM with a counted nonce inside HPKE is refused by Go's certified FIPS module v1.0.0.
// The numbers stand in every format, so that a later suite can live beside this one.
const (
	kemID  uint16 = 0x0051 // MLKEM1024-P384
	kdfID  uint16 = 0x0003 // HKDF-SHA512
	aeadID uint16 = 0xffff // export only

	publicSize = 1665 // ML-KEM-1024 encapsulation key 1568 ‖ P-384 point 97
	encSize    = 1665 // ML-KEM-1024 ciphertext 1568 ‖ P-384 point 97

	sealedHeadSize = 8
	sealedSize     = sealedHeadSize + encSize + box.Overhead + box.KeySize
)

// purpose says what is sealed to a recipient. The numbers are part of the format.
type purpose uint8

const (
	sealRoot   purpose = 1 // a generation of the root key
	sealEscrow purpose = 2 // an epoch KEK
)

func kem() hpke.KEM { return hpke.MLKEM1024P384() }

// sealedHead is the header of what is sealed to a recipient: 01 | kem u16 | kdf u16 | aead u16 | purpose u8.
func sealedHead(p purpose) [sealedHeadSize]byte {
	return [sealedHeadSize]byte{1, byte(kemID >> 8), byte(kemID & 0xff), byte(kdfID >> 8), byte(kdfID & 0xff), byte(aeadID >> 8), byte(aeadID & 0xff), byte(p)}
}

// sealedContext says where it belongs: cluster 16 | recipient 16 | number u32 (root generation, or epoch).
func sealedContext(cluster, recipient kms.ID, number uint32) []byte {
	b := make([]byte, 0, 36)
	b = append(b, cluster[:]...)
	b = append(b, recipient[:]...)
	return binary.BigEndian.AppendUint32(b, number)
}

func hpkeInfo(head [sealedHeadSize]byte, context []byte) []byte {
	info := append([]byte("keyhold/recipient/v1\x00"), head[:]...)
	return append(info, context...)
}

const exportLabel = "keyhold/box-key/v1"

// sealTo seals a 32-byte key to a public key: header ‖ enc ‖ box.
func sealTo(public []byte, p purpose, context []byte, key *secret.Bytes) (out []byte, err error) {
	secret.Do(func() { out, err = encapsulated(public, p, context, key) })
	return out, err
}

func encapsulated(public []byte, p purpose, context []byte, key *secret.Bytes) ([]byte, error) {
	pk, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("recipient's public key: %w", err)
	}
	head := sealedHead(p)
	enc, sender, err := hpke.NewSender(pk, hpke.HKDFSHA512(), hpke.ExportOnly(), hpkeInfo(head, context))
	if err != nil {
		return nil, fmt.Errorf("encapsulate: %w", err)
	}
	k, err := exported(sender.Export)
	if err != nil {
		return nil, err
	}
	defer k.Zero()
	out := make([]byte, 0, sealedSize)
	out = append(out, head[:]...)
	out = append(out, enc...)
	return k.Seal(out, box.Root, head[:], key.Reveal(reveal.Key{}), context)
}

// openFrom opens what sealTo made. It has one error for every reason to fail.
func openFrom(sk hpke.PrivateKey, p purpose, context, sealed []byte) (raw *secret.Bytes, err error) {
	secret.Do(func() { raw, err = decapsulated(sk, p, context, sealed) })
	return raw, err
}

func decapsulated(sk hpke.PrivateKey, p purpose, context, sealed []byte) (*secret.Bytes, error) {
	head := sealedHead(p)
	if len(sealed) != sealedSize || [sealedHeadSize]byte(sealed) != head {
		return nil, box.ErrOpen
	}
	enc := sealed[sealedHeadSize : sealedHeadSize+encSize]
	recipient, err := hpke.NewRecipient(enc, sk, hpke.HKDFSHA512(), hpke.ExportOnly(), hpkeInfo(head, context))
	if err != nil {
		return nil, box.ErrOpen
	}
	k, err := exported(recipient.Export)
	if err != nil {
		return nil, box.ErrOpen
	}
	defer k.Zero()
	raw, err := k.Open(nil, box.Root, head[:], sealed[sealedHeadSize+encSize:], context)
	if err != nil {
		return nil, box.ErrOpen
	}
	return secret.Take(raw), nil
}

func exported(export func(string, int) ([]byte, error)) (*box.Key, error) {
	raw, err := export(exportLabel, box.KeySize)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return box.NewKey(secret.Take(raw))
}

// privateFrom makes a recipient's key pair from its seed: the KEM's own seed is derived, so that a seed that is used
// with a later suite too gives unrelated keys.
func privateFrom(seed *secret.Bytes) (hpke.PrivateKey, error) {
	if seed.Len() != SeedSize {
		return nil, kms.Errorf(kms.CodeBadRequest, "the seed of a recipient has %d bytes, want %d", seed.Len(), SeedSize)
	}
	info := string(binary.BigEndian.AppendUint16([]byte("keyhold/recipient-seed/v1\x00"), kemID))
	var sk hpke.PrivateKey
	var err error
	secret.Do(func() { // the expanded key is erased when it is collected
		var derived []byte
		if derived, err = hkdf.Expand(sha512.New, seed.Reveal(reveal.Key{}), info, 32); err == nil {
			sk, err = kem().NewPrivateKey(derived)
			clear(derived)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("make recipient key: %w", err)
	}
	return sk, nil
}
