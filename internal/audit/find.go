package audit

import (
	"context"
	"slices"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Find tells which leaf hashes are in the log, and where: which records of an outbox need not be appended again. It reads back over segments
// and boot epochs until everything is found or it has come to the one that holds since; the zero Position is before everything. Times in
// records say nothing here: clocks are set. At most MaxFind hashes at once.
func (l *Log) Find(ctx context.Context, hashes map[[32]byte]struct{}, since Position) (map[[32]byte]Position, error) {
	if len(hashes) > MaxFind {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d hashes are more than the %d that can be looked for at once", len(hashes), MaxFind)
	}
	found := make(map[[32]byte]Position, len(hashes))
	if len(hashes) == 0 {
		return found, nil
	}
	epochs, err := listEpochs(l.node)
	if err != nil {
		return nil, failure("list boot epochs", err)
	}
	for _, e := range slices.Backward(epochs) {
		if e < since.Epoch {
			break
		}
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		files, err := l.catalog.segments(dir)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		for i, file := range slices.Backward(files) {
			to := size
			if i+1 < len(files) {
				to = min(to, files[i+1].First)
			}
			_, err := framesOf(file, mark{First: file.First}, file.First, to, func(seq uint64, f segment.Frame) bool {
				leaf := f.Leaf()
				if _, wanted := hashes[leaf]; wanted {
					found[leaf] = Position{l.cfg.Node, e, seq}
				}
				return ctx.Err() == nil
			})
			if ctx.Err() != nil {
				return nil, kms.Errorf(kms.CodeCancelled, "the search of the audit log was cancelled").Because(ctx.Err())
			}
			if err != nil {
				return nil, unreadable(Position{l.cfg.Node, e, file.First}, err)
			}
			if len(found) == len(hashes) || e == since.Epoch && file.First <= since.Seq {
				return found, nil
			}
		}
	}
	return found, nil
}
