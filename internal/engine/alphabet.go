package engine

import (
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/kms"
)

// An alphabet numbers characters: that is all that format-preserving encryption knows of a text. The order of the characters
// decides what a text is encrypted to, so that no alphabet here may ever change.
type alphabet struct {
	letters []rune
	index   map[rune]uint16
}

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// alphabets are the alphabets that have a name. No name is an alphabet itself: each has some character twice.
var alphabets = map[string]string{
	"digits":             digits,
	"hex-lower":          digits + "abcdef",
	"hex-upper":          digits + "ABCDEF",
	"letters":            lower + upper,
	"letters-lower":      lower,
	"letters-upper":      upper,
	"alphanumeric":       digits + lower + upper,
	"alphanumeric-lower": digits + lower,
	"alphanumeric-upper": digits + upper,
}

// Limits of alphabets.
const (
	minLetters = 2
	maxLetters = 1024
	// minTexts is the least number of texts of one length and alphabet: below it they can all be tried (SP 800-38G rev. 1 §5.1).
	minTexts = 1_000_000
)

// parseAlphabet reads the name of an alphabet or its characters; the empty string is the digits.
func parseAlphabet(s string) (*alphabet, error) {
	if s == "" {
		s = "digits"
	}
	if named, ok := alphabets[s]; ok {
		s = named
	}
	if len(s) > maxLetters*utf8.UTFMax || !utf8.ValidString(s) {
		return nil, kms.Errorf(kms.CodeBadRequest, "the alphabet is not UTF-8 text of %d to %d characters", minLetters, maxLetters)
	}
	a := &alphabet{letters: []rune(s)}
	if n := len(a.letters); n < minLetters || n > maxLetters {
		return nil, kms.Errorf(kms.CodeBadRequest, "the alphabet has %d characters: want %d to %d", n, minLetters, maxLetters)
	}
	a.index = make(map[rune]uint16, len(a.letters))
	for i, c := range a.letters {
		if first, twice := a.index[c]; twice {
			return nil, kms.Errorf(kms.CodeBadRequest, "the characters %d and %d of the alphabet are the same (or this was meant as the name of an alphabet: there is none of that name)", first+1, i+1)
		}
		a.index[c] = uint16(i) //nolint:gosec // G115: at most maxLetters
	}
	return a, nil
}

// shaped is a text taken apart: the numbers of its characters, and what stands between them.
type shaped struct {
	numerals []uint16
	text     []rune // as it was
	others   []bool // which characters stay, by their place in text; nil: none
}

// read takes a text apart. Characters that are not of the alphabet stay where they are, or are refused.
func (a *alphabet) read(text []byte, preserve bool) (s shaped, err error) {
	if !utf8.Valid(text) {
		return s, kms.Errorf(kms.CodeBadRequest, "the text is not UTF-8")
	}
	s.text = make([]rune, 0, len(text)) // never grown: no copy stays behind
	for rest := text; len(rest) > 0; {
		c, n := utf8.DecodeRune(rest)
		s.text, rest = append(s.text, c), rest[n:]
	}
	s.numerals = make([]uint16, 0, len(s.text))
	for i, c := range s.text {
		n, ok := a.index[c]
		switch {
		case ok:
			s.numerals = append(s.numerals, n)
		case preserve:
			if s.others == nil {
				s.others = make([]bool, len(s.text))
			}
			s.others[i] = true
		default:
			s.erase()
			e := kms.Errorf(kms.CodeBadRequest, "character %d of the text is not of the alphabet", i+1)
			e.Next = "name the alphabet of the text, or preserve other characters where they are"
			return shaped{}, e
		}
	}
	if err := a.enough(len(s.numerals)); err != nil {
		s.erase()
		return shaped{}, err
	}
	return s, nil
}

// enough bounds how many characters are encrypted.
func (a *alphabet) enough(n int) error {
	if n > MaxFormatted {
		return kms.Errorf(kms.CodeTooLarge, "the text has %d characters of the alphabet, the limit is %d", n, MaxFormatted)
	}
	texts, least := 1, 0
	for texts < minTexts {
		texts *= len(a.letters)
		least++
	}
	if n < least {
		return kms.Errorf(kms.CodeBadRequest, "the text has %d characters of the alphabet, and there are too few texts of that length: with %d characters in the alphabet at least %d make the %d texts that format-preserving encryption needs",
			n, len(a.letters), least, minTexts)
	}
	return nil
}

// write puts a text together again, with other numerals.
func (a *alphabet) write(s shaped, numerals []uint16) []byte {
	out := make([]byte, 0, len(s.text)*utf8.UTFMax) // never grown: no copy stays behind
	for i, c := range s.text {
		if s.others == nil || !s.others[i] {
			c, numerals = a.letters[numerals[0]], numerals[1:]
		}
		out = utf8.AppendRune(out, c)
	}
	return out
}

func (s *shaped) erase() {
	clear(s.numerals)
	clear(s.text)
}
