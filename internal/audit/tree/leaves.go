package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Leaves calls see with runs of the leaf hashes [from, to) of a tree, 32 bytes each, as they stand in the tiles of level 0 below dir. Of a tile that is not full, one
// that is wide enough serves. The hashes are believed: compare the root they lead to with one that is signed. Errors: ErrTile, and those of see.
func Leaves(dir string, from, to uint64, see func(first uint64, leaves []byte) error) error {
	for at := from; at < to; {
		index := at >> TileHeight
		first := index << TileHeight
		width := int(min(to-first, TileWidth)) //nolint:gosec // G115: at most TileWidth
		data, err := leafTile(dir, index, width)
		if err != nil {
			return err
		}
		if err := see(at, data[(at-first)*tlog.HashSize:width*tlog.HashSize]); err != nil {
			return err
		}
		at = first + uint64(width) //nolint:gosec // G115: positive
	}
	return nil
}

// leafTile reads a tile of level 0 of at least a width.
func leafTile(dir string, index uint64, width int) ([]byte, error) {
	data, err := readTile(dir, 0, index)
	if err == nil || width == TileWidth {
		return data, err
	}
	folder := filepath.Dir(filepath.Join(dir, filepath.FromSlash(TilePath(0, index, 1))))
	entries, readErr := os.ReadDir(folder)
	if readErr != nil {
		return nil, err
	}
	for _, e := range entries {
		n, bad := strconv.Atoi(e.Name())
		if bad != nil || n < width || n >= TileWidth {
			continue
		}
		if data, bad := os.ReadFile(filepath.Join(folder, e.Name())); bad == nil && len(data) == n*tlog.HashSize {
			return data, nil
		}
	}
	return nil, err
}

// SyncLeaves makes the tiles of level 0 that hold the leaf hashes [from, to) of a tree of to records durable, with the names of their folders.
func SyncLeaves(dir string, from, to uint64) error {
	var folders []string
	for index := from >> TileHeight; index<<TileHeight < to; index++ {
		width := int(min(to-index<<TileHeight, TileWidth)) //nolint:gosec // G115: at most TileWidth
		path := filepath.Join(dir, filepath.FromSlash(TilePath(0, index, width)))
		if err := syncFile(path, os.O_RDWR); err != nil {
			return fmt.Errorf("sync tile: %w", err)
		}
		for up := filepath.Dir(path); !slices.Contains(folders, up); up = filepath.Dir(up) {
			folders = append(folders, up)
			if up == dir {
				break
			}
		}
	}
	for _, folder := range folders {
		if err := syncFile(folder, os.O_RDONLY); err != nil {
			return fmt.Errorf("sync tiles: %w", err)
		}
	}
	return nil
}

func syncFile(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
