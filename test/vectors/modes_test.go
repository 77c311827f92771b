package vectors

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
)

// TestKeyWrappingIsThatOfTheVectors: KW and KWP under keys of all three sizes. A key of 8 bytes, which RFC 3394 leaves open for KW and
// SP 800-38F §5.3.1 rules out, is refused.
func TestKeyWrappingIsThatOfTheVectors(t *testing.T) {
	w := newWorld(t)
	wrapping := map[int]kms.Algorithm{128: kms.AES128Wrap, 192: kms.AES192Wrap, 256: kms.AES256Wrap}
	for name, s := range map[string]kms.Scheme{"aes_wrap": kms.SchemeKW, "aes_kwp": kms.SchemeKWP} {
		good, bad := map[int]int{}, map[int]int{}
		for _, g := range file(t, name) {
			for _, v := range g.Tests {
				h := w.mustLoad(t, wrapping[g.KeySize], raw, v.Key, nil)
				got, err := h.Open(nil, nil, v.CT, nil, s)
				if v.Result != "valid" {
					bad[g.KeySize]++
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeDecryptFailed)
					if slices.Contains(v.Flags, "WrongDataSize") || slices.Contains(v.Flags, "ShortKey") || slices.Contains(v.Flags, "EmptyKey") {
						_, err := h.Seal(nil, nil, v.Msg, nil, s)
						wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeBadRequest)
					}
					continue
				}
				good[g.KeySize]++
				if err != nil || !bytes.Equal(got, v.Msg) {
					t.Errorf("%s, vector %d (%s): unwrapped %x, %v want %x", name, v.ID, v.Comment, got, err, v.Msg)
				}
				if wrapped, err := h.Seal(nil, nil, v.Msg, nil, s); err != nil || !bytes.Equal(wrapped, v.CT) {
					t.Errorf("%s, vector %d (%s): wrapped %x, %v want %x", name, v.ID, v.Comment, wrapped, err, v.CT)
				}
			}
		}
		for size := range wrapping {
			if good[size] < 11 || bad[size] < 30 {
				t.Errorf("%s, %d bits: %d good and %d bad vectors were run", name, size, good[size], bad[size])
			}
		}
	}
}

func TestSIVIsThatOfTheVectors(t *testing.T) {
	good, bad := map[int]int{}, map[int]int{}
	for _, g := range file(t, "aes_siv_cmac") {
		for _, v := range g.Tests {
			got, err := mode.OpenSIV(v.Key, nil, v.CT, v.AAD)
			if v.Result != "valid" {
				bad[g.KeySize]++
				if !errors.Is(err, mode.ErrOpen) || got != nil {
					t.Errorf("vector %d (%s): got %x, %v", v.ID, v.Comment, got, err)
				}
				continue
			}
			good[g.KeySize]++
			if err != nil || !bytes.Equal(got, v.Msg) {
				t.Errorf("vector %d (%s): got %x, %v want %x", v.ID, v.Comment, got, err, v.Msg)
			}
			if sealed, err := mode.SealSIV(v.Key, nil, v.Msg, v.AAD); err != nil || !bytes.Equal(sealed, v.CT) {
				t.Errorf("vector %d (%s): sealed %x, %v want %x", v.ID, v.Comment, sealed, err, v.CT)
			}
		}
	}
	for _, size := range []int{256, 384, 512} {
		if good[size] < 30 || bad[size] < 100 {
			t.Errorf("%d bits: %d good and %d bad vectors were run", size, good[size], bad[size])
		}
	}
}

// TestFF1IsThatOfTheVectors: AES-128 and AES-256 through the provider, AES-192, which it does not offer, beside it. Valid vectors of
// formats with fewer than a million values must be refused (SP 800-38G rev. 1, 2nd draft, §5.1).
func TestFF1IsThatOfTheVectors(t *testing.T) {
	w := newWorld(t)
	ff1 := map[int]kms.Algorithm{128: kms.AES128FF1, 256: kms.AES256FF1}
	total := 0
	for _, name := range []string{"radix10", "radix16", "radix26", "radix32", "radix36", "radix45", "radix62", "radix64", "radix85", "radix255", "radix256", "radix65535", "radix65536"} {
		var f struct {
			TestGroups []struct {
				KeySize, Radix int
				Tests          []struct {
					ID              int `json:"tcId"`
					Comment, Result string
					Flags           []string
					Key, Tweak      hexBytes
					Msg, CT         []int
				}
			}
		}
		read(t, "aes_ff1_"+name, &f)
		good, small, bad, keys := 0, 0, 0, 0
		for _, g := range f.TestGroups {
			for _, v := range g.Tests {
				format := func(text []uint16, decrypt bool) ([]uint16, error) {
					if g.KeySize == 192 {
						return mode.FF1(v.Key, nil, g.Radix, v.Tweak, text, decrypt)
					}
					return w.mustLoad(t, ff1[g.KeySize], raw, v.Key, nil).Format(nil, g.Radix, v.Tweak, text, decrypt)
				}
				if ff1[g.KeySize] == 0 && g.KeySize != 192 {
					keys++
					_, err := w.load(t, kms.AES128FF1, raw, v.Key, nil)
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeRecordDamaged)
					continue
				}
				msg, inMsg := numerals(v.Msg)
				ct, _ := numerals(v.CT)
				domain := 1.0
				for range v.Msg {
					domain *= float64(g.Radix)
				}
				switch {
				case v.Result != "valid":
					bad++
					if !inMsg {
						continue // a numeral that is no uint16 cannot be passed
					}
					_, err := format(msg, false)
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeBadRequest)
				case domain < mode.MinDomain:
					small++
					_, err := format(msg, false)
					wantCode(t, name+": "+v.Comment, v.ID, err, kms.CodeBadRequest)
				default:
					good++
					if got, err := format(msg, false); err != nil || !slices.Equal(got, ct) {
						t.Errorf("%s, vector %d (%s): got %v, %v want %v", name, v.ID, v.Comment, got, err, ct)
					}
					if got, err := format(ct, true); err != nil || !slices.Equal(got, msg) {
						t.Errorf("%s, vector %d (%s): back: got %v, %v want %v", name, v.ID, v.Comment, got, err, msg)
					}
				}
			}
		}
		if good < 500 || bad < 100 || keys != 5 {
			t.Errorf("%s: %d good vectors, %d with too few values, %d bad and %d keys of other sizes were run", name, good, small, bad, keys)
		}
		total += good
	}
	if total < 20_000 {
		t.Errorf("%d good vectors were run", total)
	}
	t.Logf("%d texts were encrypted and decrypted", total)
}

// numerals says too whether all of them can be numerals at all.
func numerals(in []int) ([]uint16, bool) {
	out := make([]uint16, len(in))
	for i, n := range in {
		if n < 0 || n > 65535 {
			return nil, false
		}
		out[i] = uint16(n)
	}
	return out, true
}
