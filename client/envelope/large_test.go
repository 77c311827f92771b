package envelope_test

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/keyhold/keyhold/client/envelope"
)

// generator gives bytes that tell their places, without a file.
type generator struct{ at, end int64 }

func byteAt(i int64) byte { return byte(i ^ i>>8 ^ i>>16 ^ i>>24) }

func (g *generator) Read(p []byte) (int, error) {
	if g.at == g.end {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), g.end-g.at))
	g.fill(p[:n])
	return n, nil
}

func (g *generator) fill(p []byte) {
	for i := range p {
		p[i] = byteAt(g.at + int64(i))
	}
	g.at += int64(len(p))
}

// comparer checks what it is given against a generator.
type comparer struct {
	g   generator
	buf []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	c.buf = append(c.buf[:0], p...)
	at := c.g.at
	c.g.fill(c.buf)
	if string(c.buf) != string(p) {
		return 0, fmt.Errorf("a difference within %d bytes after %d", len(p), at)
	}
	return len(p), nil
}

// Memory does not depend on the size: 256 MiB, or 10 GiB with KEYHOLD_LONG=1.
func TestLargeFilesTakeLittleMemory(t *testing.T) {
	size := int64(256 << 20)
	if os.Getenv("KEYHOLD_LONG") == "1" {
		size = 10 << 30
	}
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, w := io.Pipe()
	go func() {
		_, err := envelope.Encrypt(t.Context(), w, &generator{end: size}, envelope.Options{Recipients: []envelope.Recipient{key}})
		w.CloseWithError(err)
	}()
	to := &comparer{}
	if _, err := envelope.Decrypt(t.Context(), to, r, with(key)); err != nil || to.g.at != size {
		t.Fatalf("%d of %d bytes: %v", to.g.at, size, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", got, size)
	}
}

const benchmarkSize = 256 << 20

// zeros gives zero bytes as fast as memory does.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	z.n -= n
	return int(n), nil
}

// BenchmarkRawGCM is AES-256-GCM alone: what BenchmarkFile is to be compared with.
func BenchmarkRawGCM(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	g, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	for _, chunk := range []int{envelope.DefaultSegmentSize, envelope.MaxSegmentSize} {
		plain, sealed := make([]byte, chunk), make([]byte, 0, chunk+28)
		b.Run(fmt.Sprintf("seal-%dKiB", chunk>>10), func(b *testing.B) {
			b.SetBytes(benchmarkSize)
			for b.Loop() {
				for n := 0; n < benchmarkSize; n += chunk {
					g.Seal(sealed, nil, plain, nil)
				}
			}
		})
		full := g.Seal(sealed, nil, plain, nil)
		b.Run(fmt.Sprintf("open-%dKiB", chunk>>10), func(b *testing.B) {
			b.SetBytes(benchmarkSize)
			for b.Loop() {
				for n := 0; n < benchmarkSize; n += chunk {
					if _, err := g.Open(plain[:0], nil, full, nil); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkFile is whole files, from and to memory.
func BenchmarkFile(b *testing.B) {
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	for _, segment := range []int{envelope.DefaultSegmentSize, envelope.MaxSegmentSize} {
		opt := envelope.Options{Recipients: []envelope.Recipient{key}, SegmentSize: segment}
		b.Run(fmt.Sprintf("encrypt-%dKiB", segment>>10), func(b *testing.B) {
			b.SetBytes(benchmarkSize)
			for b.Loop() {
				if _, err := envelope.Encrypt(b.Context(), io.Discard, &zeros{benchmarkSize}, opt); err != nil {
					b.Fatal(err)
				}
			}
		})
		file := &store{}
		if _, err := envelope.Encrypt(b.Context(), file, &zeros{benchmarkSize}, opt); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("decrypt-%dKiB", segment>>10), func(b *testing.B) {
			b.SetBytes(benchmarkSize)
			for b.Loop() {
				if _, err := envelope.Decrypt(b.Context(), io.Discard, file.reader(), with(key)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// store keeps a file in memory.
type store struct{ b []byte }

func (s *store) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *store) reader() io.Reader { return &cursor{s.b} }

type cursor struct{ b []byte }

func (c *cursor) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b)
	c.b = c.b[n:]
	return n, nil
}
