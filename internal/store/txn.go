package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is a mistake of the calling code: a transaction or a read that no state of the store could make right.
var ErrMalformed = errors.New("store: malformed request")

// fewWrites is how many writes are compared pair by pair; more go through a map.
const fewWrites = 8

// Check tells what every implementation refuses before it looks at its data: ErrTooBig for a limit,
// ErrMalformed for an empty key, a deletion with a value, or one key written twice. A key may be a condition
// and a write, and a condition several times: each one must hold.
func (t *Txn) Check() error {
	if n := len(t.If) + len(t.Then); n > MaxOps {
		return fmt.Errorf("%w: %d conditions and writes, at most %d", ErrTooBig, n, MaxOps)
	}
	size := 0
	for i := range t.If {
		if err := CheckKey(t.If[i].Key); err != nil {
			return err
		}
		size += len(t.If[i].Key)
	}
	for i := range t.Then {
		w := &t.Then[i]
		switch err := CheckKey(w.Key); {
		case err != nil:
			return err
		case len(w.Value) > MaxValue:
			return fmt.Errorf("%w: a value of %d bytes, at most %d", ErrTooBig, len(w.Value), MaxValue)
		case w.Delete && len(w.Value) > 0:
			return fmt.Errorf("%w: a deletion carries a value", ErrMalformed)
		}
		size += len(w.Key) + len(w.Value)
	}
	if size > MaxTxn {
		return fmt.Errorf("%w: %d bytes of keys and values, at most %d", ErrTooBig, size, MaxTxn)
	}
	if twice(t.Then) {
		return fmt.Errorf("%w: one key is written twice", ErrMalformed)
	}
	return nil
}

// CheckKey refuses an empty key and one of more than MaxKey bytes.
func CheckKey(key []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("%w: an empty key", ErrMalformed)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: a key of %d bytes, at most %d", ErrTooBig, len(key), MaxKey)
	}
	return nil
}

// CheckGet refuses a read of more than MaxOps keys and every key that Txn.Check refuses.
func CheckGet(keys [][]byte) error {
	if len(keys) > MaxOps {
		return fmt.Errorf("%w: %d keys, at most %d", ErrTooBig, len(keys), MaxOps)
	}
	for _, k := range keys {
		if err := CheckKey(k); err != nil {
			return err
		}
	}
	return nil
}

// CheckScan refuses a page of no records, and one of more than MaxPage rather than cut it short: a short page
// means the end.
func CheckScan(prefix, after []byte, n int) error {
	switch {
	case n <= 0:
		return fmt.Errorf("%w: a page of %d records", ErrMalformed, n)
	case n > MaxPage:
		return fmt.Errorf("%w: a page of %d records, at most %d", ErrTooBig, n, MaxPage)
	case len(prefix) > MaxKey || len(after) > MaxKey:
		return fmt.Errorf("%w: a key is at most %d bytes", ErrTooBig, MaxKey)
	}
	return nil
}

func twice(ws []Write) bool {
	if len(ws) <= fewWrites {
		for i := range ws {
			for j := range i {
				if bytes.Equal(ws[i].Key, ws[j].Key) {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(ws))
	for i := range ws {
		seen[string(ws[i].Key)] = struct{}{}
	}
	return len(seen) < len(ws)
}

// Trace is what the writes of a transaction add to the running hash, less the part that depends on its place:
// for each write: key length u16 ‖ key ‖ 0 for put or 1 for delete ‖ SHA-256(value). Numbers are big-endian.
func (t *Txn) Trace() []byte {
	size := 0
	for i := range t.Then {
		size += 2 + len(t.Then[i].Key) + 1 + sha256.Size
	}
	b := make([]byte, 0, size)
	for i := range t.Then {
		w := &t.Then[i]
		b = binary.BigEndian.AppendUint16(b, uint16(len(w.Key)))
		b = append(b, w.Key...)
		kind := byte(0)
		if w.Delete {
			kind = 1
		}
		sum := sha256.Sum256(w.Value)
		b = append(append(b, kind), sum[:]...)
	}
	return b
}

// Next is the head after one more transaction, given its Trace.
func (h Head) Next(trace []byte) Head {
	next := Head{Rev: h.Rev + 1}
	var rev [8]byte
	binary.BigEndian.PutUint64(rev[:], uint64(next.Rev))
	d := sha256.New()
	d.Write(h.Hash[:])
	d.Write(rev[:])
	d.Write(trace)
	d.Sum(next.Hash[:0])
	return next
}
