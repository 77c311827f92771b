package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
	if err := store.CheckGet(keys); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	v, err := s.acquire()
	if err != nil {
		return nil, 0, err
	}
	defer s.release(v)
	out := make([]store.Record, len(keys))
	var buf [1 + store.MaxKey]byte
	for i, k := range keys {
		out[i].Key = bytes.Clone(k)
		if out[i].Rev, out[i].Value, err = v.get(appendDataKey(buf[:0], k)); err != nil {
			return nil, 0, fmt.Errorf("get %q: %w", k, err)
		}
	}
	return out, v.at.head.Rev, nil
}

// get reads a data row; the value is a copy.
func (v *view) get(key []byte) (store.Rev, []byte, error) {
	row, closer, err := v.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fault(v, err)
	}
	defer closer.Close()
	rev, value, err := decodeData(row)
	if err != nil {
		return 0, nil, err
	}
	return rev, append([]byte{}, value...), nil
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, prefix, after []byte, n int) ([]store.Record, store.Rev, error) {
	if err := store.CheckScan(prefix, after, n); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	v, err := s.acquire()
	if err != nil {
		return nil, 0, err
	}
	defer s.release(v)
	start := appendDataKey(nil, prefix)
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		start = append(appendDataKey(nil, after), 0)
	}
	var out []store.Record
	for r, err := range v.data(start, dataEnd(prefix)) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, err
		}
		out = append(out, store.Record{Key: bytes.Clone(r.Key), Rev: r.Rev, Value: append([]byte{}, r.Value...)})
		if len(out) == n {
			break
		}
	}
	return out, v.at.head.Rev, nil
}

// data yields the data rows between start and end. The slices are valid until the next one.
func (v *view) data(start, end []byte) func(yield func(store.Record, error) bool) {
	return func(yield func(store.Record, error) bool) {
		if bytes.Compare(start, end) >= 0 {
			return
		}
		it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
		if err != nil {
			yield(store.Record{}, fault(v, err))
			return
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			key := it.Key()[1:]
			row, err := it.ValueAndErr()
			if err != nil {
				yield(store.Record{}, fault(v, err))
				return
			}
			rev, value, err := decodeData(row)
			if err == nil && (len(key) == 0 || len(key) > store.MaxKey || rev > v.at.head.Rev) {
				err = damaged("revision %d under a key of %d bytes, the head is %d", rev, len(key), v.at.head.Rev)
			}
			if err != nil {
				yield(store.Record{}, fmt.Errorf("record %q: %w", key, err))
				return
			}
			if !yield(store.Record{Key: key, Rev: rev, Value: value}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(store.Record{}, fault(v, err))
		}
	}
}
