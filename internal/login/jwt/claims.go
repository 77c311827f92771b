package jwt

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// said is what a token says.
type said map[string]jsontext.Value

// find finds a claim by its name, or by a JSON pointer (RFC 6901) that begins with a slash, through objects. nil: there is none.
func (s said) find(name string, byPointer bool) jsontext.Value {
	if !byPointer || !strings.HasPrefix(name, "/") {
		return s[name]
	}
	parts := strings.Split(name[1:], "/")
	for i, part := range parts {
		v := s[unescape.Replace(part)]
		if i == len(parts)-1 || v.Kind() != '{' {
			if i < len(parts)-1 {
				return nil
			}
			return v
		}
		s = nil
		if json.Unmarshal(v, &s) != nil {
			return nil
		}
	}
	return nil
}

// unescape is the order of RFC 6901 §4, in one pass.
var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// pointer tells whether a text has the form of a JSON pointer (RFC 6901 §3).
func pointer(s string) bool {
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return false
		}
	}
	return strings.HasPrefix(s, "/")
}

// scalar is a text, or a number or a truth value as it is written.
type scalar struct {
	text   string
	quoted bool
}

// scalars reads a scalar, or a list of them. A claim that is null, an object, or a list with something else in it is none.
func scalars(v jsontext.Value) ([]scalar, bool) {
	switch v.Kind() {
	case '[':
		var list []jsontext.Value
		if json.Unmarshal(v, &list) != nil {
			return nil, false
		}
		all := make([]scalar, 0, len(list))
		for _, e := range list {
			s, ok := one(e)
			if !ok {
				return nil, false
			}
			all = append(all, s)
		}
		return all, true
	case 0:
		return nil, false
	}
	s, ok := one(v)
	return []scalar{s}, ok
}

func one(v jsontext.Value) (s scalar, ok bool) {
	switch v.Kind() {
	case '"':
		s.quoted = true
		return s, json.Unmarshal(v, &s.text) == nil
	case '0', 't', 'f':
		s.text = string(v)
		return s, true
	}
	return s, false
}

// texts are those of a claim that is a text or a list of them.
func (s said) texts(name string) ([]string, bool) {
	v := s.find(name, true)
	if v == nil {
		return nil, true
	}
	all, ok := scalars(v)
	list := make([]string, 0, len(all))
	for _, one := range all {
		ok = ok && one.quoted
		list = append(list, one.text)
	}
	return list, ok
}
