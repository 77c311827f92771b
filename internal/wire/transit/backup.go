package transit

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits.
const (
	MaxBackup   = 4 << 20 // bytes of a backup's text
	MaxVersions = 1000    // of a key
	maxPrimes   = 2       // of an RSA key
	maxNumber   = 5000    // digits of an integer: RSA keys have 617 (2,048 bits) to 1,234
)

// Backup is a key with all versions that there still are.
type Backup struct {
	Name      string
	Algorithm kms.Algorithm
	Bytes     int // of the material of HMAC keys; 0: the usual 32

	Derived, Convergent, Exportable, Plaintext, Deletable bool
	Imported, Rotates                                     bool // it was imported; if so, whether the server makes further versions of it
	Deleted                                               bool // softly

	MinProcess, MinProtect, MinKept, Latest uint32
	Every                                   time.Duration // between rotations; 0: by hand

	Versions []Version // ascending
}

// Version is one version of a key.
type Version struct {
	Number   uint32
	Created  time.Time
	Public   []byte        // DER SubjectPublicKeyInfo; nil of symmetric keys
	Material *secret.Bytes // the key itself, or PKCS #8
	MAC      *secret.Bytes // the MAC key beside it: of an HMAC key the same again
	Chain    [][]byte      // certificates of the public key, DER; nobody checked them
}

// Zero erases the material.
func (b *Backup) Zero() {
	for i := range b.Versions {
		b.Versions[i].Material.Zero()
		b.Versions[i].MAC.Zero()
	}
}

// kind is a row of the types that backups number.
type kind struct {
	number    int
	algorithm kms.Algorithm
}

// kinds: Vault and OpenBao number HMAC keys differently. 11 is OpenBao's XChaCha20-Poly1305 and Vault's HMAC, which is told by its MAC key being the key.
var kinds = []kind{
	{0, kms.AES256GCM}, {1, kms.ECDSAP256}, {2, kms.Ed25519}, {3, kms.RSA2048}, {4, kms.RSA4096}, {5, kms.ChaCha20Poly1305},
	{6, kms.ECDSAP384}, {7, kms.ECDSAP521}, {8, kms.AES128GCM}, {9, kms.RSA3072}, {10, kms.HMAC}, {11, kms.XChaCha20Poly1305},
}

const ambiguous = 11

func kindOf(number int) (kms.Algorithm, bool) {
	for _, k := range kinds {
		if k.number == number {
			return k.algorithm, true
		}
	}
	return 0, false
}

func numberOf(a kms.Algorithm) (int, bool) {
	for _, k := range kinds {
		if k.algorithm == a {
			return k.number, true
		}
	}
	return 0, false
}

// Written tells whether there is a form of backup for keys of an algorithm.
func Written(a kms.Algorithm) bool {
	_, ok := numberOf(a)
	return ok
}

// bad is why a backup is refused.
func bad(format string, args ...any) error {
	e := kms.Errorf(kms.CodeKeyFile, "the backup cannot be restored: "+format, args...)
	e.Next = "make the backup again; where it comes from a version of Vault that knows more, export the key, or encrypt anew what it protects (keyhold migrate --rewrap)"
	return e
}
