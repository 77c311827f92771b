package soft

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// erase wipes what can be reached. Copies inside Go's cryptography remain until the garbage collector reuses them, and so does the
// whole of an *ecdh.PrivateKey, into which there is no way.
func (k *key) erase() {
	if k.box != nil {
		k.box.Zero()
	}
	k.raw.Zero()
	k.mac.Zero()
	k.nonces.Zero()
	erasePrivate(k.private)
	k.private = nil
}

func erasePrivate(private any) {
	switch k := private.(type) {
	case *secp256k1.PrivateKey:
		k.Zero()
	case *latticeKey:
		k.erase()
	case *hashKey:
		k.erase()
	case *kemKey:
		k.erase()
		k.seed.Zero()
	case ed25519.PrivateKey:
		clear(k)
	case *ecdsa.PrivateKey:
		eraseInt(k.D) //nolint:staticcheck // SA1019: there is no other way to reach the scalar
	case *rsa.PrivateKey:
		eraseInt(k.D)
		for _, p := range k.Primes {
			eraseInt(p)
		}
		eraseInt(k.Precomputed.Dp)
		eraseInt(k.Precomputed.Dq)
		eraseInt(k.Precomputed.Qinv)
	}
}

func eraseInt(n *big.Int) {
	if n != nil {
		clear(n.Bits())
		n.SetInt64(0)
	}
}
