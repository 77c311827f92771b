package pebble

import (
	"bytes"
	"errors"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

// FuzzRows: no row that a disk could hold breaks the decoders, and what a decoder takes it gives back.
func FuzzRows(f *testing.F) {
	ws := []store.Write{{Key: []byte("a")}, {Key: []byte("bc"), Delete: true}}
	f.Add(appendFeedEvents(appendFeedHead(nil, [32]byte{1}, 5, store.Token{2}), ws))
	f.Add(appendFeedHead(nil, [32]byte{}, -1, store.Token{}))
	f.Add(append(make([]byte, 7), 9, 'v'))
	f.Add([]byte{0, formatVersion})
	f.Add(feedKey(3))
	f.Add(encodeMark(store.Head{Rev: 4, Hash: [32]byte{5}}))
	f.Fuzz(func(t *testing.T, row []byte) {
		if feed, err := decodeFeed(7, row); err == nil {
			var ws []store.Write
			for _, e := range feed.events {
				if e.Rev != 7 || len(e.Key) == 0 || len(e.Key) > store.MaxKey {
					t.Fatalf("event %v", e)
				}
				ws = append(ws, store.Write{Key: e.Key, Delete: e.Deleted})
			}
			if again := appendFeedEvents(appendFeedHead(nil, feed.hash, feed.time, feed.token), ws); !bytes.Equal(again, row) {
				t.Fatalf("feed row: got %x, want %x", again, row)
			}
		} else if !errors.Is(err, store.ErrDamaged) {
			t.Fatalf("feed row: got %v, want ErrDamaged", err)
		}
		if rev, value, err := decodeData(row); err == nil && (rev == 0 || len(value) > store.MaxValue) {
			t.Fatalf("data row: revision %d, %d bytes", rev, len(value))
		}
		if rev, err := feedRev(row); err == nil && !bytes.Equal(feedKey(rev), row) {
			t.Fatalf("feed key: got %x, want %x", feedKey(rev), row)
		}
		if head, err := decodeMark(row); err == nil && !bytes.Equal(encodeMark(head), row) {
			t.Fatalf("mark: got %x, want %x", encodeMark(head), row)
		}
		_, _ = decodeRev(row)
		_ = decodeFormat(row)
	})
}
