package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/keyhold/keyhold/internal/store"
)

// tables reads every block of every table and compares its checksum: filters, indexes and properties too, and rows that a
// later one hides, which no other reading comes by.
func (s *Store) tables(ctx context.Context, v *view) error {
	levels, err := v.eng.db.SSTables()
	if err != nil {
		return fault(v, err)
	}
	read := options(&s.cfg, v.eng.fence).MakeReaderOptions()
	for _, level := range levels {
		for _, t := range level {
			if err := errors.Join(ctx.Err(), s.closing(v)); err != nil {
				return err
			}
			name := t.BackingSSTNum.String() + ".sst"
			err := blocks(ctx, s.cfg.FS.PathJoin(s.cfg.Dir, name), &s.cfg, read)
			switch {
			case errors.Is(err, fs.ErrNotExist): // a compaction came between: what it wrote instead was read by it
			case pebble.IsCorruptionError(err):
				return fmt.Errorf("%w: %s: %w", store.ErrDamaged, name, err)
			case err != nil:
				return fault(v, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return nil
}

func blocks(ctx context.Context, path string, c *Config, read sstable.ReaderOptions) error {
	f, err := c.FS.Open(path)
	if err != nil {
		return err
	}
	file, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, file, read)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}
