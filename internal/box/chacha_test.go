package box_test

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/box/boxtest"
	"github.com/keyhold/keyhold/internal/secret"
)

// chacha are the two ciphers beside AES-GCM.
var chacha = map[string]struct {
	make     func(*secret.Bytes) (*box.Key, error)
	label    box.Label
	nonce    int
	overhead int
}{
	"chacha20":  {box.NewChaChaKey, box.BlobChaCha, 12, box.Overhead},
	"xchacha20": {box.NewXChaChaKey, box.BlobXChaCha, 24, box.XChaChaOverhead},
}

// refused: where FIPS 140-3 is enforced these ciphers are refused, cleanly, and there is nothing more to test.
func refused(t *testing.T) bool {
	t.Helper()
	if !fips140.Enforced() {
		return false
	}
	for name, c := range chacha {
		k, err := c.make(secret.Random(32))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Seal(nil, c.label, header, nil, nil); err == nil {
			t.Errorf("%s: sealed although FIPS 140-3 is enforced", name)
		}
		if _, err := k.Open(nil, c.label, header, make([]byte, c.overhead), nil); !errors.Is(err, box.ErrOpen) {
			t.Errorf("%s: got %v want %v", name, err, box.ErrOpen)
		}
	}
	return true
}

func TestTwoImplementationsOpenEachOthersChaCha(t *testing.T) {
	if refused(t) {
		return
	}
	for name, c := range chacha {
		next := stream(20)
		for _, n := range []int{0, 1, 15, 16, 17, 63, 64, 65, 255, 4096} {
			raw, plaintext, aad := next(32), next(n), next(n/3)
			k, err := c.make(secret.Copy(raw))
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := k.Seal([]byte("before"), c.label, header, plaintext, aad)
			if err != nil || len(sealed) != 6+n+c.overhead || k.Overhead() != c.overhead || string(sealed[:6]) != "before" {
				t.Fatalf("%s: seal %d bytes: got %d, %v", name, n, len(sealed), err)
			}
			if got, err := boxtest.OpenChaCha(raw, string(c.label), c.nonce, header, sealed[6:], aad); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%s, %d bytes: the second implementation: %v", name, n, err)
			}
			theirs, err := boxtest.SealChaCha(raw, string(c.label), header, next(24), next(c.nonce), plaintext, aad)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.Open([]byte("before"), c.label, header, theirs, aad); err != nil || !bytes.Equal(got[6:], plaintext) {
				t.Errorf("%s, %d bytes: theirs does not open: %v", name, n, err)
			}
		}
	}
}

func TestEveryChangedBitOfAChaChaBoxGivesTheOneError(t *testing.T) {
	if refused(t) {
		return
	}
	for name, c := range chacha {
		raw, aad := stream(21)(32), []byte("aad")
		k, err := c.make(secret.Copy(raw))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := k.Seal(nil, c.label, header, []byte("plaintext"), aad)
		if err != nil {
			t.Fatal(err)
		}
		fails := func(what string, label box.Label, header, sealed, aad []byte) {
			t.Helper()
			if got, err := k.Open(nil, label, header, sealed, aad); !errors.Is(err, box.ErrOpen) || got != nil {
				t.Errorf("%s: %s: got %x, %v want %v", name, what, got, err, box.ErrOpen)
			}
		}
		for part, b := range map[string][]byte{"box": sealed, "header": header, "aad": aad} {
			for i := range b {
				for bit := range 8 {
					b[i] ^= 1 << bit
					fails(fmt.Sprintf("%s byte %d bit %d", part, i, bit), c.label, header, sealed, aad)
					b[i] ^= 1 << bit
				}
			}
		}
		for n := range sealed {
			fails(fmt.Sprintf("cut to %d", n), c.label, header, sealed[:n], aad)
		}
		fails("label of AES-GCM", box.Blob, header, sealed, aad)
		for other, d := range chacha {
			if other == name {
				continue
			}
			x, err := d.make(secret.Copy(raw))
			if err != nil {
				t.Fatal(err)
			}
			for _, label := range []box.Label{c.label, d.label} {
				if _, err := x.Open(nil, label, header, sealed, aad); !errors.Is(err, box.ErrOpen) {
					t.Errorf("a box of %s opened as %s", name, other)
				}
			}
		}
		if _, err := newKey(t, raw).Open(nil, c.label, header, sealed, aad); !errors.Is(err, box.ErrOpen) {
			t.Errorf("a box of %s opened as AES-GCM", name)
		}
		k.Zero()
		fails("erased key", c.label, header, sealed, aad)
		if _, err := k.Seal(nil, c.label, header, nil, nil); err == nil {
			t.Errorf("%s: an erased key seals", name)
		}
	}
}

// TestNoChaChaBoxOpensUnderTwoKeys: Poly1305 by itself commits to no key; the commitment does.
func TestNoChaChaBoxOpensUnderTwoKeys(t *testing.T) {
	if refused(t) {
		return
	}
	for name, c := range chacha {
		next := stream(22)
		one, two, salt, nonce := next(32), next(32), next(24), next(c.nonce)
		first, _ := boxtest.SealChaCha(one, string(c.label), header, salt, nonce, []byte("pay alice"), nil)
		second, _ := boxtest.SealChaCha(two, string(c.label), header, salt, nonce, []byte("pay mallo"), nil)
		forged := append(bytes.Clone(first[:56]), second[56:]...)
		if _, err := boxtest.OpenChaCha(two, string(c.label), c.nonce, header, forged, nil); err == nil || err.Error() != "commitment" {
			t.Errorf("%s: got %v, want it to fail at the commitment", name, err)
		}
		for _, raw := range [][]byte{one, two} {
			k, err := c.make(secret.Copy(raw))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.Open(nil, c.label, header, forged, nil); !errors.Is(err, box.ErrOpen) {
				t.Errorf("%s: got %q, %v want %v", name, got, err, box.ErrOpen)
			}
		}
	}
}

func TestChaChaKeysHave32Bytes(t *testing.T) {
	for name, c := range chacha {
		for n := range 70 {
			if _, err := c.make(secret.Random(n)); (err == nil) != (n == 32) {
				t.Errorf("%s: a key of %d bytes: got %v", name, n, err)
			}
		}
	}
}

// FuzzOpenChaCha: both implementations agree on every input.
func FuzzOpenChaCha(f *testing.F) {
	raw := stream(23)(32)
	good, _ := boxtest.SealChaCha(raw, string(box.BlobXChaCha), header, make([]byte, 24), make([]byte, 24), []byte("plaintext"), []byte("aad"))
	f.Add(true, good, header, []byte("aad"))
	f.Add(false, make([]byte, box.Overhead), []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, extended bool, sealed, header, aad []byte) {
		c := chacha["chacha20"]
		if extended {
			c = chacha["xchacha20"]
		}
		k, err := c.make(secret.Copy(raw))
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(nil, c.label, header, sealed, aad)
		if fips140.Enforced() && errors.Is(err, box.ErrOpen) {
			return
		}
		want, theirs := boxtest.OpenChaCha(raw, string(c.label), c.nonce, header, sealed, aad)
		if (err == nil) != (theirs == nil) || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v; the second implementation: %x, %v", got, err, want, theirs)
		}
	})
}
