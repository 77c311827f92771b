package transit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Parse reads a backup's text. It leaves the text alone: whoever has it erases it. CodeKeyFile, CodeTooLarge.
func Parse(text []byte) (b *Backup, err error) {
	if len(text) > MaxBackup {
		return nil, kms.Errorf(kms.CodeTooLarge, "the backup has %d bytes, the limit is %d", len(text), MaxBackup)
	}
	secret.Do(func() { b, err = parse(text) })
	return b, err
}

func parse(text []byte) (*Backup, error) {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	defer clear(raw)
	n, err := base64.StdEncoding.Decode(raw, text)
	if err != nil {
		return nil, bad("it is not base64")
	}
	if longNumber(raw[:n]) {
		return nil, bad("it holds a number of more than %d digits", maxNumber)
	}
	var d document
	defer d.erase()
	if err := json.Unmarshal(raw[:n], &d); err != nil {
		return nil, bad("it is not the JSON of a backup") // the error might quote a secret
	}
	if d.Policy == nil || d.Archive == nil {
		return nil, bad("its policy or its archived keys are missing")
	}
	if len(d.Policy.Keys) > MaxVersions || len(d.Archive.Keys) > MaxVersions+1 {
		return nil, bad("it has more than %d versions", MaxVersions)
	}
	b, err := d.Policy.head()
	if err != nil {
		return nil, err
	}
	if err := d.versions(b); err != nil {
		b.Zero()
		return nil, err
	}
	return b, nil
}

// longNumber finds digits in a row that no key has: to read them takes time that grows with their square.
func longNumber(b []byte) bool {
	run := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			run = 0
		} else if run++; run > maxNumber {
			return true
		}
	}
	return false
}

// head reads everything but the versions.
func (p *policy) head() (*Backup, error) {
	b := &Backup{Name: p.Name, Derived: p.Derived, Convergent: p.Convergent, Exportable: p.Exportable, Plaintext: p.Plaintext, Deletable: p.Deletable,
		Imported: p.Imported, Rotates: p.Rotates, Deleted: p.Deleted, Every: time.Duration(p.Every)}
	if p.Type == nil {
		return nil, bad("it names no key type")
	}
	var known bool
	if b.Algorithm, known = kindOf(*p.Type); !known {
		return nil, bad("its key type %d is not one that is known here", *p.Type)
	}
	for _, n := range []struct {
		name string
		from int64
		to   *uint32
	}{{"min_decryption_version", p.MinDecryption, &b.MinProcess}, {"min_encryption_version", p.MinEncryption, &b.MinProtect},
		{"min_available_version", p.MinAvailable, &b.MinKept}, {"latest_version", p.Latest, &b.Latest}} {
		if n.from < 0 || n.from > math.MaxInt32 {
			return nil, bad("its %s is %d", n.name, n.from)
		}
		*n.to = uint32(n.from)
	}
	const hkdf = 1
	switch {
	case b.Latest == 0:
		return nil, bad("it has no version")
	case b.MinProcess > b.Latest || b.MinProtect > b.Latest || b.MinKept > b.Latest:
		return nil, bad("a least version is above its latest, %d", b.Latest)
	case b.Latest-max(b.MinKept, 1) >= MaxVersions:
		return nil, bad("it has more than %d versions", MaxVersions)
	case p.ArchiveMin < 0 || p.ArchiveMin > int64(b.Latest):
		return nil, bad("its archive begins at version %d", p.ArchiveMin)
	case b.Every < 0:
		return nil, bad("its auto_rotate_period is negative")
	case b.Derived && p.KDF != hkdf:
		return nil, bad("its keys are derived by another function than HKDF-SHA-256 (kdf %d)", p.KDF)
	case b.Convergent && !b.Derived:
		return nil, bad("it encrypts convergently, and is not derived")
	case b.Convergent && p.ConvergentForm > 0 && p.ConvergentForm < convergentForm:
		return nil, bad("its convergent encryption is of form %d: want %d", p.ConvergentForm, convergentForm)
	}
	return b, nil
}

// convergentForm is the one form of convergent encryption that is known: nonces from an HMAC key that is derived too.
const convergentForm = 3

func (d *document) versions(b *Backup) error {
	first := max(b.MinKept, 1)
	for n := first; n <= b.Latest; n++ {
		e, there := d.Policy.Keys[strconv.FormatUint(uint64(n), 10)]
		if !there {
			at := int64(n) - d.Policy.ArchiveMin
			if at < 0 || at >= int64(len(d.Archive.Keys)) {
				return bad("its version %d is missing", n)
			}
			e = d.Archive.Keys[at]
		}
		if n == first && *d.Policy.Type == ambiguous && len(e.Key) > 0 && subtle.ConstantTimeCompare(e.Key, e.MAC) == 1 {
			b.Algorithm = kms.HMAC
		}
		if b.Convergent && e.ConvergentForm != 0 && e.ConvergentForm != convergentForm {
			return bad("the convergent encryption of its version %d is of form %d: want %d", n, e.ConvergentForm, convergentForm)
		}
		v, err := e.version(b, n)
		if err != nil {
			return err
		}
		b.Versions = append(b.Versions, v)
	}
	return nil
}

