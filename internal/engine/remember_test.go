package engine

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
)

// What a change answers is remembered with its idempotency token: a type that JSON has no form for would fail the
// changes of those who send one, and theirs alone.
func TestEveryAnswerCanBeRemembered(t *testing.T) {
	facade := reflect.TypeFor[*Engine]()
	failure := reflect.TypeFor[error]()
	reads := map[string]bool{"CanI": true, "Explain": true, "ListAudit": true} // they answer records, and are never remembered
	n := 0
	for i := range facade.NumMethod() {
		m := facade.Method(i)
		if m.Type.NumOut() != 2 || m.Type.Out(1) != failure || m.Type.NumIn() < 3 || m.Type.In(2) != reflect.TypeFor[*kms.Call]() && m.Type.In(2) != reflect.TypeFor[kms.Call]() {
			continue
		}
		n++
		if reads[m.Name] {
			continue
		}
		out, again := reflect.New(m.Type.Out(0)), reflect.New(m.Type.Out(0))
		fillIn(out.Elem(), 6)
		b, err := json.Marshal(out.Interface(), json.Deterministic(true), writeDurations)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if strings.Contains(string(b), "[redacted]") {
			continue // it gives out a secret, and is remembered as done alone
		}
		if err := json.Unmarshal(b, again.Interface(), readDurations); err != nil {
			t.Errorf("%s: %s is not read: %v", m.Name, b, err)
		}
	}
	if n < 100 {
		t.Fatalf("found %d operations: this test lost its way", n)
	}
}

// fillIn gives every slice and map one element, and every pointer something to point to.
func fillIn(v reflect.Value, depth int) {
	if depth == 0 || v.Type() == reflect.TypeFor[time.Time]() || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.Int64:
		v.SetInt(1) // a duration, above all
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(v.Field(i), depth-1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0), depth-1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem(), depth-1)
	}
}
