package engine

import (
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// Transit's own layout of ciphertexts, and derived keys. A request has to ask for the layout (Plain), and the key has to have it: other keys, and other
// requests on the same key, make Keyhold ciphertexts, which open by their header whatever the key has become since.

// MaxDerivation is the most bytes of a context that a key is derived for.
const MaxDerivation = 8 << 10

func checkItem(c kms.Context, aad, derivation []byte) error {
	if len(derivation) > MaxDerivation {
		return kms.Errorf(kms.CodeTooLarge, "the context of the derivation has %d bytes, the limit is %d", len(derivation), MaxDerivation)
	}
	return checkContext(c, aad)
}

// cipherScheme settles by which scheme a version encrypts or decrypts: that of transit's layout where that is wanted and the key has it.
func (w *work) cipherScheme(k admitted, a kms.Algorithm, s kms.Scheme, plain, protect bool) (kms.Scheme, error) {
	layout := kms.NoScheme
	if plain && k.Transit.Plain && k.Serves(kms.EncryptDecrypt) {
		layout = a.Layout(k.Transit.Convergent)
	}
	if layout == kms.NoScheme {
		return w.scheme(k, a, kms.EncryptDecrypt, s, protect)
	}
	s, err := kms.CheckLayout(a, layout, w.e.cfg.Profile, protect)
	w.rec.Scheme = s
	return s, unfit(&k, err)
}

// seal encrypts one item. Plain is whether the request asked for transit's layout, of which the bare ciphertext of RSA is a part.
func (s *shared) seal(k admitted, v *keyring.Version, by kms.Scheme, raw, plain bool, it *EncryptItem) ([]byte, error) {
	if !by.IsLayout() {
		return sealItem(s, k, v, by, raw || plain && !blob.Of(by).Boxed(), it.Plaintext, it.Context, it.AAD)
	}
	if err := wantNoContext(it.Context, raw); err != nil {
		return nil, err
	}
	h, err := s.derived.of(k, v, it.Derivation)
	if err != nil {
		return nil, err
	}
	return h.Seal(s.ciphertext(plainOverhead+len(it.Plaintext)), nil, it.Plaintext, it.AAD, by)
}

// plainOverhead is what a ciphertext of transit's layout is longer than its plaintext, for most ciphers: nonce and tag.
const plainOverhead = 12 + 16

// openPlain decrypts an item of transit's layout.
func (s *shared) openPlain(k admitted, v *keyring.Version, by kms.Scheme, it *DecryptItem) ([]byte, error) {
	if err := wantNoContext(it.Context, false); err != nil {
		return nil, err
	}
	h, err := s.derived.of(k, v, it.Derivation)
	if err != nil {
		return nil, err
	}
	return h.Open(nil, nil, it.Ciphertext, it.AAD, by)
}

func wantNoContext(c kms.Context, raw bool) error {
	if len(c) > 0 || raw {
		return kms.Errorf(kms.CodeBadRequest, "transit's layout covers additional data, not an encryption context, and is not RSA's raw form")
	}
	return nil
}

func (s *shared) close() { s.derived.close() }

// derivations are the keys that were derived for the items of one operation, one for each version and context. The zero value has none.
type derivations struct {
	last    provider.Handle
	context []byte
	version uint32
	others  map[string]provider.Handle // of several contexts or versions
}

// of is the handle that does an item: that of the version, or of what is derived from it. CodeDerivation where the context is missing.
func (d *derivations) of(k admitted, v *keyring.Version, context []byte) (provider.Handle, error) {
	if !k.Transit.Derived {
		return v.Handle, nil
	}
	if len(context) == 0 {
		return nil, unfit(&k, kms.Errorf(kms.CodeDerivation, "a key is derived from it for the context of each request, and the request gives none"))
	}
	if d.last != nil && d.version == v.Number && string(d.context) == string(context) {
		return d.last, nil
	}
	at := string(binary.BigEndian.AppendUint32(nil, v.Number)) + string(context)
	h := d.others[at]
	if h == nil {
		var err error
		if h, err = v.Handle.Derive(context); err != nil {
			return nil, err
		}
		if d.others == nil {
			d.others = map[string]provider.Handle{}
		}
		d.others[at] = h
	}
	d.last, d.context, d.version = h, context, v.Number
	return h, nil
}

// close erases them.
func (d *derivations) close() {
	for _, h := range d.others {
		h.Close()
	}
}
