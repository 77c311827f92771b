package audit

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Find tells which leaf hashes are in the log, and where: which records of an outbox need not be appended again. It reads back over segments
// and boot epochs until everything is found or what it reads is older than since, less a slack for clocks. At most MaxFind hashes at once.
func (l *Log) Find(ctx context.Context, hashes map[[32]byte]struct{}, since time.Time) (map[[32]byte]Position, error) {
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
	oldest := since.Add(-clockSlack)
	for _, e := range slices.Backward(epochs) {
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		files, _, err := segment.List(dir)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		for i, file := range slices.Backward(files) {
			to := size
			if i+1 < len(files) {
				to = min(to, files[i+1].First)
			}
			begins := time.Time{}
			_, err := framesOf(file, mark{First: file.First}, file.First, to, func(seq uint64, f segment.Frame) bool {
				leaf := f.Leaf()
				if _, wanted := hashes[leaf]; wanted {
					found[leaf] = Position{l.cfg.Node, e, seq}
				}
				if begins.IsZero() {
					if r, err := DecodeBody(f.Body()); err == nil {
						begins = r.Time
					}
				}
				return ctx.Err() == nil
			})
			if ctx.Err() != nil {
				return nil, kms.Errorf(kms.CodeCancelled, "the search of the audit log was cancelled").Because(ctx.Err())
			}
			if err != nil {
				return nil, unreadable(Position{l.cfg.Node, e, file.First}, err)
			}
			if len(found) == len(hashes) || !begins.IsZero() && begins.Before(oldest) {
				return found, nil
			}
		}
	}
	return found, nil
}
