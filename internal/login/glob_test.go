package login_test

import (
	"testing"

	"github.com/keyhold/keyhold/internal/login"
)

func TestAStarStandsForAnyText(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "A", false}, {"a", "ab", false}, {"*", "", true}, {"*", "a/b", true}, {"**", "", true},
		{"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true}, {"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false}, {"*b*", "abc", true}, {"*b*", "ac", false}, {"a*bc*c", "abc", false}, {"a*bc*c", "abcbcc", true}, {"a?", "ab", false},
	} {
		if got := login.Glob(c.pattern, c.text); got != c.want {
			t.Errorf("%q on %q: got %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

// FuzzGlob: a text fits itself, and a pattern that is made of it by taking a part out.
func FuzzGlob(f *testing.F) {
	f.Add("refs/heads/main", 2, 5)
	f.Add("a*b", 0, 1)
	f.Fuzz(func(t *testing.T, s string, from, to int) {
		if from = max(0, min(from, len(s))); to < from || to > len(s) {
			to = len(s)
		}
		if p := s[:from] + "*" + s[to:]; !login.Glob(p, s) {
			t.Errorf("%q does not fit %q", s, p)
		}
	})
}
