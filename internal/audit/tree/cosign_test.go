package tree_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// cosigner is a witness with its private key.
type cosigner struct {
	*tree.Witness
	private ed25519.PrivateKey
}

func newCosigner(t testing.TB, name string) cosigner {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tree.NewWitness(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return cosigner{w, private}
}

func (c cosigner) line(t testing.TB, text string, at time.Time) string {
	t.Helper()
	line, err := c.Cosign(text, at, func(msg []byte) ([]byte, error) { return ed25519.Sign(c.private, msg), nil })
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func logKey(t testing.TB, name string) (note.Signer, note.Verifiers) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, note.VerifierList(v)
}

// The example of C2SP tlog-cosignature: its key ID and the message are recomputed from the definition.
func TestACosignatureIsMadeAsTheSpecificationSays(t *testing.T) {
	w := newCosigner(t, "witness.example.com/w1")
	text := "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
	line := w.line(t, text, time.Unix(1679315147, 999))
	raw, err := base64.StdEncoding.DecodeString(strings.Fields(line)[2])
	if err != nil || len(raw) != 4+8+64 {
		t.Fatalf("got %d bytes, %v", len(raw), err)
	}
	id := sha256.Sum256(append([]byte("witness.example.com/w1\n\x04"), w.private.Public().(ed25519.PublicKey)...)) //nolint:forcetypeassert,errcheck // it is
	if !bytes.Equal(raw[:4], id[:4]) {
		t.Errorf("key id %x, want %x", raw[:4], id[:4])
	}
	if want := []byte{0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb}; !bytes.Equal(raw[4:12], want) {
		t.Errorf("timestamp %x, want %x", raw[4:12], want)
	}
	if !ed25519.Verify(w.private.Public().(ed25519.PublicKey), []byte("cosignature/v1\ntime 1679315147\n"+text), raw[12:]) { //nolint:forcetypeassert,errcheck // it is
		t.Error("the signature is not over the message of the specification")
	}
}

func TestCosignaturesOfKnownWitnessesAreFound(t *testing.T) {
	signer, known := logKey(t, "keyhold.test")
	w1, w2, stranger := newCosigner(t, "w1"), newCosigner(t, "w2.example/é"), newCosigner(t, "w3")
	msg, err := tree.Checkpoint{Origin: "keyhold.test/n1/1", Size: 5}.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(msg), "\n\n")
	text += "\n"
	at := time.Unix(1_800_000_000, 0).UTC()
	all := append(bytes.Clone(msg), w1.line(t, text, at)+stranger.line(t, text, at)+w2.line(t, text, at.Add(time.Second))+w1.line(t, text, at.Add(time.Hour))...)
	if _, err := tree.Open(all, known); err != nil {
		t.Errorf("with cosignatures the log's own signature does not verify: %v", err)
	}
	got, err := tree.Cosignatures(all, []*tree.Witness{w1.Witness, w2.Witness})
	if err != nil || len(got) != 2 || got[0].Witness != w1.Witness || !got[0].At.Equal(at) || got[1].Witness != w2.Witness || !got[1].At.Equal(at.Add(time.Second)) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := tree.Cosignatures(msg, []*tree.Witness{w1.Witness}); err != nil || got != nil {
		t.Errorf("of a note without any: got %+v, %v", got, err)
	}
	other := w1.line(t, strings.Replace(text, "\n5\n", "\n6\n", 1), at)
	if got, err := tree.Cosignatures(append(bytes.Clone(msg), other...), []*tree.Witness{w1.Witness}); err == nil {
		t.Errorf("the cosignature of another checkpoint was taken: %+v", got)
	}
}

func TestTheVerifierKeyOfAWitnessHasOneForm(t *testing.T) {
	w := newCosigner(t, "witness.example/w1")
	got, err := tree.ParseWitness(w.Key())
	if err != nil || got.Key() != w.Key() || got.Name() != w.Name() || got.KeyHash() != w.KeyHash() {
		t.Fatalf("got %v, %v", got, err)
	}
	_, logs, err := note.GenerateKey(rand.Reader, "witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	other := newCosigner(t, "witness.example/w2")
	name, rest, _ := strings.Cut(w.Key(), "+")
	for what, key := range map[string]string{
		"a log's key":         logs,
		"another name":        "x" + name + "+" + rest,
		"another's key":       name + "+" + rest[:9] + strings.SplitN(other.Key(), "+", 3)[2],
		"no hash":             name + "+" + rest[9:],
		"nothing":             "",
		"capitals in a hash":  name + "+" + strings.ToUpper(rest[:8]) + "X" + rest[8:],
		"a line break":        w.Key() + "\n",
		"a space in the name": "a b+" + rest,
	} {
		if _, err := tree.ParseWitness(key); !errors.Is(err, tree.ErrWitnessKey) {
			t.Errorf("%s: %q was taken: %v", what, key, err)
		}
	}
	same, err := tree.NewWitness("another.name", w.private.Public().(ed25519.PublicKey)) //nolint:forcetypeassert // it is
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ParseWitnesses([]byte(w.Key() + "\n" + same.Key() + "\n")); !errors.Is(err, tree.ErrWitnessKey) {
		t.Errorf("one key under two names counts twice: %v", err)
	}
	var many strings.Builder
	for i := range tree.MaxWitnesses + 1 {
		many.WriteString(newCosigner(t, fmt.Sprintf("w%d", i)).Key() + "\n")
	}
	if _, err := tree.ParseWitnesses([]byte(many.String())); !errors.Is(err, tree.ErrWitnessKey) {
		t.Errorf("too many witnesses: %v", err)
	}
}

func FuzzParseWitness(f *testing.F) {
	f.Add(newCosigner(f, "w").Key())
	f.Add("a+b+c")
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := tree.ParseWitness(s); err == nil && w.Key() != s {
			t.Errorf("%q was read as %q", s, w.Key())
		}
	})
}

func FuzzParseExtension(f *testing.F) {
	f.Add([]byte("old 0\n\na\n1\nAAAA\n\n— a AAAAAAA=\n"))
	f.Add((&tree.Extension{Old: 20852014, Hashes: []tree.Hash{{1}, {2}}, Checkpoint: []byte("x\n\n— y z\n")}).Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		if x, err := tree.ParseExtension(text); err == nil && !bytes.Equal(x.Text(), text) {
			t.Errorf("%q was read as %q", text, x.Text())
		}
	})
}

func FuzzParseConsistency(f *testing.F) {
	from := []byte("a\n1\nAAAA\n\n— a AAAAAAA=\n")
	f.Add((&tree.Consistency{From: from}).Text())
	f.Add((&tree.Consistency{From: from, Steps: []tree.Step{
		{Extension: &tree.Extension{Old: 1, Hashes: []tree.Hash{{1}}, Checkpoint: from}},
		{Link: &tree.Proof{Extra: []byte("frame"), Hashes: []tree.Hash{{3}}, Checkpoint: from}},
	}}).Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := tree.ParseConsistency(text); err == nil && !bytes.Equal(c.Text(), text) {
			t.Errorf("%q was read as %q", text, c.Text())
		}
	})
}
