package shares

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func text(t testing.TB, s *Share) string {
	t.Helper()
	r, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Wire(release.Wire{}))
}

func parse(s string) (*Share, error) { return Parse(secret.Copy([]byte(s))) }

func split(t testing.TB, k, n int) (*secret.Bytes, []*Share) {
	t.Helper()
	seed := secret.Random(SeedSize)
	s, err := Split(seed, k, n)
	if err != nil {
		t.Fatal(err)
	}
	return seed, s
}

// slow is multiplication by the book, with branches: carry-less product, then reduction by 0x11b.
func slow(a, b byte) byte {
	p := 0
	for i := range 8 {
		if b>>i&1 == 1 {
			p ^= int(a) << i
		}
	}
	for i := 15; i >= 8; i-- {
		if p>>i&1 == 1 {
			p ^= 0x11b << (i - 8)
		}
	}
	return byte(p)
}

func TestTheFieldIsThatOfAES(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			if got, want := mul(byte(a), byte(b)), slow(byte(a), byte(b)); got != want {
				t.Fatalf("%#x·%#x: got %#x, want %#x", a, b, got, want)
			}
		}
		if a != 0 && mul(byte(a), inverse(byte(a))) != 1 {
			t.Fatalf("%#x times its inverse is not 1", a)
		}
	}
	if mul(0x57, 0x83) != 0xc1 || inverse(0x53) != 0xca { // FIPS 197 §4.2
		t.Fatal("the examples of FIPS 197 do not come out")
	}
}

// For every secret byte, k-1 shares take every combination of values exactly once as the random coefficients run through
// theirs: so no combination makes any secret likelier than another.
func TestFewerThanKSharesTellNothing(t *testing.T) {
	for _, secretByte := range []byte{0, 1, 0x53, 0xff} {
		seen := make(map[byte]int) // k = 2: one share
		for c := range 256 {
			seen[evaluate([]byte{secretByte, byte(c)}, 7)]++
		}
		if len(seen) != 256 {
			t.Errorf("k=2, secret %#x: one share takes %d values, want 256", secretByte, len(seen))
		}
		pairs := make(map[[2]byte]int, 1<<16) // k = 3: two shares
		for c1 := range 256 {
			for c2 := range 256 {
				p := []byte{secretByte, byte(c1), byte(c2)}
				pairs[[2]byte{evaluate(p, 1), evaluate(p, 255)}]++
			}
		}
		if len(pairs) != 1<<16 {
			t.Errorf("k=3, secret %#x: two shares take %d values, want 65536", secretByte, len(pairs))
		}
	}
}

