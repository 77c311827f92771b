package engine

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// Nobody can mean the characters and get the name: what could be both would be a guess.
func TestNoNameOfAnAlphabetIsAnAlphabet(t *testing.T) {
	for name, letters := range alphabets {
		held := alphabets[name]
		delete(alphabets, name)
		if _, err := parseAlphabet(name); err == nil {
			t.Errorf("%q is a name and an alphabet", name)
		}
		alphabets[name] = held
		if a, err := parseAlphabet(name); err != nil || string(a.letters) != letters {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was encrypted with a named alphabet is read by its order for ever.
func TestNamedAlphabetsAreForEver(t *testing.T) {
	want := map[string]string{
		"digits": "0123456789", "hex-lower": "0123456789abcdef", "hex-upper": "0123456789ABCDEF",
		"letters":            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
		"letters-lower":      "abcdefghijklmnopqrstuvwxyz",
		"letters-upper":      "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		"alphanumeric":       "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
		"alphanumeric-lower": "0123456789abcdefghijklmnopqrstuvwxyz",
		"alphanumeric-upper": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	}
	if !maps.Equal(alphabets, want) {
		t.Errorf("got %v want %v", alphabets, want)
	}
	page, err := os.ReadFile("../../docs/algorithms.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, letters := range alphabets {
		if row := "| `" + name + "` | `" + letters + "` |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/algorithms.md has not the row %s", row)
		}
	}
}

func FuzzAlphabet(f *testing.F) {
	f.Add("digits", []byte("4111 1111"), true)
	f.Add("", []byte("123456"), false)
	f.Add("αβγ", []byte("αβγαβγαβγαβγαβγα"), false)
	f.Add("a\xff", []byte{0xff}, true)
	f.Fuzz(func(t *testing.T, letters string, text []byte, preserve bool) {
		a, err := parseAlphabet(letters)
		if err != nil {
			return
		}
		if len(a.letters) < minLetters || len(a.letters) > maxLetters || len(a.index) != len(a.letters) {
			t.Fatalf("an alphabet of %d characters, %d of them different", len(a.letters), len(a.index))
		}
		s, err := a.read(text, preserve)
		if err != nil {
			return
		}
		values := 1
		for range s.numerals {
			values = min(values*len(a.letters), minTexts)
		}
		if values < minTexts || len(s.numerals) > MaxFormatted {
			t.Fatalf("%d numerals of %d were let through", len(s.numerals), len(a.letters))
		}
		if got := a.write(s, slices.Clone(s.numerals)); string(got) != string(text) {
			t.Fatalf("%q came back as %q", text, got)
		}
		if !preserve && len(s.numerals) != utf8.RuneCount(text) {
			t.Fatal("a character was lost")
		}
	})
}

// What an operation had ready and may not release is erased.
func TestWhatIsNotReleasedIsErased(t *testing.T) {
	var all [][]byte
	ready := func() secret.Released {
		all = append(all, []byte("secret"))
		return secret.Release(all[len(all)-1])
	}
	derive.erase(&SharedSecret{Secret: ready()})
	decapsulate.erase(&SharedSecret{Secret: ready()})
	encapsulate.erase(&EncapsulateOutput{SharedSecret: SharedSecret{Secret: ready()}})
	unwrapKey.erase(&UnwrapOutput{Items: []UnwrappedItem{{Material: ready()}, {Material: ready()}}})
	decryptFormat.erase(&DecryptFormatOutput{Items: []DecryptedText{{Text: ready()}, {Text: ready()}}})
	dataKeyPair.erase(&DataKeyPairOutput{Private: ready()})
	decrypt.erase(&DecryptOutput{Items: []DecryptedItem{{Plaintext: ready()}}})
	dataKey.erase(&DataKeyOutput{Items: []DataKeyItem{{Plaintext: ready()}}})
	random.erase(&RandomOutput{Bytes: ready()})
	for i, b := range all {
		if string(b) != "\x00\x00\x00\x00\x00\x00" {
			t.Errorf("secret %d stayed: %q", i, b)
		}
	}
}

// What a provider answers is given back when it is released, wherever it was kept.
func TestWhatIsReleasedLeavesNothingBehind(t *testing.T) {
	heap := []byte("secret")
	held, gaveBack := bytes.Clone(heap), 0
	for _, s := range []*secret.Bytes{secret.Take(heap), secret.Held(held, func() { clear(held); gaveBack++ })} {
		if got := string(letGo(s).Wire(release.Wire{})); got != "secret" {
			t.Errorf("got %q", got)
		}
	}
	if gaveBack != 1 || string(heap) != string(make([]byte, 6)) {
		t.Errorf("given back %d times, on the heap %q", gaveBack, heap)
	}
}

// What this package lets through is within the limits of the modes below it.
func TestLimitsAreWithinThoseOfTheModes(t *testing.T) {
	for name, l := range map[string][2]int{
		"material": {MaxWrap, mode.MaxKeyMaterial}, "characters": {MaxFormatted, mode.MaxNumerals}, "tweak": {MaxTweak, mode.MaxTweak}, "letters": {maxLetters, mode.MaxRadix},
	} {
		if l[0] > l[1] {
			t.Errorf("%s: %d here, %d below", name, l[0], l[1])
		}
	}
}

// late is a provider whose key pair is ready when it is let go.
type late struct {
	provider.Provider
	let     chan struct{}
	private *secret.Bytes
}

func (l late) GeneratePair(kms.Algorithm) ([]byte, *secret.Bytes, error) {
	<-l.let
	return []byte("public"), l.private, nil
}

// What comes out after its caller gave up is erased.
func TestAPairThatComesTooLateIsErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := late{let: make(chan struct{}), private: secret.Copy([]byte("private"))}
		e := &Engine{cfg: Config{Provider: l}}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // until the pair is waited for
			cancel()
		}()
		if _, err := e.newPair(ctx, kms.RSA4096); kms.CodeOf(err) != kms.CodeCancelled {
			t.Errorf("got %v, want %s", err, kms.CodeCancelled)
		}
		if n := l.private.Len(); n == 0 {
			t.Error("the pair was erased before it was made")
		}
		close(l.let)
		synctest.Wait()
		if n := l.private.Len(); n != 0 {
			t.Errorf("%d bytes of a private key stayed", n)
		}
	})
}
