package aws

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// FuzzMarker: what strangers send as a marker is read or refused, and what is read is written the same.
func FuzzMarker(f *testing.F) {
	id := kms.NewID(time.Unix(1_700_000_000, 0), [10]byte{1})
	for _, s := range []string{"", "a", "****", marker(markKeys, "x"), marker(markAliases, aliasPlace{"p", id, "orders"}.String()), strings.Repeat("a", 2*maxMarker)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, list := range []byte{markKeys, markAliases, markTags, markRotations} {
			place, err := readMarker(list, s)
			if err != nil || s == "" {
				continue
			}
			if again := marker(list, place); again != s {
				t.Errorf("%q is read as %q, which is written %q", s, place, again)
			}
			if p, ok := readAliasPlace(place); ok && p.key.String() != strings.ToLower(place[:36]) {
				t.Errorf("%q is read as %+v", place, p)
			}
		}
	})
}

// FuzzImportToken: an import token is 17 bytes, and of the last day.
func FuzzImportToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	id := kms.NewID(now, [10]byte{1})
	f.Add(append([]byte{tokenV1}, id[:]...))
	f.Add([]byte{})
	f.Add(make([]byte, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := importToken(b, now)
		if (err == nil) != (len(b) == 17 && b[0] == tokenV1 && now.Sub(kms.ID(b[1:]).Time()) <= tokenLife) {
			t.Errorf("%x: %v, %v", b, got, err)
		}
	})
}
