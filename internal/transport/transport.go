// Package transport wraps key material for another system and opens what another system wrapped: key transport (SP 800-56B rev. 2
// §9), the wrapping of PKCS #11 (CKM_RSA_AES_KEY_WRAP, v3.1 §6.1.17), HPKE (RFC 9180) and AES key wrapping (SP 800-38F).
//
// A parcel is what crosses: for RSA-OAEP the ciphertext; for RSA-AES that of an ephemeral AES-256 key, then the material
// under it with KWP; for HPKE the encapsulated key, then the ciphertext, sealed in base mode with HKDF-SHA256 and AES-256-GCM and
// without additional data; for KW and KWP the wrapped material. Inside is a symmetric key as it is, or a private key as PKCS #8 in DER.
//
// It refuses anything longer than MaxMaterial and MaxParcel. ErrOpen is the one error for what does not open, whatever the reason. It
// has no policy: which transport may carry what under which profile is decided before (kms.CheckTransport). Plaintext is in
// secret.Bytes alone.
package transport

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: of OAEP, where a profile permits it: RFC 8017 §7.1 needs no collision resistance
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits in bytes.
const (
	MaxMaterial = 4 << 10 // RSA-4096 as PKCS #8 takes about 2,400
	MaxParcel   = 8 << 10
	MaxPublic   = 4 << 10 // a SubjectPublicKeyInfo: X-Wing takes 1,238
	MaxInfo     = 512     // what HPKE binds to
)

const ephemeralSize = 32 // of the AES key inside RSA-AES

// ErrOpen is the one error for a parcel that does not open.
var ErrOpen = errors.New("the parcel does not open")

// Hybrid is a public key of MLKEM768-X25519, 1,216 bytes; HybridSeed the private key, 32 bytes.
type (
	Hybrid     []byte
	HybridSeed []byte
)

// Wrap is a wrapping key of AES, 16, 24 or 32 bytes, for KW and KWP.
type Wrap []byte

// Seal wraps material under a key: *rsa.PublicKey, *ecdh.PublicKey, Hybrid or Wrap, as the transport wants. Info binds HPKE. Errors:
// CodeTooLarge, CodeBadRequest.
func Seal(t kms.Transport, under any, info []byte, material *secret.Bytes) ([]byte, error) {
	if n := material.Len(); n == 0 || n > MaxMaterial {
		return nil, kms.Errorf(kms.CodeTooLarge, "the key material has %d bytes: want 1 to %d", n, MaxMaterial)
	}
	if len(info) > MaxInfo {
		return nil, kms.Errorf(kms.CodeTooLarge, "the information that binds the material has %d bytes, the limit is %d", len(info), MaxInfo)
	}
	raw := material.Reveal(reveal.Key{})
	switch key := under.(type) {
	case *rsa.PublicKey:
		return sealRSA(t, key, raw)
	case *ecdh.PublicKey:
		if t == kms.HPKEP256 {
			public, err := hpke.NewDHKEMPublicKey(key)
			return sealHPKE(public, err, info, raw)
		}
	case Hybrid:
		if t == kms.HPKEMLKEM768X25519 {
			public, err := hpke.MLKEM768X25519().NewPublicKey(key)
			return sealHPKE(public, err, info, raw)
		}
	case Wrap:
		switch t {
		case kms.TransportKWP:
			return mode.WrapKWP(key, nil, raw)
		case kms.TransportKW:
			return mode.WrapKW(key, nil, raw)
		}
	}
	return nil, notFor(t)
}

// Open opens a parcel with the other half of such a key: *rsa.PrivateKey, *ecdh.PrivateKey, HybridSeed or Wrap. Errors: ErrOpen;
// CodeBadRequest for a key that is not of the transport.
func Open(t kms.Transport, with any, info, parcel []byte) (*secret.Bytes, error) {
	if len(parcel) == 0 || len(parcel) > MaxParcel || len(info) > MaxInfo {
		return nil, ErrOpen
	}
	var raw []byte
	err := error(notFor(t))
	switch key := with.(type) {
	case *rsa.PrivateKey:
		raw, err = openRSA(t, key, parcel)
	case *ecdh.PrivateKey:
		if t == kms.HPKEP256 {
			private, bad := hpke.NewDHKEMPrivateKey(key)
			raw, err = openHPKE(private, bad, info, parcel)
		}
	case HybridSeed:
		if t == kms.HPKEMLKEM768X25519 {
			private, bad := hpke.MLKEM768X25519().NewPrivateKey(key)
			raw, err = openHPKE(private, bad, info, parcel)
		}
	case Wrap:
		switch t {
		case kms.TransportKWP:
			raw, err = mode.UnwrapKWP(key, nil, parcel)
		case kms.TransportKW:
			raw, err = mode.UnwrapKW(key, nil, parcel)
		}
	}
	if errors.Is(err, mode.ErrOpen) {
		err = ErrOpen
	}
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 || len(raw) > MaxMaterial {
		clear(raw)
		return nil, ErrOpen
	}
	return secret.Take(raw), nil
}

