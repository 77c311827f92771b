package mode_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestCMACIsThatOfTheStandard: the examples of SP 800-38B appendix D (also RFC 4493 §4).
func TestCMACIsThatOfTheStandard(t *testing.T) {
	message := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for key, want := range map[string]map[int]string{
		"2b7e151628aed2a6abf7158809cf4f3c": {
			0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c",
			40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe"},
		"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4": {
			0: "028962f61b7bf89efc6b551f4667d983", 16: "28a7023f452e8f82bd4bf28d8c37c35c",
			40: "aaf3d8f1de5640c232f5b169b9c911e6", 64: "e1992190549f6ed5696a2c056c315410"},
	} {
		for n, tag := range want {
			if got, err := mode.CMAC(unhex(key), message[:n]); err != nil || !bytes.Equal(got[:], unhex(tag)) {
				t.Errorf("%d bytes: got %x, %v want %s", n, got, err, tag)
			}
		}
	}
}

// TestKeyWrappingIsThatOfTheStandards: RFC 3394 §4.1, §4.3 and §4.6; RFC 5649 §6.
func TestKeyWrappingIsThatOfTheStandards(t *testing.T) {
	kek := unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	material := unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
	padded := unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for _, c := range []struct {
		key, material []byte
		want          string
		wrap, unwrap  func(key, dst, material []byte) ([]byte, error)
	}{
		{kek[:16], material[:16], "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", mode.WrapKW, mode.UnwrapKW},
		{kek, material[:16], "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7", mode.WrapKW, mode.UnwrapKW},
		{kek, material, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21", mode.WrapKW, mode.UnwrapKW},
		{padded, unhex("c37b7e6492584340bed12207808941155068f738"), "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a", mode.WrapKWP, mode.UnwrapKWP},
		{padded, unhex("466f7250617369"), "afbeb0f07dfbf5419200f2ccb50bb24f", mode.WrapKWP, mode.UnwrapKWP},
	} {
		wrapped, err := c.wrap(c.key, []byte("before"), c.material)
		if want := append([]byte("before"), unhex(c.want)...); err != nil || !bytes.Equal(wrapped, want) {
			t.Errorf("wrapped: got %x, %v want %x", wrapped, err, want)
		}
		got, err := c.unwrap(c.key, []byte("before"), unhex(c.want))
		if err != nil || !bytes.Equal(got, append([]byte("before"), c.material...)) {
			t.Errorf("unwrapped: got %x, %v want %x", got, err, c.material)
		}
	}
	// One mode does not open what the other made.
	kw, _ := mode.WrapKW(kek, nil, material)
	kwp, _ := mode.WrapKWP(kek, nil, material)
	if _, err := mode.UnwrapKWP(kek, nil, kw); !errors.Is(err, mode.ErrOpen) {
		t.Errorf("aes-kw opened as aes-kwp: %v", err)
	}
	if _, err := mode.UnwrapKW(kek, nil, kwp); !errors.Is(err, mode.ErrOpen) {
		t.Errorf("aes-kwp opened as aes-kw: %v", err)
	}
}

// TestPaddingIsChecked: each length and each padding byte that RFC 5649 §3 forbids, with the right prefix. They are wrapped by
// a second W.
func TestPaddingIsChecked(t *testing.T) {
	key := make([]byte, 32)
	for length := range uint32(40) {
		for at := range 24 {
			plain := make([]byte, 24)
			plain[at] = 1
			value := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, length)
			wrapped := wrapValue(t, key, value, plain)
			good := length > 16 && length <= 24 && uint32(at) < length //nolint:gosec // G115: below 24
			got, err := mode.UnwrapKWP(key, nil, wrapped)
			if (err == nil) != good || good && !bytes.Equal(got, plain[:length]) {
				t.Errorf("length %d, a one at %d: got %x, %v want it to open: %v", length, at, got, err, good)
			}
		}
	}
	for _, length := range []uint32{1 << 31, 1<<32 - 1, 1<<32 - 8} {
		if _, err := mode.UnwrapKWP(key, nil, wrapValue(t, key, binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, length), make([]byte, 24))); !errors.Is(err, mode.ErrOpen) {
			t.Errorf("length %d: got %v", length, err)
		}
	}
}

