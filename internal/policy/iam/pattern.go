package iam

// A pattern is a value with wildcards: runes, and the two marks below, which no text that JSON carries can be.
type pattern []rune

const (
	many rune = -1 // *: any text
	one  rune = -2 // ?: any one character
)

// exactly is a text without wildcards.
func exactly(s string) pattern { return pattern(s) }

// wild reads * and ? as wildcards.
func wild(s string) pattern {
	p := pattern(s)
	for i, c := range p {
		switch c {
		case '*':
			p[i] = many
		case '?':
			p[i] = one
		}
	}
	return p
}

// literal is the text of a pattern that has no wildcards.
func (p pattern) literal() (string, bool) {
	for _, c := range p {
		if c < 0 {
			return "", false
		}
	}
	return string(p), true
}

// anything tells that every text matches.
func (p pattern) anything() bool {
	for _, c := range p {
		if c != many {
			return false
		}
	}
	return len(p) > 0
}

func (p pattern) hasOne() bool {
	for _, c := range p {
		if c == one {
			return true
		}
	}
	return false
}

// matches tells whether a text is of the pattern. It takes time in proportion to both lengths.
func (p pattern) matches(s string) bool {
	for _, rest := range p.after(s) {
		if rest.empty() {
			return true
		}
	}
	return false
}

// empty tells whether the empty text is of the pattern.
func (p pattern) empty() bool { return len(p) == 0 || p.anything() }

// after is what may follow a text that begins with s: a text s+t is of the pattern if and only if t is of one of these.
func (p pattern) after(s string) []pattern {
	at := make([]bool, len(p)+1) // at[i]: p[:i] can have matched what was read
	p.reach(at, 0)
	for _, c := range s {
		next := make([]bool, len(p)+1)
		for i, here := range at[:len(p)] {
			switch {
			case !here:
			case p[i] == many:
				p.reach(next, i)
			case p[i] == one || p[i] == c:
				p.reach(next, i+1)
			}
		}
		at = next
	}
	var all []pattern
	for i, here := range at {
		// A star that goes on covers what comes after it.
		if here && !(i > 0 && p[i-1] == many && at[i-1]) {
			all = append(all, p[i:])
		}
	}
	return all
}

// reach marks a place, and what stars there let be reached without reading.
func (p pattern) reach(at []bool, i int) {
	for at[i] = true; i < len(p) && p[i] == many; {
		i++
		at[i] = true
	}
}

// split divides a pattern at colons into the six parts of an ARN, of which the last may hold more colons. Wildcards do not
// span parts. ok is false if there are fewer.
func (p pattern) split() (parts [6]pattern, ok bool) {
	n := 0
	start := 0
	for i, c := range p {
		if c == ':' && n < 5 {
			parts[n] = p[start:i]
			n, start = n+1, i+1
		}
	}
	parts[n] = p[start:]
	return parts, n == 5
}

// String is the pattern as it is written.
func (p pattern) String() string {
	out := make([]rune, len(p))
	for i, c := range p {
		switch c {
		case many:
			out[i] = '*'
		case one:
			out[i] = '?'
		default:
			out[i] = c
		}
	}
	return string(out)
}
