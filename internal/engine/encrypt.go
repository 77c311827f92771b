package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// The descriptors of encryption.
var (
	encrypt = op[EncryptInput, EncryptOutput]{
		name: kms.Encrypt,
		cost: func(in *EncryptInput) amount {
			return costOf(len(in.Items), func(i int) int { return len(in.Items[i].Plaintext) })
		},
		roles: []role[EncryptInput]{{action: kms.Encrypt, need: lifecycle.Protect,
			key: func(in *EncryptInput) (kms.Ref, error) { return in.Key, nil },
			items: func(in *EncryptInput) items {
				return items{len(in.Items), func(i int) (kms.Context, []byte) { return in.Items[i].Context, in.Items[i].AAD }}
			}}},
		check: func(in *EncryptInput) error {
			return checkItems(len(in.Items), MaxPlaintext, func(i int) (int, error) {
				it := &in.Items[i]
				return len(it.Plaintext), checkItem(it.Context, it.AAD, it.Derivation)
			})
		},
		do: doEncrypt,
	}
	decrypt = op[DecryptInput, DecryptOutput]{
		name: kms.Decrypt,
		roles: []role[DecryptInput]{{action: kms.Decrypt, need: lifecycle.Process,
			key: func(in *DecryptInput) (kms.Ref, error) { return keyOf(in.Key, in.Items[0].Ciphertext, in.Raw) },
			items: func(in *DecryptInput) items {
				return items{len(in.Items), func(i int) (kms.Context, []byte) { return in.Items[i].Context, in.Items[i].AAD }}
			}}},
		check: func(in *DecryptInput) error {
			return checkItems(len(in.Items), MaxPlaintext+blobOverhead, func(i int) (int, error) {
				it := &in.Items[i]
				return len(it.Ciphertext), checkItem(it.Context, it.AAD, it.Derivation)
			})
		},
		do: doDecrypt,
		erase: func(out *DecryptOutput) {
			for i := range out.Items {
				out.Items[i].Plaintext.Zero()
			}
		},
	}
	reEncrypt = op[ReEncryptInput, ReEncryptOutput]{
		name: kms.ReEncrypt,
		cost: func(in *ReEncryptInput) amount {
			return costOf(len(in.Items), func(i int) int { return max(len(in.Items[i].Ciphertext)-sealedSize, 0) })
		},
		roles: []role[ReEncryptInput]{
			{action: kms.ReEncryptFrom, need: lifecycle.Process,
				key: func(in *ReEncryptInput) (kms.Ref, error) { return keyOf(in.From, in.Items[0].Ciphertext, in.FromRaw) },
				items: func(in *ReEncryptInput) items {
					return items{len(in.Items), func(i int) (kms.Context, []byte) { return in.Items[i].FromContext, in.Items[i].FromAAD }}
				}},
			{action: kms.ReEncryptTo, need: lifecycle.Protect,
				key: func(in *ReEncryptInput) (kms.Ref, error) { return in.To, nil },
				items: func(in *ReEncryptInput) items {
					return items{len(in.Items), func(i int) (kms.Context, []byte) { return in.Items[i].ToContext, in.Items[i].ToAAD }}
				}},
		},
		check: func(in *ReEncryptInput) error {
			return checkItems(len(in.Items), MaxPlaintext+blobOverhead, func(i int) (int, error) {
				it := &in.Items[i]
				if err := checkContext(it.FromContext, it.FromAAD); err != nil {
					return 0, err
				}
				return len(it.Ciphertext), checkItem(it.ToContext, it.ToAAD, it.Derivation)
			})
		},
		do: doReEncrypt,
	}
)

// blobOverhead is what a ciphertext is longer than its plaintext, generously: header, box, or an RSA modulus.
const blobOverhead = 1024

// keyOf is the key that a request or, if it names none, its first ciphertext names.
func keyOf(ref kms.Ref, ciphertext []byte, raw bool) (kms.Ref, error) {
	if ref != "" || raw {
		return ref, nil
	}
	h, _, err := blob.Parse(ciphertext)
	return kms.RefTo(h.Key), err
}

