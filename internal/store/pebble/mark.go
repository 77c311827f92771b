package pebble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/store"
)

// The mark is a file beside the database with a head that was durable: written when the store is opened and
// closed. The engine takes a damaged end of its log for one that was being written when the power went, and goes on
// without it, up to two blocks of 32 KiB; and a manifest that has lost its end can name an older state. The mark
// turns both into an error, as far back as the last opening or closing. (The audit log records heads all the time.)
//
//	"KHHEAD" ‖ version u16 ‖ rev u64 ‖ hash [32] ‖ SHA-256 of everything before
const (
	markName    = "HEAD"
	markMagic   = "KHHEAD"
	markVersion = 1
	markSummed  = len(markMagic) + 2 + revSize + sha256.Size
	markSize    = markSummed + sha256.Size
)

func encodeMark(h store.Head) []byte {
	b := binary.BigEndian.AppendUint16([]byte(markMagic), markVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Rev))
	b = append(b, h.Hash[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeMark(b []byte) (h store.Head, err error) {
	if len(b) != markSize || string(b[:len(markMagic)]) != markMagic {
		return h, damaged("file %s: it is not a head", markName)
	}
	if v := binary.BigEndian.Uint16(b[len(markMagic):]); v != markVersion {
		return h, damaged("file %s: it has version %d", markName, v)
	}
	if sum := sha256.Sum256(b[:markSummed]); !bytes.Equal(sum[:], b[markSummed:]) {
		return h, damaged("file %s: its sum does not match", markName)
	}
	b = b[len(markMagic)+2:]
	h.Rev = store.Rev(binary.BigEndian.Uint64(b))
	copy(h.Hash[:], b[revSize:])
	return h, nil
}

// readMark answers the marked head, or the zero head if nothing was marked yet.
func readMark(c *Config) (store.Head, error) {
	f, err := c.FS.Open(c.FS.PathJoin(c.Dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return store.Head{}, nil
	}
	if err != nil {
		return store.Head{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(markSize)+1))
	if err != nil {
		return store.Head{}, fmt.Errorf("read %s: %w", markName, err)
	}
	return decodeMark(b)
}

// writeMark replaces the mark. It is only a lower bound: that it could not be written loses nothing but its use.
func writeMark(c *Config, h store.Head) error {
	name := c.FS.PathJoin(c.Dir, markName)
	f, err := c.FS.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(encodeMark(h))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := c.FS.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := c.FS.OpenDir(c.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// marks holds the database against the mark.
func (e *engine) marks(c *Config, at position) error {
	mark, err := readMark(c)
	switch {
	case err != nil:
		return err
	case mark.Rev > at.head.Rev:
		return damaged("its head is %d, and was %d: the end of its log or manifest is damaged, or files of different ages are mixed",
			at.head.Rev, mark.Rev)
	case mark.Rev <= at.floor:
		return nil
	}
	row, err := e.read(feedKey(mark.Rev))
	if err != nil {
		return err
	}
	past, err := decodeFeed(mark.Rev, row)
	if err == nil && past.hash != mark.Hash {
		err = damaged("its past is not the one in file %s: at %d the hash is %x, and was %x", markName, mark.Rev, past.hash, mark.Hash)
	}
	return err
}

// unbroken looks for a hole in the feed. The engine takes a damaged manifest for one that ends there, and a log that it should replay
// and that is gone for one that was never written: then all that one or more memory tables held is missing, while what came
// after them may be there. What a memory table held is consecutive, and became tables that end where it ended: so
// every row of the feed at the end of a table must have a successor.
func (e *engine) unbroken(at position) error {
	levels, err := e.db.SSTables(pebble.WithKeyRangeFilter([]byte{prefixFeed}, []byte{prefixData}))
	if err != nil {
		return err
	}
	for _, tables := range levels {
		for i := range tables {
			last := tables[i].Largest.UserKey
			if len(last) == 0 || last[0] != prefixFeed {
				continue // it goes beyond the feed, as tables did that older versions of this program wrote
			}
			rev, err := feedRev(last)
			if err != nil {
				return err
			}
			if rev <= at.floor || rev >= at.head.Rev {
				continue
			}
			if row, err := e.read(feedKey(rev + 1)); err != nil || row == nil {
				return errors.Join(err, damaged("the feed has no row for %d, the head is %d: its manifest is damaged, or a log is missing", rev+1, at.head.Rev))
			}
		}
	}
	return nil
}

// mark writes the mark of a store that is opened or closed.
func (s *Store) mark(h store.Head) {
	if err := writeMark(&s.cfg, h); err != nil {
		s.cfg.Logger.Warn("store head not marked", "error", cut(err.Error()))
	}
}
