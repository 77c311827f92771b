// Package passphrase turns a passphrase into the 32-byte seed of a root-key recipient.
//
// Two derivations: argon2id (RFC 9106; t = 3, m = 64 MiB, p = 4) and, for the FIPS profile, PBKDF2-HMAC-SHA-512 with
// 210 000 rounds (SP 800-132). The parameters are stored with the recipient and bounded when they are read, so that a
// tampered configuration can neither weaken the derivation below a floor nor exhaust the machine.
//
// argon2id is third-party code that Go's FIPS mode does not see, so this package refuses it itself: under the FIPS
// profile, and wherever the program runs with GODEBUG=fips140=only.
//
// It does not normalise: a passphrase is the bytes that were typed.
package passphrase

import (
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/cryptobyte"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits of a passphrase and sizes, in bytes.
const (
	MinSize  = 14 // an HMAC key below 112 bit is not approved (SP 800-131A rev. 2 §10)
	MaxSize  = 1024
	SeedSize = 32
	saltSize = 16 // SP 800-132 §5.1: at least 128 bit
)

// KDF is a derivation. The numbers are part of the format.
type KDF uint8

// The derivations.
const (
	Argon2id KDF = 1
	PBKDF2   KDF = 2 // with HMAC-SHA-512
)

func (k KDF) String() string {
	switch k {
	case Argon2id:
		return "argon2id"
	case PBKDF2:
		return "pbkdf2-hmac-sha-512"
	}
	return "unknown-kdf"
}

// Params are the public parameters of a derivation.
type Params struct {
	KDF    KDF
	Rounds uint32 // passes of argon2id, iterations of PBKDF2
	Memory uint32 // KiB; argon2id only
	Lanes  uint8  // argon2id only
	Salt   [saltSize]byte
}

// bounds are the least and the most that a stored parameter may be.
type bounds struct{ rounds, memory, lanes [2]uint32 }

func boundsOf(k KDF) (bounds, bool) {
	switch k {
	case Argon2id:
		// The floor is OWASP's smallest recommended configuration (19 MiB, 2 passes); the ceiling keeps one unsealing
		// within a gigabyte and some seconds.
		return bounds{rounds: [2]uint32{2, 16}, memory: [2]uint32{19 << 10, 1 << 20}, lanes: [2]uint32{1, 16}}, true
	case PBKDF2:
		return bounds{rounds: [2]uint32{210_000, 10_000_000}}, true
	}
	return bounds{}, false
}

// New gives the parameters for a new passphrase under a profile, with a fresh salt.
func New(p kms.Profile) Params {
	out := Params{KDF: Argon2id, Rounds: 3, Memory: 64 << 10, Lanes: 4}
	if Permit(Argon2id, p) != nil {
		out = Params{KDF: PBKDF2, Rounds: 210_000}
	}
	rand.Read(out.Salt[:]) //nolint:errcheck // never fails since Go 1.24
	return out
}

// Permit is the gate: may this derivation run under this profile? The error is CodeProfile.
func Permit(k KDF, p kms.Profile) error {
	if k != PBKDF2 && (p == kms.ProfileFIPS || fips140.Enforced()) {
		return kms.Errorf(kms.CodeProfile, "the fips profile refuses %s: it is not an approved key derivation (SP 800-132)", k)
	}
	return nil
}

// Check verifies that the parameters are within their bounds. The error is CodeRecordDamaged.
func (p Params) Check() error {
	b, ok := boundsOf(p.KDF)
	within := func(v uint32, r [2]uint32) bool { return r[0] <= v && v <= r[1] }
	if !ok || !within(p.Rounds, b.rounds) || !within(p.Memory, b.memory) || !within(uint32(p.Lanes), b.lanes) {
		return kms.Errorf(kms.CodeRecordDamaged, "the parameters of a passphrase are out of bounds: %s, %d rounds, %d KiB, %d lanes", p.KDF, p.Rounds, p.Memory, p.Lanes)
	}
	return nil
}

// CheckPhrase verifies the length of a new passphrase. The error is CodeBadRequest.
func CheckPhrase(phrase *secret.Bytes) error {
	if n := phrase.Len(); n < MinSize || n > MaxSize {
		return kms.Errorf(kms.CodeBadRequest, "the passphrase has %d bytes, want %d to %d", n, MinSize, MaxSize)
	}
	return nil
}

// Seed derives the 32-byte seed. It takes about a second and, with argon2id, Memory KiB. The phrase stays the caller's.
// Errors: CodeProfile, CodeRecordDamaged, CodeBadRequest.
func (p Params) Seed(phrase *secret.Bytes, profile kms.Profile) (*secret.Bytes, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if err := Permit(p.KDF, profile); err != nil {
		return nil, err
	}
	if err := CheckPhrase(phrase); err != nil {
		return nil, err
	}
	raw := phrase.Reveal(reveal.Key{})
	if p.KDF == Argon2id {
		return secret.Take(argon2.IDKey(raw, p.Salt[:], p.Rounds, p.Memory, p.Lanes, SeedSize)), nil
	}
	// The string is a copy that cannot be erased: crypto/pbkdf2 takes nothing else.
	seed, err := pbkdf2.Key(sha512.New, string(raw), p.Salt[:], int(p.Rounds), SeedSize)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the passphrase could not be derived").Because(err)
	}
	return secret.Take(seed), nil
}

// Bytes is the stored form, of 26 bytes: kdf u8 | rounds u32 | memory u32 | lanes u8 | salt 16.
func (p Params) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 26))
	b.AddUint8(uint8(p.KDF))
	b.AddUint32(p.Rounds)
	b.AddUint32(p.Memory)
	b.AddUint8(p.Lanes)
	b.AddBytes(p.Salt[:])
	return b.BytesOrPanic() // cannot fail: nothing above has a length prefix
}

// Parse reads the stored form and checks the bounds. The error is CodeRecordDamaged.
func Parse(b []byte) (Params, error) {
	var p Params
	s := cryptobyte.String(b)
	if !s.ReadUint8((*uint8)(&p.KDF)) || !s.ReadUint32(&p.Rounds) || !s.ReadUint32(&p.Memory) || !s.ReadUint8(&p.Lanes) ||
		!s.CopyBytes(p.Salt[:]) || !s.Empty() {
		return Params{}, kms.Errorf(kms.CodeRecordDamaged, "the parameters of a passphrase have %d bytes, want 26", len(b))
	}
	return p, p.Check()
}
