package engine

import (
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of the words that approvers read.
const (
	maxTerms     = 256
	maxTermBytes = 40 << 10 // as they are stored
)

// termsOf says in words what a request asks for: every exported field that says something, whole. Bytes are shown by their digest. What is
// too long to be read is not asked for.
func termsOf(in any) ([]approval.Term, error) {
	t := terms{}
	t.add("", reflect.ValueOf(in))
	b, err := stdjson.Marshal(t.list)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the request could not be put into words").Because(err)
	}
	if len(t.list) > maxTerms || len(b) > maxTermBytes {
		return nil, kms.Errorf(kms.CodeTooLarge, "the request is too long to be put before others: %d fields in %d bytes, the limits are %d and %d", len(t.list), len(b), maxTerms, maxTermBytes)
	}
	return t.list, nil
}

type terms struct{ list []approval.Term }

func (t *terms) say(name, value string) {
	if len(t.list) <= maxTerms {
		t.list = append(t.list, approval.Term{Name: name, Value: value})
	}
}

var (
	typeOfTime  = reflect.TypeFor[time.Time]()
	typeOfBytes = reflect.TypeFor[[]byte]()
)

// add says one value. Zero values are what was not asked for, and are left out; behind a pointer they were.
func (t *terms) add(name string, v reflect.Value) {
	set := false
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		if v.IsNil() {
			return
		}
		v, set = v.Elem(), true
	}
	if !v.IsValid() || v.IsZero() && !set {
		return
	}
	if text, ok := inWords(v); ok {
		t.say(name, text)
		return
	}
	switch v.Kind() { //nolint:exhaustive // the rest is said as it prints
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				t.add(joinNames(name, f.Name), v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		t.addList(name, v)
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, k := range keys {
			t.say(fmt.Sprintf("%s %q", name, fmt.Sprint(k)), fmt.Sprint(v.MapIndex(k)))
		}
	default:
		t.say(name, fmt.Sprint(v))
	}
}

// addList says a list of words in one line, any other item by item.
func (t *terms) addList(name string, v reflect.Value) {
	var said []string
	for i := range v.Len() {
		item := v.Index(i)
		text, ok := inWords(item)
		if !ok && item.Kind() == reflect.String {
			text, ok = item.String(), true
		}
		if !ok {
			break
		}
		said = append(said, text)
	}
	if len(said) == v.Len() {
		t.say(name, strings.Join(said, ", "))
		return
	}
	for i := range v.Len() {
		t.add(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
	}
}

// inWords is the text of a value that has one.
func inWords(v reflect.Value) (string, bool) {
	switch v.Type() {
	case typeOfTime:
		at, _ := v.Interface().(time.Time)
		return at.UTC().Format(time.RFC3339Nano), true
	case typeOfBytes:
		sum := sha256.Sum256(v.Bytes())
		return fmt.Sprintf("%d bytes, SHA-256 %s", v.Len(), hex.EncodeToString(sum[:])), true
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String(), true
	}
	return "", false
}

// joinNames gives "SetLabels", "owner" the name "set labels owner".
func joinNames(outer, name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := 'A' <= r && r <= 'Z'
		if upper && i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	said := b.String()
	if outer == "" {
		return strings.ToLower(said)
	}
	return outer + " " + said
}
