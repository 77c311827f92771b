package seal_test

import (
	"bytes"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
)

func archivedAt(n uint32) []byte {
	return seal.Place{Kind: seal.PlaceArchived, Namespace: "default", Key: kms.ID{1}, Version: n}.Bytes()
}

// TestArchivedMaterialOpensAtItsPlaceUnderItsKEK and nowhere else.
func TestArchivedMaterialOpensAtItsPlaceUnderItsKEK(t *testing.T) {
	kek, other := seal.NewKEK(), seal.NewKEK()
	wrapped := []byte("wrapped material")
	sealed, err := kek.SealArchived(wrapped, archivedAt(1))
	if err != nil || len(sealed) != len(wrapped)+85 {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	if got, err := kek.OpenArchived(sealed, archivedAt(1)); err != nil || !bytes.Equal(got, wrapped) {
		t.Fatalf("got %q, %v", got, err)
	}
	flipped := bytes.Clone(sealed)
	flipped[40] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"elsewhere":      func() ([]byte, error) { return kek.OpenArchived(sealed, archivedAt(2)) },
		"another KEK":    func() ([]byte, error) { return other.OpenArchived(sealed, archivedAt(1)) },
		"a flipped bit":  func() ([]byte, error) { return kek.OpenArchived(flipped, archivedAt(1)) },
		"another form":   func() ([]byte, error) { return kek.OpenArchived(append([]byte{2}, sealed[1:]...), archivedAt(1)) },
		"a cut one":      func() ([]byte, error) { return kek.OpenArchived(sealed[:20], archivedAt(1)) },
		"nothing at all": func() ([]byte, error) { return kek.OpenArchived(nil, archivedAt(1)) },
	} {
		if got, err := open(); got != nil || kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	kek.Zero()
	if _, err := kek.SealArchived(wrapped, archivedAt(1)); kms.CodeOf(err) != kms.CodeInternal {
		t.Errorf("an erased KEK: %v", err)
	}
}

// FuzzOpenArchived: no bytes open but those that were sealed.
func FuzzOpenArchived(f *testing.F) {
	kek := seal.NewKEK()
	sealed, err := kek.SealArchived([]byte("wrapped"), archivedAt(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add([]byte{1})
	f.Add(bytes.Repeat([]byte{1}, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := kek.OpenArchived(b, archivedAt(1)); err == nil && !bytes.Equal(b, sealed) {
			t.Fatalf("%x opened to %q", b, got)
		}
	})
}
