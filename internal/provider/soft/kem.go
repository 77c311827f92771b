package soft

import (
	"crypto/mlkem"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Key encapsulation: ML-KEM, FIPS 203, and X-Wing, draft-connolly-cfrg-xwing-kem-10, which is ML-KEM-768 and X25519 in one. The
// material is the seed: d ‖ z, 64 bytes (FIPS 203 algorithm 16, RFC 9935 §6), or the 32 bytes of X-Wing.
//
// circl does the work by default, as it is several times faster; under the FIPS profile Go's module does.

// kemKey is one expanded private key of some kind, with its public half.
type kemKey struct {
	encapsulate func() (ciphertext, shared []byte, err error)
	decapsulate func(ciphertext []byte) ([]byte, error) // of size bytes
	size        int                                     // of a ciphertext in bytes
	public      []byte
	seed        *secret.Bytes // of X-Wing, which opens parcels too (import.go)
	erase       func()
}

// kemSet is one parameter set.
type kemSet struct {
	oid    asn1.ObjectIdentifier
	circl  kem.Scheme
	module func(seed []byte) (*kemKey, error) // nil: Go's module does not have it
}

var kemSets = map[kms.Algorithm]*kemSet{
	kms.MLKEM512:  {nistKEM(1), mlkem512.Scheme(), nil},
	kms.MLKEM768:  {nistKEM(2), mlkem768.Scheme(), moduleKEM(mlkem.CiphertextSize768, mlkem.NewDecapsulationKey768)},
	kms.MLKEM1024: {nistKEM(3), mlkem1024.Scheme(), moduleKEM(mlkem.CiphertextSize1024, mlkem.NewDecapsulationKey1024)},
	kms.XWing:     {asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}, xwing.Scheme(), nil}, // as the draft says
}

// nistKEM is the identifier of an ML-KEM key, without parameters: RFC 9935 §3.
func nistKEM(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, last}
}

func makeKEM(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	seed := make([]byte, kemSets[a].circl.SeedSize())
	if err := p.random.fill(seed); err != nil {
		return nil, nil, err
	}
	s := secret.Take(seed)
	k, err := p.expandKEM(a, s)
	if err != nil {
		s.Zero()
		return nil, nil, err
	}
	erasePrivate(k.private)
	return s, k.public, nil
}

func parseKEM(p *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	set, ok := kemSets[a]
	if !ok {
		return nil, fmt.Errorf("%s does not encapsulate", a)
	}
	if err := wantBytes(s, set.circl.SeedSize()); err != nil {
		return nil, err
	}
	return p.expandKEM(a, s)
}

func (p *Provider) expandKEM(a kms.Algorithm, seed *secret.Bytes) (*key, error) {
	set := kemSets[a]
	k, err := set.under(p.profile)(seed.Reveal(reveal.Key{}))
	if err != nil {
		return nil, err
	}
	public, err := spki(pkix.AlgorithmIdentifier{Algorithm: set.oid}, k.public)
	if err != nil {
		k.erase()
		return nil, err
	}
	if a == kms.XWing {
		k.seed = secret.Copy(seed.Reveal(reveal.Key{}))
	}
	return &key{private: k, public: public}, nil
}

// under is the implementation that a profile uses.
func (s *kemSet) under(p kms.Profile) func(seed []byte) (*kemKey, error) {
	if p == kms.ProfileFIPS && s.module != nil {
		return s.module
	}
	return circlKEM(s.circl)
}

func circlKEM(scheme kem.Scheme) func(seed []byte) (*kemKey, error) {
	return func(seed []byte) (*kemKey, error) {
		public, private := scheme.DeriveKeyPair(seed)
		raw, err := public.MarshalBinary()
		if err != nil {
			return nil, err
		}
		k := &kemKey{size: scheme.CiphertextSize(), public: raw}
		k.encapsulate = func() ([]byte, []byte, error) { return scheme.Encapsulate(public) }
		k.decapsulate = func(ciphertext []byte) ([]byte, error) { return scheme.Decapsulate(private, ciphertext) }
		k.erase = func() { private, k.decapsulate = nil, nil } // its seeds lie inside the other module, and are gone when the garbage collector reuses them
		return k, nil
	}
}

// moduleKEM makes a row from the types of one size in Go's module, which are the same but for their names.
func moduleKEM[Public interface {
	Bytes() []byte
	Encapsulate() (shared, ciphertext []byte)
}, Private interface {
	EncapsulationKey() Public
	Decapsulate(ciphertext []byte) ([]byte, error)
}](size int, expand func(seed []byte) (Private, error)) func([]byte) (*kemKey, error) {
	return func(seed []byte) (*kemKey, error) {
		private, err := expand(seed)
		if err != nil {
			return nil, err
		}
		public := private.EncapsulationKey()
		k := &kemKey{size: size, public: public.Bytes(), decapsulate: private.Decapsulate}
		k.encapsulate = func() ([]byte, []byte, error) {
			shared, ciphertext := public.Encapsulate()
			return ciphertext, shared, nil
		}
		k.erase = func() { k.decapsulate = nil }
		return k, nil
	}
}

func kemEncapsulate(k *key) (ciphertext, shared []byte, err error) {
	return k.private.(*kemKey).encapsulate()
}

// kemDecapsulate refuses a ciphertext by its length alone, as FIPS 203 §7.3 asks; what else is wrong gives another secret.
func kemDecapsulate(k *key, ciphertext []byte) ([]byte, error) {
	private := k.private.(*kemKey)
	if len(ciphertext) != private.size {
		return nil, decryptFailed()
	}
	shared, err := private.decapsulate(ciphertext)
	if err != nil {
		return nil, decryptFailed()
	}
	return shared, nil
}
