package seal

import (
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
)

// archiveHeader is the version of the form.
var archiveHeader = [...]byte{1}

// SealArchived seals the wrapped material of a version once more, under an archive KEK: 01 | box, 85 bytes longer. Place is
// Place.Bytes of PlaceArchived. CodeInternal if the KEK was erased.
func (k *KEK) SealArchived(wrapped, place []byte) ([]byte, error) {
	out := append(make([]byte, 0, len(archiveHeader)+box.Overhead+len(wrapped)), archiveHeader[:]...)
	out, err := k.key.Seal(out, box.Archive, archiveHeader[:], wrapped, place)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the archive KEK was erased").Because(err)
	}
	return out, nil
}

// OpenArchived gives the wrapped material back. CodeRecordDamaged, for every reason not to open.
func (k *KEK) OpenArchived(sealed, place []byte) ([]byte, error) {
	bad := kms.Errorf(kms.CodeRecordDamaged, "the archived material does not open: it is damaged, was moved, or the archive KEK is another")
	if len(sealed) < len(archiveHeader) || sealed[0] != archiveHeader[0] {
		return nil, bad
	}
	wrapped, err := k.key.Open(nil, box.Archive, archiveHeader[:], sealed[len(archiveHeader):], place)
	if err != nil {
		return nil, bad.Because(err)
	}
	return wrapped, nil
}
