package vault

import (
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
)

// halves are the bytes of r and of s in a JSON Web Signature of ECDSA (RFC 7518 §3.4).
var halves = map[kms.Algorithm]int{kms.ECDSAP256: 32, kms.ECDSAP384: 48, kms.ECDSAP521: 66, kms.ECDSASecp256k1: 32}

type ecdsaSignature struct{ R, S *big.Int } // RFC 3279 §2.2.3

// raw is a signature as RFC 7518 has it: of ECDSA r and s, of the others what they are.
func (s *signing) raw(sig []byte) []byte {
	n, is := halves[s.algorithm]
	if !is {
		return sig
	}
	var v ecdsaSignature
	if rest, err := asn1.Unmarshal(sig, &v); err != nil || len(rest) > 0 {
		return nil // the engine makes no such thing
	}
	out := make([]byte, 2*n)
	v.R.FillBytes(out[:n])
	v.S.FillBytes(out[n:])
	return out
}

// der is the other way round: what is not a signature of the algorithm stays what it is, and is not valid.
func der(a kms.Algorithm, sig []byte) []byte {
	n, is := halves[a]
	if !is || len(sig) != 2*n {
		return sig
	}
	b, err := asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])})
	if err != nil {
		return sig
	}
	return b
}

// jws writes a signature in base64url without padding (RFC 7515 §2).
func (e *encoder) jws(name string, version uint32, sig []byte) {
	e.name(name)
	e.b = strconv.AppendUint(append(append(e.b, '"'), prefix...), uint64(version), 10)
	e.b = append(base64.RawURLEncoding.AppendEncode(append(e.b, ':'), sig), '"')
}

// jws reads one.
func (x *exchange) jws(f fields, name string) (n uint32, sig []byte, _ *fault) {
	s, bad := f.text(name)
	if bad != nil || s == "" {
		return 0, nil, bad
	}
	n, rest, bad := versionOf([]byte(s), name)
	if bad != nil {
		return 0, nil, bad
	}
	sig, err := base64.RawURLEncoding.DecodeString(string(rest))
	if err != nil {
		return 0, nil, newFault(http.StatusBadRequest, "invalid "+name+": could not decode base64")
	}
	return n, sig, nil
}