func (e *entry) version(b *Backup, n uint32) (v Version, err error) {
	v = Version{Number: n, Created: e.Time.UTC(), Chain: e.Chain}
	if v.Created.IsZero() {
		v.Created = time.Unix(e.Created, 0).UTC()
	}
	if y := v.Created.Year(); y < 1970 || y > 9999 {
		return v, bad("its version %d was made in the year %d", n, y)
	}
	mac := e.MAC
	switch f := b.Algorithm.Facts(); {
	case b.Algorithm == kms.HMAC:
		if len(e.Key) < f.MinBytes || len(e.Key) > f.MaxBytes || len(mac) > 0 && subtle.ConstantTimeCompare(mac, e.Key) != 1 {
			return v, bad("the HMAC key of its version %d has %d bytes, or is another than its MAC key", n, len(e.Key))
		}
		if b.Bytes = len(e.Key); b.Bytes == f.Bits/8 {
			b.Bytes = 0
		}
		mac = nil
		v.Material = secret.Copy(e.Key)
	case len(mac) != kms.MACKeyBytes:
		return v, bad("the MAC key of its version %d has %d bytes: want %d", n, len(mac), kms.MACKeyBytes)
	case !f.Asymmetric:
		if len(e.Key) != f.Bits/8 {
			return v, bad("the key of its version %d has %d bytes: want %d", n, len(e.Key), f.Bits/8)
		}
		v.Material = secret.Copy(e.Key)
	default:
		private, err := e.private(b.Algorithm)
		if err != nil {
			return v, bad("its version %d: %v", n, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return v, bad("the private key of its version %d is none", n)
		}
		v.Material = secret.Take(der)
	}
	if len(mac) > 0 {
		v.MAC = secret.Copy(mac)
	}
	return v, nil
}

// private makes the private key of the integers or bytes of an entry.
func (e *entry) private(a kms.Algorithm) (any, error) {
	switch {
	case a == kms.Ed25519:
		return e.edwards()
	case curveOf(a) != nil:
		return e.elliptic(curveOf(a))
	}
	return e.rsa(a)
}

func curveOf(a kms.Algorithm) elliptic.Curve {
	switch a {
	case kms.ECDSAP256:
		return elliptic.P256()
	case kms.ECDSAP384:
		return elliptic.P384()
	case kms.ECDSAP521:
		return elliptic.P521()
	}
	return nil
}

var (
	errNoPrivate = kms.Errorf(kms.CodeKeyFile, "it has no private key")
	errNoKey     = kms.Errorf(kms.CodeKeyFile, "its private key is none of its key type, or its public key belongs to another")
)

func (e *entry) edwards() (any, error) {
	switch {
	case len(e.Key) == 0:
		return nil, errNoPrivate
	case len(e.Key) != ed25519.PrivateKeySize:
		return nil, errNoKey
	}
	k := ed25519.NewKeyFromSeed(e.Key[:ed25519.SeedSize])
	if !bytes.Equal(k[ed25519.SeedSize:], e.Key[ed25519.SeedSize:]) { // the second half is the public key (RFC 8032 §5.1.5)
		return nil, errNoKey
	}
	return k, nil
}

func (e *entry) elliptic(c elliptic.Curve) (any, error) {
	if e.D == nil {
		return nil, errNoPrivate
	}
	size := (c.Params().BitSize + 7) / 8
	if e.D.Sign() <= 0 || e.D.BitLen() > 8*size {
		return nil, errNoKey
	}
	d := e.D.FillBytes(make([]byte, size))
	defer clear(d)
	k, err := ecdsa.ParseRawPrivateKey(c, d)
	if err != nil {
		return nil, errNoKey
	}
	point, err := k.PublicKey.Bytes() // 04 ‖ X ‖ Y (SEC 1 §2.3.3)
	if err != nil || !same(e.X, point[1:1+size]) || !same(e.Y, point[1+size:]) {
		return nil, errNoKey
	}
	return k, nil
}

func same(n *big.Int, b []byte) bool { return n != nil && n.Cmp(new(big.Int).SetBytes(b)) == 0 }

func (e *entry) rsa(a kms.Algorithm) (any, error) {
	r := e.RSA
	if r == nil || r.D == nil {
		return nil, errNoPrivate
	}
	if r.N == nil || r.N.BitLen() != a.Facts().Bits || len(r.Primes) != maxPrimes || r.D.Sign() <= 0 || r.D.BitLen() > r.N.BitLen() {
		return nil, errNoKey
	}
	for _, p := range r.Primes {
		if p == nil || p.Sign() <= 0 || p.BitLen() > r.N.BitLen() {
			return nil, errNoKey
		}
	}
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: r.N, E: r.E}, D: r.D, Primes: r.Primes}
	if k.Validate() != nil {
		return nil, errNoKey
	}
	k.Precompute()
	return k, nil
}
