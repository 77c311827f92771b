package shares

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits and sizes in bytes.
const (
	MinThreshold = 2   // one share alone must never be enough
	MaxShares    = 255 // the non-zero elements of the field

	SeedSize    = 32
	digestSize  = 16
	payloadSize = SeedSize + digestSize
)

// SetID tells the shares of one split from those of another. It is random and public.
type SetID [4]byte

// Share is one custodian's part. Everything but its value is public.
type Share struct {
	Set   SetID
	K     uint8 // how many open
	N     uint8 // how many there are
	Index uint8 // 1 to N
	value *secret.Bytes
}

// CheckQuorum tells whether k of n is a possible split: 2 ≤ k ≤ n ≤ 255. The error is CodeBadRequest.
func CheckQuorum(k, n int) error {
	if k < MinThreshold || k > n || n > MaxShares {
		return kms.Errorf(kms.CodeBadRequest, "%d of %d custodian shares is not possible: want 2 ≤ k ≤ n ≤ %d", k, n, MaxShares)
	}
	return nil
}

// Split makes n shares of a 32-byte seed, any k of which give it back. The seed stays the caller's.
func Split(seed *secret.Bytes, k, n int) ([]*Share, error) {
	if err := CheckQuorum(k, n); err != nil {
		return nil, err
	}
	if seed.Len() != SeedSize {
		return nil, kms.Errorf(kms.CodeInternal, "a seed of %d bytes cannot be split, want %d", seed.Len(), SeedSize)
	}
	var set SetID
	rand.Read(set[:]) //nolint:errcheck // never fails since Go 1.24
	payload := make([]byte, 0, payloadSize)
	payload = append(payload, seed.Reveal(reveal.Key{})...)
	payload = appendDigest(payload, payload)
	defer clear(payload)

	out := make([]*Share, n)
	values := make([][]byte, n)
	for i := range out {
		values[i] = make([]byte, payloadSize)
		out[i] = &Share{Set: set, K: uint8(k), N: uint8(n), Index: uint8(i + 1), value: secret.Take(values[i])} //nolint:gosec // G115: k, n ≤ 255
	}
	coefficients := make([]byte, k)
	defer clear(coefficients)
	for at, b := range payload {
		// All other coefficients are uniform, the highest too: leaving out 0 there would tell something to k-1 holders.
		rand.Read(coefficients[1:]) //nolint:errcheck // never fails since Go 1.24
		coefficients[0] = b
		for i := range values {
			values[i][at] = evaluate(coefficients, byte(i+1)) //nolint:gosec // G115: i < 255
		}
	}
	return out, nil
}

// Combine gives the seed back from exactly k distinct shares of one set.
// Errors: CodeBadShare for shares that cannot belong together, CodeWrongShares if what they give is not a seed.
func Combine(shares []*Share) (*secret.Bytes, error) {
	if len(shares) == 0 {
		return nil, kms.Errorf(kms.CodeBadShare, "no shares were given")
	}
	first := shares[0]
	if len(shares) != int(first.K) {
		return nil, kms.Errorf(kms.CodeBadShare, "%d shares were given, this set opens with %d", len(shares), first.K)
	}
	xs := make([]byte, len(shares))
	for i, s := range shares {
		if err := first.Fits(s); err != nil {
			return nil, err
		}
		for _, x := range xs[:i] {
			if x == s.Index {
				return nil, kms.Errorf(kms.CodeBadShare, "share %d was given twice", s.Index)
			}
		}
		if s.value.Len() != payloadSize {
			return nil, kms.Errorf(kms.CodeBadShare, "share %d was erased", s.Index)
		}
		xs[i] = s.Index
	}
	payload := make([]byte, payloadSize)
	defer clear(payload)
	for i, f := range atZero(xs) {
		for at, y := range shares[i].value.Reveal(reveal.Key{}) {
			payload[at] ^= mul(f, y)
		}
	}
	var want [digestSize]byte
	appendDigest(want[:0], payload[:SeedSize])
	if subtle.ConstantTimeCompare(want[:], payload[SeedSize:]) != 1 {
		return nil, kms.Errorf(kms.CodeWrongShares, "each of the %d shares is well formed, but together they do not give the secret of set %s", first.K, first.Set)
	}
	return secret.Copy(payload[:SeedSize]), nil
}

// appendDigest appends SHA-256("keyhold/share-digest/v1" ‖ 00 ‖ seed), cut to 16 bytes. It is split with the seed and is
// known to nobody who does not know the seed.
func appendDigest(dst, seed []byte) []byte {
	h := sha256.New()
	h.Write([]byte("keyhold/share-digest/v1\x00"))
	h.Write(seed)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	dst = append(dst, sum[:digestSize]...)
	clear(sum[:])
	return dst
}

// Fits tells whether t can be combined with s: nil, or CodeBadShare.
func (s *Share) Fits(t *Share) error {
	if s.Set != t.Set {
		return kms.Errorf(kms.CodeBadShare, "the share belongs to set %s, the ones before it to set %s", t.Set, s.Set)
	}
	if s.K != t.K || s.N != t.N {
		return kms.Errorf(kms.CodeBadShare, "the share says %d of %d, the ones before it %d of %d", t.K, t.N, s.K, s.N)
	}
	return nil
}

// Equal tells, in constant time in the values, whether two shares are the same.
func (s *Share) Equal(t *Share) bool {
	return s.Index == t.Index && s.Fits(t) == nil && s.value.Equal(t.value)
}

// Zero erases the share's value.
func (s *Share) Zero() {
	if s != nil {
		s.value.Zero()
	}
}
