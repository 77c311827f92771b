package engine_test

import (
	"crypto/rand"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

// silent is a recorder that keeps nothing: what the path costs without the log.
type silent struct{ *audit.Log }

func (silent) Append(*audit.Record) (audit.Position, error) {
	return audit.Position{Node: "n1", Epoch: 1}, nil
}
func (silent) AppendEncoded(_, _ []byte) (audit.Position, error) {
	return audit.Position{Node: "n1", Epoch: 1}, nil
}

// BenchmarkEncrypt is one 32-byte encryption through the whole path, with 16 callers at a time.
func BenchmarkEncrypt(b *testing.B) {
	for name, opt := range map[string]option{
		"durable":  func(*engine.Config) {},
		"no-audit": func(c *engine.Config) { c.Recorder = silent{c.Log} },
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, opt)
			w.create("k", kms.AES256GCM, 0)
			in := engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: make([]byte, 32)}}}
			b.SetParallelism(8)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.e.Encrypt(b.Context(), user, in); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkCreateKey is one durable creation, with 16 callers at a time, on the embedded store.
func BenchmarkCreateKey(b *testing.B) {
	st, err := pebble.Open(pebble.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	w := newWorldOn(b, st)
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.e.CreateKey(b.Context(), admin, engine.CreateKeyInput{Name: "b/" + kms.NewID(w.now, random()).String()[1:], Algorithm: kms.AES256GCM}); err != nil {
				b.Error(err)
			}
		}
	})
}

func random() (r [10]byte) {
	rand.Read(r[:])
	return r
}
