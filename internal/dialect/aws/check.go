package aws

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// problems gathers what a request's members violate of the model's constraints, in the words of AWS:
//
//	1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1
type problems struct {
	path  []string // of the member whose members are looked at
	item  int      // place in a list of the value that is looked at, from 1; 0: it is in none
	found []string
}

const (
	maxProblems = 10  // that are told
	maxTold     = 128 // bytes of a value
)

// hidden stands for a value that is not repeated.
const hidden = "\x00"

func (p *problems) add(name, value, what string) {
	if len(p.found) >= maxProblems {
		return
	}
	at := p.at(name)
	switch {
	case value == hidden:
		value = "Value"
	case len(value) > maxTold:
		value = "Value '" + value[:maxTold] + "…'"
	default:
		value = "Value '" + value + "'"
	}
	p.found = append(p.found, fmt.Sprintf("%s at '%s' failed to satisfy constraint: %s", value, at, what))
}

// at is the path of a member.
func (p *problems) at(name string) string {
	if p.item > 0 {
		name += "." + strconv.Itoa(p.item) + ".member"
	}
	if len(p.path) > 0 {
		return strings.Join(p.path, ".") + "." + name
	}
	return name
}

// inside enters a member that has members; i is its place in a list, from 1, or 0.
func (p *problems) inside(name string, i int) {
	if i > 0 {
		name = name + "." + strconv.Itoa(i) + ".member"
	}
	p.path = append(p.path, name)
}

func (p *problems) outside() { p.path = p.path[:len(p.path)-1] }

// want says that a member is required, and tells whether it is there.
func (p *problems) want(there bool, name string) bool {
	if !there && len(p.found) < maxProblems {
		p.found = append(p.found, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", p.at(name)))
	}
	return there
}

// length bounds a length; a negative bound is none.
func (p *problems) length(name, value string, n, least, most int) {
	switch {
	case least >= 0 && n < least:
		p.add(name, value, "Member must have length greater than or equal to "+strconv.Itoa(least))
	case most >= 0 && n > most:
		p.add(name, value, "Member must have length less than or equal to "+strconv.Itoa(most))
	}
}

func (p *problems) span(name string, v int32, least, most int) {
	switch {
	case least >= 0 && int(v) < least:
		p.add(name, strconv.Itoa(int(v)), "Member must have value greater than or equal to "+strconv.Itoa(least))
	case most >= 0 && int(v) > most:
		p.add(name, strconv.Itoa(int(v)), "Member must have value less than or equal to "+strconv.Itoa(most))
	}
}

func (p *problems) enum(name, v string, values []string) {
	if !slices.Contains(values, v) {
		p.add(name, v, "Member must satisfy enum value set: ["+strings.Join(values, ", ")+"]")
	}
}

func (p *problems) pattern(name, told, v string, want *pattern) {
	if !want.matches(v) {
		p.add(name, told, "Member must satisfy regular expression pattern: "+want.text)
	}
}

// err is the one error that tells all of it; nil: nothing was found.
func (p *problems) err() *fault {
	switch len(p.found) {
	case 0:
		return nil
	case 1:
		return newFault("ValidationException", "1 validation error detected: "+p.found[0])
	}
	return newFault("ValidationException", fmt.Sprintf("%d validation errors detected: %s", len(p.found), strings.Join(p.found, "; ")))
}

// textLen counts characters.
func textLen(s string) int { return utf8.RuneCountInString(s) }

// pattern is a regular expression of the model: the whole value must match it. It is compiled when it is first needed.
type pattern struct {
	text    string
	compile func() *regexp.Regexp
}

func newPattern(text string) *pattern {
	return &pattern{text: text, compile: sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile("^(?:" + unicodeEscape.ReplaceAllString(text, `\x{$1}`) + ")$")
	})}
}

// unicodeEscape is how the model writes a character: \u0020, for which Go has \x{0020}.
var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

func (p *pattern) matches(s string) bool { return p.compile().MatchString(s) }
