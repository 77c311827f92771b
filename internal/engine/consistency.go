package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// WitnessStatus is how it stands with a witness of the log.
type WitnessStatus = audit.WitnessState

// ConsistencyInput names an earlier and a later checkpoint of the log.
type ConsistencyInput struct {
	Checkpoint []byte     // the earlier one, whole; nil: From names it
	From       audit.Mark // origin and size
	To         audit.Mark // zero: the newest
}

func (in *ConsistencyInput) check() error {
	switch {
	case len(in.Checkpoint) > tree.MaxNote:
		return kms.Errorf(kms.CodeTooLarge, "the checkpoint has %d bytes, the limit is %d", len(in.Checkpoint), tree.MaxNote)
	case (len(in.Checkpoint) == 0) == (in.From.Origin == ""):
		return kms.Errorf(kms.CodeBadRequest, "name the earlier checkpoint once: the checkpoint itself, or its origin and size")
	}
	return nil
}

// ProveConsistency answers a proof that the log at a later checkpoint contains everything that it held at an earlier one, to be checked offline.
func (e *Engine) ProveConsistency(ctx context.Context, c kms.Call, in ConsistencyInput) (ProveOutput, error) {
	return use(ctx, e, c, &proveConsistency, &in)
}

func doProveConsistency(ctx context.Context, w *work, in *ConsistencyInput) (ProveOutput, error) {
	bundle, err := w.e.cfg.Log.Consistency(ctx, in.Checkpoint, in.From, in.To)
	return ProveOutput{Bundle: bundle, VerifierKey: w.o.chain.PublicKey()}, err
}
