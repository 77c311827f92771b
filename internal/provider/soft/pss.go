package soft

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"math/big"

	"github.com/keyhold/keyhold/internal/kms"
)

// pssSign uses a salt as long as the hash (FIPS 186-5 §5.4 step g allows up to that) unless a length is named.
func pssSign(k *key, h crypto.Hash, digest []byte, salt kms.Salt) ([]byte, error) {
	private := k.private.(*rsa.PrivateKey)
	n := rsa.PSSSaltLengthEqualsHash
	if salt > 0 {
		n = int(salt)
		if most := (private.N.BitLen()+6)/8 - h.Size() - 2; n > most { // RFC 8017 §9.1.1 step 3
			return nil, kms.Errorf(kms.CodeBadRequest, "the salt would have %d bytes, this key has room for %d with this hash", n, most)
		}
	}
	return rsa.SignPSS(rand.Reader, private, h, digest, &rsa.PSSOptions{SaltLength: n})
}

// pssVerify accepts salts of 0 bytes up to the length of the hash, FIPS 186-5 §5.4 step g, unless a length is named, or any. Keyhold's own signatures have a salt
// as long as the hash and are done after the first check. A signature made elsewhere with the same key may have another salt:
// Go's detection of the length accepts any, so the length is measured once the signature is known to be genuine.
func pssVerify(k *key, h crypto.Hash, digest, signature []byte, salt kms.Salt) bool {
	public := k.verifier.(*rsa.PublicKey)
	holds := func(n int) bool {
		return rsa.VerifyPSS(public, h, digest, signature, &rsa.PSSOptions{SaltLength: n}) == nil
	}
	switch {
	case salt > 0:
		return holds(int(salt))
	case holds(rsa.PSSSaltLengthEqualsHash):
		return true
	case salt == kms.SaltHash || !holds(rsa.PSSSaltLengthAuto):
		return false
	case salt == kms.SaltAny:
		return true
	}
	n := pssSaltLength(public, h, signature)
	return n >= 0 && n <= h.Size()
}

// pssSaltLength reads the length of the salt out of a genuine signature: EMSA-PSS-VERIFY, RFC 8017 §9.1.2 steps 5 to 10. All
// of it is public, so big.Int will do. It gives -1 for an encoding that is not of EMSA-PSS.
func pssSaltLength(public *rsa.PublicKey, h crypto.Hash, signature []byte) int {
	bits := public.N.BitLen() - 1
	size := (bits + 7) / 8
	em := new(big.Int).Exp(new(big.Int).SetBytes(signature), big.NewInt(int64(public.E)), public.N)
	if (em.BitLen()+7)/8 > size || size < h.Size()+2 {
		return -1
	}
	encoded := em.FillBytes(make([]byte, size))
	db, seed := encoded[:size-h.Size()-1], encoded[size-h.Size()-1:size-1]
	for i := uint32(0); int(i)*h.Size() < len(db); i++ { // MGF1, RFC 8017 §B.2.1
		mask := h.New()
		mask.Write(seed)
		mask.Write(binary.BigEndian.AppendUint32(nil, i))
		for j, m := range mask.Sum(nil) {
			if at := int(i)*h.Size() + j; at < len(db) {
				db[at] ^= m
			}
		}
	}
	db[0] &= 0xff >> (8*size - bits)
	for i, b := range db { // zeros, 01, salt
		if b == 1 {
			return len(db) - i - 1
		}
		if b != 0 {
			break
		}
	}
	return -1
}
