package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// maxFieldDepth is how many names the path of a field may have.
const maxFieldDepth = 16

// parseField reads the path of a field: names with dots between them. None: lines are no JSON.
func parseField(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	path := strings.Split(s, ".")
	if len(path) > maxFieldDepth || slices.Contains(path, "") {
		return nil, usagef("for example --field card.number", "%q is not the path of a field: it has 1 to %d names with dots between them", s, maxFieldDepth)
	}
	return path, nil
}

// fieldOf finds the text of a field in a line that is a JSON object, and where it stands between its quotes. Where a name stands twice, the first counts.
func fieldOf(line []byte, path []string) (at place, text string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	for _, name := range path {
		if !enter(d, name) {
			return at, "", false
		}
	}
	from := int(d.InputOffset()) // behind the name
	value, err := d.Token()
	text, is := value.(string)
	if err != nil || !is {
		return at, "", false
	}
	to := int(d.InputOffset())
	quote := bytes.IndexByte(line[from:to], '"') // behind the colon
	if quote < 0 || to-1 <= from+quote {
		return at, "", false
	}
	return place{from + quote + 1, to - 1}, text, true
}

// enter goes into the next value, which has to be an object, up to a name in it.
func enter(d *json.Decoder, name string) bool {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return false
		}
		if t == name {
			return true
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return false
		}
	}
	return false
}
