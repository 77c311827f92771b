package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// The descriptors of signatures and MACs.
var (
	sign = op[SignInput, SignOutput]{
		name: kms.Sign,
		cost: func(in *SignInput) amount {
			return costOf(len(in.Items), func(i int) int { return len(in.Items[i].Message) })
		},
		roles: []role[SignInput]{{action: kms.Sign, need: lifecycle.Protect,
			key: func(in *SignInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *SignInput) error {
			return checkItems(len(in.Items), MaxMessage, func(i int) (int, error) {
				it := &in.Items[i]
				return len(it.Message), checkItem(nil, nil, it.Derivation)
			})
		},
		do: doSign,
	}
	verify = op[VerifyInput, VerifyOutput]{
		name: kms.Verify,
		roles: []role[VerifyInput]{{action: kms.Verify, need: lifecycle.Process,
			key: func(in *VerifyInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *VerifyInput) error {
			return checkItems(len(in.Items), MaxMessage+MaxPlaintext, func(i int) (int, error) {
				it := &in.Items[i]
				return len(it.Message) + len(it.Signature), checkItem(nil, nil, it.Derivation)
			})
		},
		do: doVerify,
	}
	makeMAC = op[MACInput, MACOutput]{
		name: kms.GenerateMAC,
		cost: func(in *MACInput) amount {
			return costOf(len(in.Items), func(i int) int { return len(in.Items[i].Message) })
		},
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
)

func doSign(ctx context.Context, w *work, in *SignInput) (SignOutput, error) {
	k := w.keys[0]
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return SignOutput{}, err
	}
	s, err := w.chosen(k, v.Algorithm, in.Scheme, in.Choose, true)
	if err != nil {
		return SignOutput{}, err
	}
	out := SignOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]SignedItem, len(in.Items))}
	var derived derivations
	defer derived.close()
	for i, it := range in.Items {
		var sig []byte
		h, err := derived.of(k, v, it.Derivation)
		if err == nil {
			sig, err = h.Sign(it.Message, kms.Form{Digested: it.Digested, Salt: in.Salt}, s)
		}
		if err == nil && k.Transit.Derived {
			out.Items[i].Public, err = h.PublicKey()
		}
		out.Items[i].Signature = sig
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Message), err); err != nil {
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
	s, err := w.chosen(k, v.Algorithm, in.Scheme, in.Choose, false)
	if err != nil {
		return VerifyOutput{}, err
	}
	out := VerifyOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]VerifiedItem, len(in.Items))}
	var derived derivations
	defer derived.close()
	for i, it := range in.Items {
		h, err := derived.of(k, v, it.Derivation)
		if err == nil {
			err = h.Verify(it.Message, it.Signature, kms.Form{Digested: it.Digested, Salt: in.Salt}, s)
		}
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Message), err); err != nil {
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
	s, err := w.scheme(k, v.Algorithm, kms.MAC, in.Scheme, true)
	if err != nil {
		return MACOutput{}, err
	}
	out := MACOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]MadeMAC, len(in.Items))}
	for i, it := range in.Items {
		mac, err := v.Handle.MAC(nil, it.Message, s)
		out.Items[i].MAC = mac
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Message), err); err != nil {
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
	s, err := w.scheme(k, v.Algorithm, kms.MAC, in.Scheme, false)
	if err != nil {
		return VerifyOutput{}, err
	}
	out := VerifyOutput{Key: k.ID, Version: v.Number, Scheme: s, Items: make([]VerifiedItem, len(in.Items))}
	for i, it := range in.Items {
		err := v.Handle.VerifyMAC(it.Message, it.MAC, s)
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Message), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// chosen is the scheme of a signature, by what the request named or by what it means for the key's algorithm.
func (w *work) chosen(k admitted, a kms.Algorithm, s kms.Scheme, choose func(kms.Algorithm) (kms.Scheme, error), protect bool) (kms.Scheme, error) {
	if choose != nil && k.Serves(kms.SignVerify) {
		var err error
		if s, err = choose(a); err != nil {
			return 0, err
		}
	}
	return w.scheme(k, a, kms.SignVerify, s, protect)
}
