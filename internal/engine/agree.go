package engine

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// derive is the descriptor of key agreement. The private half processes: whoever protects has the public half, and a secret
// may have to be derived again for what was protected with it (the recipient usage period, SP 800-57 part 1 rev. 5 §5.3.6).
var derive = op[DeriveInput, SharedSecret]{
	name: kms.DeriveSharedSecret,
	roles: []role[DeriveInput]{{action: kms.DeriveSharedSecret, need: lifecycle.Process,
		key: func(in *DeriveInput) (kms.Ref, error) { return in.Key, nil }}},
	check: checkDerive,
	do:    doDerive,
	erase: func(out *SharedSecret) { out.Secret.Zero() },
}

// defaultDerived is the length of a derived secret that a request does not state, in bytes.
const defaultDerived = 32

func checkDerive(in *DeriveInput) error {
	if n := len(in.PeerPublic); n == 0 || n > MaxPeerKey {
		return kms.Errorf(kms.CodeBadRequest, "the other's public key has %d bytes: want the DER of a SubjectPublicKeyInfo, at most %d", n, MaxPeerKey)
	}
	if in.KDF == RawSecret {
		if len(in.Salt)+len(in.Info) > 0 || in.Length != 0 {
			return kms.Errorf(kms.CodeBadRequest, "salt, info and length belong to a kdf, and none was named: the agreed value itself has one length")
		}
		return nil
	}
	if in.KDF != HKDFSHA256 {
		return kms.Errorf(kms.CodeBadRequest, "there is no such kdf")
	}
	if len(in.Salt) > MaxDerived || len(in.Info) > MaxDerived {
		return kms.Errorf(kms.CodeTooLarge, "the salt has %d bytes and the info %d, the limit of each is %d", len(in.Salt), len(in.Info), MaxDerived)
	}
	if in.Length < 0 || in.Length > MaxDerived {
		return kms.Errorf(kms.CodeTooLarge, "a secret of %d bytes was asked for: want 1 to %d", in.Length, MaxDerived)
	}
	if in.Length == 0 {
		in.Length = defaultDerived
	}
	return nil
}

func doDerive(ctx context.Context, w *work, in *DeriveInput) (SharedSecret, error) {
	if err := w.mustName(in.Version, kms.GetPublicKey); err != nil {
		return SharedSecret{}, err
	}
	out, v, err := w.sharing(ctx, kms.KeyAgreement, in.Version, true)
	if err != nil {
		return out, err
	}
	z, err := v.Handle.Agree(in.PeerPublic)
	if err != nil {
		return out, err
	}
	if in.KDF == HKDFSHA256 {
		defer z.Zero()
		if z, err = expand(z, in); err != nil {
			return out, err
		}
	}
	out.Secret = letGo(z)
	w.rec.Bytes = uint64(out.Secret.Len()) //nolint:gosec // G115: a length
	return out, nil
}

// expand derives a secret from an agreed value. RFC 5869 §2; of the agreed value nothing but this leaves.
func expand(z *secret.Bytes, in *DeriveInput) (*secret.Bytes, error) {
	b, err := hkdf.Key(sha256.New, z.Reveal(reveal.Key{}), in.Salt, string(in.Info), in.Length)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the secret could not be derived").Because(err)
	}
	return secret.Take(b), nil
}

// letGo turns what an operation releases by design into what a dialect's encoder may read: a copy, because what a provider
// answers may be in memory that has to be given back.
func letGo(s *secret.Bytes) secret.Released {
	defer s.Zero()
	return secret.Release(bytes.Clone(s.Reveal(reveal.Key{})))
}
