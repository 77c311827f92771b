package cosign

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/audit"
)

// The file of cursors: a line for each witness and origin, "VERIFIER-KEY ORIGIN SIZE". It is a hint: who loses it is told by the witness.
const (
	cursorsName = "witnesses"
	maxCursors  = 256 << 10 // bytes
	keptOrigins = 4         // of each witness, the newest
)

// readCursors reads the file. What cannot be read is not known.
func readCursors(dir string) map[string]map[string]uint64 {
	all := map[string]map[string]uint64{}
	f, err := os.Open(filepath.Join(dir, cursorsName))
	if err != nil {
		return all
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxCursors))
	if err != nil {
		return all
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.Fields(line)
		if len(parts) != 3 {
			continue
		}
		size, err := strconv.ParseUint(parts[2], 10, 63)
		if _, _, _, ok := audit.ParseOrigin(parts[1]); err != nil || !ok {
			continue
		}
		if all[parts[0]] == nil {
			all[parts[0]] = map[string]uint64{}
		}
		all[parts[0]][parts[1]] = size
	}
	return all
}

// writeCursors replaces the file. It is not synced.
func writeCursors(dir string, each []*asked) error {
	var text strings.Builder
	for _, a := range each {
		origins := slices.SortedFunc(maps.Keys(a.cursors), func(x, y string) int { return -cmp.Compare(epochOf(x), epochOf(y)) })
		for i, o := range origins {
			if i >= keptOrigins {
				delete(a.cursors, o)
				continue
			}
			fmt.Fprintf(&text, "%s %s %d\n", a.Key.Key(), o, a.cursors[o])
		}
	}
	path := filepath.Join(dir, cursorsName)
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

func epochOf(origin string) uint64 {
	_, _, epoch, _ := audit.ParseOrigin(origin)
	return epoch
}
