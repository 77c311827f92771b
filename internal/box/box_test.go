package box_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/box/boxtest"
	"github.com/keyhold/keyhold/internal/secret"
)

var header = bytes.Repeat([]byte{0x42}, 22)

func newKey(t testing.TB, raw []byte) *box.Key {
	t.Helper()
	k, err := box.NewKey(secret.Copy(raw))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// stream gives repeatable bytes for tests.
func stream(seed uint64) func(n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	return func(n int) []byte {
		b := make([]byte, n)
		r.Read(b) //nolint:errcheck // never fails
		return b
	}
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// TestVectors: boxes made by another program, with another language's cryptography, open; and the second implementation
// makes the same bytes from the same salt and nonce.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/boxes.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Label                                         string
		Key, Header, Salt, Nonce, Plaintext, AAD, Box hexBytes
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) < 30 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for i, v := range vectors {
		got, err := newKey(t, v.Key).Open(nil, box.Label(v.Label), v.Header, v.Box, v.AAD)
		if err != nil || !bytes.Equal(got, v.Plaintext) {
			t.Errorf("vector %d: got %x, %v want %x", i, got, err, v.Plaintext)
		}
		again, err := boxtest.Seal(v.Key, v.Label, v.Header, v.Salt, v.Nonce, v.Plaintext, v.AAD)
		if err != nil || !bytes.Equal(again, v.Box) {
			t.Errorf("vector %d by the second implementation: got %x, %v want %x", i, again, err, v.Box)
		}
	}
}

func TestTwoImplementationsOpenEachOther(t *testing.T) {
	next := stream(1)
	for _, keySize := range []int{16, 24, 32} {
		for _, n := range []int{0, 1, 15, 16, 17, 255, 4096} {
			raw, plaintext, aad := next(keySize), next(n), next(n/3)
			sealed, err := newKey(t, raw).Seal(nil, box.Blob, header, plaintext, aad)
			if err != nil || len(sealed) != n+box.Overhead {
				t.Fatalf("seal %d bytes: got %d, %v", n, len(sealed), err)
			}
			if got, err := boxtest.Open(raw, string(box.Blob), header, sealed, aad); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("key of %d, %d bytes: the second implementation: %v", keySize, n, err)
			}
			theirs, err := boxtest.Seal(raw, string(box.Blob), header, next(24), next(12), plaintext, aad)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := newKey(t, raw).Open(nil, box.Blob, header, theirs, aad); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("key of %d, %d bytes: theirs does not open: %v", keySize, n, err)
			}
		}
	}
}

