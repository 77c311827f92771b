package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// The shape of tiles (C2SP tlog-tiles).
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
	TileBytes  = TileWidth * tlog.HashSize
	maxLevels  = 8 // tile levels: 2^64 records
)

// TilePath is the path of a tile below an epoch's folder: tile/LEVEL/INDEX, with .p/WIDTH for one that is not full.
func TilePath(level int, index uint64, width int) string {
	n := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		n = fmt.Sprintf("x%03d/%s", index%1000, n)
	}
	if width < TileWidth {
		n = fmt.Sprintf("%s.p/%d", n, width)
	}
	return fmt.Sprintf("tile/%d/%s", level, n)
}

// Tree grows at its right edge. The edge is in memory; full tiles are on disk.
type Tree struct {
	dir   string
	whole Range
	edge  [maxLevels][]Hash // the hashes of the tile that is not full yet, by tile level
	err   error             // of the first tile that could not be written
}

// New is an empty tree whose tiles go below dir.
func New(dir string) *Tree { return &Tree{dir: dir} }

// Size is the number of records.
func (t *Tree) Size() uint64 { return t.whole.Next }

// Root is the root over all records.
func (t *Tree) Root() Hash { return t.whole.Root() }

// TileError tells whether a tile could not be written. Tiles are derived, so that this loses nothing.
func (t *Tree) TileError() error { return t.err }

// Append adds the next record. A tile that becomes full is written without a sync.
func (t *Tree) Append(leaf Hash) {
	index := t.whole.Next
	t.extend(0, leaf, index)
	t.whole.Append(leaf, func(level int, root Hash) {
		t.extend(level/TileHeight, root, index>>uint(level)) //nolint:gosec // G115: level is at most 63
	})
}

func (t *Tree) extend(level int, h Hash, index uint64) {
	t.edge[level] = append(t.edge[level], h)
	if len(t.edge[level]) == TileWidth {
		if err := t.write(level, index>>TileHeight, t.edge[level]); err != nil && t.err == nil {
			t.err = err
		}
		t.edge[level] = t.edge[level][:0]
	}
}

// write puts a tile in place by a rename, so that a reader sees all of it or nothing.
func (t *Tree) write(level int, index uint64, hashes []Hash) error {
	path := filepath.Join(t.dir, filepath.FromSlash(TilePath(level, index, len(hashes))))
	data := make([]byte, 0, TileBytes)
	for i := range hashes {
		data = append(data, hashes[i][:]...)
	}
	temp := path + ".tmp"
	err := os.WriteFile(temp, data, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(temp, data, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write tile: %w", err)
	}
	return nil
}

// WriteEdge writes the tiles that are not full, for a tree that will not grow any more.
func (t *Tree) WriteEdge() error {
	for level, hashes := range t.edge {
		if len(hashes) == 0 {
			continue
		}
		if err := t.write(level, t.Size()>>uint(TileHeight*(level+1)), hashes); err != nil { //nolint:gosec // G115: small
			return err
		}
	}
	return nil
}

// ErrTile says that a tile is missing or does not have its size.
var ErrTile = errors.New("tree: a tile is missing")

func readTile(dir string, level int, index uint64) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(TilePath(level, index, TileWidth))))
	if err != nil || len(data) != TileBytes {
		return nil, fmt.Errorf("%w: level %d, index %d", ErrTile, level, index)
	}
	return data, nil
}

// Load makes the tree of n records from the full tiles below dir and the last n%256 leaf hashes, which leaves yields from a record on.
// A missing tile gives ErrTile: rebuild by appending every leaf hash to a New tree. Tiles are believed: compare the root with one that is signed.
func Load(dir string, n uint64, leaves func(from uint64) ([]Hash, error)) (*Tree, error) {
	t := New(dir)
	tail, err := leaves(n &^ (TileWidth - 1))
	if err != nil {
		return nil, err
	}
	if uint64(len(tail)) != n%TileWidth {
		return nil, fmt.Errorf("%w: %d leaf hashes at the edge, want %d", ErrTile, len(tail), n%TileWidth)
	}
	t.edge[0] = append(t.edge[0], tail...)
	for level := 1; level < maxLevels; level++ {
		count := n >> uint(TileHeight*level) //nolint:gosec // G115: small
		for i := count &^ (TileWidth - 1); i < count; i++ {
			data, err := readTile(dir, level-1, i)
			if err != nil {
				return nil, err
			}
			hashes := make([]Hash, TileWidth)
			for k := range hashes {
				hashes[k] = Hash(data[k*tlog.HashSize:])
			}
			t.edge[level] = append(t.edge[level], perfect(hashes))
		}
	}
	for level := maxLevels - 1; level >= 0; level-- {
		rest := append([]Hash(nil), t.edge[level]...)
		for len(rest) > 0 {
			w := top(len(rest))
			bit := uint8(TileHeight * level) //nolint:gosec // G115: small
			for s := w; s > 1; s /= 2 {
				bit++
			}
			t.whole.nodes = append(t.whole.nodes, node{bit, perfect(rest[:w])})
			rest = rest[w:]
		}
	}
	t.whole.Next = n
	return t, nil
}

// Reader reads the hashes of a tree at the size it had when the reader was made. It is a tlog.HashReader.
type Reader struct {
	dir  string
	size uint64
	edge [maxLevels][]byte
}

// Reader makes a reader that stays valid while the tree grows.
func (t *Tree) Reader() *Reader {
	r := &Reader{dir: t.dir, size: t.Size()}
	for level, hashes := range t.edge {
		for i := range hashes {
			r.edge[level] = append(r.edge[level], hashes[i][:]...)
		}
	}
	return r
}

// ReadHashes implements tlog.HashReader.
func (r *Reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	type place struct {
		level int
		index uint64
	}
	cache := map[place][]byte{}
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		tl := level / TileHeight
		if tl >= maxLevels {
			return nil, ErrTile
		}
		at := place{tl, uint64(n) << uint(level%TileHeight) >> TileHeight} //nolint:gosec // G115: never negative
		data, ok := cache[at]
		if !ok {
			var err error
			if full := r.size >> uint(TileHeight*(tl+1)); at.index < full { //nolint:gosec // G115: small
				if data, err = readTile(r.dir, at.level, at.index); err != nil {
					return nil, err
				}
			} else if at.index == full {
				data = r.edge[tl]
			}
			cache[at] = data
		}
		tile := tlog.Tile{H: TileHeight, L: tl, N: int64(at.index), W: len(data) / tlog.HashSize} //nolint:gosec // G115: bounded by the size
		if tile.W == 0 {
			return nil, fmt.Errorf("%w: a hash beyond the tree", ErrTile)
		}
		h, err := tlog.HashFromTile(tile, data, x)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTile, err)
		}
		out[i] = h
	}
	return out, nil
}

// RootAt is the root that the tree had at an earlier size.
func (r *Reader) RootAt(size uint64) (Hash, error) {
	if size == 0 {
		return EmptyRoot(), nil
	}
	if size > r.size {
		return Hash{}, fmt.Errorf("%w: the tree has %d records, not %d", ErrTile, r.size, size)
	}
	h, err := tlog.TreeHash(int64(size), r) //nolint:gosec // G115: bounded by the size of the disk
	return Hash(h), err
}

// Size is the number of records of the tree that the reader sees.
func (r *Reader) Size() uint64 { return r.size }
