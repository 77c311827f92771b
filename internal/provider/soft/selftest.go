package soft

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// selfTest proves a new key, read back from its wrapping, before it is given out: every usage it may be made for does
// a round trip, and does not accept another message. Public is what will be recorded.
func (h *handle) selfTest(public []byte) error {
	if !bytes.Equal(public, h.key.public) {
		return errors.New("the recorded public key is not that of the private key")
	}
	for _, u := range h.algorithm.Usages() {
		if _, err := kms.CheckCreate(h.algorithm, u, h.profile); err != nil {
			continue
		}
		if err := selfTests[u](h); err != nil {
			return fmt.Errorf("%s: %w", u, err)
		}
	}
	return nil
}

var errSelfTest = errors.New("the round trip gave something else")

// selfTests holds the round trip of each usage.
var selfTests = [...]func(*handle) error{
	kms.EncryptDecrypt: func(h *handle) error {
		header, aad, want := make([]byte, blob.HeaderSize), []byte("aad"), []byte("pairwise consistency")
		sealed, err := h.Seal(nil, header, want, aad, kms.NoScheme)
		if err != nil {
			return err
		}
		got, err := h.Open(nil, header, sealed, aad, kms.NoScheme)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) || bytes.Contains(sealed, want) {
			return errSelfTest
		}
		return nil
	},
	kms.SignVerify: func(h *handle) error {
		signature, err := h.Sign([]byte("pairwise consistency"), kms.Form{}, kms.NoScheme)
		if err != nil {
			return err
		}
		if h.Verify([]byte("another message"), signature, kms.Form{}, kms.NoScheme) == nil {
			return errSelfTest
		}
		return h.Verify([]byte("pairwise consistency"), signature, kms.Form{}, kms.NoScheme)
	},
	kms.MAC: func(h *handle) error {
		mac, err := h.MAC(nil, []byte("pairwise consistency"), kms.NoScheme)
		if err != nil {
			return err
		}
		if h.VerifyMAC([]byte("another message"), mac, kms.NoScheme) == nil {
			return errSelfTest
		}
		return h.VerifyMAC([]byte("pairwise consistency"), mac, kms.NoScheme)
	},
	kms.KeyAgreement: func(h *handle) error {
		ephemeral, err := h.key.private.(*ecdh.PrivateKey).Curve().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKIXPublicKey(ephemeral.Public())
		if err != nil {
			return err
		}
		mine, err := h.Agree(der)
		if err != nil {
			return err
		}
		defer mine.Zero()
		public, err := parseECDHPublic(ephemeral.Curve(), h.key.public)
		if err != nil {
			return err
		}
		shared, err := ephemeral.ECDH(public)
		if err != nil {
			return err
		}
		theirs := secret.Take(shared)
		defer theirs.Zero()
		return wantSame(mine, theirs)
	},
	kms.Encapsulation: func(h *handle) error {
		ciphertext, want, err := h.Encapsulate()
		if err != nil {
			return err
		}
		defer want.Zero()
		got, err := h.Decapsulate(ciphertext)
		if err != nil {
			return err
		}
		defer got.Zero()
		ciphertext[0] ^= 1
		other, err := h.Decapsulate(ciphertext)
		if err != nil {
			return err
		}
		defer other.Zero()
		if other.Equal(want) {
			return errSelfTest
		}
		return wantSame(got, want)
	},
	kms.Wrapping: func(h *handle) error {
		want := []byte("pairwise consistency")
		wrapped, err := h.Seal(nil, nil, want, nil, kms.NoScheme)
		if err != nil {
			return err
		}
		got, err := h.Open(nil, nil, wrapped, nil, kms.NoScheme)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) || bytes.Contains(wrapped, want) {
			return errSelfTest
		}
		return nil
	},
	kms.FormatPreserving: func(h *handle) error {
		want := []uint16{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3}
		sealed, err := h.Format(nil, 10, nil, want, false)
		if err != nil {
			return err
		}
		got, err := h.Format(nil, 10, nil, sealed, true)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) || slices.Equal(sealed, want) {
			return errSelfTest
		}
		return nil
	},
}

func wantSame(got, want *secret.Bytes) error {
	if !got.Equal(want) || got.Len() == 0 {
		return errSelfTest
	}
	return nil
}
