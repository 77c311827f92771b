package token_test

import (
	"bytes"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/token"
)

func TestTokenRoundTrip(t *testing.T) {
	id, secret := kms.ID{1, 2, 3, 15: 255}, bytes.Repeat([]byte{7}, token.SecretSize)
	text := token.Format(id, secret)
	if len(text) != token.Length {
		t.Fatalf("got %d characters, want %d", len(text), token.Length)
	}
	gotID, gotSecret, ok := token.Parse(string(text))
	if !ok || gotID != id || !bytes.Equal(gotSecret, secret) {
		t.Fatalf("got %v %x %v", gotID, gotSecret, ok)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(token.Format(kms.ID{9}, make([]byte, token.SecretSize))))
	f.Add("kh_")
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, ok := token.Parse(s)
		if ok && string(token.Format(id, secret)) != s {
			t.Fatalf("%q parsed to something else", s)
		}
	})
}
