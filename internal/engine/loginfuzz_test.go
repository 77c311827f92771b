package engine

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/login"
)

// FuzzRoleDocuments: what is asked of a role is kept in one form, within its bounds, or refused.
func FuzzRoleDocuments(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"role_id":"x","bind":false,"bound":["10.0.0.0/8"],"uses":3,"ttl":60}`, `{"allowed":["a"],"allowed_glob":["a-*"],"suffix":"s"}`,
		`{"bound":["x"]}`, `{"ttl":-1}`, `{"role_id":""}`, `null`, `{"a":1}`, `{"suffix":"a/b"}`, `{"allowed":[""]}`} {
		f.Add([]byte(s), []byte(`{}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, m := range []login.Method{appRole{}, tokenRole{}} {
			was, err := m.Role(t.Context(), "r", login.Document{}, login.Document{Public: first})
			if err != nil {
				continue
			}
			now, err := m.Role(t.Context(), "r", was, login.Document{Public: second})
			if err != nil {
				continue
			}
			same, err := m.Role(t.Context(), "r", now, login.Document{})
			if err != nil || !bytes.Equal(same.Public, now.Public) {
				t.Fatalf("%T: %s is not kept as it is: %s, %v", m, now.Public, same.Public, err)
			}
		}
	})
}

// FuzzGlobs: a glob means what a regular expression says with .* for its stars.
func FuzzGlobs(f *testing.F) {
	for _, s := range [][2]string{{"a*", "abc"}, {"*a*b*", "xaab"}, {"a*a", "a"}, {"", ""}, {"**", "x"}, {"a*b*c", "abbc"}, {"a*b", "ab\nb"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if len(glob) > 64 || len(name) > 64 || strings.ToValidUTF8(glob+name, "") != glob+name {
			return
		}
		parts := strings.Split(glob, "*")
		want := make([]string, len(parts))
		for i, p := range parts {
			want[i] = regexp.QuoteMeta(p)
		}
		re := regexp.MustCompile(`(?s)\A` + strings.Join(want, `.*`) + `\z`)
		if got := meets(name, parts); got != re.MatchString(name) {
			t.Fatalf("%q and %q: got %v", glob, name, got)
		}
	})
}
