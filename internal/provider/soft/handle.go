package soft

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// handle uses one version's material. Operations hold mu for reading, so that Close waits for those in flight and then
// erases: when Close has returned, the material is gone.
type handle struct {
	algorithm kms.Algorithm
	profile   kms.Profile
	pool      *pool // where signing is slow; nil elsewhere, and while a new key is proven, which is done in the pool already

	mu     sync.RWMutex // guards key and closed
	key    *key
	closed bool
}

var _ provider.Handle = (*handle)(nil)

// enter is the door of every method: still open, sizes sane, and the algorithm table permits it. On success the caller must call
// h.mu.RUnlock.
func (h *handle) enter(u kms.Usage, s kms.Scheme, protect bool, input, aad int) (*scheme, error) {
	if input > MaxMessage {
		return nil, kms.Errorf(kms.CodeTooLarge, "the input has %d bytes, the limit is %d", input, MaxMessage)
	}
	if aad > MaxAAD {
		return nil, kms.Errorf(kms.CodeTooLarge, "the additional authenticated data have %d bytes, the limit is %d", aad, MaxAAD)
	}
	s, err := kms.CheckScheme(h.algorithm, u, s, h.profile, protect)
	if err != nil {
		return nil, err
	}
	row := schemeOf(s)
	if row == nil {
		return nil, kms.Errorf(kms.CodeAlgorithm, "software keys cannot do %s", s)
	}
	h.mu.RLock()
	if h.closed {
		h.mu.RUnlock()
		return nil, kms.Errorf(kms.CodeInternal, "the key was put away while it was asked for")
	}
	return row, nil
}

// Seal appends the encryption of plaintext to dst; dst and plaintext must not overlap. Errors: CodeTooLarge, those of
// the algorithm table, CodeInternal.
func (h *handle) Seal(dst, header, plaintext, aad []byte, s kms.Scheme) ([]byte, error) {
	row, err := h.enter(kms.EncryptDecrypt, s, true, len(plaintext), len(aad))
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.seal(h.key, row, dst, header, plaintext, aad)
}

// Open appends the plaintext to dst; dst and sealed must not overlap. Errors: CodeDecryptFailed whatever the reason,
// those of the algorithm table, CodeTooLarge, CodeInternal.
func (h *handle) Open(dst, header, sealed, aad []byte, s kms.Scheme) ([]byte, error) {
	row, err := h.enter(kms.EncryptDecrypt, s, false, len(sealed), len(aad))
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.open(h.key, row, dst, header, sealed, aad)
}

// Sign signs a message or, where digested is true, its digest, which must be as long as the scheme's hash. Kinds that sign
// slowly wait for a place in the pool of slow work first, before they hold the key: CodeBusy when too many wait.
func (h *handle) Sign(message []byte, digested bool, s kms.Scheme) ([]byte, error) {
	if h.pool != nil {
		if _, err := kms.CheckScheme(h.algorithm, kms.SignVerify, s, h.profile, true); err != nil {
			return nil, err // what is refused takes no place
		}
		leave, err := h.pool.enter()
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	row, err := h.enter(kms.SignVerify, s, true, len(message), 0)
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	input, err := row.digest(message, digested)
	if err != nil {
		return nil, err
	}
	signature, err := row.sign(h.key, row.hash, input)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the signature could not be made").Because(err)
	}
	return signature, nil
}

// Verify checks a signature.
func (h *handle) Verify(message, signature []byte, digested bool, s kms.Scheme) error {
	row, err := h.enter(kms.SignVerify, s, false, len(message), 0)
	if err != nil {
		return err
	}
	defer h.mu.RUnlock()
	input, err := row.digest(message, digested)
	if err != nil {
		return err
	}
	if !row.verify(h.key, row.hash, input, signature) {
		return badSignature()
	}
	return nil
}

// MAC appends the full-length MAC of message to dst.
func (h *handle) MAC(dst, message []byte, s kms.Scheme) ([]byte, error) {
	row, err := h.enter(kms.MAC, s, true, len(message), 0)
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.mac(h.key, row.hash, dst, message)
}

// VerifyMAC checks a full-length MAC in constant time.
func (h *handle) VerifyMAC(message, mac []byte, s kms.Scheme) error {
	row, err := h.enter(kms.MAC, s, false, len(message), 0)
	if err != nil {
		return err
	}
	defer h.mu.RUnlock()
	want, err := row.mac(h.key, row.hash, nil, message)
	if err != nil {
		return err
	}
	if !equalMAC(want, mac) {
		return kms.Errorf(kms.CodeBadMAC, "the MAC is not one of this message under this key")
	}
	return nil
}

// Close waits for operations in flight, then erases what can be erased. It may be called more than once.
func (h *handle) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.key.erase()
	h.key = nil
}

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
		signature, err := h.Sign([]byte("pairwise consistency"), false, kms.NoScheme)
		if err != nil {
			return err
		}
		if h.Verify([]byte("another message"), signature, false, kms.NoScheme) == nil {
			return errSelfTest
		}
		return h.Verify([]byte("pairwise consistency"), signature, false, kms.NoScheme)
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
}
