package soft

import (
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// FuzzRead reads what might arrive as the material of any algorithm: nothing panics, and what is taken has the form that it is kept in.
func FuzzRead(f *testing.F) {
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	for _, a := range kms.AllAlgorithms() {
		if a.Facts().Slow || kindOf(a) == nil {
			continue
		}
		if _, private, err := p.GeneratePair(a); err == nil {
			f.Add(byte(a), private.Reveal(reveal.Key{}))
		}
	}
	f.Add(byte(kms.AES256GCM), []byte("0123456789abcdef0123456789abcdef"))
	f.Fuzz(func(t *testing.T, n byte, data []byte) {
		a := kms.Algorithm(n)
		kind := kindOf(a)
		if kind == nil || a.Facts().Slow {
			return
		}
		m, err := p.read(kind, a, secret.Copy(data))
		if err != nil {
			if c := kms.CodeOf(err); c != kms.CodeKeyFile && c != kms.CodeAlgorithm {
				t.Errorf("%s: got %v", a, err)
			}
			return
		}
		again, err := kind.parse(p, a, secret.Copy(m.secret.Reveal(reveal.Key{})))
		if err != nil {
			t.Fatalf("%s: what was taken does not open: %v", a, err)
		}
		if string(again.check()) != string(m.check()) {
			t.Errorf("%s: another key was kept", a)
		}
	})
}
