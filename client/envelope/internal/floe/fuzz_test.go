package floe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func FuzzReader(f *testing.F) {
	for _, n := range []int{0, 1, 31, 32, 33, 100} {
		f.Add(encrypt(f, text(n), 64, 0))
	}
	f.Add(encrypt(f, text(5), MinSegment, 0))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := decrypt(stream, testKey, testAAD)
		if err != nil && !errors.Is(err, ErrOpen) {
			t.Fatalf("got %v", err)
		}
		r, aerr := NewReaderAt(bytes.NewReader(stream), int64(len(stream)), testKey, []byte(testAAD))
		if aerr != nil {
			if !errors.Is(aerr, ErrOpen) || err == nil {
				t.Fatalf("at any place: %v; from the beginning: %v", aerr, err)
			}
			return
		}
		all, aerr := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if (aerr == nil) != (err == nil) || err == nil && !bytes.Equal(all, got) {
			t.Fatalf("at any place: %d bytes, %v; from the beginning: %d bytes, %v", len(all), aerr, len(got), err)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint16(0), uint16(1))
	f.Add(text(300), uint16(64), uint16(33))
	f.Fuzz(func(t *testing.T, plaintext []byte, segment, step uint16) {
		var b bytes.Buffer
		w, err := NewWriter(&b, testKey, plaintext[:min(7, len(plaintext))], MinSegment+int(segment)%500)
		if err != nil {
			t.Fatal(err)
		}
		for rest := plaintext; len(rest) > 0; {
			k := min(len(rest), int(step)+1)
			if _, err := w.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := decrypt(b.Bytes(), testKey, string(plaintext[:min(7, len(plaintext))]))
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	})
}