// wrapValue is W of SP 800-38F §6.1, algorithm 1, as it is written: another value, and another program, than those under test.
func wrapValue(t testing.TB, key, value, plain []byte) []byte {
	t.Helper()
	block := newAES(t, key)
	n := 1 + len(plain)/8
	r := make([][]byte, n+1)
	r[1] = value
	for i := range len(plain) / 8 {
		r[i+2] = plain[8*i : 8*i+8]
	}
	for step := 1; step <= 6*(n-1); step++ {
		in := slices.Concat(r[1], r[2])
		block.Encrypt(in, in)
		binary.BigEndian.PutUint64(in, binary.BigEndian.Uint64(in)^uint64(step)) //nolint:gosec // G115: positive
		copy(r[2:], r[3:])
		r[1], r[n] = in[:8], in[8:]
	}
	return slices.Concat(r[1:]...)
}

func TestKeyWrappingRefusesWhatItCannotWrap(t *testing.T) {
	key := make([]byte, 16)
	for _, n := range []int{0, 1, 8, 15, 17, 23, mode.MaxKeyMaterial + 8} {
		want := kms.CodeBadRequest
		if n > mode.MaxKeyMaterial {
			want = kms.CodeTooLarge
		}
		if _, err := mode.WrapKW(key, nil, make([]byte, n)); kms.CodeOf(err) != want {
			t.Errorf("aes-kw of %d bytes: got %v want %s", n, err, want)
		}
	}
	for n, want := range map[int]kms.Code{0: kms.CodeBadRequest, 1: 0, mode.MaxKeyMaterial: 0, mode.MaxKeyMaterial + 1: kms.CodeTooLarge} {
		wrapped, err := mode.WrapKWP(key, nil, make([]byte, n))
		if kms.CodeOf(err) != want {
			t.Errorf("aes-kwp of %d bytes: got %v want %s", n, err, want)
		}
		if want != 0 {
			continue
		}
		if got, err := mode.UnwrapKWP(key, nil, wrapped); err != nil || len(got) != n {
			t.Errorf("aes-kwp of %d bytes: unwrapped %d, %v", n, len(got), err)
		}
	}
	for _, unwrap := range []func(key, dst, wrapped []byte) ([]byte, error){mode.UnwrapKW, mode.UnwrapKWP} {
		for _, n := range []int{0, 8, 15, 17, mode.MaxKeyMaterial + 16} {
			if got, err := unwrap(key, nil, make([]byte, n)); !errors.Is(err, mode.ErrOpen) || got != nil {
				t.Errorf("unwrap %d bytes: got %d bytes, %v", n, len(got), err)
			}
		}
	}
}

// TestSIVIsThatOfTheStandard: RFC 5297 §A.1.
func TestSIVIsThatOfTheStandard(t *testing.T) {
	key := unhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
	aad := unhex("101112131415161718191a1b1c1d1e1f2021222324252627")
	text := unhex("112233445566778899aabbccddee")
	want := unhex("85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c")
	sealed, err := mode.SealSIV(key, []byte("before"), text, aad)
	if err != nil || !bytes.Equal(sealed, append([]byte("before"), want...)) {
		t.Errorf("got %x, %v want %x", sealed, err, want)
	}
	got, err := mode.OpenSIV(key, []byte("before"), want, aad)
	if err != nil || string(got) != "before"+string(text) {
		t.Errorf("got %x, %v want %x", got, err, text)
	}
}

