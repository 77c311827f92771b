package sink

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/audit"
)

// cursor is how far a sink has come: the last record that it was given, and that record's leaf hash, by which a log that was put back to an
// earlier time shows. The zero cursor stands before the oldest record.
type cursor struct {
	at   audit.Position
	leaf [32]byte
}

const (
	cursorWord = "keyhold-audit-cursor-v1"
	maxCursor  = 512 // bytes
)

var errCursor = errors.New("the cursor is damaged")

// crc finds damage, nothing else (CRC-32C).
func crc(text string) string {
	sum := strconv.FormatUint(uint64(crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))), 16)
	return strings.Repeat("0", 8-len(sum)) + sum
}

// text is the content of the file: one line of word, position, leaf hash and checksum.
func (c cursor) text() string {
	line := cursorWord + " " + c.at.String() + " " + hex.EncodeToString(c.leaf[:])
	return line + " " + crc(line) + "\n"
}

// parseCursor reads the form that text writes, and no other.
func parseCursor(text string) (cursor, error) {
	parts := strings.Split(strings.TrimSuffix(text, "\n"), " ")
	if len(text) > maxCursor || len(parts) != 4 {
		return cursor{}, errCursor
	}
	at, err := audit.ParsePosition(parts[1])
	leaf, err2 := hex.DecodeString(parts[2])
	if err != nil || err2 != nil || len(leaf) != 32 {
		return cursor{}, errCursor
	}
	c := cursor{at, [32]byte(leaf)}
	if c.text() != text {
		return cursor{}, errCursor
	}
	return c, nil
}

// loadCursor reads a cursor; a file that is not there is the zero one.
func loadCursor(path string) (cursor, error) {
	f, err := os.Open(path) //nolint:gosec // G304: a name that was checked, in the server's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return cursor{}, nil
	}
	if err != nil {
		return cursor{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxCursor+1))
	if err != nil {
		return cursor{}, err
	}
	c, err := parseCursor(string(text))
	if err != nil {
		return cursor{}, fmt.Errorf("%s: %w: remove it to ship the whole log once more", path, err)
	}
	return c, nil
}

// save replaces the file as a whole: written beside, synced, renamed.
func (c cursor) save(path string) error {
	return replace(path, []byte(c.text()))
}

func replace(path string, data []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // G304: as above
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: as above
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
