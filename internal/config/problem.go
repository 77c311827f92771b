package config

import (
	"fmt"
	"strings"
)

// maxProblems are shown; a file can be wrong in more places.
const maxProblems = 20

// place is where a value was given.
type place struct {
	name         string // of the file, of the environment variable, of the flag
	line, column int    // of a file; else 0
}

func (p place) known() bool { return p.name != "" }

func (p place) or(q place) place {
	if p.known() {
		return p
	}
	return q
}

func (p place) String() string {
	switch {
	case p.line > 0:
		return fmt.Sprintf("%s:%d:%d", p.name, p.line, p.column)
	case p.known():
		return p.name
	}
	return "default"
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Place   string // "file:line:column", or the name of an environment variable or flag
	Setting string // may be empty
	What    string
	Want    string // the form that is wanted, or the nearest known name; may be empty
}

func (p Problem) String() string {
	s := p.Place + ": "
	if p.Setting != "" {
		s += p.Setting + ": "
	}
	s += p.What
	if p.Want != "" {
		s += "; want " + p.Want
	}
	return s
}

// Problems are everything that was found wrong, not the first thing alone.
type Problems []Problem

func (ps *Problems) add(at place, setting, what, want string) {
	*ps = append(*ps, Problem{Place: at.String(), Setting: setting, What: what, Want: want})
}

func (ps Problems) Error() string {
	lines := make([]string, 0, min(len(ps), maxProblems)+1)
	for i, p := range ps {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(ps)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// nearest is the known name that a wrong one was probably meant to be; empty if there is none.
func nearest(wrong string, known []string) string {
	best, least := "", 0
	for _, name := range known {
		d := distance(wrong, name)
		if strings.HasSuffix(name, "."+wrong) || strings.HasSuffix(wrong, "."+name) {
			d = min(d, 1) // right name, wrong section
		} else if i, j := strings.LastIndexByte(wrong, '.'), strings.LastIndexByte(name, '.'); i >= 0 && j >= 0 && wrong[i:] == name[j:] {
			d = min(d, 2)
		}
		if best == "" || d < least {
			best, least = name, d
		}
	}
	if least > max(2, len(wrong)/3) {
		return ""
	}
	return best
}

// distance is how many letters are added, left out, changed or swapped with their neighbour (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxNameLength {
		return len(a)
	}
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}

// maxNameLength is more than any setting's name has.
const maxNameLength = 128