func appendAAD(dst []byte, key kms.ID, c kms.Context, raw []byte) []byte {
	if len(raw) > 0 {
		return kms.AppendRawAAD(dst, key, raw)
	}
	return kms.AppendContextAAD(dst, key, c)
}

func doEncrypt(ctx context.Context, w *work, in *EncryptInput) (EncryptOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return EncryptOutput{}, err
	}
	s, err := w.cipherScheme(k, v.Algorithm, in.Scheme, in.Plain, true)
	if err != nil {
		return EncryptOutput{}, err
	}
	if in.Boxed && !blob.Of(s).Boxed() {
		return EncryptOutput{}, notBoxed(&k.Key.Key)
	}
	out := EncryptOutput{Key: k.ID, Version: v.Number, Items: make([]EncryptedItem, len(in.Items))}
	total := 0
	for i := range in.Items {
		total += sealedSize + len(in.Items[i].Plaintext)
	}
	share := shared{room: make([]byte, 0, total)}
	defer share.close()
	for i := range in.Items {
		it := &in.Items[i]
		c, err := share.seal(k, v, s, in.Raw, in.Plain, it)
		out.Items[i].Ciphertext = c
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Plaintext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func notBoxed(k *kms.Key) error {
	return kms.Errorf(kms.CodeAlgorithm, "the key is of algorithm %s, whose ciphertexts bind no context: a symmetric one is wanted", k.Algorithm)
}

// sealedSize is what a ciphertext is longer than its plaintext, for most suites.
const sealedSize = blob.HeaderSize + box.Overhead

// shared is what the items of an operation share, so that it is made once. The zero value is good for one item.
type shared struct {
	aad     []byte           // of the item under way
	room    []byte           // for ciphertexts
	version *keyring.Version // that opened the item before
	derived derivations
}

// ciphertext is an empty slice with room for n bytes.
func (s *shared) ciphertext(n int) []byte {
	at := len(s.room)
	if cap(s.room)-at < n {
		return make([]byte, 0, n)
	}
	s.room = s.room[:at+n]
	return s.room[at : at : at+n]
}

func sealItem(share *shared, k admitted, v *keyring.Version, s kms.Scheme, raw bool, plaintext []byte, c kms.Context, a []byte) ([]byte, error) {
	suite := blob.Of(s)
	if raw && suite.Boxed() {
		return nil, kms.Errorf(kms.CodeAlgorithm, "only RSA ciphertexts have a raw form")
	}
	if raw {
		sealed, err := v.Handle.Seal(nil, nil, plaintext, a, s)
		return sealed, unfit(&k, err)
	}
	share.aad = appendAAD(share.aad[:0], k.ID, c, a)
	header := blob.AppendHeader(share.ciphertext(sealedSize+len(plaintext)), blob.Header{Suite: suite, Key: k.ID, Version: v.Number})
	return v.Handle.Seal(header, header, plaintext, share.aad, s)
}

func doDecrypt(ctx context.Context, w *work, in *DecryptInput) (DecryptOutput, error) {
	out := DecryptOutput{Key: w.keys[0].ID, Items: make([]DecryptedItem, len(in.Items))}
	var share shared
	defer share.close()
	for i := range in.Items {
		it := &in.Items[i]
		plain, n, err := w.openItem(ctx, &share, it, in.Raw, in.Plain, in.Version, in.Scheme)
		out.Items[i].Plaintext, out.Items[i].Version = secret.Release(plain), n
		if out.Items[i].Err, err = w.note(len(in.Items), n, len(it.Ciphertext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// openItem decrypts one ciphertext of the first key with the version that made it, and tells which one that is, also where it fails; 0: the ciphertext
// names none that the key has. n is the version of raw ciphertexts.
func (w *work) openItem(ctx context.Context, share *shared, it *DecryptItem, raw, plain bool, n uint32, s kms.Scheme) ([]byte, uint32, error) {
	k := w.keys[0]
	var header []byte
	sealed := it.Ciphertext
	aad := it.AAD
	bare := plain && !raw && (k.Transit.Plain || k.Algorithm.Facts().Asymmetric) && !blob.Names(it.Ciphertext, k.ID) // it is of transit's layout, or RSA's
	switch {
	case bare:
		n = it.Version
	case !raw:
		h, rest, err := blob.Parse(it.Ciphertext)
		if err != nil {
			return nil, 0, err
		}
		if h.Key != k.ID {
			return nil, 0, kms.Errorf(kms.CodeWrongKey, "the ciphertext was made by key %s, not by the key named", h.Key)
		}
		if it.Version > k.Latest {
			return nil, 0, kms.Errorf(kms.CodeVersionNotFound, "the key has no version %d", it.Version)
		}
		if it.Version != 0 && it.Version != h.Version {
			return nil, 0, kms.Errorf(kms.CodeDecryptFailed, "the ciphertext was made by another version than the one named")
		}
		header, sealed, n = it.Ciphertext[:len(it.Ciphertext)-len(rest)], rest, h.Version
		share.aad = appendAAD(share.aad[:0], k.ID, it.Context, it.AAD)
		aad = share.aad
	}
	if n == 0 {
		n = lifecycle.PrimaryAt(&k.Key.Key, w.now)
	}
	if n > k.Latest {
		if bare {
			return nil, 0, kms.Errorf(kms.CodeVersionNotFound, "the key has no version %d", n)
		}
		return nil, 0, kms.Errorf(kms.CodeDecryptFailed, "the ciphertext does not open with this key and context")
	}
	v := share.version
	if v == nil || v.Number != n {
		var err error
		if v, err = w.version(ctx, 0, n); err != nil {
			return nil, n, err
		}
		share.version = v
	}
	s, err := w.cipherScheme(k, v.Algorithm, s, bare, false)
	if err != nil {
		return nil, n, err
	}
	if s.IsLayout() {
		opened, err := share.openPlain(k, v, s, it)
		return opened, n, err
	}
	switch boxed := blob.Of(s).Boxed(); {
	case bare && boxed:
		return nil, n, kms.Errorf(kms.CodeBadCiphertext, "the ciphertext cannot be read: it names no key, and the key's own do")
	case raw && boxed:
		return nil, n, kms.Errorf(kms.CodeAlgorithm, "only RSA ciphertexts have a raw form")
	}
	opened, err := v.Handle.Open(nil, header, sealed, aad, s)
	return opened, n, err
}

func doReEncrypt(ctx context.Context, w *work, in *ReEncryptInput) (ReEncryptOutput, error) {
	to := w.keys[1]
	v, err := w.version(ctx, 1, in.ToVersion)
	if err != nil {
		return ReEncryptOutput{}, err
	}
	s, err := w.cipherScheme(to, v.Algorithm, in.ToScheme, in.Plain, true)
	if err != nil {
		return ReEncryptOutput{}, err
	}
	if in.ToBoxed && !blob.Of(s).Boxed() {
		return ReEncryptOutput{}, notBoxed(&to.Key.Key)
	}
	out := ReEncryptOutput{From: w.keys[0].ID, To: to.ID, Version: v.Number, Items: make([]EncryptedItem, len(in.Items))}
	var from, made shared
	defer from.close()
	defer made.close()
	for i := range in.Items {
		it := &in.Items[i]
		was := DecryptItem{it.Ciphertext, it.FromContext, it.FromAAD, it.Version, it.Derivation}
		plain, n, err := w.openItem(ctx, &from, &was, in.FromRaw, in.Plain, 0, in.FromScheme)
		if err == nil {
			out.FromVersion = n
			out.Items[i].Ciphertext, err = made.seal(to, v, s, in.ToRaw, in.Plain, &EncryptItem{plain, it.ToContext, it.ToAAD, it.Derivation})
			clear(plain)
		}
		if out.Items[i].Err, err = w.note(len(in.Items), n, len(it.Ciphertext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}
