package audit

import (
	"bytes"
	"context"
	"encoding/hex"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Erase blanks what identifies a principal in every record that this node holds: the annexes of all records with the alias. The records, their hashes and all
// proofs stand. It first writes the record that tells of it, with which a new segment begins, so that what was acknowledged before is in full ones; then it writes every segment
// anew that holds such an annex, in the compressed form, as compression does: a crash leaves a segment as it was or erased, and a call that did not
// finish is made again. It gives the number of records that were blanked. The resource of the record is the alias: who keeps names that he read in the
// log forgets them when he reads it (Erased).
//
// It does not reach copies of the log, records under that alias that are written meanwhile, and blocks of the disk that the old files gave back.
// Errors: those of Append, CodeCancelled, CodeLogAltered, CodeAuditUnavailable.
func (l *Log) Erase(ctx context.Context, alias [16]byte, r *Record) (erased uint64, at Position, err error) {
	l.keep.round.Lock()
	defer l.keep.round.Unlock()
	r.Resource = hex.EncodeToString(alias[:])
	g := new(group)
	g.reset()
	if err := g.add(r); err != nil {
		return 0, at, err
	}
	g.fresh = true
	first, err := l.write(g)
	if err != nil {
		return 0, at, err
	}
	at = l.position(first)
	l.keep.eager = true
	full, err := l.keep.full()
	if err != nil {
		return 0, at, unreadable(at, err)
	}
	for _, s := range full {
		if ctx.Err() != nil {
			return erased, at, kms.Errorf(kms.CodeCancelled, "not everything was erased").Because(ctx.Err())
		}
		n, err := l.keep.erase(s, alias)
		if err != nil {
			return erased, at, unreadable(Position{l.cfg.Node, s.epoch, s.First}, err)
		}
		erased += n
	}
	return erased, at, nil
}

// Erased is the alias of the principal of whose erasure a record tells.
func Erased(r *Record) (alias [16]byte, ok bool) {
	if r.Action != kms.EraseAudit || r.Outcome != OK {
		return alias, false
	}
	b, err := hex.DecodeString(r.Resource)
	if err != nil || len(b) != len(alias) {
		return alias, false
	}
	return [16]byte(b), true
}

// erase blanks the annexes of an alias in one segment.
func (k *keeper) erase(s sealed, alias [16]byte) (n uint64, err error) {
	wanted := func(f segment.Frame) bool {
		body := f.Body()
		return len(body) >= minBody && [16]byte(body[aliasAt:]) == alias && len(bytes.Trim(f.Annex, "\x00")) > 0
	}
	if n, err = k.count(s, alias, wanted); err != nil || n == 0 {
		return 0, err
	}
	return n, k.repack(s, wanted)
}

// count counts the records of a segment that are to be blanked. An index tells at once that there is none with the alias.
func (k *keeper) count(s sealed, alias [16]byte, wanted func(segment.Frame) bool) (n uint64, err error) {
	f := Filter{Aliases: [][16]byte{alias}}
	since, until := f.span()
	files := []segment.File{s.File}
	for at := s.First; at < s.stop; {
		to := s.stop
		if p := k.l.lookup.at(s.dir, at); p != nil {
			if h, err := p.load(files); err == nil && p.good() {
				to = h.Next
				if found, err := p.find(since, until, f.terms()); err == nil && len(found) == 0 {
					at = to
					continue
				}
			}
		}
		_, from, err := k.l.place(s.dir, at)
		if err != nil {
			return 0, err
		}
		_, err = framesOf(s.File, from, at, to, func(_ uint64, f segment.Frame) bool {
			if wanted(f) {
				n++
			}
			return true
		})
		if err != nil {
			return 0, err
		}
		at = to
	}
	return n, nil
}