// The same over real splits of one seed: the bytes of a single share are spread evenly (chi-square, 255 degrees of
// freedom: above 400 happens by chance less than once in 10^7), highest coefficient included.
func TestOneShareLooksRandom(t *testing.T) {
	seed := secret.Take(make([]byte, SeedSize))
	var count [256]int
	const splits = 4000
	for range splits {
		parts, err := Split(seed, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range parts[1].value.Reveal(reveal.Key{})[:SeedSize] {
			count[b]++
		}
	}
	expect := float64(splits*SeedSize) / 256
	var chi float64
	for _, n := range count {
		d := float64(n) - expect
		chi += d * d / expect
	}
	if chi > 400 {
		t.Errorf("chi-square of a share's bytes is %.0f", chi)
	}
}

func TestAnyKSharesGiveTheSeedBack(t *testing.T) {
	seed, parts := split(t, 3, 5)
	for a := range 5 {
		for b := range 5 {
			for c := range 5 {
				if a == b || b == c || a == c {
					continue
				}
				got, err := Combine([]*Share{parts[a], parts[b], parts[c]})
				if err != nil || !got.Equal(seed) {
					t.Fatalf("shares %d %d %d: %v", a, b, c, err)
				}
			}
		}
	}
	for _, q := range [][2]int{{2, 2}, {2, 255}, {255, 255}} {
		seed, parts := split(t, q[0], q[1])
		if got, err := Combine(parts[q[1]-q[0]:]); err != nil || !got.Equal(seed) {
			t.Fatalf("%d of %d: %v", q[0], q[1], err)
		}
	}
}

func TestSharesThatDoNotBelongTogether(t *testing.T) {
	_, parts := split(t, 3, 5)
	_, other := split(t, 3, 5)
	forged := *parts[2]
	forged.value = secret.Random(payloadSize)
	erased := *parts[2]
	erased.value = secret.Take(nil)
	for name, c := range map[string]struct {
		shares []*Share
		want   kms.Code
	}{
		"none":        {nil, kms.CodeBadShare},
		"too few":     {parts[:2], kms.CodeBadShare},
		"too many":    {parts[:4], kms.CodeBadShare},
		"twice":       {[]*Share{parts[0], parts[1], parts[0]}, kms.CodeBadShare},
		"another set": {[]*Share{parts[0], parts[1], other[2]}, kms.CodeBadShare},
		"erased":      {[]*Share{parts[0], parts[1], &erased}, kms.CodeBadShare},
		"forged":      {[]*Share{parts[0], parts[1], &forged}, kms.CodeWrongShares},
	} {
		if _, err := Combine(c.shares); kms.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestTextSurvivesHandwriting(t *testing.T) {
	_, parts := split(t, 2, 3)
	for _, s := range parts {
		printed := text(t, s)
		if len(printed) != TextSize || strings.Count(printed, "-") != 24 {
			t.Fatalf("text has %d characters: %s", len(printed), printed)
		}
		handwritten := strings.NewReplacer("0", "o", "1", "l", "-", " ").Replace(printed[len(prefix):])
		for _, in := range []string{printed, strings.ToLower(printed), strings.ReplaceAll(printed, "-", ""), "\t" + printed + "\r\n", prefix + strings.ToLower(handwritten)} {
			got, err := parse(in)
			if err != nil || !got.Equal(s) || got.K != 2 || got.N != 3 || got.Set != s.Set {
				t.Errorf("%q: %v", in, err)
			}
		}
	}
}

func TestEveryTypingErrorIsFound(t *testing.T) {
	_, parts := split(t, 2, 3)
	printed := text(t, parts[0])
	check := func(in string) {
		t.Helper()
		if _, err := parse(in); kms.CodeOf(err) != kms.CodeBadShare {
			t.Errorf("%q: got %v, want CodeBadShare", in, err)
		}
	}
	for i := range len(printed) {
		if printed[i] == '-' {
			continue
		}
		for _, c := range "0Z" {
			if in := printed[:i] + string(c) + printed[i+1:]; in != printed {
				check(in)
			}
		}
		check(printed[:i] + "U" + printed[i+1:])
		check(printed[:i] + printed[i+1:])
		check(printed[:i] + "A" + printed[i:])
		if i > 0 && printed[i-1] != '-' && printed[i] != printed[i-1] {
			check(printed[:i-1] + printed[i:i+1] + printed[i-1:i] + printed[i+1:])
		}
	}
	for _, in := range []string{"", "KHS1", "khs2-" + printed[5:], strings.Repeat("A", maxText+1), printed + printed} {
		check(in)
	}
}

func TestImpossibleSharesAreRefused(t *testing.T) {
	for name, change := range map[string]func(raw []byte){
		"version": func(raw []byte) { raw[0] = 2 },
		"k = 1":   func(raw []byte) { raw[5] = 1 },
		"k > n":   func(raw []byte) { raw[5] = 9 },
		"index 0": func(raw []byte) { raw[7] = 0 },
		"index 4": func(raw []byte) { raw[7] = 4 },
	} {
		raw := append([]byte{1, 1, 2, 3, 4, 2, 3, 1}, make([]byte, payloadSize)...)
		if _, err := parseBinary(appendChecksum(raw, raw)); err != nil {
			t.Fatal(err)
		}
		change(raw)
		if _, err := parseBinary(appendChecksum(raw, raw)); kms.CodeOf(err) != kms.CodeBadShare {
			t.Errorf("%s: got %v, want CodeBadShare", name, err)
		}
	}
}

func TestAShareDoesNotPrintItsValue(t *testing.T) {
	_, parts := split(t, 2, 2)
	value := parts[0].value.Reveal(reveal.Key{})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for _, v := range []any{parts[0], *parts[0]} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, fmt.Sprintf("%x", value[:4])) || strings.Contains(got, string(value[:4])) {
				t.Errorf("%s shows the value: %s", verb, got)
			}
		}
	}
	parts[0].Zero()
	if !bytes.Equal(value, make([]byte, payloadSize)) {
		t.Error("Zero leaves the value")
	}
	if _, err := parts[0].Text(); err == nil {
		t.Error("an erased share has a text")
	}
}

func FuzzParse(f *testing.F) {
	_, parts := split(f, 2, 3)
	f.Add([]byte(text(f, parts[0])))
	f.Add([]byte("KHS1-0000-0000"))
	f.Add([]byte("khs1 oooo llll\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := Parse(secret.Copy(in))
		if err != nil {
			if kms.CodeOf(err) != kms.CodeBadShare {
				t.Fatalf("got %v, want CodeBadShare", err)
			}
			return
		}
		again, err := parse(text(t, s))
		if err != nil || !again.Equal(s) {
			t.Fatalf("what parsed does not print and parse again: %v", err)
		}
	})
}
