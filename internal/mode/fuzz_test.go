package mode_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
)

func FuzzUnwrap(f *testing.F) {
	key := unhex("000102030405060708090a0b0c0d0e0f")
	for _, n := range []int{1, 8, 16, 20, 40} {
		wrapped, err := mode.WrapKWP(key, nil, make([]byte, n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wrapped)
	}
	f.Add(unhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, m := range []struct {
			wrap, unwrap func(key, dst, in []byte) ([]byte, error)
		}{{mode.WrapKW, mode.UnwrapKW}, {mode.WrapKWP, mode.UnwrapKWP}} {
			got, err := m.unwrap(key, nil, b)
			if err != nil {
				if !errors.Is(err, mode.ErrOpen) || got != nil {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
			} else if again, err := m.wrap(key, nil, got); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("what was unwrapped wraps to something else: %x, %v", again, err)
			}
			wrapped, err := m.wrap(key, nil, b)
			if err != nil {
				if c := kms.CodeOf(err); c != kms.CodeBadRequest && c != kms.CodeTooLarge {
					t.Fatal(err)
				}
				continue
			}
			if got, err := m.unwrap(key, nil, wrapped); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("mode %d: %x did not come back: %x, %v", i, b, got, err)
			}
		}
	})
}

func FuzzOpenSIV(f *testing.F) {
	key := make([]byte, 64)
	for i := range key {
		key[i] = byte(i)
	}
	for _, n := range []int{0, 1, 15, 16, 17, 100} {
		sealed, err := mode.SealSIV(key, nil, make([]byte, n), []byte("aad"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed, []byte("aad"))
	}
	f.Fuzz(func(t *testing.T, b, aad []byte) {
		got, err := mode.OpenSIV(key, nil, b, aad)
		if err == nil {
			if again, err := mode.SealSIV(key, nil, got, aad); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("what was opened seals to something else: %x, %v", again, err)
			}
		} else if !errors.Is(err, mode.ErrOpen) || got != nil {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		sealed, err := mode.SealSIV(key, nil, b, aad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := mode.OpenSIV(key, nil, sealed, aad); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x did not come back: %x, %v", b, got, err)
		}
	})
}

func FuzzFF1(f *testing.F) {
	f.Add(10, []byte("tweak"), unhex("00040005000600070000000100020003"))
	f.Add(2, []byte(nil), make([]byte, 40))
	f.Add(65536, []byte("t"), []byte{0xff, 0xff, 0, 1})
	f.Add(36, make([]byte, 257), unhex("0023"))
	f.Add(-1, []byte(nil), []byte(nil))
	key := make([]byte, 32)
	f.Fuzz(func(t *testing.T, radix int, tweak, raw []byte) {
		text := make([]uint16, len(raw)/2)
		for i := range text {
			text[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		sealed, err := mode.FF1(key, nil, radix, tweak, text, false)
		if err != nil {
			if c := kms.CodeOf(err); c != kms.CodeBadRequest && c != kms.CodeTooLarge || sealed != nil {
				t.Fatalf("got %d numerals, %v", len(sealed), err)
			}
			return
		}
		if len(sealed) != len(text) || slices.ContainsFunc(sealed, func(c uint16) bool { return int(c) >= radix }) {
			t.Fatalf("%v became %v in radix %d", text, sealed, radix)
		}
		if got, err := mode.FF1(key, nil, radix, tweak, sealed, true); err != nil || !slices.Equal(got, text) {
			t.Fatalf("%v did not come back: %v, %v", text, got, err)
		}
	})
}

func BenchmarkModes(b *testing.B) {
	key := make([]byte, 64)
	run := func(name string, n int, do func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, n := range []int{32, 4096} {
		text := make([]byte, n)
		run(fmt.Sprintf("cmac/%dB", n), n, func() error { _, err := mode.CMAC(key[:32], text); return err })
		run(fmt.Sprintf("siv/%dB", n), n, func() error { _, err := mode.SealSIV(key, nil, text, nil); return err })
		run(fmt.Sprintf("kwp/%dB", n), n, func() error { _, err := mode.WrapKWP(key[:32], nil, text); return err })
	}
	for _, c := range [][2]int{{10, 16}, {10, 4096}, {65536, 4096}} {
		text := make([]uint16, c[1])
		run(fmt.Sprintf("ff1/%dx%d", c[0], c[1]), c[1], func() error { _, err := mode.FF1(key[:32], nil, c[0], nil, text, false); return err })
	}
}
