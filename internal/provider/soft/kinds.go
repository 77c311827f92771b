package soft

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/transport"
)

// key is parsed material, ready for use. Either raw or private is set.
type key struct {
	box      *box.Key      // of what seals boxes; it has the bytes of raw
	raw      *secret.Bytes // of symmetric kinds
	mac      *secret.Bytes // the MAC key that stands beside it, or raw where it is its own; nil: there is none
	nonces   *secret.Bytes // of a derived key: what makes the nonces of convergent ciphertexts
	plain    *layoutCipher // of transit's own layouts
	fixed    *layoutCipher // that takes a nonce which is not random, to seal convergently
	private  any           // *ecdsa.PrivateKey, *secp256k1.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey, *latticeKey, *hashKey, *ecdh.PrivateKey or *kemKey
	public   []byte        // DER SubjectPublicKeyInfo of asymmetric keys
	verifier any           // the public half, ready for use: *ecdsa.PublicKey, *secp256k1.PublicKey, ed25519.PublicKey, *rsa.PublicKey, latticePublic or *slhdsa.PublicKey
	sum      []byte        // check value of symmetric keys, computed while the bytes were at hand
}

// kind is how the material of an algorithm is made and read.
type kind struct {
	form  form
	make  func(p *Provider, a kms.Algorithm, bytes int) (*secret.Bytes, []byte, error) // secret, public; bytes of raw material
	parse func(*Provider, kms.Algorithm, *secret.Bytes) (*key, error)                  // owns the secret
	pkcs8 func(*material) ([]byte, error)                                              // writes the private key; nil: it is written so already, or cannot be
}

var kinds = [...]kind{
	kms.AES128GCM:  {rawForm, makeRandom, parseAES, nil},
	kms.AES192GCM:  {rawForm, makeRandom, parseAES, nil},
	kms.AES256GCM:  {rawForm, makeRandom, parseAES, nil},
	kms.HMACSHA256: {rawForm, makeRandom, parseRaw, nil},
	kms.HMACSHA384: {rawForm, makeRandom, parseRaw, nil},
	kms.HMACSHA512: {rawForm, makeRandom, parseRaw, nil},
	kms.ECDSAP256:  {pkcs8Form, makeECDSA, parseECDSA, nil},
	kms.ECDSAP384:  {pkcs8Form, makeECDSA, parseECDSA, nil},
	kms.Ed25519:    {seedForm, makeEd25519, parseEd25519, pkcs8Ed25519},
	kms.RSA2048:    {pkcs8Form, makeRSA, parseRSA, nil},
	kms.RSA3072:    {pkcs8Form, makeRSA, parseRSA, nil},
	kms.RSA4096:    {pkcs8Form, makeRSA, parseRSA, nil},

	kms.ECDSAP521:         {pkcs8Form, makeECDSA, parseECDSA, nil},
	kms.ECDSASecp256k1:    {rawForm, makeKoblitz, parseKoblitz, pkcs8Koblitz},
	kms.HMACSHA224:        {rawForm, makeRandom, parseRaw, nil},
	kms.HMAC:              {rawForm, makeRandom, parseRaw, nil},
	kms.ChaCha20Poly1305:  {rawForm, makeRandom, parseChaCha, nil},
	kms.XChaCha20Poly1305: {rawForm, makeRandom, parseXChaCha, nil},
	kms.AES128CMAC:        {rawForm, makeRandom, parseRaw, nil},
	kms.AES256CMAC:        {rawForm, makeRandom, parseRaw, nil},
	kms.MLDSA44:           {seedForm, makeLattice, parseLattice, pkcs8Seed},
	kms.MLDSA65:           {seedForm, makeLattice, parseLattice, pkcs8Seed},
	kms.MLDSA87:           {seedForm, makeLattice, parseLattice, pkcs8Seed},
	kms.SLHDSASHA2128s:    {rawForm, makeHash, parseHash, pkcs8Raw},
	kms.SLHDSASHA2128f:    {rawForm, makeHash, parseHash, pkcs8Raw},
	kms.ECDHP256:          {pkcs8Form, makeECDH, parseECDH, nil},
	kms.ECDHP384:          {pkcs8Form, makeECDH, parseECDH, nil},
	kms.ECDHP521:          {pkcs8Form, makeECDH, parseECDH, nil},
	kms.X25519:            {pkcs8Form, makeECDH, parseECDH, nil},
	kms.MLKEM512:          {seedForm, makeKEM, parseKEM, pkcs8Seed},
	kms.MLKEM768:          {seedForm, makeKEM, parseKEM, pkcs8Seed},
	kms.MLKEM1024:         {seedForm, makeKEM, parseKEM, pkcs8Seed},
	kms.XWing:             {seedForm, makeKEM, parseKEM, nil},
	kms.AES128Wrap:        {rawForm, makeRandom, parseRaw, nil},
	kms.AES192Wrap:        {rawForm, makeRandom, parseRaw, nil},
	kms.AES256Wrap:        {rawForm, makeRandom, parseRaw, nil},
	kms.AES256SIV:         {rawForm, makeRandom, parseRaw, nil},
	kms.AES128FF1:         {rawForm, makeRandom, parseRaw, nil},
	kms.AES256FF1:         {rawForm, makeRandom, parseRaw, nil},
}

