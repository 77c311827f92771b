package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// A canary is something that a version protected at its birth, stored beside its material. A version that opens it is the one that it was then: it is asked
// at each rotation, and by the check of the store. Its form is part of the format (docs/formats.md, "Stored records").

var (
	canaryText     = []byte("keyhold canary 1")
	canaryNumerals = []uint16{2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5}
)

const canaryRadix = 10

// A bird is the version that a canary belongs to.
type bird struct {
	key       kms.ID
	number    uint32
	algorithm kms.Algorithm
	usage     kms.Usage
}

// header binds a canary to its version, where the scheme has a place for it.
func (b *bird) header(s kms.Scheme) []byte {
	suite := blob.Of(s)
	if b.usage != kms.EncryptDecrypt || !suite.Boxed() {
		return nil
	}
	return blob.AppendHeader(nil, blob.Header{Suite: suite, Key: b.key, Version: b.number})
}

// aad sets a canary apart from what clients encrypt.
func (b *bird) aad() []byte {
	if b.usage != kms.EncryptDecrypt {
		return nil
	}
	return canaryText
}

// hatch lets a new version make its canary. nil: those that sign slowly make none; their check value speaks for them.
func (e *Engine) hatch(h provider.Handle, b bird) ([]byte, error) {
	a, u := b.algorithm, b.usage
	s := a.DefaultScheme(u)
	switch u {
	case kms.EncryptDecrypt, kms.Wrapping:
		return h.Seal(nil, b.header(s), canaryText, b.aad(), s)
	case kms.SignVerify:
		if a.Facts().SlowSign {
			return nil, nil
		}
		return h.Sign(canaryText, kms.Form{}, s)
	case kms.MAC:
		return h.MAC(nil, canaryText, s)
	case kms.KeyAgreement: // with a pair that nobody keeps
		public, private, err := e.cfg.Provider.GeneratePair(a)
		if err != nil {
			return nil, err
		}
		private.Zero()
		return sharedCanary(public, func() (*secret.Bytes, error) { return h.Agree(public) })
	case kms.Encapsulation:
		ciphertext, shared, err := h.Encapsulate()
		if err != nil {
			return nil, err
		}
		return sharedCanary(ciphertext, func() (*secret.Bytes, error) { return shared, nil })
	case kms.FormatPreserving:
		made, err := h.Format(nil, canaryRadix, nil, canaryNumerals, false)
		out := make([]byte, 0, 2*len(made))
		for _, n := range made {
			out = binary.BigEndian.AppendUint16(out, n)
		}
		return out, err
	}
	return nil, kms.Errorf(kms.CodeInternal, "there is no canary for %s", u)
}

// sharedCanary is the SHA-256 of a shared secret that serves nothing else, and what it is got from.
func sharedCanary(from []byte, share func() (*secret.Bytes, error)) ([]byte, error) {
	shared, err := share()
	if err != nil {
		return nil, err
	}
	defer shared.Zero()
	sum := sha256.Sum256(shared.Reveal(reveal.Key{}))
	return append(sum[:], from...), nil
}

// sings tells whether a version opens its canary: nil, or CodeSelfTest.
func sings(h provider.Handle, b bird, canary []byte) error {
	if len(canary) == 0 {
		return nil
	}
	u := b.usage
	s := b.algorithm.DefaultScheme(u)
	var err error
	whole := true
	switch u {
	case kms.EncryptDecrypt, kms.Wrapping:
		var plain []byte
		plain, err = h.Open(nil, b.header(s), canary, b.aad(), s)
		whole = bytes.Equal(plain, canaryText)
	case kms.SignVerify:
		err = h.Verify(canaryText, canary, kms.Form{}, s)
	case kms.MAC:
		err = h.VerifyMAC(canaryText, canary, s)
	case kms.KeyAgreement, kms.Encapsulation:
		if len(canary) < sha256.Size {
			whole = false
			break
		}
		from := canary[sha256.Size:]
		var again []byte
		again, err = sharedCanary(from, func() (*secret.Bytes, error) {
			if u == kms.KeyAgreement {
				return h.Agree(from)
			}
			return h.Decapsulate(from)
		})
		whole = bytes.Equal(again, canary)
	case kms.FormatPreserving:
		numerals := make([]uint16, 0, len(canary)/2)
		for pair := range slices.Chunk(canary, 2) {
			if len(pair) == 2 {
				numerals = append(numerals, binary.BigEndian.Uint16(pair))
			}
		}
		var was []uint16
		was, err = h.Format(nil, canaryRadix, nil, numerals, true)
		whole = slices.Equal(was, canaryNumerals)
	default:
		whole = false
	}
	if err != nil || !whole {
		return kms.Errorf(kms.CodeSelfTest, "the version does not open what it made at its birth").Because(err)
	}
	return nil
}

// proveVersion opens a version's material and its canary, past what is in memory of neither record, and tells whether there was anything to open: versions that have
// no material any more, or have put it away, prove nothing.
func (o *opened) proveVersion(ctx context.Context, ring *keyring.Ring, k *keyring.Key, n uint32) (tested bool, err error) {
	rec, err := o.records.Version(ctx, k.ID, n)
	if err != nil {
		return false, err
	}
	switch rec.State {
	case kms.Destroyed, kms.DestroyedCompromised, kms.Archived:
		return false, nil
	}
	v, err := ring.Version(ctx, k, n)
	if err != nil {
		return false, err
	}
	defer v.Release()
	if v.Handle == nil { // put away
		return false, nil
	}
	return true, sings(v.Handle, bird{k.ID, n, rec.Algorithm, k.Usage}, rec.Canary)
}

// provePrimary is the half of a rotation's self-test that concerns what was: history must still open, before another version is made.
func (w *work) provePrimary(ctx context.Context) error {
	k := &w.keys[0]
	n := lifecycle.PrimaryAt(&k.Key.Key, w.now)
	v, err := w.o.records.Version(ctx, k.ID, n)
	if err == nil && lifecycle.Expired(&v.Version, w.now) {
		return nil // what is forgotten on purpose proves nothing
	}
	if err == nil {
		_, err = w.o.proveVersion(ctx, w.o.ring, k.Key, n)
	}
	switch kms.CodeOf(err) {
	case kms.CodeSelfTest, kms.CodeCheckValue, kms.CodeRecordDamaged:
		w.e.log.Error("rotation_self_test_failed", "namespace", string(k.Namespace), "key", k.ID.String(), "version", n, "error", err)
		return kms.Errorf(kms.CodeSelfTest, "version %d of key %q does not open any more, so that no other is put in its place", n, k.Name).Because(err)
	}
	return err
}
