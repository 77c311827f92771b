package soft

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// GeneratePair makes a key pair that is given away and not kept: a SubjectPublicKeyInfo and a PKCS #8 PrivateKeyInfo, both in DER. It
// passes the same self-test as a key that is kept. Errors: CodeAlgorithm for algorithms without a private key, or without a
// standard form of it; else as Generate.
func (p *Provider) GeneratePair(a kms.Algorithm) ([]byte, *secret.Bytes, error) {
	kind, err := p.mayCreate(a)
	if err != nil {
		return nil, nil, err
	}
	if !a.Facts().Asymmetric {
		return nil, nil, kms.Errorf(kms.CodeAlgorithm, "%s keys have no public half: a data key pair needs an asymmetric algorithm", a)
	}
	if kind.form != pkcs8Form && kind.pkcs8 == nil {
		return nil, nil, kms.Errorf(kms.CodeAlgorithm, "there is no standard form in which an %s private key could be given away", a)
	}
	if a.Facts().Slow {
		leave, err := p.pool.enter()
		if err != nil {
			return nil, nil, err
		}
		defer leave()
	}
	m, err := p.make(kind, a, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := p.provePair(kind, m); err != nil {
		m.erase()
		return nil, nil, kms.Errorf(kms.CodeInternal, "a new %s key pair failed its self-test and was thrown away", a).Because(err)
	}
	if kind.form == pkcs8Form {
		return m.public, m.secret, nil
	}
	defer m.erase()
	der, err := kind.pkcs8(m)
	if err != nil {
		return nil, nil, kms.Errorf(kms.CodeInternal, "a new %s private key could not be written", a).Because(err)
	}
	return m.public, secret.Take(der), nil
}

// provePair reads a new pair back and runs the self-test on it.
func (p *Provider) provePair(kind *kind, m *material) error {
	k, err := kind.parse(p, m.algorithm, secret.Copy(m.secret.Reveal(reveal.Key{})))
	if err != nil {
		return err
	}
	h := &handle{algorithm: m.algorithm, profile: p.profile, key: k}
	defer h.Close()
	return h.selfTest(m.public)
}

// privateKeyInfo is PKCS #8 of version 0, RFC 5958 §2.
type privateKeyInfo struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Private   []byte
}

// pkcs8Of writes a private key that is encoded already, under the identifier of its public key.
func pkcs8Of(public, private []byte) ([]byte, error) {
	a, _, err := splitSPKI(public)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(privateKeyInfo{Algorithm: a, Private: private})
}

func pkcs8Ed25519(m *material) ([]byte, error) {
	private := ed25519.NewKeyFromSeed(m.secret.Reveal(reveal.Key{}))
	defer clear(private)
	return x509.MarshalPKCS8PrivateKey(private)
}

// pkcs8Koblitz has the ECPrivateKey of RFC 5915 §3 inside; the curve stands outside, in the identifier.
func pkcs8Koblitz(m *material) ([]byte, error) {
	_, point, err := splitSPKI(m.public)
	if err != nil {
		return nil, err
	}
	inner, err := asn1.Marshal(struct {
		Version int
		Private []byte
		Public  asn1.BitString `asn1:"explicit,tag:1"`
	}{1, m.secret.Reveal(reveal.Key{}), asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		return nil, err
	}
	defer clear(inner)
	return pkcs8Of(m.public, inner)
}

// pkcs8Seed has the seed alone inside, [0] IMPLICIT OCTET STRING: ML-DSA, RFC 9881 §6; ML-KEM, RFC 9935 §6.
func pkcs8Seed(m *material) ([]byte, error) {
	inner, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: m.secret.Reveal(reveal.Key{})})
	if err != nil {
		return nil, err
	}
	defer clear(inner)
	return pkcs8Of(m.public, inner)
}

// pkcs8Raw has the key as it is: SLH-DSA, RFC 9909.
func pkcs8Raw(m *material) ([]byte, error) {
	return pkcs8Of(m.public, m.secret.Reveal(reveal.Key{}))
}
