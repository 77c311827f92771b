package soft

import (
	"errors"
	"sync"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
)

// handle uses one version's material. Operations hold mu for reading, so that Close waits for those in flight and then
// erases: when Close has returned, the material is gone.
type handle struct {
	algorithm kms.Algorithm
	profile   kms.Profile
	beside    bool  // a MAC key stands beside the key
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
	s, err := h.gate(u, s, protect)
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

// gate asks the row of the algorithm table that is about this use.
func (h *handle) gate(u kms.Usage, s kms.Scheme, protect bool) (kms.Scheme, error) {
	switch {
	case u == kms.MAC && h.beside:
		return kms.CheckBeside(h.algorithm, s, h.profile, protect)
	case s.IsLayout() && u == kms.EncryptDecrypt:
		return kms.CheckLayout(h.algorithm, s, h.profile, protect)
	}
	return kms.CheckScheme(h.algorithm, u, s, h.profile, protect)
}

// Seal appends the encryption of plaintext to dst; dst and plaintext must not overlap. Errors: CodeTooLarge, those of
// the algorithm table, CodeInternal.
func (h *handle) Seal(dst, header, plaintext, aad []byte, s kms.Scheme) ([]byte, error) {
	row, err := h.enter(h.cipherUsage(), s, true, len(plaintext), len(aad))
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.seal(h.key, row, dst, header, plaintext, aad)
}

// Open appends the plaintext to dst; dst and sealed must not overlap. Errors: CodeDecryptFailed whatever the reason,
// those of the algorithm table, CodeTooLarge, CodeInternal.
func (h *handle) Open(dst, header, sealed, aad []byte, s kms.Scheme) ([]byte, error) {
	row, err := h.enter(h.cipherUsage(), s, false, len(sealed), len(aad))
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.open(h.key, row, dst, header, sealed, aad)
}

// Sign signs a message or its digest, which must be as long as the scheme's hash. Kinds that sign
// slowly wait for a place in the pool of slow work first, before they hold the key: CodeBusy when too many wait.
func (h *handle) Sign(message []byte, form kms.Form, s kms.Scheme) ([]byte, error) {
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
	if form.Salt, err = h.salt(row, form.Salt); err != nil {
		return nil, err
	}
	var signature []byte
	if form.Digested && row.signMu != nil {
		if len(message) != muSize {
			return nil, wrongMu(message)
		}
		signature, err = row.signMu(h.key, message)
	} else {
		var input []byte
		if input, err = row.digest(message, form.Digested); err != nil {
			return nil, err
		}
		signature, err = row.sign(h.key, row.hash, input, form.Salt)
	}
	if e := (*kms.Error)(nil); errors.As(err, &e) { // of what the form asks for
		return nil, e
	}
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the signature could not be made").Because(err)
	}
	return signature, nil
}

// salt holds the length of a salt to the profile: FIPS 186-5 §5.4 step g allows none that is longer than the hash.
func (h *handle) salt(row *scheme, n kms.Salt) (kms.Salt, error) {
	if err := n.Check(); err != nil || h.profile != kms.ProfileFIPS {
		return n, err
	}
	if n == kms.SaltAny {
		return kms.SaltUsual, nil
	}
	if row.hash != 0 && int(n) > row.hash.Size() {
		return 0, kms.Errorf(kms.CodeProfile, "the fips profile refuses a salt of %d bytes with a hash of %d (FIPS 186-5 §5.4 step g)", n, row.hash.Size())
	}
	return n, nil
}

func wrongMu(mu []byte) error {
	return kms.Errorf(kms.CodeBadRequest, "the message representative has %d bytes, want %d", len(mu), muSize)
}

// Verify checks a signature.
func (h *handle) Verify(message, signature []byte, form kms.Form, s kms.Scheme) error {
	row, err := h.enter(kms.SignVerify, s, false, len(message), 0)
	if err != nil {
		return err
	}
	defer h.mu.RUnlock()
	if form.Salt, err = h.salt(row, form.Salt); err != nil {
		return err
	}
	if form.Digested && row.verifyMu != nil {
		if len(message) != muSize {
			return wrongMu(message)
		}
		if !row.verifyMu(h.key, message, signature) {
			return badSignature()
		}
		return nil
	}
	input, err := row.digest(message, form.Digested)
	if err != nil {
		return err
	}
	if !row.verify(h.key, row.hash, input, signature, form.Salt) {
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

// cipherUsage is what Seal and Open are for: key material where the algorithm wraps, data elsewhere.
func (h *handle) cipherUsage() kms.Usage {
	if h.algorithm.DefaultScheme(kms.Wrapping) != kms.NoScheme {
		return kms.Wrapping
	}
	return kms.EncryptDecrypt
}

// Agree makes a shared secret with another's public key.
func (h *handle) Agree(peer []byte) (*secret.Bytes, error) {
	row, err := h.enter(kms.KeyAgreement, kms.NoScheme, true, len(peer), 0)
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	shared, err := row.agree(h.key, peer)
	if err != nil {
		return nil, err
	}
	return secret.Take(shared), nil
}

// Encapsulate makes a shared secret and the ciphertext that carries it.
func (h *handle) Encapsulate() ([]byte, *secret.Bytes, error) {
	row, err := h.enter(kms.Encapsulation, kms.NoScheme, true, 0, 0)
	if err != nil {
		return nil, nil, err
	}
	defer h.mu.RUnlock()
	ciphertext, shared, err := row.encap(h.key)
	if err != nil {
		return nil, nil, kms.Errorf(kms.CodeInternal, "the secret could not be encapsulated").Because(err)
	}
	return ciphertext, secret.Take(shared), nil
}

// Decapsulate gets the shared secret out of a ciphertext.
func (h *handle) Decapsulate(ciphertext []byte) (*secret.Bytes, error) {
	row, err := h.enter(kms.Encapsulation, kms.NoScheme, false, len(ciphertext), 0)
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	shared, err := row.decap(h.key, ciphertext)
	if err != nil {
		return nil, err
	}
	return secret.Take(shared), nil
}

// Format encrypts or decrypts numerals.
func (h *handle) Format(dst []uint16, radix int, tweak []byte, numerals []uint16, decrypt bool) ([]uint16, error) {
	row, err := h.enter(kms.FormatPreserving, kms.NoScheme, !decrypt, 2*len(numerals), len(tweak))
	if err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return row.format(h.key, dst, radix, tweak, numerals, decrypt)
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
