package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of the certificates of a version.
const (
	maxChain      = 10       // certificates
	maxChainBytes = 16 << 10 // of all of them, in DER
)

// ChainInput puts certificates beside a version, in the place of those that it had: they say whose its public key is. Nothing here depends on them.
type ChainInput struct {
	Key     kms.Ref
	Version uint32   // 0: the primary one
	Chain   [][]byte // DER, that of the version's public key first
}

var setChain = change[ChainInput, KeyOutput]{
	name: kms.UpdateKey,
	roles: []role[ChainInput]{{action: kms.UpdateKey, need: lifecycle.Manage,
		key: func(in *ChainInput) (kms.Ref, error) { return in.Key, nil }}},
	check: func(in *ChainInput) error {
		_, err := leafOf(in.Chain)
		return err
	},
	do: doSetChain,
}

// SetChain puts certificates beside a version. CodeBadRequest: the first is not of its public key.
func (e *Engine) SetChain(ctx context.Context, c kms.Call, in ChainInput) (KeyOutput, error) {
	return alter(ctx, e, c, &setChain, &in)
}

// leafOf is the first certificate of a chain, of which all are some.
func leafOf(chain [][]byte) (leaf *x509.Certificate, err error) {
	size := 0
	for _, der := range chain {
		size += len(der)
	}
	switch {
	case len(chain) == 0:
		return nil, kms.Errorf(kms.CodeBadRequest, "a chain has at least the certificate of the public key")
	case len(chain) > maxChain || size > maxChainBytes:
		return nil, kms.Errorf(kms.CodeTooLarge, "the chain has %d certificates in %d bytes, the limits are %d and %d", len(chain), size, maxChain, maxChainBytes)
	}
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadRequest, "certificate %d of the chain is none that could be read", i+1).Because(err)
		}
		if i == 0 {
			leaf = c
		}
	}
	return leaf, nil
}

// certifies tells whether a certificate is of a public key, a DER SubjectPublicKeyInfo.
func certifies(c *x509.Certificate, public []byte) bool {
	if bytes.Equal(c.RawSubjectPublicKeyInfo, public) {
		return true
	}
	parsed, err := x509.ParsePKIXPublicKey(public) // the same key may be written in two ways
	if err != nil {
		return false
	}
	key, ok := parsed.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(c.PublicKey)
}

// checkChain is the gate before certificates stand beside a public key.
func checkChain(chain [][]byte, public []byte) error {
	leaf, err := leafOf(chain)
	if err != nil {
		return err
	}
	if !certifies(leaf, public) {
		return kms.Errorf(kms.CodeBadRequest, "the first certificate is that of another public key")
	}
	return nil
}

func doSetChain(_ context.Context, w *work, tx *records.Tx, in *ChainInput) (out KeyOutput, err error) {
	k, err := w.key(tx)
	if err != nil {
		return out, err
	}
	if !k.Algorithm.Facts().Asymmetric || k.Transit.Derived {
		return out, kms.Errorf(kms.CodeAlgorithm, "key %q has no public key that a certificate could be of", k.Name)
	}
	n := in.Version
	if n == 0 {
		n = lifecycle.PrimaryAt(&k.Key, w.now)
	}
	v, there, err := tx.Version(k.ID, n)
	switch {
	case err != nil:
		return out, err
	case !there:
		return out, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
	}
	if settleVersion(&v.Version, w.now); gone(&v.Version) {
		return out, kms.Errorf(kms.CodeVersionState, "version %d of key %q is %s", n, k.Name, v.State)
	}
	if err := checkChain(in.Chain, v.Public); err != nil {
		return out, err
	}
	v.Chain = in.Chain
	w.rec.Keys[0].Version = n
	w.rec.Detail = fmt.Sprintf("%d certificates of version %d, the first sha256:%x", len(v.Chain), n, sha256.Sum256(v.Chain[0]))
	if err := tx.PutVersion(v); err != nil {
		return out, err
	}
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}
