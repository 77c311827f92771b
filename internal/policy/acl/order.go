package acl

import (
	"cmp"
	"strings"
)

// glob is a path of a rule: segments, of which "+" stands for any one, and perhaps a * at the end.
type glob struct {
	text     string
	segments []string
	prefix   bool // it ends with *: the last segment is what the rest begins with
}

func globOf(path string) glob {
	g := glob{text: path}
	rest, prefix := strings.CutSuffix(path, "*")
	g.prefix = prefix
	g.segments = strings.Split(rest, "/")
	return g
}

func (g *glob) exact() bool { return !g.prefix && g.pluses() == 0 }

func (g *glob) pluses() (n int) {
	for _, s := range g.segments {
		if s == "+" {
			n++
		}
	}
	return n
}

// before orders paths that match the same request: negative if a has the higher priority. Vault's words: "If different patterns
// appear in the applicable policies, we take only the highest-priority match": an exact path first; then P1 is lower than P2 if
//  1. the first wildcard (+) or glob (*) occurs earlier in P1,
//  2. P1 ends in * and P2 does not,
//  3. P1 has more + segments,
//  4. P1 is shorter,
//  5. P1 is smaller lexicographically.
func before(a, b *glob) int {
	if e, f := a.exact(), b.exact(); e != f {
		if e {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(b.wildcard(), a.wildcard()),
		cmp.Compare(truth(a.prefix), truth(b.prefix)),
		cmp.Compare(a.pluses(), b.pluses()),
		cmp.Compare(len(b.text), len(a.text)),
		strings.Compare(b.text, a.text),
	)
}

// wildcard is where the first one stands.
func (g *glob) wildcard() int {
	at := len(g.text)
	if g.prefix {
		at--
	}
	if plus := strings.Index("/"+g.text+"/", "/+/"); plus >= 0 {
		at = min(at, plus)
	}
	return at
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