// TestWhatDoesNotOpenIsErased: the unverified plaintext does not stay in the memory that the caller passed.
func TestWhatDoesNotOpenIsErased(t *testing.T) {
	key := make([]byte, 64)
	sealed, err := mode.SealSIV(key, nil, []byte("a plaintext of some length"), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed[0] ^= 1
	dst := make([]byte, 0, 100)
	if got, err := mode.OpenSIV(key, dst, sealed, nil); !errors.Is(err, mode.ErrOpen) || got != nil || !bytes.Equal(dst[:100], make([]byte, 100)) {
		t.Errorf("got %q, %v, left %x", got, err, dst[:100])
	}
}

// TestFF1IsThatOfTheStandard: the samples that NIST publishes with SP 800-38G.
func TestFF1IsThatOfTheStandard(t *testing.T) {
	key := unhex("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94")
	for _, c := range []struct {
		size, radix       int
		tweak, text, want string
	}{
		{16, 10, "", "0123456789", "2433477484"},
		{16, 10, "39383736353433323130", "0123456789", "6124200773"},
		{16, 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"},
		{24, 10, "", "0123456789", "2830668132"},
		{24, 10, "39383736353433323130", "0123456789", "2496655549"},
		{24, 36, "3737373770717273373737", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"},
		{32, 10, "", "0123456789", "6657667009"},
		{32, 10, "39383736353433323130", "0123456789", "1001623463"},
		{32, 36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"},
	} {
		k := key[:c.size]
		if c.size == 24 {
			k = unhex("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f")
		}
		got, err := mode.FF1(k, nil, c.radix, unhex(c.tweak), numerals(c.text), false)
		if err != nil || !slices.Equal(got, numerals(c.want)) {
			t.Errorf("%d bits, %s: got %v, %v want %s", 8*c.size, c.text, got, err, c.want)
		}
		got, err = mode.FF1(k, nil, c.radix, unhex(c.tweak), numerals(c.want), true)
		if err != nil || !slices.Equal(got, numerals(c.text)) {
			t.Errorf("%d bits, %s: got %v, %v want %s", 8*c.size, c.want, got, err, c.text)
		}
	}
}

func numerals(s string) []uint16 {
	var out []uint16
	for _, c := range s {
		out = append(out, uint16(strings.IndexRune("0123456789abcdefghijklmnopqrstuvwxyz", c))) //nolint:gosec // G115: below 36
	}
	return out
}

// TestKeysOfOtherLengthsAreRefused: by every mode, and without a panic.
func TestKeysOfOtherLengthsAreRefused(t *testing.T) {
	for _, n := range []int{0, 1, 8, 15, 17, 31, 33, 63, 65, 128} {
		key := make([]byte, n)
		errs := map[string]error{}
		_, errs["cmac"] = mode.CMAC(key, nil)
		_, errs["wrap"] = mode.WrapKW(key, nil, make([]byte, 16))
		_, errs["unwrap"] = mode.UnwrapKWP(key, nil, make([]byte, 16))
		_, errs["seal"] = mode.SealSIV(key, nil, nil, nil)
		_, errs["open"] = mode.OpenSIV(key, nil, make([]byte, 16), nil)
		_, errs["ff1"] = mode.FF1(key, nil, 10, nil, make([]uint16, 16), false)
		for what, err := range errs {
			if err == nil || errors.Is(err, mode.ErrOpen) {
				t.Errorf("%s with a key of %d bytes: got %v", what, n, err)
			}
		}
	}
}

// TestFF1IsAPermutation of the smallest domain there is: no two texts have one ciphertext.
func TestFF1IsAPermutation(t *testing.T) {
	key, seen := make([]byte, 16), make([]bool, 1_000_000)
	for i := 0; i < len(seen); i += 101 {
		text := []uint16{uint16(i / 1000), uint16(i % 1000)} //nolint:gosec // G115: below 1000
		got, err := mode.FF1(key, nil, 1000, nil, text, false)
		if err != nil {
			t.Fatal(err)
		}
		at := 1000*int(got[0]) + int(got[1])
		if seen[at] {
			t.Fatalf("two texts have the ciphertext %v", got)
		}
		seen[at] = true
	}
}

func newAES(t testing.TB, key []byte) cipher.Block {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return block
}
