// Package records keeps Keyhold's typed records in a store, sealed: keys, versions, names, shred rows, namespaces,
// policies, tokens, bindings, the outbox. It is the only sealer and opener of records.
//
// Every record is sealed under a store key and bound to its place: the associated data names the cluster, the kind and
// the path, the header its logical version. A flipped bit, a swapped record or one moved to another path is an error
// of CodeRecordDamaged that names the path (architecture, invariant 6). Paths show no names: what people chose is in
// the sealed value, or in the path as a keyed hash.
//
// The package knows no business rules: what may be written when is decided by the engine.
package records

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/store"
)

// kind is the first byte of a path and part of what a record is bound to.
type kind byte

// The kinds. They are part of the format: docs/formats.md lists their paths.
const (
	kindSystem     kind = 'S' // S name: public or sealed by the root, not by a store key
	kindNamespace  kind = 'N' // N namespace
	kindKey        kind = 'K' // K namespace 00 key id
	kindVersion    kind = 'V' // V key id, version u32
	kindName       kind = 'n' // n keyed hash of namespace and name
	kindShred      kind = 'R' // R key id, version u32; R 00 namespace for namespace KEKs; R 00 00 namespace for archive KEKs; R ff id for sealed values
	kindPolicy     kind = 'P' // P namespace 00 policy id
	kindToken      kind = 'T' // T token id
	kindCredential kind = 'C' // C keyed hash of the subject
	kindOutbox     kind = 'O' // O record id
	kindIdem       kind = 'I' // I keyed hash of the idempotency token
	kindEnrollment kind = 'E' // E
	kindJob        kind = 'J' // J name
	kindDue        kind = 'D' // D unix seconds u64, key id (then, but for destruction: what u8, version u32, namespace): what is due, by date
	kindClock      kind = 'H' // H: the high-water mark of time
	kindApproval   kind = 'a' // a namespace 00 request id; a namespace 00: the index of its requests
	kindLogEnd     kind = 'A' // A node: the newest checkpoint of its audit log

	kindDataKey      kind = 'W' // W parent key id, data key id: a managed data key
	kindUnderVersion kind = 'w' // w parent key id, holding u8, version u32, data key id: which data keys are under a version
	kindCampaign     kind = 'c' // c 00 key id: a key that a campaign has to look at; c 01 key id: its newest campaign
	kindLease        kind = 'L' // L name: who does a long piece of work
	kindCounter      kind = 'Q' // Q key id, version u32: how much of its limits a version has used
	kindUsage        kind = 'U' // U key id, version u32: what a version was used for; U 00 node: how far the ledger has read the node's log
	kindReceipt      kind = 'Z' // Z key id; Z 00 namespace; Z ff epoch u32, key id or 00 namespace: what awaits the end of an epoch
	kindAssessment   kind = 'B' // B key id: the newest report of what its destruction would reach
	kindImport       kind = 'i' // i token id: what may be imported, once
	kindAccessKey    kind = 'k' // k access key id; k 00 keyed hash of namespace and principal: which access keys it has
	kindArchive      kind = 'X' // X key id, version u32: archived material; X 00 namespace for archive KEKs
)

// Records reads and writes sealed records. It is safe for concurrent use.
type Records struct {
	store   store.Store
	chain   *seal.Keychain
	cluster kms.ID
}

// New is the records of a cluster, sealed by a keychain.
func New(st store.Store, chain *seal.Keychain, cluster kms.ID) *Records {
	return &Records{store: st, chain: chain, cluster: cluster}
}

// aad binds a record to its place: cluster ‖ kind ‖ path, length-prefixed.
func (r *Records) aad(path []byte) []byte {
	b := make([]byte, 0, 16+1+4+len(path))
	b = append(b, r.cluster[:]...)
	b = append(b, path[0])
	b = binary.BigEndian.AppendUint32(b, uint32(len(path))) //nolint:gosec // G115: at most store.MaxKey
	return append(b, path...)
}

// row is an opened record.
type row struct {
	plain   []byte
	logical uint64
	rev     kms.Rev
}

func (r *Records) open(rec store.Record) (row, error) {
	if rec.Rev == 0 {
		return row{}, nil
	}
	logical, plain, err := r.chain.OpenRecord(nil, rec.Value, r.aad(rec.Key))
	if err != nil {
		return row{}, damaged(rec.Key, err)
	}
	return row{plain: plain, logical: logical, rev: rec.Rev}, nil
}

func damaged(path []byte, cause error) error {
	return kms.Errorf(kms.CodeRecordDamaged, "the stored record %s does not open: it was altered, moved, or sealed by another key", Place(path)).Because(cause)
}

// Place names a path in words that show no secret, for messages.
func Place(path []byte) string {
	if len(path) == 0 {
		return "(empty)"
	}
	return fmt.Sprintf("%c/%x", path[0], path[1:])
}

// get reads one record at a path; rev 0 means absent.
func (r *Records) get(ctx context.Context, path []byte) (row, error) {
	recs, _, err := r.store.Get(ctx, path)
	if err != nil {
		return row{}, storeError(err)
	}
	return r.open(recs[0])
}

func load[T any](ctx context.Context, r *Records, path []byte) (T, kms.Rev, error) {
	var v T
	w, err := r.get(ctx, path)
	if err != nil || w.rev == 0 {
		return v, 0, err
	}
	if err := parse(path, w.plain, &v); err != nil {
		return v, 0, damaged(path, err)
	}
	return v, w.rev, nil
}

// scan reads a page of records under a prefix. next is the path to pass as after, nil at the end.
func scan[T any](ctx context.Context, r *Records, prefix, after []byte, n int, each func(path []byte, v T, rev kms.Rev)) (next []byte, err error) {
	n = min(max(n, 1), store.MaxPage)
	recs, _, err := r.store.Scan(ctx, prefix, after, n)
	if err != nil {
		return nil, storeError(err)
	}
	for _, rec := range recs {
		w, err := r.open(rec)
		if err != nil {
			return nil, err
		}
		var v T
		if err := parse(rec.Key, w.plain, &v); err != nil {
			return nil, damaged(rec.Key, err)
		}
		each(rec.Key, v, w.rev)
	}
	if len(recs) == n {
		next = recs[n-1].Key
	}
	return next, nil
}

// storeError gives a store's failure its stable code.
func storeError(err error) error {
	var e *kms.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case errors.Is(err, store.ErrFull):
		return kms.Errorf(kms.CodeDiskFull, "the store has no space for the change").Because(err)
	case errors.Is(err, store.ErrUnknown):
		return kms.Errorf(kms.CodeOutcomeUnknown, "the store could not say whether the change was made").Because(err)
	case errors.Is(err, store.ErrTooBig):
		return kms.Errorf(kms.CodeTooLarge, "the change is larger than one transaction can be").Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kms.Errorf(kms.CodeCancelled, "the request ended before the store answered").Because(err)
	default:
		return kms.Errorf(kms.CodeStoreUnavailable, "the store failed").Because(err)
	}
}
