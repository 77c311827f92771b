package transit

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Write writes a backup as of a moment. CodeAlgorithm for keys that there is no form of backup for.
func (b *Backup) Write(now time.Time) (out secret.Released, err error) {
	number, ok := numberOf(b.Algorithm)
	if !ok {
		return out, kms.Errorf(kms.CodeAlgorithm, "there is no form of backup for %s keys", b.Algorithm)
	}
	if len(b.Versions) == 0 {
		return out, kms.Errorf(kms.CodeNotFound, "the key has no version that could be backed up")
	}
	secret.Do(func() { out, err = b.write(number, now.UTC()) })
	return out, err
}

func (b *Backup) write(number int, now time.Time) (secret.Released, error) {
	p := &policy{
		Name: b.Name, Keys: map[string]entry{}, Derived: b.Derived, Convergent: b.Convergent, Exportable: b.Exportable, Type: &number,
		MinDecryption: int64(max(b.MinProcess, b.Versions[0].Number)), MinEncryption: int64(b.MinProtect), Latest: int64(b.Latest), ArchiveVersion: int64(b.Latest),
		MinAvailable: int64(b.MinKept), ArchiveMin: int64(b.MinKept), Deletable: b.Deletable, Plaintext: b.Plaintext, Every: int64(b.Every),
		Imported: b.Imported, Rotates: b.Rotates, Deleted: b.Deleted, BackupInfo: &stamp{now, int64(b.Latest)},
	}
	if b.Algorithm == kms.HMAC {
		p.KeySize = b.Versions[0].Material.Len()
	}
	if b.Derived {
		p.KDF = 1
	}
	if b.Convergent {
		p.ConvergentForm = -1 // each version says its own
	}
	d := document{p, &archive{}}
	defer d.erase()
	d.Archive.Keys = make([]entry, b.Latest-b.MinKept+1)
	for i := range b.Versions {
		v := &b.Versions[i]
		e, err := v.entry(b)
		if err != nil {
			return secret.Released{}, kms.Errorf(kms.CodeInternal, "version %d could not be written to a backup", v.Number).Because(err)
		}
		if int64(v.Number) >= p.MinDecryption {
			p.Keys[strconv.FormatUint(uint64(v.Number), 10)] = e
		}
		d.Archive.Keys[v.Number-b.MinKept] = e
	}
	raw, err := json.Marshal(&d, json.FormatNilSliceAsNull(true), json.Deterministic(true))
	if err != nil {
		return secret.Released{}, kms.Errorf(kms.CodeInternal, "the backup could not be written").Because(err)
	}
	defer clear(raw)
	out := make([]byte, base64.StdEncoding.EncodedLen(len(raw)))
	base64.StdEncoding.Encode(out, raw)
	return secret.Release(out), nil
}

func (v *Version) entry(b *Backup) (entry, error) {
	e := entry{Time: v.Created.UTC(), Created: v.Created.Unix(), MAC: slices.Clone(v.MAC.Reveal(reveal.Key{})), Chain: v.Chain}
	if b.Convergent {
		e.ConvergentForm = convergentForm
	}
	material := v.Material.Reveal(reveal.Key{})
	if !b.Algorithm.Facts().Asymmetric {
		e.Key = slices.Clone(material)
		if b.Algorithm == kms.HMAC {
			e.MAC = slices.Clone(material)
		}
		return e, nil
	}
	private, err := x509.ParsePKCS8PrivateKey(material)
	if err != nil {
		return e, err
	}
	switch k := private.(type) {
	case ed25519.PrivateKey:
		e.Key, e.Public = k, base64.StdEncoding.EncodeToString(k[ed25519.SeedSize:])
	case *ecdsa.PrivateKey:
		err = e.setElliptic(k)
	case *rsa.PrivateKey:
		k.Precompute()
		p := k.Precomputed
		e.RSA = &rsaKey{N: k.N, E: k.E, D: k.D, Primes: k.Primes, Precomputed: &remainders{Dp: p.Dp, Dq: p.Dq, Qinv: p.Qinv, CRTValues: []struct{}{}}}
	}
	return e, err
}

func (e *entry) setElliptic(k *ecdsa.PrivateKey) error {
	d, err := k.Bytes()
	if err != nil {
		return err
	}
	defer clear(d)
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return err
	}
	size := len(point) / 2
	e.D, e.X, e.Y = new(big.Int).SetBytes(d), new(big.Int).SetBytes(point[1:1+size]), new(big.Int).SetBytes(point[1+size:])
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	e.Public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return err
}

// Text is a version's material as an export writes it: base64, or PEM of SEC 1 or PKCS #1.
func (v *Version) Text(a kms.Algorithm) (out secret.Released, err error) {
	secret.Do(func() { out, err = text(a, v.Material.Reveal(reveal.Key{})) })
	return out, err
}

// MACText is the MAC key of a version in base64: that beside the key, or the key itself where it is one.
func (v *Version) MACText() secret.Released {
	m := v.MAC
	if m == nil {
		m = v.Material
	}
	return encoded(m.Reveal(reveal.Key{}))
}

func encoded(b []byte) secret.Released {
	return secret.Release(base64.StdEncoding.AppendEncode(nil, b))
}

func text(a kms.Algorithm, material []byte) (secret.Released, error) {
	if !a.Facts().Asymmetric {
		return encoded(material), nil
	}
	private, err := x509.ParsePKCS8PrivateKey(material)
	if err != nil {
		return secret.Released{}, kms.Errorf(kms.CodeAlgorithm, "there is no form of export for %s keys", a)
	}
	switch k := private.(type) {
	case ed25519.PrivateKey:
		defer clear(k)
		return encoded(k), nil
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		defer clear(der)
		return secret.Release(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), err
	case *rsa.PrivateKey:
		der := x509.MarshalPKCS1PrivateKey(k)
		defer clear(der)
		return secret.Release(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})), nil
	}
	return secret.Released{}, kms.Errorf(kms.CodeAlgorithm, "there is no form of export for %s keys", a)
}
