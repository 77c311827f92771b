package seal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// An epoch file: "KHEK" 01 | cluster 16 | epoch u32 | created u64 (ms) | 01 | root generation u32 | box(label KEK), of 154
// bytes. What stands before the tag is the box's associated data.
const (
	epochMagic    = "KHEK\x01"
	epochHeadSize = len(epochMagic) + 16 + 4 + 8
	epochFileSize = epochHeadSize + tagSize + box.Overhead + box.KeySize

	epochSuffix   = ".kek"
	retiredSuffix = ".retired" // being destroyed: what is left of it is destroyed at the next open
	escrowSuffix  = ".escrow"
)

// epoch is an opened epoch KEK.
type epoch struct {
	number     uint32
	created    time.Time
	generation uint32 // of the root that seals its file
	raw        *secret.Bytes
	key        *box.Key // over the same bytes
}

func newEpoch(number uint32, created time.Time, raw *secret.Bytes) (*epoch, error) {
	if raw.Len() != box.KeySize {
		raw.Zero()
		return nil, box.ErrOpen
	}
	key, err := box.NewKey(raw)
	if err != nil {
		return nil, err
	}
	return &epoch{number: number, created: fromMillis(millis(created)), raw: raw, key: key}, nil
}

// epochName is the name of an epoch's file, so that names sort like numbers.
func epochName(number uint32, suffix string) string {
	return fmt.Sprintf("epoch-%010d%s", number, suffix)
}

// parseEpochName is its inverse. ok is false for other files.
func parseEpochName(name, suffix string) (number uint32, ok bool) {
	digits, found := strings.CutSuffix(strings.TrimPrefix(name, "epoch-"), suffix)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !found || err != nil || n == 0 || epochName(uint32(n), suffix) != name {
		return 0, false
	}
	return uint32(n), true
}

func epochHead(cluster kms.ID, e *epoch) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, epochFileSize))
	b.AddBytes([]byte(epochMagic))
	b.AddBytes(cluster[:])
	b.AddUint32(e.number)
	b.AddUint64(millis(e.created))
	return b.BytesOrPanic() // nothing in it has a length prefix
}

// sealEpoch gives the content of an epoch's file under the newest root generation.
func (r *Root) sealEpoch(e *epoch) ([]byte, error) {
	top := r.newest()
	if top.raw.Len() == 0 {
		return nil, errErased()
	}
	out := epochHead(r.cluster, e)
	aad := append([]byte(nil), out...)
	head := tag(top.generation)
	return top.key.Seal(append(out, head[:]...), box.KEK, head[:], e.raw.Reveal(reveal.Key{}), aad)
}

// openEpoch opens the content of the file of an epoch. Its errors say what is wrong, for a message that names the file.
func (r *Root) openEpoch(number uint32, data []byte) (*epoch, error) {
	var magic []byte
	var cluster kms.ID
	var got uint32
	var created uint64
	s := cryptobyte.String(data)
	if len(data) != epochFileSize || !s.ReadBytes(&magic, len(epochMagic)) || string(magic) != epochMagic ||
		!s.CopyBytes(cluster[:]) || !s.ReadUint32(&got) || !s.ReadUint64(&created) || created >= maxMillis {
		return nil, fmt.Errorf("it is not an epoch file")
	}
	if cluster != r.cluster {
		return nil, fmt.Errorf("it is of cluster %s", cluster)
	}
	if got != number {
		return nil, fmt.Errorf("it is of epoch %d", got)
	}
	generation, head, sealed, ok := readTag(s)
	if !ok {
		return nil, fmt.Errorf("it is not an epoch file")
	}
	k, ok := r.under(generation)
	if !ok {
		return nil, fmt.Errorf("it is under root generation %d, which is not there", generation)
	}
	if k.raw.Len() == 0 {
		return nil, errErased()
	}
	raw, err := k.key.Open(nil, box.KEK, head, sealed, data[:epochHeadSize])
	if err != nil {
		return nil, fmt.Errorf("it does not open under the root key")
	}
	e, err := newEpoch(number, fromMillis(created), r.memory.Keep(secret.Take(raw)))
	if err != nil {
		return nil, err
	}
	e.generation = generation
	return e, nil
}

// readEpoch reads and opens an epoch's file. Errors: CodeRecordDamaged, CodeBadSetting, naming the file.
func (r *Root) readEpoch(d disk, dir string, number uint32) (*epoch, error) {
	path := filepath.Join(dir, epochName(number, epochSuffix))
	data, err := d.read(path)
	if err != nil {
		return nil, unusable(path, err)
	}
	e, err := r.openEpoch(number, data)
	if err != nil {
		return nil, unusable(path, err)
	}
	return e, nil
}
