package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

func TestATextKeepsItsForm(t *testing.T) {
	w := newWorld(t)
	w.create("cards", kms.AES256FF1, 0)
	for _, c := range []struct {
		alphabet, text string
		preserve       bool
	}{
		{"", "123456", false},
		{"digits", "4111 1111-1111 1111", true},
		{"digits", " 0 0 0 0 0 0 ", true},
		{"hex-lower", "00ffee", false},
		{"hex-upper", "00FFEE", false},
		{"letters", "ABCdef", false},
		{"letters-lower", "abcdef", false},
		{"letters-upper", "ABCDEF", false},
		{"alphanumeric", "Ab12", false},
		{"alphanumeric-lower", "ab12", false},
		{"alphanumeric-upper", "AB12", false},
		{"01", strings.Repeat("01", 10), false},
		{"αβγδεζηθικ", "αβγκκα", false},
		{"😀😁😂🤣😃😄😅😆😉😊", "😀😀😀😀😀😊", false},
		{"0123456789", strings.Repeat("9", engine.MaxFormatted), false},
	} {
		name := fmt.Sprintf("%q %.20q", c.alphabet, c.text)
		in := engine.FormatInput{Key: "cards", Alphabet: c.alphabet, PreserveOthers: c.preserve, Items: []engine.FormatItem{{Text: []byte(c.text), Tweak: []byte("t")}}}
		out, err := w.e.EncryptFormat(t.Context(), user, in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := out.Items[0].Text
		if len([]rune(got)) != len([]rune(c.text)) || got == c.text || out.Scheme != kms.SchemeFF1 || out.Version != 1 {
			t.Errorf("%s: became %q", name, got)
		}
		for i, r := range []rune(c.text) {
			if c.preserve && strings.ContainsRune(" -", r) != strings.ContainsRune(" -", []rune(got)[i]) {
				t.Errorf("%s: what was to stay moved: %q", name, got)
				break
			}
		}
		in.Items[0].Text = []byte(got)
		back, err := w.e.DecryptFormat(t.Context(), user, in)
		if err != nil || string(back.Items[0].Text.Wire(release.Wire{})) != c.text {
			t.Errorf("%s: came back as another text, %v", name, err)
		}
		in.Items[0].Tweak = []byte("u")
		other, err := w.e.DecryptFormat(t.Context(), user, in)
		if err != nil || string(other.Items[0].Text.Wire(release.Wire{})) == c.text {
			t.Errorf("%s: the tweak changes nothing, %v", name, err)
		}
	}
}

func TestWhatHasNoFormIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create("cards", kms.AES128FF1, 0)
	w.create("aes", kms.AES256GCM, 0)
	for name, c := range map[string]struct {
		in   engine.FormatInput
		want kms.Code
	}{
		"another character": {engine.FormatInput{Items: []engine.FormatItem{{Text: []byte("12345x6")}}}, kms.CodeBadRequest},
		"too few":           {engine.FormatInput{Items: []engine.FormatItem{{Text: []byte("12345")}}}, kms.CodeBadRequest},
		"too few of them":   {engine.FormatInput{PreserveOthers: true, Items: []engine.FormatItem{{Text: []byte("12345------")}}}, kms.CodeBadRequest},
		"none":              {engine.FormatInput{Items: []engine.FormatItem{{}}}, kms.CodeBadRequest},
		"too many":          {engine.FormatInput{Items: []engine.FormatItem{{Text: []byte(strings.Repeat("1", engine.MaxFormatted+1))}}}, kms.CodeTooLarge},
		"no UTF-8":          {engine.FormatInput{PreserveOthers: true, Items: []engine.FormatItem{{Text: []byte("123456\xff")}}}, kms.CodeBadRequest},
		"no items":          {engine.FormatInput{}, kms.CodeTooLarge},
		"one letter":        {engine.FormatInput{Alphabet: "a", Items: []engine.FormatItem{{Text: []byte("aaaaaaaaaaaa")}}}, kms.CodeBadRequest},
		"a letter twice":    {engine.FormatInput{Alphabet: "aba", Items: []engine.FormatItem{{Text: []byte("ababab")}}}, kms.CodeBadRequest},
		"an unknown name":   {engine.FormatInput{Alphabet: "numeric-digits", Items: []engine.FormatItem{{Text: []byte("123456")}}}, kms.CodeBadRequest},
		"a broken alphabet": {engine.FormatInput{Alphabet: "ab\xff", Items: []engine.FormatItem{{Text: []byte("abab")}}}, kms.CodeBadRequest},
		"another usage":     {engine.FormatInput{Key: "aes", Items: []engine.FormatItem{{Text: []byte("123456")}}}, kms.CodeUsage},
	} {
		if c.in.Key == "" {
			c.in.Key = "cards"
		}
		_, err := w.e.EncryptFormat(t.Context(), user, c.in)
		if got := kms.CodeOf(err); got != c.want {
			t.Errorf("%s: encrypting: got %v want %s", name, err, c.want)
		}
		_, err = w.e.DecryptFormat(t.Context(), user, c.in)
		if got := kms.CodeOf(err); got != c.want {
			t.Errorf("%s: decrypting: got %v want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: the refusal repeats the text: %v", name, err)
		}
	}
	for _, a := range []kms.Action{kms.EncryptFormat, kms.DecryptFormat} {
		if n := len(w.records(audit.Filter{Action: a, Outcome: audit.Refused})); n != 12 {
			t.Errorf("%s: %d refusals on the record, want 12", a, n)
		}
	}
}

func TestTextsOfABatchFailOneByOne(t *testing.T) {
	w := newWorld(t)
	w.create("cards", kms.AES256FF1, 0)
	in := engine.FormatInput{Key: "cards", Items: []engine.FormatItem{{Text: []byte("111111")}, {Text: []byte("1")}, {Text: []byte("111111")}, {Text: []byte("111111"), Tweak: []byte("t")}}}
	out, err := w.e.EncryptFormat(t.Context(), user, in)
	if err != nil || out.Items[1].Err == nil || out.Items[0].Text != out.Items[2].Text || out.Items[0].Text == out.Items[3].Text {
		t.Fatalf("%+v %v", out.Items, err)
	}
	recs := w.records(audit.Filter{Action: kms.EncryptFormat})
	if len(recs) != 1 || len(recs[0].Items) != 4 || recs[0].Items[1].Code != kms.CodeBadRequest || recs[0].Bytes != 19 || recs[0].Scheme != kms.SchemeFF1 {
		t.Fatalf("records: %+v", recs)
	}
}
