package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/keyhold/keyhold/internal/store"
)

// The rows of the database. Numbers are big-endian.
//
//	0x00 "format"       format version u16
//	0x00 "floor"        the newest revision whose feed row was pruned u64
//	0x00 "import"       empty; present while an import has not finished
//	0x01 ‖ revision u64 feed: running hash [32] ‖ time, Unix nanoseconds u64 ‖ token [16] ‖ for each write in order:
//	                    key length u16 ‖ 0 put or 1 delete ‖ key
//	0x02 ‖ key          data: revision u64 ‖ value
//	0x03 ‖ token [16]   token: revision u64
//
// Every revision has a feed row, so that the newest one is the head and a hole is damage. A token row lives as
// long as the feed row of its revision.
const (
	prefixMeta  = 0x00
	prefixFeed  = 0x01
	prefixData  = 0x02
	prefixToken = 0x03
	prefixEnd   = 0x04

	formatVersion = 1

	revSize      = 8
	feedRowHead  = 32 + 8 + 16
	feedEntry    = 2 + 1
	feedRowMax   = feedRowHead + store.MaxOps*(feedEntry+store.MaxKey)
	tokenRowSize = 1 + len(store.Token{})
)

var (
	keyFormat = []byte("\x00format")
	keyFloor  = []byte("\x00floor")
	keyImport = []byte("\x00import")
)

func feedKey(rev store.Rev) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixFeed}, uint64(rev))
}

func appendDataKey(b, key []byte) []byte { return append(append(b, prefixData), key...) }

func appendTokenKey(b []byte, t store.Token) []byte { return append(append(b, prefixToken), t[:]...) }

// dataEnd is the first row after all data rows whose key starts with prefix.
func dataEnd(prefix []byte) []byte {
	end := appendDataKey(nil, prefix)
	for end[len(end)-1] == 0xff { // the first byte is prefixData: the loop ends there
		end = end[:len(end)-1]
	}
	end[len(end)-1]++
	return end
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrDamaged, fmt.Sprintf(format, args...))
}

// decodeRev reads a row that is a revision and nothing else.
func decodeRev(row []byte) (store.Rev, error) {
	if len(row) != revSize {
		return 0, damaged("a revision of %d bytes", len(row))
	}
	return store.Rev(binary.BigEndian.Uint64(row)), nil
}

// decodeData reads a data row. The value is part of row.
func decodeData(row []byte) (store.Rev, []byte, error) {
	if len(row) < revSize || len(row) > revSize+store.MaxValue {
		return 0, nil, damaged("a record of %d bytes", len(row))
	}
	rev := store.Rev(binary.BigEndian.Uint64(row))
	if rev == 0 {
		return 0, nil, damaged("a record without a revision")
	}
	return rev, row[revSize:], nil
}

// feedRow is a decoded feed row.
type feedRow struct {
	hash   [32]byte
	time   int64 // Unix nanoseconds, as the clock was
	token  store.Token
	events []store.Event // copies
}

func appendFeedHead(b []byte, hash [32]byte, time int64, token store.Token) []byte {
	b = append(b, hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(time))
	return append(b, token[:]...)
}

// appendFeedEvents encodes what a transaction writes.
func appendFeedEvents(b []byte, ws []store.Write) []byte {
	for i := range ws {
		b = binary.BigEndian.AppendUint16(b, uint16(len(ws[i].Key)))
		kind := byte(0)
		if ws[i].Delete {
			kind = 1
		}
		b = append(append(b, kind), ws[i].Key...)
	}
	return b
}

func decodeFeed(rev store.Rev, row []byte) (feedRow, error) {
	var f feedRow
	if len(row) < feedRowHead || len(row) > feedRowMax {
		return f, damaged("feed row %d has %d bytes", rev, len(row))
	}
	copy(f.hash[:], row)
	f.time = int64(binary.BigEndian.Uint64(row[32:]))
	copy(f.token[:], row[40:])
	for rest := row[feedRowHead:]; len(rest) > 0; {
		if len(rest) < feedEntry || len(f.events) == store.MaxOps {
			return f, damaged("feed row %d ends within an event", rev)
		}
		n, kind := int(binary.BigEndian.Uint16(rest)), rest[2]
		if rest = rest[feedEntry:]; n == 0 || n > store.MaxKey || n > len(rest) || kind > 1 {
			return f, damaged("feed row %d has an event of kind %d with a key of %d bytes", rev, kind, n)
		}
		f.events = append(f.events, store.Event{Key: append([]byte{}, rest[:n]...), Rev: rev, Deleted: kind == 1})
		rest = rest[n:]
	}
	return f, nil
}

// feedRev reads the revision from the key of a feed row.
func feedRev(key []byte) (store.Rev, error) {
	if len(key) != 1+revSize || key[0] != prefixFeed {
		return 0, damaged("a feed row with a key of %d bytes", len(key))
	}
	return store.Rev(binary.BigEndian.Uint64(key[1:])), nil
}

// decodeFormat refuses a format that this program does not know.
func decodeFormat(row []byte) error {
	if len(row) != 2 {
		return damaged("a format version of %d bytes", len(row))
	}
	if v := binary.BigEndian.Uint16(row); v == 0 || v > formatVersion {
		return fmt.Errorf("store: it has format version %d, this program knows versions up to %d: start the version of keyhold that last used it, or a newer one",
			v, formatVersion)
	}
	return nil
}
