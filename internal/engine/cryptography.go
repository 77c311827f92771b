package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// The descriptors of everything that uses a key. They are the whole truth about who may do what with which key.
var (
	encrypt = op[EncryptInput, EncryptOutput]{
		name: kms.Encrypt,
		roles: []role[EncryptInput]{{action: kms.Encrypt, need: lifecycle.Protect,
			key: func(in *EncryptInput) (kms.Ref, error) { return in.Key, nil },
			items: func(in *EncryptInput) items {
				return items{len(in.Items), func(i int) (kms.Context, []byte) { return in.Items[i].Context, in.Items[i].AAD }}
			}}},
		check: func(in *EncryptInput) error {
			return checkItems(len(in.Items), MaxPlaintext, func(i int) (int, error) {
				it := &in.Items[i]
				return len(it.Plaintext), checkContext(it.Context, it.AAD)
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
				return len(it.Ciphertext), checkContext(it.Context, it.AAD)
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
		roles: []role[ReEncryptInput]{
			{action: kms.ReEncryptFrom, need: lifecycle.Process,
				key: func(in *ReEncryptInput) (kms.Ref, error) { return keyOf(in.From, in.Items[0].Ciphertext, false) },
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
				return len(it.Ciphertext), checkContext(it.ToContext, it.ToAAD)
			})
		},
		do: doReEncrypt,
	}
	dataKey = op[DataKeyInput, DataKeyOutput]{
		name:  kms.GenerateDataKey,
		roles: []role[DataKeyInput]{dataKeyRole(kms.GenerateDataKey)},
		check: checkDataKey,
		do:    doDataKey,
		erase: func(out *DataKeyOutput) {
			for i := range out.Items {
				out.Items[i].Plaintext.Zero()
			}
		},
	}
	dataKeyWithoutPlaintext = op[DataKeyInput, DataKeyOutput]{
		name:  kms.GenerateDataKeyWithoutPlaintext,
		roles: []role[DataKeyInput]{dataKeyRole(kms.GenerateDataKeyWithoutPlaintext)},
		check: checkDataKey,
		do:    doDataKey,
	}
	sign = op[SignInput, SignOutput]{
		name: kms.Sign,
		roles: []role[SignInput]{{action: kms.Sign, need: lifecycle.Protect,
			key: func(in *SignInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *SignInput) error {
			return checkItems(len(in.Items), MaxMessage, func(i int) (int, error) { return len(in.Items[i].Message), nil })
		},
		do: doSign,
	}
	verify = op[VerifyInput, VerifyOutput]{
		name: kms.Verify,
		roles: []role[VerifyInput]{{action: kms.Verify, need: lifecycle.Process,
			key: func(in *VerifyInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *VerifyInput) error {
			return checkItems(len(in.Items), MaxMessage+MaxPlaintext, func(i int) (int, error) {
				return len(in.Items[i].Message) + len(in.Items[i].Signature), nil
			})
		},
		do: doVerify,
	}
	makeMAC = op[MACInput, MACOutput]{
		name: kms.GenerateMAC,
		roles: []role[MACInput]{{action: kms.GenerateMAC, need: lifecycle.Protect,
			key: func(in *MACInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *MACInput) error {
			return checkItems(len(in.Items), MaxMessage, func(i int) (int, error) { return len(in.Items[i].Message), nil })
		},
		do: doMAC,
	}
	verifyMAC = op[VerifyMACInput, VerifyOutput]{
		name: kms.VerifyMAC,
		roles: []role[VerifyMACInput]{{action: kms.VerifyMAC, need: lifecycle.Process,
			key: func(in *VerifyMACInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *VerifyMACInput) error {
			return checkItems(len(in.Items), MaxMessage+128, func(i int) (int, error) {
				return len(in.Items[i].Message) + len(in.Items[i].MAC), nil
			})
		},
		do: doVerifyMAC,
	}
	random = op[RandomInput, RandomOutput]{
		name: kms.GenerateRandom,
		check: func(in *RandomInput) error {
			if in.Bytes < 1 || in.Bytes > MaxRandom {
				return kms.Errorf(kms.CodeTooLarge, "%d random bytes were asked for: want 1 to %d", in.Bytes, MaxRandom)
			}
			return nil
		},
		do: func(_ context.Context, w *work, in *RandomInput) (RandomOutput, error) {
			b, err := w.e.cfg.Provider.Random(in.Bytes)
			w.rec.Bytes = uint64(in.Bytes) //nolint:gosec // G115: checked above
			return RandomOutput{Bytes: secret.Release(b)}, err
		},
		erase: func(out *RandomOutput) { out.Bytes.Zero() },
	}
)

// blobOverhead is what a ciphertext is longer than its plaintext, generously: header, box, or an RSA modulus.
const blobOverhead = 1024

func dataKeyRole(a kms.Action) role[DataKeyInput] {
	return role[DataKeyInput]{action: a, need: lifecycle.Protect,
		key: func(in *DataKeyInput) (kms.Ref, error) { return in.Key, nil },
		items: func(in *DataKeyInput) items {
			return items{1, func(int) (kms.Context, []byte) { return in.Context, in.AAD }}
		}}
}

func checkDataKey(in *DataKeyInput) error {
	if in.Bytes < 1 || in.Bytes > MaxDataKey {
		return kms.Errorf(kms.CodeTooLarge, "a data key of %d bytes was asked for: want 1 to %d", in.Bytes, MaxDataKey)
	}
	if in.Count < 0 || in.Count > MaxItems {
		return kms.Errorf(kms.CodeTooLarge, "%d data keys were asked for: want 1 to %d", in.Count, MaxItems)
	}
	return checkContext(in.Context, in.AAD)
}

// checkItems bounds number and sizes of items.
func checkItems(n, most int, size func(int) (int, error)) error {
	if n < 1 || n > MaxItems {
		return kms.Errorf(kms.CodeTooLarge, "the request has %d items: want 1 to %d", n, MaxItems)
	}
	total := 0
	for i := range n {
		s, err := size(i)
		if err != nil {
			return err
		}
		if s > most {
			return kms.Errorf(kms.CodeTooLarge, "item %d has %d bytes, the limit is %d", i+1, s, most)
		}
		total += s
	}
	if total > MaxBatch {
		return kms.Errorf(kms.CodeTooLarge, "the batch has %d bytes, the limit is %d", total, MaxBatch)
	}
	return nil
}

func checkContext(c kms.Context, raw []byte) error {
	if len(c) > 0 && len(raw) > 0 {
		return kms.Errorf(kms.CodeBadRequest, "give an encryption context or raw additional data, not both")
	}
	if len(raw) > kms.MaxContextBytes {
		return kms.Errorf(kms.CodeTooLarge, "the additional data has %d bytes, the limit is %d", len(raw), kms.MaxContextBytes)
	}
	return c.Check()
}

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

// note adds an item's outcome to the record; a single item's failure is the call's.
func (w *work) note(n int, bytes int, err error) (*kms.Error, error) {
	w.rec.Bytes += uint64(bytes) //nolint:gosec // G115: checked sizes
	var e *kms.Error
	if err != nil {
		e = kms.AsError(err)
	}
	if n == 1 {
		return e, err
	}
	it := audit.Item{Bytes: uint32(bytes)} //nolint:gosec // G115: checked sizes
	if e != nil {
		it.Code = e.Code
	}
	w.rec.Items = append(w.rec.Items, it)
	return e, nil
}

func doEncrypt(ctx context.Context, w *work, in *EncryptInput) (EncryptOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return EncryptOutput{}, err
	}
	s, err := w.scheme(k, kms.EncryptDecrypt, in.Scheme, true)
	if err != nil {
		return EncryptOutput{}, err
	}
	out := EncryptOutput{Key: k.ID, Version: v.Number, Items: make([]EncryptedItem, len(in.Items))}
	for i := range in.Items {
		it := &in.Items[i]
		c, err := sealItem(k, v, s, in.Raw, it.Plaintext, it.Context, it.AAD)
		out.Items[i].Ciphertext = c
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Plaintext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// scheme settles which scheme is used and asks the algorithm table whether it may be. A key serves one purpose.
func (w *work) scheme(k admitted, u kms.Usage, s kms.Scheme, protect bool) (kms.Scheme, error) {
	if k.Usage != u {
		return 0, kms.Errorf(kms.CodeUsage, "the key is for %s, and this operation needs a key for %s", k.Usage, u)
	}
	s, err := kms.CheckScheme(k.Algorithm, k.Usage, s, w.e.cfg.Profile, protect)
	w.rec.Scheme = s
	return s, err
}

func sealItem(k admitted, v *keyring.Version, s kms.Scheme, raw bool, plaintext []byte, c kms.Context, a []byte) ([]byte, error) {
	suite := blob.Software
	if s != kms.SchemeAESGCM {
		suite = blob.OAEP
	} else if raw {
		return nil, kms.Errorf(kms.CodeAlgorithm, "only RSA ciphertexts have a raw form")
	}
	var buf [256]byte
	aad := appendAAD(buf[:0], k.ID, c, a)
	if raw {
		return v.Handle.Seal(nil, nil, plaintext, a, s)
	}
	header := blob.AppendHeader(make([]byte, 0, blob.HeaderSize+len(plaintext)+box.Overhead), blob.Header{Suite: suite, Key: k.ID, Version: v.Number})
	return v.Handle.Seal(header, header, plaintext, aad, s)
}

func doDecrypt(ctx context.Context, w *work, in *DecryptInput) (DecryptOutput, error) {
	out := DecryptOutput{Key: w.keys[0].ID, Items: make([]DecryptedItem, len(in.Items))}
	for i := range in.Items {
		it := &in.Items[i]
		plain, n, err := w.openItem(ctx, 0, it.Ciphertext, it.Context, it.AAD, in.Raw, in.Version, in.Scheme)
		out.Items[i].Plaintext, out.Items[i].Version = secret.Release(plain), n
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Ciphertext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// openItem decrypts one ciphertext with the version that made it.
func (w *work) openItem(ctx context.Context, i int, ciphertext []byte, c kms.Context, a []byte, raw bool, n uint32, s kms.Scheme) ([]byte, uint32, error) {
	k := w.keys[i]
	var header []byte
	sealed := ciphertext
	aad := a
	if !raw {
		h, rest, err := blob.Parse(ciphertext)
		if err != nil {
			return nil, 0, err
		}
		if h.Key != k.ID {
			return nil, 0, kms.Errorf(kms.CodeWrongKey, "the ciphertext was made by key %s, not by the key named", h.Key)
		}
		header, sealed, n = ciphertext[:len(ciphertext)-len(rest)], rest, h.Version
		var buf [256]byte
		aad = appendAAD(buf[:0], k.ID, c, a)
	} else if n == 0 {
		n = k.Primary
	}
	if n > k.Latest {
		return nil, 0, kms.Errorf(kms.CodeDecryptFailed, "the ciphertext does not open with this key and context")
	}
	v, err := w.version(ctx, i, n)
	if err != nil {
		return nil, 0, err
	}
	if s, err = w.scheme(k, kms.EncryptDecrypt, s, false); err != nil {
		return nil, 0, err
	}
	plain, err := v.Handle.Open(nil, header, sealed, aad, s)
	return plain, n, err
}

func doReEncrypt(ctx context.Context, w *work, in *ReEncryptInput) (ReEncryptOutput, error) {
	to := w.keys[1]
	v, err := w.version(ctx, 1, 0)
	if err != nil {
		return ReEncryptOutput{}, err
	}
	out := ReEncryptOutput{From: w.keys[0].ID, To: to.ID, Version: v.Number, Items: make([]EncryptedItem, len(in.Items))}
	for i := range in.Items {
		it := &in.Items[i]
		plain, _, err := w.openItem(ctx, 0, it.Ciphertext, it.FromContext, it.FromAAD, false, 0, kms.NoScheme)
		if err == nil {
			var s kms.Scheme
			if s, err = w.scheme(to, kms.EncryptDecrypt, kms.NoScheme, true); err == nil {
				out.Items[i].Ciphertext, err = sealItem(to, v, s, false, plain, it.ToContext, it.ToAAD)
			}
			clear(plain)
		}
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Ciphertext), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doDataKey(ctx context.Context, w *work, in *DataKeyInput) (DataKeyOutput, error) {
	k := w.keys[0]
	if k.Algorithm.Facts().Asymmetric {
		return DataKeyOutput{}, kms.Errorf(kms.CodeAlgorithm, "%s keys do not generate data keys: use a symmetric key", k.Algorithm)
	}
	v, err := w.version(ctx, 0, 0)
	if err != nil {
		return DataKeyOutput{}, err
	}
	s, err := w.scheme(k, kms.EncryptDecrypt, kms.NoScheme, true)
	if err != nil {
		return DataKeyOutput{}, err
	}
	n := max(in.Count, 1)
	out := DataKeyOutput{Key: k.ID, Version: v.Number, Items: make([]DataKeyItem, n)}
	for i := range out.Items {
		plain, err := w.e.cfg.Provider.Random(in.Bytes)
		if err != nil {
			return out, err
		}
		c, err := sealItem(k, v, s, false, plain, in.Context, in.AAD)
		if err != nil {
			clear(plain)
			return out, err
		}
		out.Items[i].Ciphertext = c
		if in.WithoutPlaintext {
			clear(plain)
		} else {
			out.Items[i].Plaintext = secret.Release(plain)
		}
		if _, err := w.note(n, in.Bytes, nil); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doSign(ctx context.Context, w *work, in *SignInput) (SignOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return SignOutput{}, err
	}
	s, err := w.scheme(k, kms.SignVerify, in.Scheme, true)
	if err != nil {
		return SignOutput{}, err
	}
	out := SignOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]SignedItem, len(in.Items))}
	for i, it := range in.Items {
		sig, err := v.Handle.Sign(it.Message, it.Digested, s)
		out.Items[i].Signature = sig
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Message), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doVerify(ctx context.Context, w *work, in *VerifyInput) (VerifyOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return VerifyOutput{}, err
	}
	s, err := w.scheme(k, kms.SignVerify, in.Scheme, false)
	if err != nil {
		return VerifyOutput{}, err
	}
	out := VerifyOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]VerifiedItem, len(in.Items))}
	for i, it := range in.Items {
		err := v.Handle.Verify(it.Message, it.Signature, it.Digested, s)
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Message), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doMAC(ctx context.Context, w *work, in *MACInput) (MACOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return MACOutput{}, err
	}
	s, err := w.scheme(k, kms.MAC, kms.NoScheme, true)
	if err != nil {
		return MACOutput{}, err
	}
	out := MACOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]MadeMAC, len(in.Items))}
	for i, it := range in.Items {
		mac, err := v.Handle.MAC(nil, it.Message, s)
		out.Items[i].MAC = mac
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Message), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doVerifyMAC(ctx context.Context, w *work, in *VerifyMACInput) (VerifyOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return VerifyOutput{}, err
	}
	s, err := w.scheme(k, kms.MAC, kms.NoScheme, false)
	if err != nil {
		return VerifyOutput{}, err
	}
	out := VerifyOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]VerifiedItem, len(in.Items))}
	for i, it := range in.Items {
		err := v.Handle.VerifyMAC(it.Message, it.MAC, s)
		if out.Items[i].Err, err = w.note(len(in.Items), len(it.Message), err); err != nil {
			return out, err
		}
	}
	return out, nil
}