func TestEveryChangedBitGivesTheOneError(t *testing.T) {
	next := stream(2)
	k, aad := newKey(t, next(32)), []byte("aad")
	sealed, err := k.Seal(nil, box.Blob, header, []byte("plaintext"), aad)
	if err != nil {
		t.Fatal(err)
	}
	fails := func(what string, label box.Label, header, sealed, aad []byte) {
		t.Helper()
		if got, err := k.Open(nil, label, header, sealed, aad); !errors.Is(err, box.ErrOpen) || err.Error() != box.ErrOpen.Error() || got != nil {
			t.Errorf("%s: got %x, %v want %v", what, got, err, box.ErrOpen)
		}
	}
	for name, part := range map[string][]byte{"box": sealed, "header": header, "aad": aad} {
		for i := range part {
			for bit := range 8 {
				part[i] ^= 1 << bit
				fails(fmt.Sprintf("%s byte %d bit %d", name, i, bit), box.Blob, header, sealed, aad)
				part[i] ^= 1 << bit
			}
		}
	}
	for n := range sealed {
		fails(fmt.Sprintf("cut to %d", n), box.Blob, header, sealed[:n], aad)
	}
	fails("one byte more", box.Blob, header, append(bytes.Clone(sealed), 0), aad)
	fails("another label", box.Record, header, sealed, aad)
	fails("no label", "", header, sealed, aad)
	fails("header cut", box.Blob, header[:21], sealed, aad)
	fails("no aad", box.Blob, header, sealed, nil)
	if _, err := k.Open(nil, box.Blob, header, sealed, aad); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// TestNoBoxOpensUnderTwoKeys is the salamander test: a box whose GCM part verifies under a second key is refused at the
// commitment, not at the tag.
func TestNoBoxOpensUnderTwoKeys(t *testing.T) {
	next := stream(3)
	one, two, salt, nonce := next(32), next(32), next(24), next(12)
	first, err := boxtest.Seal(one, string(box.Blob), header, salt, nonce, []byte("pay alice"), nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := boxtest.Seal(two, string(box.Blob), header, salt, nonce, []byte("pay mallo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The forger keeps the second key's nonce, ciphertext and tag, which verify under it, below the first key's commitment.
	forged := append(bytes.Clone(first[:56]), second[56:]...)
	for _, raw := range [][]byte{one, two} {
		if got, err := newKey(t, raw).Open(nil, box.Blob, header, forged, nil); !errors.Is(err, box.ErrOpen) {
			t.Errorf("got %q, %v want %v", got, err, box.ErrOpen)
		}
	}
	if _, err := boxtest.Open(two, string(box.Blob), header, forged, nil); err == nil || err.Error() != "commitment" {
		t.Errorf("under the second key: got %v, want it to fail at the commitment", err)
	}
}

func TestSealAndOpenAppend(t *testing.T) {
	k := newKey(t, stream(4)(32))
	for _, room := range []int{0, 4, 1000} {
		dst := append(make([]byte, 0, 6+room), "before"...)
		sealed, err := k.Seal(dst, box.Blob, header, []byte("plaintext"), nil)
		if err != nil || string(sealed[:6]) != "before" || len(sealed) != 6+box.Overhead+9 {
			t.Fatalf("seal: %q, %v", sealed, err)
		}
		dst = append(make([]byte, 0, 6+room), "before"...)
		got, err := k.Open(dst, box.Blob, header, sealed[6:], nil)
		if err != nil || string(got) != "beforeplaintext" {
			t.Errorf("open: got %q, %v", got, err)
		}
	}
}

func TestManyBoxesShareNoSaltAndNoNonce(t *testing.T) {
	k, seen := newKey(t, stream(5)(32)), map[string]bool{}
	for range 1000 {
		sealed, err := k.Seal(nil, box.Blob, header, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{string(sealed[:24]), string(sealed[24:56]), string(sealed[56:68])} {
			if seen[part] {
				t.Fatalf("%x came twice", part)
			}
			seen[part] = true
		}
	}
}

func TestKeysHaveThreeSizes(t *testing.T) {
	for n := range 70 {
		_, err := box.NewKey(secret.Random(n))
		if want := n == 16 || n == 24 || n == 32; (err == nil) != want {
			t.Errorf("a key of %d bytes: got %v", n, err)
		}
	}
	if _, err := box.NewKey(nil); err == nil {
		t.Error("a key of nothing was accepted")
	}
}

func TestAnErasedKeyIsUseless(t *testing.T) {
	k := newKey(t, stream(6)(32))
	sealed, err := k.Seal(nil, box.Blob, header, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.Zero()
	k.Zero()
	if got, err := k.Seal(nil, box.Blob, header, nil, nil); err == nil {
		t.Errorf("seal: got %x", got)
	}
	if _, err := k.Open(nil, box.Blob, header, sealed, nil); !errors.Is(err, box.ErrOpen) {
		t.Errorf("open: got %v want %v", err, box.ErrOpen)
	}
	if _, err := k.Derive(secret.Random(32), nil); err == nil {
		t.Error("derive: no error")
	}
}

func TestADerivedKeyNeedsParentShredSecretAndPlace(t *testing.T) {
	next := stream(7)
	parent, shred := next(32), next(32)
	derive := func(parent, shred []byte, place string) *box.Key {
		t.Helper()
		k, err := newKey(t, parent).Derive(secret.Copy(shred), []byte(place))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sealed, err := derive(parent, shred, "key/1").Seal(nil, box.Material, header[:3], []byte("m"), nil)
	if err != nil {
		t.Fatal(err)
	}
	opens := func(k *box.Key) bool { _, err := k.Open(nil, box.Material, header[:3], sealed, nil); return err == nil }
	if !opens(derive(parent, shred, "key/1")) {
		t.Error("the same secrets give another key")
	}
	for what, k := range map[string]*box.Key{
		"parent itself": newKey(t, parent), "shred secret itself": newKey(t, shred),
		"another parent": derive(next(32), shred, "key/1"), "another shred secret": derive(parent, next(32), "key/1"),
		"another place": derive(parent, shred, "key/2"), "the two exchanged": derive(shred, parent, "key/1"),
	} {
		if opens(k) {
			t.Errorf("%s opens it", what)
		}
	}
	if _, err := newKey(t, parent).Derive(secret.Random(16), nil); err == nil {
		t.Error("a short shred secret was accepted")
	}
	if _, err := newKey(t, next(16)).Derive(secret.Random(32), nil); err == nil {
		t.Error("a short parent was accepted")
	}
}

func TestOneKeyServesManyAtOnce(t *testing.T) {
	k := newKey(t, stream(8)(32))
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for j := range 100 {
				text := fmt.Appendf(nil, "%d/%d", i, j)
				sealed, err := k.Seal(nil, box.Blob, header, text, text)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := k.Open(nil, box.Blob, header, sealed, text); err != nil || !bytes.Equal(got, text) {
					t.Errorf("got %q, %v want %q", got, err, text)
				}
			}
		})
	}
	users.Wait()
}

// FuzzOpen: nothing but a box of this key opens, and both implementations agree on every input.
func FuzzOpen(f *testing.F) {
	raw := stream(9)(32)
	good, err := boxtest.Seal(raw, string(box.Blob), header, make([]byte, 24), make([]byte, 12), []byte("plaintext"), []byte("aad"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, header, []byte("aad"))
	f.Add([]byte(nil), []byte(nil), []byte(nil))
	f.Add(make([]byte, box.Overhead), header, []byte("aad"))
	f.Fuzz(func(t *testing.T, sealed, header, aad []byte) {
		got, err := newKey(t, raw).Open(nil, box.Blob, header, sealed, aad)
		want, theirs := boxtest.Open(raw, string(box.Blob), header, sealed, aad)
		if (err == nil) != (theirs == nil) || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v; the second implementation: %x, %v", got, err, want, theirs)
		}
		if err != nil && !errors.Is(err, box.ErrOpen) {
			t.Fatalf("got %v want %v", err, box.ErrOpen)
		}
	})
}

func BenchmarkSeal(b *testing.B) { benchmark(b, false) }
func BenchmarkOpen(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, open bool) {
	for _, n := range []int{32, 4096} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			next := stream(10)
			k, plaintext, aad := newKey(b, next(32)), next(n), next(17)
			sealed, err := k.Seal(nil, box.Blob, header, plaintext, aad)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if open {
					_, err = k.Open(nil, box.Blob, header, sealed, aad)
				} else {
					_, err = k.Seal(nil, box.Blob, header, plaintext, aad)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
