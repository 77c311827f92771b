package envelope

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// PublicKey is a recipient who needs no server: HPKE (RFC 9180) in base mode with X25519 and ML-KEM-768 together
// (MLKEM768-X25519, draft-ietf-hpke-pq) and HKDF-SHA-384. It protects against a quantum computer as long as ML-KEM-768 does.
//
// HPKE exports the key that wraps the file key, and does not encrypt itself: its GCM counts nonces up, which not every FIPS
// module allows.
type PublicKey struct{ key hpke.PublicKey }

// PrivateKey opens what was encrypted for its public key.
type PrivateKey struct{ key hpke.PrivateKey }

// The text forms: a prefix and base64url of the key and of the first 4 bytes of the SHA-256 of both, so that a mistake shows.
const (
	publicPrefix  = "keyhold-public-1"
	privatePrefix = "keyhold-private-1"
	textSumSize   = 4
)

// Sizes in bytes.
const (
	publicSize      = 1184 + 32 // ML-KEM-768 ‖ X25519
	privateSize     = 32
	encSize         = 1088 + 32 // encapsulated key: ML-KEM-768 ‖ X25519
	fingerprintSize = 16
	maxKeyText      = 4 << 10
)

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.MLKEM768X25519(), hpke.HKDFSHA384(), hpke.ExportOnly()
}

// GenerateKey makes a key pair.
func GenerateKey() (*PrivateKey, error) {
	kem, _, _ := suite()
	k, err := kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	return &PrivateKey{k}, nil
}

func keyText(prefix string, key []byte) string {
	sum := sha256.Sum256(append([]byte(prefix), key...))
	return prefix + base64.RawURLEncoding.EncodeToString(append(bytes.Clone(key), sum[:textSumSize]...))
}

func parseKeyText(prefix, text string, size int) ([]byte, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxKeyText {
		return nil, optionsf("a key has %d characters: %d at most", len(text), maxKeyText)
	}
	body, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, optionsf("it does not begin with %s", prefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != size+textSumSize || keyText(prefix, b[:size]) != text {
		return nil, optionsf("it begins with %s and is not a key: a character is missing or wrong", prefix)
	}
	return b[:size], nil
}

// ParsePublicKey reads the text form of a public key.
func ParsePublicKey(text string) (*PublicKey, error) {
	b, err := parseKeyText(publicPrefix, text, publicSize)
	if err != nil {
		return nil, err
	}
	kem, _, _ := suite()
	k, err := kem.NewPublicKey(b)
	if err != nil {
		return nil, optionsf("it is not a public key: %v", err)
	}
	return &PublicKey{k}, nil
}

// ParsePrivateKey reads the text form of a private key.
func ParsePrivateKey(text string) (*PrivateKey, error) {
	b, err := parseKeyText(privatePrefix, text, privateSize)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	kem, _, _ := suite()
	k, err := kem.NewPrivateKey(b)
	if err != nil {
		return nil, optionsf("it is not a private key: %v", err)
	}
	return &PrivateKey{k}, nil
}

// String is the text form, which ParsePublicKey reads.
func (k *PublicKey) String() string { return keyText(publicPrefix, k.key.Bytes()) }

// Fingerprint names the key: the first 16 bytes of its SHA-256 as 32 hexadecimal digits.
func (k *PublicKey) Fingerprint() string { return hex.EncodeToString(k.sum()) }

func (k *PublicKey) sum() []byte {
	sum := sha256.Sum256(k.key.Bytes())
	return sum[:fingerprintSize]
}

// Public is the public half.
func (k *PrivateKey) Public() *PublicKey { return &PublicKey{k.key.PublicKey()} }

// Format hides the key from every verb.
func (k *PrivateKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// Export is the text form of the private key, which ParsePrivateKey reads: a secret.
func (k *PrivateKey) Export() (string, error) {
	b, err := k.key.Bytes()
	if err != nil {
		return "", err
	}
	defer clear(b)
	return keyText(privatePrefix, b), nil
}

// publicBody is the body of a stanza: fingerprint 16 ‖ encapsulated key 1120 ‖ box 60.
type publicBody struct{ sum, enc []byte }

func (b publicBody) fingerprint() string { return hex.EncodeToString(b.sum) }

func parsePublic(body []byte) (publicBody, error) {
	p := &parts{b: body}
	b := publicBody{sum: p.take(fingerprintSize), enc: p.take(encSize)}
	p.take(boxSize)
	if p.bad || len(p.b) != 0 {
		return b, formatf("a recipient of it, a public key, cannot be read")
	}
	return b, nil
}

// labelExport is HPKE's exporter context; its info is the binding of the file.
const labelExport = "keyhold/envelope/v1/public-key"

func (k *PublicKey) check() error {
	if k == nil || k.key == nil {
		return optionsf("a public key is empty")
	}
	return nil
}

func (k *PublicKey) wrap(_ context.Context, f *file, fileKey []byte) (stanza, func(int64), error) {
	_, kdf, aead := suite()
	enc, sender, err := hpke.NewSender(k.key, kdf, aead, f.binding)
	if err != nil {
		return stanza{}, nil, err
	}
	secret, err := sender.Export(labelExport, 32)
	if err != nil {
		return stanza{}, nil, err
	}
	defer clear(secret)
	s, err := box(append(bytes.Clone(k.sum()), enc...), secret, KindPublicKey, f, fileKey)
	return s, nil, err
}

func (k *PrivateKey) opens(r RecipientInfo) bool {
	return r.Kind == KindPublicKey && r.Fingerprint == k.Public().Fingerprint()
}

func (k *PrivateKey) unwrap(_ context.Context, f *file, s stanza) ([]byte, error) {
	b, err := parsePublic(s.body)
	if err != nil {
		return nil, err
	}
	_, kdf, aead := suite()
	recipient, err := hpke.NewRecipient(b.enc, k.key, kdf, aead, f.binding)
	if err != nil {
		return nil, ErrCorrupt
	}
	secret, err := recipient.Export(labelExport, 32)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return unbox(s, secret, f)
}
