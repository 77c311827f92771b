package soft

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// TestBothImplementationsAreOneKEM: a key that was made under one profile is the same under the other, and what one encapsulates the
// other decapsulates.
func TestBothImplementationsAreOneKEM(t *testing.T) {
	checked := 0
	for a, set := range kemSets {
		if set.module == nil {
			continue
		}
		checked++
		for range 4 {
			seed := secret.Random(set.circl.SeedSize())
			circl, err1 := circlKEM(set.circl)(seed.Reveal(reveal.Key{}))
			module, err2 := set.module(seed.Reveal(reveal.Key{}))
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if !bytes.Equal(circl.public, module.public) || circl.size != module.size {
				t.Errorf("%s: another public key, or ciphertexts of %d and %d bytes", a, circl.size, module.size)
			}
			for i, pair := range [][2]*kemKey{{circl, module}, {module, circl}} {
				ciphertext, want, err := pair[0].encapsulate()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := pair[1].decapsulate(ciphertext); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, direction %d: another secret, %v", a, i, err)
				}
				ciphertext[len(ciphertext)/2] ^= 1
				got, err1 := pair[0].decapsulate(ciphertext)
				theirs, err2 := pair[1].decapsulate(ciphertext)
				if err1 != nil || err2 != nil || !bytes.Equal(got, theirs) || bytes.Equal(got, want) {
					t.Errorf("%s, direction %d: the implicit rejections differ: %v, %v", a, i, err1, err2)
				}
			}
		}
	}
	if checked != 2 {
		t.Errorf("%d parameter sets were compared, want 2", checked)
	}
}

// TestTheProfileChoosesTheImplementation: the FIPS profile uses the module where it has the set.
func TestTheProfileChoosesTheImplementation(t *testing.T) {
	code := func(f func([]byte) (*kemKey, error)) uintptr { return reflect.ValueOf(f).Pointer() }
	for a, set := range kemSets {
		module := code(set.module)
		if code(set.under(kms.ProfileDefault)) == module {
			t.Errorf("%s, default profile: not circl", a)
		}
		if refused := kms.CheckLoad(a, kms.ProfileFIPS) != nil; refused != (set.module == nil) {
			t.Errorf("%s is refused by the FIPS profile: %v, the module has it: %v", a, refused, set.module != nil)
		} else if !refused && code(set.under(kms.ProfileFIPS)) != module {
			t.Errorf("%s, FIPS profile: not the module", a)
		}
	}
}
