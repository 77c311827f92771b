package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/keyhold/keyhold/internal/store"
)

// Settings of the engine, chosen for records of about 1 KiB that do not compress, and for a server that is small when
// idle: memory tables grow with use.
const (
	memTableBytes  = 16 << 20 // of recent writes kept in memory before they are written out
	memTables      = 4        // of them, at most, before commits wait for the disk
	bloomBits      = 10       // per key: about one false positive in a hundred
	openFiles      = 1024     // tables kept open, with some KiB of memory each: those of ten million keys
	l0Table        = 4 << 20  // bytes of a table that was just written out
	baseTable      = 16 << 20 // of one in the first level below; twice as much in each further one
	l0Compact      = 16       // twice the tables over one another that a compaction merges
	l0Stop         = 40       // sublevels at which commits wait for a compaction
	diskFormat     = pebble.FormatValueSeparation
	largestMessage = 512 // bytes of one line of the engine in the log
)

// engine is one opening of the database, behind a fence of its own.
type engine struct {
	db      *pebble.DB
	fence   *fence
	readers sync.WaitGroup // views that are not released
}

// position is where a store stands.
type position struct {
	head  store.Head
	floor store.Rev // the newest revision whose feed row was pruned
}

// options are the engine's, for one opening.
func options(c *Config, f *fence) *pebble.Options {
	o := &pebble.Options{
		FS:                          f,
		Logger:                      engineLog{log: c.Logger, fence: f},
		CacheSize:                   c.CacheBytes,
		FormatMajorVersion:          diskFormat,
		MemTableSize:                c.memTable,
		MemTableStopWritesThreshold: memTables,
		MaxOpenFiles:                openFiles,
		L0CompactionThreshold:       l0Compact,
		L0StopWritesThreshold:       l0Stop,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				c.Logger.Warn("store background work failed", "error", cut(err.Error()))
			},
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				c.Logger.Error("store file damaged", "file", i.Path, "error", cut(i.Details.Error()))
			},
			CompactionEnd: func(i pebble.CompactionInfo) {
				if i.Err == nil {
					f.compacted()
				}
			},
		},
	}
	o.TargetFileSizes[0], o.TargetFileSizes[1] = l0Table, baseTable // the others follow
	o.Experimental.SpanPolicyFunc = family
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return o
}

// family ends tables where the first byte of the store's keys changes, which is how users of a store keep kinds apart. Most kinds are
// written in the order of their keys, as the feed is: their tables lie over no others, and no compaction rewrites them because
// of a kind whose keys are random.
func family(key []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	switch {
	case len(key) == 0:
		return policy, []byte{prefixFeed}, nil
	case key[0] != prefixData:
		return policy, []byte{key[0] + 1}, nil
	case len(key) == 1:
		return policy, []byte{prefixData, 0}, nil
	case key[1] == 0xff:
		return policy, []byte{prefixToken}, nil
	}
	return policy, []byte{prefixData, key[1] + 1}, nil
}

// engineLog passes on what an operator should see. What the engine calls fatal closes the fence and not the process.
type engineLog struct {
	log   *slog.Logger
	fence *fence
}

func (engineLog) Infof(string, ...any) {}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("store engine error", "error", cut(fmt.Sprintf(format, args...)))
}

func (l engineLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("engine: %s", cut(fmt.Sprintf(format, args...)))
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("engine: %w", cause)
			break
		}
	}
	l.fence.trip(err)
}

func cut(s string) string {
	if len(s) > largestMessage {
		return s[:largestMessage] + "…"
	}
	return s
}

// start opens the database; what is there must be a store or nothing at all.
func start(c *Config) (*engine, position, error) {
	e, err := launch(c)
	if err != nil {
		return nil, position{}, err
	}
	at, err := e.locate()
	if err == nil {
		err = errors.Join(e.marks(c, at), e.unbroken(at))
	}
	if cause := e.failure(); cause != nil {
		err = cause
	}
	if err != nil {
		_ = e.close()
		return nil, position{}, classify(err)
	}
	return e, at, nil
}

// launch opens the database, whatever it holds.
func launch(c *Config) (e *engine, err error) {
	f := newFence(c.FS)
	defer func() {
		if p := recover(); p != nil { // files that no engine wrote
			e, err = nil, damaged("the engine gave up on it: %v", p)
		}
	}()
	db, err := pebble.Open(c.Dir, options(c, f))
	if f.down.Load() {
		if db != nil {
			_ = db.Close()
		}
		return nil, classify(f.cause)
	}
	if err != nil {
		if name := f.read.Load(); name != nil && pebble.IsCorruptionError(err) {
			err = fmt.Errorf("%s: %w", c.FS.PathBase(*name), err)
		}
		return nil, classify(err)
	}
	return &engine{db: db, fence: f}, nil
}

// failure is why the fence is down, or nil.
func (e *engine) failure() error {
	if e.fence.down.Load() {
		return e.fence.cause
	}
	return nil
}

// close ends the opening. Nobody may be reading.
func (e *engine) close() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("close engine: %v", p)
		}
	}()
	e.fence.hurry()
	return e.db.Close()
}

// read answers a copy of a row, or nil.
func (e *engine) read(key []byte) ([]byte, error) {
	row, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, row...), nil
}

// locate finds where the store stands, and makes a store of an empty database.
func (e *engine) locate() (position, error) {
	var at position
	format, err := e.read(keyFormat)
	if err != nil {
		return at, err
	}
	if format == nil {
		return at, e.found()
	}
	if err := decodeFormat(format); err != nil {
		return at, err
	}
	if at.head, err = e.newest(); err != nil {
		return at, err
	}
	row, err := e.read(keyFloor)
	if err != nil || row == nil {
		return at, err
	}
	if at.floor, err = decodeRev(row); err == nil && at.floor > at.head.Rev {
		err = damaged("the feed is pruned up to %d, the head is %d", at.floor, at.head.Rev)
	}
	return at, err
}

// newest is the head: the last row of the feed.
func (e *engine) newest() (store.Head, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixFeed}, UpperBound: []byte{prefixData}})
	if err != nil {
		return store.Head{}, err
	}
	defer it.Close()
	if !it.Last() {
		return store.Head{}, it.Error()
	}
	rev, err := feedRev(it.Key())
	if err != nil {
		return store.Head{}, err
	}
	row, err := decodeFeed(rev, it.Value())
	return store.Head{Rev: rev, Hash: row.hash}, err
}

// found makes a store of a database that holds nothing.
func (e *engine) found() error {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	unfinished := it.Valid() && string(it.Key()) == string(keyImport)
	if err := it.Close(); err != nil {
		return err
	}
	switch {
	case unfinished:
		return damaged("an import into it did not finish: import again, or remove the directory")
	case !empty:
		return damaged("there is a database that is not a store of keyhold")
	}
	return e.db.Set(keyFormat, binary.BigEndian.AppendUint16(nil, formatVersion), pebble.Sync)
}

// classify gives an error of the engine or the disk its name in the port, where there is one.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrFull), errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrClosed):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return err
}
