package transfer

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
)

// webKey is a JSON Web Key: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
type webKey struct {
	Kty, Crv, Alg string
	K             octets
	D, X, Y       octets
	N, E, P, Q    octets
}

// octets are base64url without padding.
type octets []byte

// UnmarshalJSON reads the text.
func (o *octets) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	*o = raw
	return err
}

// algsOfJWK are the values of "alg" that name what a secret key is for: RFC 7518 §3.1, §4.1, §5.1.
var algsOfJWK = map[string]kms.Algorithm{
	"HS256": kms.HMACSHA256, "HS384": kms.HMACSHA384, "HS512": kms.HMACSHA512,
	"A128GCM": kms.AES128GCM, "A192GCM": kms.AES192GCM, "A256GCM": kms.AES256GCM, "A128KW": kms.AES128Wrap, "A192KW": kms.AES192Wrap, "A256KW": kms.AES256Wrap,
}

func readJWK(data []byte) (Found, error) {
	var set struct {
		Keys []webKey
		webKey
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return Found{}, unknown("the file is not a JSON Web Key")
	}
	k, container := &set.webKey, "JWK"
	if len(set.Keys) > 0 {
		if len(set.Keys) > 1 {
			return Found{}, unknown("the set has %d keys: want one", len(set.Keys))
		}
		k, container = &set.Keys[0], "JWK set"
	}
	defer k.erase()
	switch k.Kty {
	case "oct":
		f := secretKey(bytes.Clone(k.K), container)
		if a, ok := algsOfJWK[k.Alg]; ok {
			if !slices.Contains(f.Fits, a) {
				f.Material.Zero()
				return Found{}, unknown("the key has %d bytes, which is not the length of %s", len(k.K), clip(k.Alg))
			}
			f.Fits = append([]kms.Algorithm{a}, slices.DeleteFunc(f.Fits, func(b kms.Algorithm) bool { return a == b })...)
		}
		return f, nil
	case "RSA":
		return k.rsa(container)
	case "EC":
		return k.ec(container)
	case "OKP":
		return k.okp(container)
	}
	return Found{}, unknown("the JSON has no \"kty\" of oct, EC, OKP or RSA: it is no JSON Web Key of a kind that is understood")
}

func (k *webKey) erase() {
	for _, b := range []octets{k.K, k.D, k.P, k.Q} {
		clear(b)
	}
}

func publicAlone() error {
	return unknown("the JSON Web Key is a public key: the private one is wanted")
}

func notTogether() error { return unknown("the parts of the JSON Web Key do not belong together") }

const maxRSA = 4096 / 8 // bytes of the modulus

func (k *webKey) rsa(container string) (Found, error) {
	if len(k.D) == 0 {
		return Found{}, publicAlone()
	}
	if len(k.P) == 0 || len(k.Q) == 0 {
		return Found{}, unknown("the RSA key does not tell its primes (p and q), which few systems leave out")
	}
	if len(k.N) > maxRSA+1 || len(k.D) > maxRSA+1 || len(k.P) > maxRSA || len(k.Q) > maxRSA || len(k.E) > 4 {
		return Found{}, unknown("the RSA key is longer than 4096 bits")
	}
	number := func(b octets) *big.Int { return new(big.Int).SetBytes(b) }
	private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}, D: number(k.D), Primes: []*big.Int{number(k.P), number(k.Q)}}
	if number(k.E).BitLen() > 31 || private.Validate() != nil {
		return Found{}, notTogether()
	}
	private.Precompute()
	return ofKey(private, container)
}

var curvesOfJWK = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func (k *webKey) ec(container string) (Found, error) {
	if len(k.D) == 0 {
		return Found{}, publicAlone()
	}
	if k.Crv == "secp256k1" { // RFC 8812 §3.1
		return k.koblitz(container)
	}
	curve, ok := curvesOfJWK[k.Crv]
	if !ok {
		return Found{}, unknown("the curve %q is not supported", clip(k.Crv))
	}
	private, err := ecdsa.ParseRawPrivateKey(curve, k.D)
	if err != nil {
		return Found{}, unknown("the EC key is damaged")
	}
	point, err := private.PublicKey.Bytes()
	if err != nil || !bytes.Equal(point, slices.Concat([]byte{4}, k.X, k.Y)) {
		return Found{}, notTogether()
	}
	return ofKey(private, container)
}

func (k *webKey) koblitz(container string) (Found, error) {
	if len(k.D) != 32 || len(k.X) != 32 || len(k.Y) != 32 {
		return Found{}, unknown("the EC key is damaged")
	}
	oid := asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	curve, err := asn1.Marshal(oid)
	if err != nil {
		return Found{}, notTogether()
	}
	point := slices.Concat([]byte{4}, k.X, k.Y)
	inner, err := asn1.Marshal(ecPrivateKey{Version: 1, Private: k.D, Public: asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		return Found{}, notTogether()
	}
	defer clear(inner)
	return framed(pkix.AlgorithmIdentifier{Algorithm: oidEC, Parameters: asn1.RawValue{FullBytes: curve}}, inner, container)
}

func (k *webKey) okp(container string) (Found, error) {
	if len(k.D) == 0 {
		return Found{}, publicAlone()
	}
	switch k.Crv {
	case "Ed25519":
		if len(k.D) != ed25519.SeedSize {
			return Found{}, notTogether()
		}
		private := ed25519.NewKeyFromSeed(k.D)
		defer clear(private)
		if !bytes.Equal(private[ed25519.SeedSize:], k.X) {
			return Found{}, notTogether()
		}
		return ofKey(private, container)
	case "X25519":
		private, err := ecdh.X25519().NewPrivateKey(k.D)
		if err != nil || !bytes.Equal(private.PublicKey().Bytes(), k.X) {
			return Found{}, notTogether()
		}
		return ofKey(private, container)
	}
	return Found{}, unknown("the curve %q is not supported", clip(k.Crv))
}