func notFor(t kms.Transport) *kms.Error {
	return kms.Errorf(kms.CodeBadRequest, "the key that wraps is not of a kind that %s uses", t)
}

// hashOf is that of OAEP and of its mask.
func hashOf(t kms.Transport) (hash.Hash, bool) {
	switch t {
	case kms.OAEPSHA256, kms.RSAAESSHA256:
		return sha256.New(), true
	case kms.OAEPSHA1, kms.RSAAESSHA1:
		return sha1.New(), true //nolint:gosec // G401: see the import
	case kms.RSAAESSHA224:
		return sha256.New224(), true
	case kms.RSAAESSHA384:
		return sha512.New384(), true
	case kms.RSAAESSHA512:
		return sha512.New(), true
	}
	return nil, false
}

func sealRSA(t kms.Transport, key *rsa.PublicKey, raw []byte) ([]byte, error) {
	h, ok := hashOf(t)
	if !ok {
		return nil, notFor(t)
	}
	if !t.Nested() {
		if most := key.Size() - 2*h.Size() - 2; len(raw) > most {
			e := kms.Errorf(kms.CodeTooLarge, "the key material has %d bytes, and %s with RSA-%d takes %d", len(raw), t, key.N.BitLen(), most)
			e.Next = "use " + kms.RSAAESSHA256.String()
			return nil, e
		}
		return encryptOAEP(h, key, raw)
	}
	ephemeral := make([]byte, ephemeralSize)
	defer clear(ephemeral)
	rand.Read(ephemeral) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24
	out, err := encryptOAEP(h, key, ephemeral)
	if err != nil {
		return nil, err
	}
	return mode.WrapKWP(ephemeral, out, raw)
}

func encryptOAEP(h hash.Hash, key *rsa.PublicKey, raw []byte) ([]byte, error) {
	out, err := rsa.EncryptOAEP(h, rand.Reader, key, raw, nil)
	if err != nil {
		return nil, kms.Errorf(kms.CodeBadRequest, "the RSA key does not wrap").Because(err)
	}
	return out, nil
}

func openRSA(t kms.Transport, key *rsa.PrivateKey, parcel []byte) ([]byte, error) {
	h, ok := hashOf(t)
	if !ok {
		return nil, notFor(t)
	}
	if !t.Nested() {
		return decryptOAEP(h, key, parcel)
	}
	if len(parcel) <= key.Size() {
		return nil, ErrOpen
	}
	ephemeral, err := decryptOAEP(h, key, parcel[:key.Size()])
	if err != nil {
		return nil, err
	}
	defer clear(ephemeral)
	if n := len(ephemeral); n != 16 && n != 24 && n != 32 { // whoever wrapped chose
		return nil, ErrOpen
	}
	return mode.UnwrapKWP(ephemeral, nil, parcel[key.Size():])
}

func decryptOAEP(h hash.Hash, key *rsa.PrivateKey, sealed []byte) ([]byte, error) {
	if len(sealed) != key.Size() { // RFC 8017 §7.1.2 step 1b
		return nil, ErrOpen
	}
	raw, err := rsa.DecryptOAEP(h, nil, key, sealed, nil)
	if err != nil {
		return nil, ErrOpen
	}
	return raw, nil
}

func sealHPKE(public hpke.PublicKey, err error, info, raw []byte) ([]byte, error) {
	var out []byte
	if err == nil {
		out, err = hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, raw)
	}
	if err != nil {
		return nil, kms.Errorf(kms.CodeBadRequest, "the public key does not wrap").Because(err)
	}
	return out, nil
}

func openHPKE(private hpke.PrivateKey, err error, info, parcel []byte) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("private key of a transport: %w", err)
	}
	raw, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, parcel)
	if err != nil {
		return nil, ErrOpen
	}
	return raw, nil
}
