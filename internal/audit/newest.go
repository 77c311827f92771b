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

// lastNotes is the end of a file of checkpoints, from the beginning of one of them.
func lastNotes(f *os.File) io.Reader {
	const window = 4 * tree.MaxNote
	st, err := f.Stat()
	if err != nil || st.Size() <= window {
		return f
	}
	end := make([]byte, window)
	n, _ := f.ReadAt(end, st.Size()-window) //nolint:errcheck // what could be read is looked at
	_, notes, _ := bytes.Cut(end[:n], []byte("\n\n"+KeyName("")))
	return io.MultiReader(strings.NewReader(KeyName("")), bytes.NewReader(notes))
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
