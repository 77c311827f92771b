package kms

import (
	"fmt"
	"strings"
)

// Limits of names and references, in bytes.
const (
	MaxNamespace      = 63
	MaxName           = 255
	MaxDescription    = 1024 // of namespaces, templates and policies
	MaxKeyDescription = 8192
	MaxNote           = 1024
	MaxLabels         = 64
	MaxLabelKey       = 128
	MaxLabelValue     = 256
	MaxRef            = 512
)

// Namespace is the name of a tenant: [a-z0-9][a-z0-9-]{0,62}.
type Namespace string

// DefaultNamespace is used where a caller names none.
const DefaultNamespace Namespace = "default"

// SystemNamespace is the home of operators. It holds no keys.
const SystemNamespace Namespace = "system"

// ParseNamespace checks the form of a namespace's name.
func ParseNamespace(s string) (Namespace, error) {
	if s == "" || len(s) > MaxNamespace || s[0] == '-' {
		return "", badNamespace(s)
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return "", badNamespace(s)
		}
	}
	return Namespace(s), nil
}

func badNamespace(s string) error {
	return Errorf(CodeBadName, "%q is not the name of a namespace: want 1 to 63 of a-z, 0-9 and '-', not starting with '-'", clip(s))
}

// CheckName checks the form of a key's name or alias: [A-Za-z0-9][A-Za-z0-9._/-]{0,254}.
// A name may not look like an id or an alias reference, so that every reference has one meaning.
func CheckName(s string) error {
	bad := func(why string) error {
		return Errorf(CodeBadName, "%q is not a key name: %s", clip(s), why)
	}
	if s == "" || len(s) > MaxName {
		return bad("want 1 to 255 characters")
	}
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '/' && c != '-') {
			return bad("want letters, digits and . _ / - after a first letter or digit")
		}
	}
	if _, is := ParseID(s); is {
		return bad("it has the form of a key id")
	}
	if strings.HasPrefix(s, aliasPrefix) {
		return bad("names do not start with alias/")
	}
	return nil
}

// CheckLabels checks number and size of labels.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Errorf(CodeTooLarge, "%d labels are more than the %d a key can carry", len(labels), MaxLabels)
	}
	for k, v := range labels {
		if k == "" || len(k) > MaxLabelKey || len(v) > MaxLabelValue {
			return Errorf(CodeBadRequest, "label %q: want a key of 1 to %d bytes and a value of at most %d", clip(k), MaxLabelKey, MaxLabelValue)
		}
	}
	return nil
}

const aliasPrefix = "alias/"

// Ref is a key reference as a caller wrote it: an id, a name, or alias/NAME.
type Ref string

// Alias is the alias by which a reference names a key, if it does.
func (r Ref) Alias() (string, bool) {
	name, is := strings.CutPrefix(string(r), aliasPrefix)
	if !is {
		return "", false
	}
	return name, true
}

// RefForm says how a reference names its key.
type RefForm uint8

// The forms of a reference.
const (
	ByID RefForm = iota + 1
	ByName
	ByAlias
)

// Parse tells the form of a reference, with the id or the bare name it carries.
func (r Ref) Parse() (form RefForm, id ID, name string, err error) {
	s := string(r)
	if s == "" {
		return 0, ID{}, "", Errorf(CodeBadRequest, "the request names no key")
	}
	if len(s) > MaxRef {
		return 0, ID{}, "", Errorf(CodeBadName, "the key reference has %d bytes, the limit is %d", len(s), MaxRef)
	}
	if id, ok := ParseID(s); ok {
		return ByID, id, "", nil
	}
	if rest, ok := strings.CutPrefix(s, aliasPrefix); ok {
		return ByAlias, ID{}, rest, CheckName(rest)
	}
	return ByName, ID{}, s, CheckName(s)
}

// RefTo is the reference by id.
func RefTo(id ID) Ref { return Ref(id.String()) }

// clip shortens a stranger's text before it goes into a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:most], len(s))
}
