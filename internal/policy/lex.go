package policy

import (
	"unicode/utf8"
)

// token is one token of a policy's text, with the place where it stands. It exists to say where a finding is and to
// limit the text before the parser recurses into it; what the text means is decided by the Cedar parser alone.
type token struct {
	text   string
	offset int // in bytes
	line   int // from 1
	column int // in characters, from 1
}

// lex cuts Cedar text into tokens. It is lenient: what is no token of the language becomes a token of one character.
func lex(src string) []token {
	var out []token
	line, column := 1, 1
	for i := 0; i < len(src); {
		n, skip := tokenLength(src[i:])
		if !skip {
			out = append(out, token{text: src[i : i+n], offset: i, line: line, column: column})
		}
		for _, c := range src[i : i+n] {
			column++
			if c == '\n' {
				line, column = line+1, 1
			}
		}
		i += n
	}
	return out
}

// tokenLength tells how long the token at the start of s is, in bytes, and whether it is white space or a comment.
func tokenLength(s string) (n int, skip bool) {
	switch c := s[0]; {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return 1, true
	case c == '/' && len(s) > 1 && s[1] == '/':
		return until(s, 2, "\n"), true
	case c == '/' && len(s) > 1 && s[1] == '*':
		return until(s, 2, "*/"), true
	case c == '"':
		return stringLength(s), false
	case isWord(c):
		for n = 1; n < len(s) && isWord(s[n]); n++ {
		}
		return n, false
	}
	if len(s) > 1 {
		switch s[:2] {
		case "::", "==", "!=", "<=", ">=", "&&", "||":
			return 2, false
		}
	}
	_, n = utf8.DecodeRuneInString(s)
	return n, false
}

func until(s string, from int, end string) int {
	for i := from; i+len(end) <= len(s); i++ {
		if s[i:i+len(end)] == end {
			return i + len(end)
		}
	}
	return len(s)
}

func stringLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return i
		}
	}
	return len(s)
}

func isWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
