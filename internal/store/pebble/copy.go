package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

// importBytes is how many bytes of records an import writes at a time.
const importBytes = 1 << 20

// Export implements store.Store, from one snapshot; commits go on meanwhile.
func (s *Store) Export(ctx context.Context, w io.Writer) (store.Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	v, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer s.release(v)
	err = store.WriteCopy(ctx, w, v.at.head, func(yield func(store.Record, error) bool) {
		for r, err := range v.data([]byte{prefixData}, []byte{prefixToken}) {
			if err == nil {
				err = s.closing(v)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	})
	if err != nil {
		return 0, err
	}
	return v.at.head.Rev, nil
}

// Check reads everything: it hands each data record to see, in byte order, which may refuse it, and holds the feed against
// the head, and every block of every table against its checksum. The record's slices are valid until see returns. Errors: store.ErrDamaged with what and where; see's own.
func (s *Store) Check(ctx context.Context, see func(store.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	for r, err := range v.data([]byte{prefixData}, []byte{prefixToken}) {
		if err = errors.Join(err, ctx.Err(), s.closing(v)); err != nil {
			return err
		}
		if err := see(r); err != nil {
			return err
		}
	}
	last := store.Head{Rev: v.at.floor}
	for row, err := range v.feed(v.at.floor+1, v.at.head.Rev) {
		if err = errors.Join(err, ctx.Err(), s.closing(v)); err != nil {
			return err
		}
		last = store.Head{Rev: last.Rev + 1, Hash: row.hash}
	}
	if v.at.head.Rev > v.at.floor && last != v.at.head {
		return damaged("the feed ends at %d with another hash than the head %d", last.Rev, v.at.head.Rev)
	}
	return s.tables(ctx, v)
}

// Import makes a store in a directory from what Export wrote, by any implementation. The directory must be empty, or hold
// an import that did not finish, which is begun again. Until it has finished, Open refuses the directory.
func Import(ctx context.Context, c Config, r io.Reader) (store.Head, error) {
	c, err := c.complete()
	if err != nil {
		return store.Head{}, err
	}
	head, err := importInto(ctx, &c, r)
	if err != nil {
		return store.Head{}, fmt.Errorf("import into store %s: %w", c.Dir, err)
	}
	return head, nil
}

func importInto(ctx context.Context, c *Config, r io.Reader) (head store.Head, err error) {
	lock, err := lockDir(c)
	if err != nil {
		return head, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	e, err := launch(c)
	if err != nil {
		return head, err
	}
	defer func() {
		closed := e.close()
		if cause := e.failure(); cause != nil { // also one that closing met
			err = classify(cause)
		} else if err == nil {
			err = closed
		}
	}()
	if err := e.clean(); err != nil {
		return head, err
	}
	w := importer{e: e, batch: e.db.NewBatch()}
	defer func() { _ = w.batch.Close() }()
	if head, err = store.ReadCopy(ctx, r, w.put); err != nil {
		return head, err
	}
	return head, w.finish(head)
}

// clean marks an empty database, or one with an unfinished import, as being imported into, and removes what it holds.
func (e *engine) clean() error {
	format, err := e.read(keyFormat)
	if err != nil {
		return classify(err)
	}
	if format != nil {
		return errors.New("there is a store already")
	}
	mark, err := e.read(keyImport)
	if err != nil {
		return classify(err)
	}
	if mark == nil {
		it, err := e.db.NewIter(nil)
		if err != nil {
			return classify(err)
		}
		empty := !it.First()
		if err := it.Close(); err != nil {
			return classify(err)
		}
		if !empty {
			return damaged("there is a database that is not a store of keyhold")
		}
	}
	b := e.db.NewBatch()
	defer b.Close()
	err = errors.Join(b.DeleteRange([]byte{prefixFeed}, []byte{prefixEnd}, nil), b.Set(keyImport, nil, nil), e.write(b, pebble.Sync))
	return err
}

// write applies a batch and looks at the fence.
func (e *engine) write(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := e.db.Apply(b, o); err != nil {
		return classify(err)
	}
	if cause := e.failure(); cause != nil {
		return classify(cause)
	}
	return nil
}

// importer writes records in batches.
type importer struct {
	e     *engine
	batch *pebble.Batch
	key   []byte
	row   []byte
}

func (w *importer) put(r store.Record) error {
	w.key = appendDataKey(w.key[:0], r.Key)
	w.row = append(binary.BigEndian.AppendUint64(w.row[:0], uint64(r.Rev)), r.Value...)
	if err := w.batch.Set(w.key, w.row, nil); err != nil {
		return err
	}
	if w.batch.Len() < importBytes {
		return nil
	}
	err := w.e.write(w.batch, pebble.NoSync)
	_ = w.batch.Close()
	w.batch = w.e.db.NewBatch()
	return err
}

// finish writes what makes a store of it, last and at once.
func (w *importer) finish(head store.Head) error {
	floor := binary.BigEndian.AppendUint64(nil, uint64(head.Rev))
	if head.Rev > 0 {
		row := appendFeedHead(nil, head.Hash, 0, store.Token{})
		if err := w.batch.Set(feedKey(head.Rev), row, nil); err != nil {
			return err
		}
	}
	return errors.Join(
		w.batch.Set(keyFloor, floor, nil),
		w.batch.Set(keyFormat, binary.BigEndian.AppendUint16(nil, formatVersion), nil),
		w.batch.Delete(keyImport, nil),
		w.e.write(w.batch, pebble.Sync),
	)
}
