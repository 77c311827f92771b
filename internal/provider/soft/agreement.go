package soft

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// ECDH with static keys: SP 800-56A rev. 3 §5.7.1.2 on NIST's curves, RFC 7748 §6.1 on Curve25519. What is given out is the
// shared secret itself; deriving keys from it is its user's part.
var ecdhCurves = map[kms.Algorithm]ecdh.Curve{
	kms.ECDHP256: ecdh.P256(),
	kms.ECDHP384: ecdh.P384(),
	kms.ECDHP521: ecdh.P521(),
	kms.X25519:   ecdh.X25519(),
}

// makeECDH lets Go's module make the key (SP 800-56A rev. 3 §5.6.1.2) after a sample of the source has passed.
func makeECDH(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	if err := p.random.sample(); err != nil {
		return nil, nil, err
	}
	private, err := ecdhCurves[a].GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return secret.Take(der), public, nil
}

func parseECDH(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	parsed, err := x509.ParsePKCS8PrivateKey(s.Reveal(reveal.Key{}))
	if err != nil {
		return nil, err
	}
	if private, ok := parsed.(*ecdsa.PrivateKey); ok { // PKCS #8 does not tell ECDH from ECDSA: RFC 5480 §2.1.1
		defer erasePrivate(private)
		if parsed, err = private.ECDH(); err != nil {
			return nil, err
		}
	}
	private, ok := parsed.(*ecdh.PrivateKey)
	if !ok || private.Curve() != ecdhCurves[a] {
		return nil, fmt.Errorf("the PKCS #8 key is not of %s", a)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	return &key{private: private, public: public, verifier: private.PublicKey()}, nil
}

// parseECDHPublic reads another's public key. That the point is on the curve and not at infinity is checked here (SP 800-56A
// rev. 3 §5.6.2.3.4; NIST's curves have cofactor 1).
func parseECDHPublic(curve ecdh.Curve, der []byte) (*ecdh.PublicKey, error) {
	if len(der) > MaxPublic {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(der), MaxPublic)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	if public, ok := parsed.(*ecdsa.PublicKey); ok {
		if parsed, err = public.ECDH(); err != nil {
			return nil, err
		}
	}
	public, ok := parsed.(*ecdh.PublicKey)
	if !ok || public.Curve() != curve {
		return nil, errPublic
	}
	return public, nil
}

func ecdhAgree(k *key, peer []byte) ([]byte, error) {
	private := k.private.(*ecdh.PrivateKey)
	public, err := parseECDHPublic(private.Curve(), peer)
	if err != nil {
		return nil, kms.Errorf(kms.CodeBadRequest, "the other side's public key is not a SubjectPublicKeyInfo with a point of %s", private.Curve()).Because(err)
	}
	shared, err := private.ECDH(public)
	if err != nil { // RFC 7748 §6.1: all zeros, from a point of small order
		return nil, kms.Errorf(kms.CodeBadRequest, "the other side's public key makes no secret with any key: it is a point of small order").Because(err)
	}
	return shared, nil
}
