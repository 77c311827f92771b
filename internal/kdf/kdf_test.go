package kdf

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// leastKey is what the certified module takes, in bytes: 112 bits (SP 800-131A).
const leastKey = 14

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The test cases of RFC 4231 §4, of both hashes; case 5 is of a truncated output.
func TestMACIsRFC4231(t *testing.T) {
	for _, c := range []struct{ key, data, sha256, sha512 string }{
		{strings.Repeat("0b", 20), hex.EncodeToString([]byte("Hi There")), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
		{hex.EncodeToString([]byte("Jefe")), hex.EncodeToString([]byte("what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
		{strings.Repeat("aa", 20), strings.Repeat("dd", 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
			"fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
		{"0102030405060708090a0b0c0d0e0f10111213141516171819", strings.Repeat("cd", 50), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
			"b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"},
		{strings.Repeat("aa", 131), hex.EncodeToString([]byte("Test Using Larger Than Block-Size Key - Hash Key First")), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
			"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
	} {
		key, data := unhex(t, c.key), unhex(t, c.data)
		if fips140.Enforced() && len(key) < leastKey {
			continue
		}
		if got := MAC(key, data[:len(data)/2], data[len(data)/2:]); !bytes.Equal(got[:], unhex(t, c.sha256)) {
			t.Errorf("HMAC-SHA-256 under %s: got %x want %s", c.key, got, c.sha256)
		}
		var got [sha512.Size]byte
		if mac512(&got, key, [][]byte{data}, nil); !bytes.Equal(got[:], unhex(t, c.sha512)) {
			t.Errorf("HMAC-SHA-512 under %s: got %x want %s", c.key, got, c.sha512)
		}
	}
}

// Go's own implementations are the second opinion, over every length of key and message around the blocks and around what fits on the stack.
func TestDerivationIsThatOfTheLibrary(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 20)
	for _, size := range []int{0, 1, 16, 32, 63, 64, 65, 127, 128, 129, 200} {
		key := bytes.Repeat([]byte{0x5a}, size)
		if fips140.Enforced() && size < leastKey {
			continue
		}
		for n := range len(text) {
			parts := [][]byte{text[:n/3], nil, text[n/3 : n]}
			m := hmac.New(sha256.New, key)
			m.Write(text[:n])
			if got, want := MAC(key, parts...), m.Sum(nil); !bytes.Equal(got[:], want) {
				t.Fatalf("MAC of %d bytes under %d: got %x want %x", n, size, got, want)
			}
			want, err := hkdf.Expand(sha512.New, key, string(text[:n]), sha512.Size)
			if err != nil {
				t.Fatal(err)
			}
			if got := Expand(key, parts...); !bytes.Equal(got[:], want) {
				t.Fatalf("Expand over %d bytes of %d: got %x want %x", n, size, got, want)
			}
			if fips140.Enforced() && n < leastKey {
				continue
			}
			want, err = hkdf.Key(sha512.New, text[:n], key, "info", sha512.Size)
			if err != nil {
				t.Fatal(err)
			}
			if got := Key(key, []byte("info"), parts...); !bytes.Equal(got[:], want) {
				t.Fatalf("Key of %d bytes with a salt of %d: got %x want %x", n, size, got, want)
			}
		}
	}
}

// What is derived is not written to the key, to the input, nor to what stands behind it.
func TestInputStaysAsItIs(t *testing.T) {
	key, info := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 64)
	k, i := slices.Clone(key), slices.Clone(info)
	MAC(key[:16], info[:10])
	Expand(key[:16], info[:10])
	Key(key[:16], info[:10], info[:20])
	if !bytes.Equal(k, key) || !bytes.Equal(i, info) {
		t.Error("the input was changed")
	}
}

// Where the certified module is in force, it allocates as it does.
func TestNothingIsAllocated(t *testing.T) {
	if fips140.Enabled() {
		return
	}
	key, info := make([]byte, 32), make([]byte, 100)
	for name, f := range map[string]func(){
		"Expand": func() { Expand(key, info, info) }, "Key": func() { Key(info, info, key, key) }, "MAC": func() { MAC(key, info, info) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	key, info := make([]byte, 32), make([]byte, 80)
	for b.Loop() {
		Expand(key, info)
	}
}