// kindOf is the row of an algorithm: nil for one that is not built.
func kindOf(a kms.Algorithm) *kind {
	if int(a) >= len(kinds) || kinds[a].make == nil {
		return nil
	}
	return &kinds[a]
}

func curveOf(a kms.Algorithm) elliptic.Curve {
	switch a {
	case kms.ECDSAP521:
		return elliptic.P521()
	case kms.ECDSAP384:
		return elliptic.P384()
	}
	return elliptic.P256()
}

// make makes new material. Errors: CodeRandomness, CodeInternal.
func (p *Provider) make(kind *kind, a kms.Algorithm, bytes int) (*material, error) {
	if bytes == 0 {
		bytes = a.Facts().Bits / 8
	}
	s, public, err := kind.make(p, a, bytes)
	if err != nil {
		var known *kms.Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, kms.Errorf(kms.CodeInternal, "a new %s key could not be made", a).Because(err)
	}
	return &material{algorithm: a, form: kind.form, secret: s, public: public}, nil
}

func makeEd25519(p *Provider, _ kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	seed := make([]byte, ed25519.SeedSize)
	if err := p.random.fill(seed); err != nil {
		return nil, nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	defer clear(private)
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		clear(seed)
		return nil, nil, err
	}
	return secret.Take(seed), public, nil
}

// makeECDSA lets Go's module make the key (FIPS 186-5 §A.2.2) after a sample of the source has passed.
func makeECDSA(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	if err := p.random.sample(); err != nil {
		return nil, nil, err
	}
	private, err := ecdsa.GenerateKey(curveOf(a), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return encodePair(private)
}

// makeRSA lets Go's module make the key (FIPS 186-5 §A.1.3) after a sample of the source has passed.
func makeRSA(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	if err := p.random.sample(); err != nil {
		return nil, nil, err
	}
	private, err := rsa.GenerateKey(rand.Reader, a.Facts().Bits)
	if err != nil {
		return nil, nil, err
	}
	return encodePair(private)
}

// encodePair writes both halves of a new key and erases the parsed one: what is used later is read back.
func encodePair(private crypto.Signer) (*secret.Bytes, []byte, error) {
	defer erasePrivate(private)
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

func parseEd25519(_ *Provider, _ kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	if err := wantBytes(s, ed25519.SeedSize); err != nil {
		return nil, err
	}
	return pair(ed25519.NewKeyFromSeed(s.Reveal(reveal.Key{})))
}

func parseECDSA(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	parsed, err := x509.ParsePKCS8PrivateKey(s.Reveal(reveal.Key{}))
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != curveOf(a) {
		return nil, fmt.Errorf("the PKCS #8 key is not of %s", a)
	}
	return pair(private)
}

func parseRSA(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	parsed, err := x509.ParsePKCS8PrivateKey(s.Reveal(reveal.Key{}))
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || private.N.BitLen() != a.Facts().Bits || len(private.Primes) != 2 {
		return nil, fmt.Errorf("the PKCS #8 key is not of %s", a)
	}
	return pair(private)
}

func pair(private crypto.Signer) (*key, error) {
	verifier := private.Public()
	public, err := x509.MarshalPKIXPublicKey(verifier)
	if err != nil {
		erasePrivate(private)
		return nil, err
	}
	return &key{private: private, public: public, verifier: verifier}, nil
}

// check is the check value of what was parsed.
func (k *key) check() []byte {
	if k.public != nil {
		return transport.CheckPublic(k.public)
	}
	return k.sum
}
