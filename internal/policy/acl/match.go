package acl

import (
	"strings"
)

// The variables of a pattern (kms.Path).
const (
	nameSegment  = "{name}"
	nameSegments = "{names}"
	anySegment   = "{any}"
	mountSegment = "{mount}"
)

// tokenMount is no mount that {mount} stands for: it has paths of its own.
const tokenMount = "token"

// about says which names a path means, of those that stand at the place of a pattern's variable.
type about struct {
	kind kind
	text string // of equal and begins; of shaped, with + for each segment that may be any
}

// kind is a way to say which names are meant.
type kind uint8

const (
	none    kind = iota // the path and the pattern have nothing in common
	partial             // the path says something about what does not matter to the action, and so cannot be decided on
	all                 // every name
	equal
	begins
	segment // every name of one segment
	shaped  // names of so many segments, some of which are given
)

// match compares the path of a rule with a pattern. written: every word of the pattern in front of the name is written out in the path.
func match(g *glob, pattern []string) (a about, written bool) {
	a, written = about{kind: all}, true
	part := false // something is said about what does not matter: if the rest agrees, nothing can be decided on
	for i, want := range pattern {
		last := i == len(g.segments)-1
		if i >= len(g.segments) {
			return about{}, false
		}
		got := g.segments[i]
		if last && g.prefix {
			switch {
			case want == nameSegment || want == nameSegments:
				if got != "" {
					a = about{begins, got}
				}
			case want == anySegment || want == mountSegment:
				part = part || got != ""
			case !strings.HasPrefix(want, got):
				return about{}, false
			default:
				written = false
			}
			for _, rest := range pattern[i+1:] {
				written = written && strings.HasPrefix(rest, "{")
			}
			return partly(a, part), written && !part
		}
		switch {
		case want == nameSegments:
			return partly(restOf(g, i), part), written && !part
		case want == nameSegment && got == "+":
			a = about{kind: segment}
		case want == nameSegment && got != "":
			a = about{equal, got}
		case want == mountSegment && got == tokenMount:
			return about{}, false
		case want == anySegment || want == mountSegment:
			part = part || got != "+"
		case got == "+":
			written = false
		case got != want:
			return about{}, false
		}
	}
	if len(g.segments) > len(pattern) {
		return about{}, false
	}
	return partly(a, part), written && !part
}

// partly is what a path means that says something about what does not matter.
func partly(a about, part bool) about {
	if part && a.kind != none {
		return about{kind: partial}
	}
	return a
}

// restOf is what a path says of a name of several segments, from the one at i on.
func restOf(g *glob, i int) about {
	rest := g.segments[i:]
	text := strings.Join(rest, "/")
	plus := false
	for _, s := range rest {
		plus = plus || s == "+"
	}
	switch {
	case plus && g.prefix:
		return about{kind: partial}
	case plus:
		return about{shaped, text}
	case g.prefix:
		return about{begins, text}
	case text == "":
		return about{}
	}
	return about{equal, text}
}
