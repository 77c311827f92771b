package envelope

import (
	"context"
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Limits of a passphrase, in bytes.
const (
	MinPassphrase = 14 // the key of an HMAC has at least 112 bit (SP 800-131A rev. 2 §10)
	MaxPassphrase = 1024
)

// Passphrase is a passphrase, as a recipient and as an identity: the bytes as they were typed, MinPassphrase to
// MaxPassphrase of them. A file has one at most, beside other recipients or alone.
//
// The key is derived with argon2id (RFC 9106; 3 passes, 64 MiB, 4 lanes), or in FIPS mode with PBKDF2-HMAC-SHA-512 (SP 800-132; 210 000
// rounds).
type Passphrase []byte

// Format hides the passphrase from every verb.
func (p Passphrase) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides the passphrase from encoders.
func (p Passphrase) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// The derivations. The numbers are part of the format.
const (
	kdfArgon2id = 1
	kdfPBKDF2   = 2
)

const redacted = "[redacted]"

const saltSize = 16

// passphraseBody is the body of a stanza: derivation u8 ‖ rounds u32 ‖ memory u32 (KiB) ‖ lanes u8 ‖ salt 16 ‖ box 60.
type passphraseBody struct {
	kdf, lanes     int
	rounds, memory uint32
	salt           []byte
}

// passphraseBounds keep a file that a stranger made from weakening a derivation, or from exhausting the machine.
var passphraseBounds = map[int]struct{ rounds, memory, lanes [2]uint32 }{
	kdfArgon2id: {rounds: [2]uint32{2, 16}, memory: [2]uint32{19 << 10, 512 << 10}, lanes: [2]uint32{1, 16}},
	kdfPBKDF2:   {rounds: [2]uint32{210_000, 10_000_000}},
}

func within(n uint32, limits [2]uint32) bool { return n >= limits[0] && n <= limits[1] }

func parsePassphrase(body []byte) (passphraseBody, error) {
	p := &parts{b: body}
	b := passphraseBody{kdf: p.u8(), rounds: p.u32(), memory: p.u32(), lanes: p.u8(), salt: p.take(saltSize)}
	p.take(boxSize)
	limits, known := passphraseBounds[b.kdf]
	if p.bad || len(p.b) != 0 || !known {
		return b, formatf("a recipient of it, a passphrase, cannot be read")
	}
	if !within(b.rounds, limits.rounds) || !within(b.memory, limits.memory) || !within(uint32(b.lanes), limits.lanes) { //nolint:gosec // G115: one byte
		return b, formatf("its passphrase takes %d rounds in %d KiB, which is outside the limits", b.rounds, b.memory)
	}
	return b, nil
}

func (b *passphraseBody) encode() []byte {
	out := binary.BigEndian.AppendUint32([]byte{byte(b.kdf)}, b.rounds) //nolint:gosec // G115: one byte
	out = append(binary.BigEndian.AppendUint32(out, b.memory), byte(b.lanes))
	return append(out, b.salt...)
}

// secret derives the key that wraps the file key.
func (b *passphraseBody) secret(p Passphrase) ([]byte, error) {
	if b.kdf == kdfPBKDF2 {
		return pbkdf2.Key(sha512.New, string(p), b.salt, int(b.rounds), 32)
	}
	// argon2id is code that Go's FIPS mode does not see.
	if fips140.Enforced() {
		return nil, errors.New("argon2id is not approved for FIPS 140-3: this file's passphrase cannot be used here")
	}
	return argon2.IDKey(p, b.salt, b.rounds, b.memory, uint8(b.lanes), 32), nil //nolint:gosec // G115: one byte
}

func (p Passphrase) check() error {
	if len(p) < MinPassphrase || len(p) > MaxPassphrase {
		return optionsf("the passphrase has %d bytes: want %d to %d", len(p), MinPassphrase, MaxPassphrase)
	}
	return nil
}

func (p Passphrase) wrap(_ context.Context, f *file, fileKey []byte) (stanza, func(int64), error) {
	b := passphraseBody{kdf: kdfArgon2id, rounds: 3, memory: 64 << 10, lanes: 4, salt: make([]byte, saltSize)}
	if fips140.Enabled() {
		b = passphraseBody{kdf: kdfPBKDF2, rounds: 210_000, salt: b.salt}
	}
	rand.Read(b.salt) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24: it ends the process
	secret, err := b.secret(p)
	if err != nil {
		return stanza{}, nil, err
	}
	defer clear(secret)
	s, err := box(b.encode(), secret, KindPassphrase, f, fileKey)
	return s, nil, err
}

func (p Passphrase) opens(r RecipientInfo) bool { return r.Kind == KindPassphrase }

func (p Passphrase) unwrap(_ context.Context, f *file, s stanza) ([]byte, error) {
	b, err := parsePassphrase(s.body)
	if err != nil {
		return nil, err
	}
	if len(p) > MaxPassphrase {
		return nil, ErrPassphrase
	}
	secret, err := b.secret(p)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	fileKey, err := unbox(s, secret, f)
	if errors.Is(err, ErrCorrupt) {
		return nil, ErrPassphrase
	}
	return fileKey, err
}
