package audit

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// newestCheckpoint is the newest checkpoint of an epoch that can be read. Its signature is not checked.
func newestCheckpoint(dir string) (tree.Checkpoint, bool) {
	_, c, ok := newestNote(dir)
	return c, ok
}

// newestNote looks at the latest checkpoint and at the end of the file of all, since a crash can leave either behind the other.
func newestNote(dir string) (msg []byte, c tree.Checkpoint, ok bool) {
	if data, err := readSmall(filepath.Join(dir, checkpointName), tree.MaxNote); err == nil {
		if got, err := tree.Unverified(data); err == nil {
			msg, c, ok = data, got, true
		}
	}
	f, err := os.Open(filepath.Join(dir, checkpointsName))
	if err != nil {
		return msg, c, ok
	}
	defer f.Close() //nolint:errcheck // read only
	notes := tree.NewNotes(lastNotes(f))
	for {
		next, err := notes.Next()
		if err != nil {
			return msg, c, ok
		}
		if got, err := tree.Unverified(next); err == nil && (!ok || got.Size > c.Size) {
			msg, c, ok = bytes.Clone(next), got, true
		}
	}
}

// noteAt finds the checkpoint of a size in the file of all, whose sizes ascend. Its signature is not checked.
func noteAt(dir string, size uint64) (msg []byte, ok bool) {
	f, err := os.Open(filepath.Join(dir, checkpointsName))
	if err != nil {
		return nil, false
	}
	defer f.Close() //nolint:errcheck // read only
	st, err := f.Stat()
	if err != nil {
		return nil, false
	}
	// Halve the file until the note begins within one window behind low.
	const window = 4 * tree.MaxNote
	for low, high := int64(0), st.Size(); ; {
		if high-low <= window {
			return findNote(notesFrom(f, low, high+window), size)
		}
		mid := low + (high-low)/2
		next, err := tree.NewNotes(notesFrom(f, mid, high+window)).Next()
		if err != nil { // no note begins behind it
			high = mid
			continue
		}
		c, err := tree.Unverified(next)
		switch {
		case err != nil:
			return nil, false
		case c.Size == size:
			return bytes.Clone(next), true
		case c.Size < size:
			low = mid
		default:
			high = mid
		}
	}
}

func findNote(from io.Reader, size uint64) ([]byte, bool) {
	notes := tree.NewNotes(from)
	for {
		next, err := notes.Next()
		if err != nil {
			return nil, false
		}
		if c, err := tree.Unverified(next); err == nil && c.Size == size {
			return bytes.Clone(next), true
		}
	}
}

// notesFrom reads a part of a file of checkpoints, from the first one that begins at or behind an offset.
func notesFrom(f *os.File, from, to int64) io.Reader {
	if from == 0 {
		return io.NewSectionReader(f, 0, to)
	}
	const window = 2 * tree.MaxNote
	head := make([]byte, window)
	n, _ := f.ReadAt(head, from) //nolint:errcheck // what could be read is looked at
	begin := bytes.Index(head[:n], []byte("\n\n"+KeyName("")))
	if begin < 0 {
		return strings.NewReader("")
	}
	at := from + int64(begin) + 2
	return io.NewSectionReader(f, at, max(0, to-at))
}

// lastNotes is the end of a file of checkpoints, from the beginning of one of them.
func lastNotes(f *os.File) io.Reader {
	const window = 4 * tree.MaxNote
	st, err := f.Stat()
	if err != nil || st.Size() <= window {
		return f
	}
	return notesFrom(f, st.Size()-window, st.Size())
}

func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, err
}
