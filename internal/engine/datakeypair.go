package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// The descriptors of data key pairs.
var (
	dataKeyPair = op[DataKeyPairInput, DataKeyPairOutput]{
		name:  kms.GenerateDataKeyPair,
		roles: []role[DataKeyPairInput]{dataKeyPairRole(kms.GenerateDataKeyPair)},
		check: checkDataKeyPair,
		do:    doDataKeyPair,
		erase: func(out *DataKeyPairOutput) { out.Private.Zero() },
	}
	dataKeyPairWithoutPlaintext = op[DataKeyPairInput, DataKeyPairOutput]{
		name:  kms.GenerateDataKeyPairWithoutPlaintext,
		roles: []role[DataKeyPairInput]{dataKeyPairRole(kms.GenerateDataKeyPairWithoutPlaintext)},
		check: checkDataKeyPair,
		do:    doDataKeyPair,
	}
)

func dataKeyPairRole(a kms.Action) role[DataKeyPairInput] {
	return role[DataKeyPairInput]{action: a, need: lifecycle.Protect,
		key: func(in *DataKeyPairInput) (kms.Ref, error) { return in.Key, nil },
		items: func(in *DataKeyPairInput) items {
			return items{1, func(int) (kms.Context, []byte) { return in.Context, in.AAD }}
		}}
}

func checkDataKeyPair(in *DataKeyPairInput) error {
	if !in.Algorithm.Facts().Asymmetric {
		return kms.Errorf(kms.CodeAlgorithm, "%s is not an algorithm of key pairs", in.Algorithm)
	}
	return checkContext(in.Context, in.AAD)
}

func doDataKeyPair(ctx context.Context, w *work, in *DataKeyPairInput) (DataKeyPairOutput, error) {
	k := w.keys[0]
	w.rec.Detail = in.Algorithm.String()
	if k.Algorithm.Facts().Asymmetric {
		return DataKeyPairOutput{}, kms.Errorf(kms.CodeAlgorithm, "%s keys do not generate data keys: use a symmetric key", k.Algorithm)
	}
	v, s, err := w.openFor(ctx, kms.EncryptDecrypt, 0, kms.NoScheme, true)
	if err != nil {
		return DataKeyPairOutput{}, err
	}
	p, err := w.e.newPair(ctx, in.Algorithm)
	if err != nil {
		return DataKeyPairOutput{}, err
	}
	if err := w.spend(ctx, &k, v.Number, cost(0, p.private.Len())); err != nil { // how long it is shows only now
		p.private.Zero()
		return DataKeyPairOutput{}, err
	}
	out := DataKeyPairOutput{Key: k.ID, Version: v.Number, Algorithm: in.Algorithm, Public: p.public}
	out.Ciphertext, err = sealItem(&shared{}, k, v, s, false, p.private.Reveal(reveal.Key{}), in.Context, in.AAD)
	w.rec.Bytes = uint64(p.private.Len()) //nolint:gosec // G115: a length
	if err != nil || in.WithoutPlaintext {
		p.private.Zero()
		return out, err
	}
	out.Private = letGo(p.private)
	return out, nil
}

// pair is a key pair that nobody keeps.
type pair struct {
	public  []byte
	private *secret.Bytes
	err     error
}

// newPair makes a key pair. A slow kind may have to wait for its turn and takes long itself: a caller that gives up is let go
// at once, and what comes out after that is erased. The provider's pool bounds how many are under way, given up or not.
func (e *Engine) newPair(ctx context.Context, a kms.Algorithm) (pair, error) {
	if !a.Facts().Slow {
		p := e.makePair(a)
		return p, p.err
	}
	made := make(chan pair)
	go func() {
		p := e.makePair(a)
		select {
		case made <- p:
		case <-ctx.Done():
			p.private.Zero()
		}
	}()
	select {
	case p := <-made:
		return p, p.err
	case <-ctx.Done():
		return pair{}, kms.Errorf(kms.CodeCancelled, "the caller gave up while the key pair was made").Because(ctx.Err())
	}
}

// makePair turns a panic into an error, as perform does, on whichever goroutine it runs.
func (e *Engine) makePair(a kms.Algorithm) (p pair) {
	defer func() {
		if c := recover(); c != nil {
			p = pair{err: e.panicked(kms.GenerateDataKeyPair, c)}
		}
	}()
	p.public, p.private, p.err = e.cfg.Provider.GeneratePair(a)
	return p
}
