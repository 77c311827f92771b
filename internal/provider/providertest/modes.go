package providertest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// wraps: key material of every length that the mode takes comes back, and nothing that was changed does.
func (o Options) wraps(t *testing.T, m made, s kms.Scheme) {
	padded := effective(m, kms.Wrapping, s) == kms.SchemeKWP
	for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 24, 32, 100, 2400, 4096} {
		material := randomBytes(n)
		wrapped, err := m.Seal([]byte("before"), nil, material, nil, s)
		if !padded && (n%8 != 0 || n < 16) {
			wantCode(t, s.String()+": material of a length that it does not take", err, kms.CodeBadRequest)
			continue
		}
		if err != nil || string(wrapped[:6]) != "before" || len(wrapped) != 6+8+(n+7)/8*8 {
			t.Fatalf("%s: %d bytes wrapped are %d, %v", s, n, len(wrapped), err)
		}
		got, err := m.Handle.Open([]byte("before"), nil, wrapped[6:], nil, s)
		if err != nil || string(got) != "before"+string(material) {
			t.Fatalf("%s: unwrap %d bytes: got %d, %v", s, n, len(got), err)
		}
	}
	material := randomBytes(32)
	wrapped, err := m.Seal(nil, nil, material, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Handle.Open(nil, nil, nil, nil, s)
	wantCode(t, s.String()+": nothing", err, kms.CodeDecryptFailed)
	want := err.Error()
	fails := func(what string, b []byte) {
		t.Helper()
		got, err := m.Handle.Open([]byte("before"), nil, b, nil, s)
		if kms.CodeOf(err) != kms.CodeDecryptFailed || err.Error() != want || got != nil {
			t.Fatalf("%s: %s: got %d bytes, %v want %s", s, what, len(got), err, want)
		}
	}
	for _, changed := range flips(wrapped, true) {
		fails("changed", changed)
	}
	for n := range wrapped {
		fails("cut short", wrapped[:n])
		fails("cut at the front", wrapped[n+1:])
	}
	fails("one byte more", append(bytes.Clone(wrapped), 0))
	fails("one block more", append(bytes.Clone(wrapped), make([]byte, 8)...))
	fails("zeros", make([]byte, 40))
	fails("huge", make([]byte, 1<<20))
	for what, c := range map[string]struct {
		header, material, aad []byte
		want                  kms.Code
	}{
		"with a header": {header(), material, nil, kms.CodeBadRequest}, "with a context": {nil, material, []byte("x"), kms.CodeBadRequest},
		"nothing": {nil, nil, nil, kms.CodeBadRequest}, "far too much": {nil, make([]byte, 1<<20), nil, kms.CodeTooLarge},
	} {
		_, err := m.Seal(nil, c.header, c.material, c.aad, s)
		wantCode(t, s.String()+": wrap "+what, err, c.want)
	}
	for _, c := range [][2][]byte{{header(), nil}, {nil, []byte("x")}} {
		_, err := m.Handle.Open(nil, c[0], wrapped, c[1], s)
		wantCode(t, s.String()+": unwrap with what was not covered", err, kms.CodeBadRequest)
	}
}

// formats: what goes in comes back, in the same alphabet and length, under the same tweak alone.
func (o Options) formats(t *testing.T, m made) {
	if m.algorithm.DefaultScheme(kms.FormatPreserving) == kms.NoScheme {
		return
	}
	tweak := []byte("tweak")
	for _, c := range []struct{ radix, n int }{{2, 20}, {2, 4096}, {10, 6}, {10, 7}, {10, 16}, {10, 4096}, {26, 5}, {36, 20}, {62, 31}, {255, 3}, {256, 33}, {65535, 2}, {65536, 2}, {65536, 4096}} {
		numerals := make([]uint16, c.n)
		for i, b := range randomBytes(c.n) {
			numerals[i] = uint16(int(b) * 257 % c.radix) //nolint:gosec // G115: below the radix
		}
		sealed, err := m.Format([]uint16{7}, c.radix, tweak, numerals, false)
		if err != nil || len(sealed) != c.n+1 || sealed[0] != 7 {
			t.Fatalf("%d numerals of radix %d: got %d, %v", c.n, c.radix, len(sealed), err)
		}
		sealed = sealed[1:]
		if slices.ContainsFunc(sealed, func(x uint16) bool { return int(x) >= c.radix }) {
			t.Errorf("%d numerals of radix %d: a numeral is not of the radix", c.n, c.radix)
		}
		if got, err := m.Format(nil, c.radix, tweak, sealed, true); err != nil || !slices.Equal(got, numerals) {
			t.Fatalf("%d numerals of radix %d did not come back: %v", c.n, c.radix, err)
		}
		if again, err := m.Format(nil, c.radix, tweak, numerals, false); err != nil || !slices.Equal(again, sealed) {
			t.Errorf("%d numerals of radix %d: two encryptions differ: %v", c.n, c.radix, err)
		}
		if c.n < 16 {
			continue // two results may be the same by chance
		}
		if other, err := m.Format(nil, c.radix, []byte("another"), numerals, false); err != nil || slices.Equal(other, sealed) {
			t.Errorf("%d numerals of radix %d: the tweak changes nothing: %v", c.n, c.radix, err)
		}
	}
	for what, c := range map[string]struct {
		radix, n int
		tweak    int
		want     kms.Code
	}{
		"no radix": {0, 16, 0, kms.CodeBadRequest}, "radix 1": {1, 16, 0, kms.CodeBadRequest}, "a negative radix": {-10, 16, 0, kms.CodeBadRequest},
		"a radix too large": {65537, 16, 0, kms.CodeBadRequest}, "nothing": {10, 0, 0, kms.CodeBadRequest}, "one numeral": {65536, 1, 0, kms.CodeBadRequest},
		"five digits": {10, 5, 0, kms.CodeBadRequest}, "nineteen bits": {2, 19, 0, kms.CodeBadRequest},
		"too long": {10, 4097, 0, kms.CodeTooLarge}, "a tweak too long": {10, 16, 257, kms.CodeTooLarge}, "the longest tweak": {10, 16, 256, 0},
	} {
		for _, decrypt := range []bool{false, true} {
			_, err := m.Format(nil, c.radix, make([]byte, c.tweak), make([]uint16, c.n), decrypt)
			if kms.CodeOf(err) != c.want {
				t.Errorf("%s: got %v want %s", what, err, c.want)
			}
		}
	}
	_, err := m.Format(nil, 10, nil, []uint16{1, 2, 3, 4, 5, 10, 7}, false)
	wantCode(t, "a numeral that is not of the radix", err, kms.CodeBadRequest)
}
