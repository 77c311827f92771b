package soft

import (
	"bytes"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/box/boxtest"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

const labelSIV = "keyhold/blob/aes-siv/v1"

// convergent makes a handle of a key that the test knows. Where FIPS 140-3 is enforced the algorithm is refused, but what it is made
// of works.
func convergent(fill byte) (*handle, []byte) {
	raw := bytes.Repeat([]byte{fill}, 32)
	return &handle{algorithm: kms.AES256SIV, key: &key{raw: secret.Copy(raw)}}, raw
}

func headerOf(version uint32) []byte {
	return blob.AppendHeader(nil, blob.Header{Suite: blob.Convergent, Key: kms.ID{1}, Version: version})
}

// TestAConvergentCiphertextOpensUnderOneKeyOnly is the salamander test of suite 04: a body whose SIV part is genuine under a second key
// is refused at the commitment, and one whose commitment is of the second key is refused too.
func TestAConvergentCiphertextOpensUnderOneKeyOnly(t *testing.T) {
	one, _ := convergent(1)
	two, _ := convergent(2)
	header, aad, text := headerOf(1), []byte("aad"), []byte("a text of more than one block of AES")
	row := schemeOf(kms.SchemeAESSIV)
	first, err1 := convergentKeys(one.key, row, header, aad)
	second, err2 := convergentKeys(two.key, row, header, aad)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	inner, err := mode.SealSIV(second[:sivKeySize], nil, text, aad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := two.Open(nil, header, slices.Concat(second[sivKeySize:], inner), aad, kms.NoScheme); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("the second key's own: got %q, %v", got, err)
	}
	forged := slices.Concat(first[sivKeySize:], inner)
	for i, h := range []*handle{one, two} {
		if got, err := h.Open(nil, header, forged, aad, kms.NoScheme); kms.CodeOf(err) != kms.CodeDecryptFailed || got != nil {
			t.Errorf("key %d opens what commits to the first and is of the second: got %q, %v", i+1, got, err)
		}
	}
}

// TestWhatConvergesIsTheSame: for one plaintext, context and key version; each change of any of them changes all of the body.
func TestWhatConvergesIsTheSame(t *testing.T) {
	h, _ := convergent(1)
	other, _ := convergent(2)
	seal := func(h *handle, header []byte, text, aad string) []byte {
		out, err := h.Seal(nil, header, []byte(text), []byte(aad), kms.NoScheme)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := seal(h, headerOf(1), "text", "context")
	if got := seal(h, headerOf(1), "text", "context"); !bytes.Equal(got, want) {
		t.Errorf("got %x, then %x", want, got)
	}
	for what, got := range map[string][]byte{
		"another version": seal(h, headerOf(2), "text", "context"), "another context": seal(h, headerOf(1), "text", "contexts"),
		"no context": seal(h, headerOf(1), "text", ""), "another key": seal(other, headerOf(1), "text", "context"),
	} {
		for i := 0; i < len(want); i += 16 {
			if end := min(i+16, len(want)); end-i == 16 && bytes.Equal(got[i:end], want[i:end]) {
				t.Errorf("%s: bytes %d to %d are the same", what, i, end)
			}
		}
	}
	if got := seal(h, headerOf(1), "texts", "context"); !bytes.Equal(got[:32], want[:32]) || bytes.Equal(got[32:48], want[32:48]) {
		t.Errorf("another text: got %x want the same commitment and another IV than %x", got, want)
	}
}

// FuzzConvergentOpen: nothing but a body of this key opens, and both implementations agree on every input.
func FuzzConvergentOpen(f *testing.F) {
	h, raw := convergent(9)
	for _, n := range []int{0, 1, 15, 16, 17, 100} {
		f.Add(boxtest.SealConvergent(raw, labelSIV, headerOf(1), make([]byte, n), []byte("aad")), headerOf(1), []byte("aad"))
	}
	f.Add([]byte(nil), []byte(nil), []byte(nil))
	f.Add(make([]byte, convergentOverhead), headerOf(7), []byte(nil))
	f.Fuzz(func(t *testing.T, sealed, header, aad []byte) {
		if len(header) != blob.HeaderSize {
			return
		}
		got, err := h.Open(nil, header, sealed, aad, kms.NoScheme)
		want, theirs := boxtest.OpenConvergent(raw, labelSIV, header, sealed, aad)
		if (err == nil) != (theirs == nil) || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v; the second implementation: %x, %v", got, err, want, theirs)
		}
		if err != nil && kms.CodeOf(err) != kms.CodeDecryptFailed {
			t.Fatalf("got %v want %s", err, kms.CodeDecryptFailed)
		}
		ours, err := h.Seal(nil, header, sealed, aad, kms.NoScheme)
		if err != nil || !bytes.Equal(ours, boxtest.SealConvergent(raw, labelSIV, header, sealed, aad)) {
			t.Fatalf("the second implementation does not seal to %x, %v", ours, err)
		}
	})
}
