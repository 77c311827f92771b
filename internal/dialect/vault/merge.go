package vault

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// maxMergeDepth is how many objects may stand in one another in a patch.
const maxMergeDepth = 64

var errDeepPatch = errors.New("the patch is nested too deeply")

// merge applies a JSON merge patch (RFC 7396 §2). The caller erases the result.
func merge(document secret.Released, patch []byte) ([]byte, error) {
	was := document.Wire(release.Wire{})
	room := make([]byte, 0, len(was)+len(patch)) // what is merged is not longer, and so in no other memory
	out, err := merged(room, was, patch, 0)
	if err != nil {
		clear(room[:cap(room)])
	}
	return out, err
}

// merged appends a value with a patch applied.
func merged(out, value, patch []byte, depth int) ([]byte, error) {
	if patch[0] != '{' {
		return append(out, patch...), nil
	}
	if depth == maxMergeDepth {
		return nil, errDeepPatch
	}
	var was []field
	var err error
	if len(value) > 0 && value[0] == '{' {
		if was, err = members(value); err != nil {
			return nil, err
		}
	}
	changes, err := members(patch)
	if err != nil {
		return nil, err
	}
	out = append(out, '{')
	add := func(m field, patch []byte) (err error) {
		if len(patch) > 0 && patch[0] == 'n' {
			return nil
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(append(out, m.name...), ':')
		if patch == nil {
			out = append(out, m.raw...)
			return nil
		}
		out, err = merged(out, m.raw, patch, depth+1)
		return err
	}
	news, olds := byName(changes), byName(was)
	for _, m := range was {
		if err := add(m, news[m.text()]); err != nil {
			return nil, err
		}
	}
	for _, m := range changes {
		if _, is := olds[m.text()]; !is {
			if err := add(field{name: m.name}, m.raw); err != nil {
				return nil, err
			}
		}
	}
	return append(out, '}'), nil
}

// members are those of an object, their names with quotes and nulls included.
func members(object []byte) (all []field, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	for d.PeekKind() != '}' {
		var m field
		for _, to := range []*[]byte{&m.name, &m.raw} {
			v, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			end := d.InputOffset()
			*to = object[end-int64(len(v)) : end]
		}
		all = append(all, m)
	}
	return all, nil
}

// text is the name of a member of members, without quotes and escapes.
func (m *field) text() string {
	b, _ := jsontext.AppendUnquote(nil, m.name) // a name that was read
	return string(b)
}

func byName(all []field) map[string][]byte {
	m := make(map[string][]byte, len(all))
	for i := range all {
		m[all[i].text()] = all[i].raw
	}
	return m
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
