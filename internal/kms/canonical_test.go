package kms_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

var binding = kms.ID{0: 0xb1, 15: 0x2a}

func TestCanonicalContextHasTheWrittenForm(t *testing.T) {
	id := "b100000000000000000000000000002a"
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"none":      {kms.AppendContextAAD(nil, binding, nil), "00" + id},
		"empty":     {kms.AppendContextAAD(nil, binding, kms.Context{}), "00" + id},
		"no bytes":  {kms.AppendRawAAD(nil, binding, nil), "00" + id},
		"one":       {kms.AppendContextAAD(nil, binding, kms.Context{"k": "v"}), "01" + id + "00000001" + "6b" + "00000001" + "76"},
		"no value":  {kms.AppendContextAAD(nil, binding, kms.Context{"k": ""}), "01" + id + "00000001" + "6b" + "00000000"},
		"sorted":    {kms.AppendContextAAD(nil, binding, kms.Context{"b": "1", "a": "2", "B": "3", "aa": "4"}), "01" + id + "0000000142" + "0000000133" + "0000000161" + "0000000132" + "000000026161" + "0000000134" + "0000000162" + "0000000131"},
		"bytes":     {kms.AppendRawAAD(nil, binding, []byte{0, 1}), "02" + id + "00000002" + "0001"},
		"appending": {kms.AppendContextAAD([]byte{0xee}, binding, nil), "ee00" + id},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: got %s want %s", name, got, c.want)
		}
	}
}

// TestNoTwoContextsHaveOneForm: boundaries, kinds and keys cannot be moved.
func TestNoTwoContextsHaveOneForm(t *testing.T) {
	seen := map[string]string{}
	add := func(name string, aad []byte) {
		if other, twice := seen[string(aad)]; twice {
			t.Errorf("%s and %s have one form %x", name, other, aad)
		}
		seen[string(aad)] = name
	}
	for i, c := range []kms.Context{nil, {"a": "b"}, {"ab": ""}, {"a": "bc"}, {"ab": "c"}, {"a": "b", "c": "d"}, {"a": "bcd"}, {"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"}, {"c": "d"}} {
		add(fmt.Sprintf("context %d", i), kms.AppendContextAAD(nil, binding, c))
		add(fmt.Sprintf("context %d of another key", i), kms.AppendContextAAD(nil, kms.ID{9}, c))
	}
	add("raw", kms.AppendRawAAD(nil, binding, []byte("a")))
	add("raw that looks like a map", kms.AppendRawAAD(nil, binding, []byte("\x00\x00\x00\x01a\x00\x00\x00\x01b")))
}

func TestContextDigestLeavesTheKeyOut(t *testing.T) {
	c := kms.Context{"tenant": "7", "purpose": "backup"}
	aad := kms.AppendContextAAD(nil, binding, c)
	if got, want := kms.ContextDigest(c), sha256.Sum256(append(aad[:1:1], aad[17:]...)); got != want {
		t.Errorf("got %x want %x", got, want)
	}
	raw := []byte("any bytes")
	aad = kms.AppendRawAAD(nil, binding, raw)
	if got, want := kms.RawDigest(raw), sha256.Sum256(append(aad[:1:1], aad[17:]...)); got != want {
		t.Errorf("raw: got %x want %x", got, want)
	}
	zero := [32]byte{}
	if kms.ContextDigest(nil) != zero || kms.ContextDigest(kms.Context{}) != zero || kms.RawDigest(nil) != zero || kms.RawDigest([]byte{}) != zero {
		t.Error("none has a digest")
	}
	if kms.ContextDigest(kms.Context{"a": ""}) == zero || kms.ContextDigest(kms.Context{"a": "b"}) == kms.RawDigest([]byte("ab")) {
		t.Error("two things have one digest")
	}
}

// readContext reads the canonical form back, which nothing but a test needs.
func readContext(aad []byte) (kms.Context, bool) {
	if len(aad) < 17 || aad[0] != 1 {
		return nil, false
	}
	rest, c := aad[17:], kms.Context{}
	item := func() (string, bool) {
		if len(rest) < 4 {
			return "", false
		}
		n := int(binary.BigEndian.Uint32(rest))
		if len(rest)-4 < n {
			return "", false
		}
		s := string(rest[4 : 4+n])
		rest = rest[4+n:]
		return s, true
	}
	for last := ""; len(rest) > 0; {
		k, ok := item()
		v, ok2 := item()
		if !ok || !ok2 || len(c) > 0 && k <= last {
			return nil, false
		}
		c[k], last = v, k
	}
	return c, true
}

// FuzzContextAAD: whatever the context, its form reads back as it, so no two have one.
func FuzzContextAAD(f *testing.F) {
	f.Add("a", "1", "b", "2", "c", "3", "d", "4", "e", "5")
	f.Add("", "", "", "", "", "", "", "", "", "")
	f.Add("a", "\x00\x00\x00\x01", "\x00", "a", "b", "", "é", "x", "ab", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3, k4, v4, k5, v5 string) {
		c := kms.Context{k1: v1, k2: v2, k3: v3, k4: v4, k5: v5}
		aad := kms.AppendContextAAD(nil, binding, c)
		got, ok := readContext(aad)
		if !ok || fmt.Sprint(got) != fmt.Sprint(c) {
			t.Fatalf("%q read back as %q from %x", c, got, aad)
		}
		if again := kms.AppendContextAAD(make([]byte, 0, 4096), binding, c); !bytes.Equal(again, aad) {
			t.Fatalf("two forms: %x and %x", aad, again)
		}
	})
}

func TestAFewEntriesNeedFewAllocations(t *testing.T) {
	c := kms.Context{"tenant": "7", "purpose": "backup", "region": "eu", "stage": "prod"}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf = kms.AppendContextAAD(buf[:0], binding, c) }); n > 0 {
		t.Errorf("into a buffer with room: %v allocations, want none", n)
	}
	// One, and one more that the race detector's build makes.
	if n := testing.AllocsPerRun(100, func() { _ = kms.AppendContextAAD(nil, binding, c) }); n > 2 {
		t.Errorf("into nothing: %v allocations, want 1, or 2 under the race detector", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = kms.ContextDigest(c) }); n > 0 {
		t.Errorf("digest: %v allocations, want none", n)
	}
}

func BenchmarkContextAAD(b *testing.B) {
	for _, n := range []int{0, 1, 4, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := kms.Context{}
			for i := range n {
				c[fmt.Sprintf("name-%02d", i)] = "some value"
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = kms.AppendContextAAD(nil, binding, c)
			}
		})
	}
}
