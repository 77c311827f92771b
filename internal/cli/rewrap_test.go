package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestAFieldIsFoundWhereItStands(t *testing.T) {
	for _, tc := range []struct{ line, path, want string }{
		{`{"number":"abc"}`, "number", "abc"},
		{` { "a" : 1 , "number" :  "abc" , "b":[{"number":"no"}]}` + "\r\n", "number", "abc"},
		{`{"card":{"name":"x","number":"abc"},"number":"no"}`, "card.number", "abc"},
		{`{"other":{"number":"no"},"number":"abc"}`, "number", "abc"},
		{`{"number":"a\u0062c"}`, "number", "abc"},
		{`{"nu\u006dber":"abc"}`, "number", "abc"},
		{`{"number":"abc","number":"second"}`, "number", "abc"},
		{`{"number":""}`, "number", ""},
		{`{"number":7}`, "number", "-"},
		{`{"number":null}`, "number", "-"},
		{`{"number":{"number":"abc"}}`, "number", "-"},
		{`{"card":["number"]}`, "card.number", "-"},
		{`["number","abc"]`, "number", "-"},
		{`"number"`, "number", "-"},
		{`{"number":"abc`, "number", "-"},
		{`{"number"`, "number", "-"},
		{``, "number", "-"},
		{`not JSON`, "number", "-"},
	} {
		at, got, ok := fieldOf([]byte(tc.line), strings.Split(tc.path, "."))
		if !ok {
			got = "-"
		}
		if got != tc.want {
			t.Errorf("%s of %s: got %q want %q", tc.path, tc.line, got, tc.want)
			continue
		}
		if ok && tc.line[at.from-1] != '"' || ok && tc.line[at.to] != '"' {
			t.Errorf("%s: %q is not between quotes", tc.line, tc.line[at.from:at.to])
		}
	}
}

func TestThePathOfAFieldIsChecked(t *testing.T) {
	for s, want := range map[string]int{"": 0, "a": 1, "a.b.c": 3, ".": -1, "a.": -1, ".a": -1, "a..b": -1, strings.Repeat("a.", maxFieldDepth) + "a": -1} {
		got, err := parseField(s)
		if n := len(got); err != nil && want != -1 || err == nil && n != want {
			t.Errorf("%q: got %d names, %v; want %d", s, n, err, want)
		}
	}
}

func FuzzFieldOf(f *testing.F) {
	f.Add([]byte(`{"card":{"number":"abc"}}`), "card.number")
	f.Add([]byte(`{"a":[1,{"b":null}],"number":"a\u0062c"} trailing`), "number")
	f.Add([]byte(`{"number":`), "number")
	f.Fuzz(func(t *testing.T, line []byte, field string) {
		path, err := parseField(field)
		if err != nil || len(path) == 0 {
			return
		}
		at, text, ok := fieldOf(line, path)
		if !ok {
			return
		}
		var is string
		if err := json.Unmarshal(line[at.from-1:at.to+1], &is); err != nil || is != text {
			t.Fatalf("at %v of %q there is %q, %v; want %q", at, line, is, err, text)
		}
		const other = "bmV3"
		changed := slices.Concat(line[:at.from], []byte(other), line[at.to:])
		again, now, ok := fieldOf(changed, path)
		if !ok || now != other || again.from != at.from || !bytes.Equal(changed[again.to:], line[at.to:]) {
			t.Fatalf("%q became %q, which has %q", line, changed, now)
		}
	})
}
