package box

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha512"
	"runtime"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/secret"
)

// TestKeptStateIsHKDFExpand: with a kept state, without one, after a collection, and while another caller holds it, the derivation
// is HKDF-Expand for every key and output size in use,
// whether associated data are those of the message before or not.
func TestKeptStateIsHKDFExpand(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		key := bytes.Repeat([]byte{byte(size)}, size)
		var p prf
		for n := range 600 {
			// Each length of associated data comes twice, so that what is kept of the first is used; then with another ending.
			header, salt, aad := bytes.Repeat([]byte{byte(n)}, n%60), bytes.Repeat([]byte{byte(n + 1)}, saltSize), bytes.Repeat([]byte{7}, n/2)
			if n%5 == 0 && len(aad) > 0 {
				aad[len(aad)-1] = byte(n)
			}
			digest := sha512.Sum512_256(aad)
			info := slices.Concat([]byte(Blob), []byte{0}, header, salt, digest[:])
			want, err := hkdf.Expand(sha512.New, key, string(info), size+commitmentSize)
			if err != nil {
				t.Fatal(err)
			}
			if n%50 == 49 {
				runtime.GC()
			}
			got := p.expand(key, Blob, header, salt, aad)
			p.mu.Lock() // as another caller would
			contended := p.expand(key, Blob, header, salt, aad)
			p.mu.Unlock()
			if !bytes.Equal(got[:len(want)], want) || contended != got {
				t.Fatalf("key of %d bytes, message %d: got %x and %x want %x", size, n, got, contended, want)
			}
		}
	}
}

// TestErasedKeyKeepsNothing: a state outlives its key only until it is collected, and no erased key uses it.
func TestErasedKeyKeepsNothing(t *testing.T) {
	k, err := NewKey(secret.Random(KeySize))
	if err != nil {
		t.Fatal(err)
	}
	k.Hot()
	var sealed []byte
	for n := range few + 1 {
		if k.hot.kept.Value() != nil {
			t.Errorf("after %d messages something is kept already", n)
		}
		if sealed, err = k.Seal(nil, Blob, nil, []byte("text"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if k.hot.kept.Value() == nil {
		t.Fatal("nothing is kept")
	}
	k.Zero()
	if k.hot.kept.Value() != nil {
		t.Error("the state is still referred to after Zero")
	}
	if _, err := k.Open(nil, Blob, nil, sealed, nil); err == nil {
		t.Error("an erased key opened a box")
	}
}

// TestUnusedKeysKeepNothing: of many keys that were used once, none keeps a state past a collection.
func TestUnusedKeysKeepNothing(t *testing.T) {
	keys := make([]prf, 1000)
	for i := range keys {
		for range few + 1 {
			keys[i].expand([]byte("0123456789abcdef"), Blob, nil, nil, []byte("again"))
		}
	}
	runtime.GC()
	runtime.GC()
	left := 0
	for i := range keys {
		if keys[i].kept.Value() != nil {
			left++
		}
	}
	if left > 1 { // the last one may still be in a register
		t.Errorf("%d of %d states are left", left, len(keys))
	}
}
