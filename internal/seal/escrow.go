package seal

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/keyhold/keyhold/internal/kms"
)

// An escrow file, integers big-endian:
//
//	"KHES" 01 | cluster 16 | epoch u32 | created u64 (ms) | root generation u32
//	| recipients u8, each: id 16 | sealed epoch KEK u16-prefixed | mac 32
//
// Anybody can seal to a public key, so the whole carries a MAC under the root key: an epoch KEK that somebody else chose
// is never installed.
const (
	escrowMagic = "KHES\x01"
	escrowMAC   = "keyhold/escrow-mac/v1"
)

// escrow writes the escrow copy of an epoch for every recipient of a verified configuration.
func (e *Epochs) escrow(c *Config, one *epoch) error {
	data, err := e.root.sealEscrow(c, one)
	if err != nil {
		return err
	}
	return e.disk.write(filepath.Join(e.dirs.Escrow, epochName(one.number, escrowSuffix)), data)
}

// Escrow writes the escrow copies of every live epoch again: after a change of recipients.
// Errors: CodeRecordDamaged, CodeStoreUnavailable.
func (e *Epochs) Escrow(c *Config) error {
	e.change.Lock()
	defer e.change.Unlock()
	if err := e.root.Verify(c); err != nil {
		return err
	}
	for _, one := range e.sorted() {
		if err := e.escrow(c, one); err != nil {
			return unwritten(fmt.Sprintf("the escrow copy of epoch %d", one.number), err)
		}
	}
	return nil
}

func (r *Root) sealEscrow(c *Config, one *epoch) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes([]byte(escrowMagic))
	b.AddBytes(r.cluster[:])
	b.AddUint32(one.number)
	b.AddUint64(millis(one.created))
	b.AddUint32(r.Generation())
	b.AddUint8(uint8(len(c.recipients))) //nolint:gosec // G115: at most MaxRecipients
	for _, rec := range c.recipients {
		sealed, err := sealTo(rec.Public, sealEscrow, sealedContext(r.cluster, rec.ID, one.number), one.raw)
		if err != nil {
			return nil, err
		}
		b.AddBytes(rec.ID[:])
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sealed) })
	}
	body, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode escrow: %w", err)
	}
	mac, err := r.mac(r.newest(), escrowMAC, body)
	if err != nil {
		return nil, err
	}
	return append(body, mac[:]...), nil
}

// escrowed is a parsed escrow file.
type escrowed struct {
	cluster    kms.ID
	number     uint32
	created    time.Time
	generation uint32
	sealed     map[kms.ID][]byte
	body       []byte
	mac        [macSize]byte
}

func parseEscrow(data []byte) (*escrowed, bool) {
	x := &escrowed{sealed: make(map[kms.ID][]byte)}
	var magic []byte
	var created uint64
	var n uint8
	s := cryptobyte.String(data)
	if len(data) > maxSealFile || !s.ReadBytes(&magic, len(escrowMagic)) || string(magic) != escrowMagic || !s.CopyBytes(x.cluster[:]) ||
		!s.ReadUint32(&x.number) || !s.ReadUint64(&created) || created >= maxMillis || !s.ReadUint32(&x.generation) ||
		!s.ReadUint8(&n) || n < MinRecipients || n > MaxRecipients {
		return nil, false
	}
	x.created = fromMillis(created)
	for range n {
		var id kms.ID
		var sealed cryptobyte.String
		if !s.CopyBytes(id[:]) || !s.ReadUint16LengthPrefixed(&sealed) || len(sealed) != sealedSize || x.sealed[id] != nil {
			return nil, false
		}
		x.sealed[id] = sealed
	}
	x.body = data[:len(data)-len(s)]
	return x, s.CopyBytes(x.mac[:]) && s.Empty()
}

// OpenEscrow opens the escrow copy of an epoch, as bytes of the file, with a recipient's private key, and writes the
// epoch's file again where it is missing: what brings back the keys of a machine that was lost. The configuration is
// the one the copy was made with, or a later one of the same root generation. It answers the epoch's number.
// Errors: CodeRecordDamaged, CodeNotFound if the copy is not for this recipient, CodeExists if the epoch is there,
// CodeWrongShares.
func OpenEscrow(d Dirs, c *Config, p *Private, data []byte) (uint32, error) {
	r, err := c.Open(p)
	if err != nil {
		return 0, err
	}
	defer r.Zero()
	one, err := r.openEscrow(p, data)
	if err != nil {
		return 0, err
	}
	defer one.raw.Zero()
	return one.number, restore(disk{}, d, r, one)
}

func (r *Root) openEscrow(p *Private, data []byte) (*epoch, error) {
	x, ok := parseEscrow(data)
	if !ok {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "this is not the escrow copy of an epoch, or it is damaged")
	}
	if x.cluster != r.cluster {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the escrow copy is of cluster %s", x.cluster)
	}
	k, ok := r.under(x.generation)
	if !ok {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the escrow copy was made under root generation %d: use the seal configuration of that time", x.generation)
	}
	want, err := r.mac(k, escrowMAC, x.body)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want[:], x.mac[:]) {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the escrow copy was altered: its MAC does not verify under the root key")
	}
	sealed, ok := x.sealed[p.recipient]
	if !ok {
		return nil, kms.Errorf(kms.CodeNotFound, "the escrow copy is not for the recipient %s: it was made before that was added", p.recipient)
	}
	raw, err := openFrom(p.key, sealEscrow, sealedContext(r.cluster, p.recipient, x.number), sealed)
	if err != nil {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the escrow copy does not open").Because(err)
	}
	return newEpoch(x.number, x.created, raw)
}

// restore writes the file of an epoch that came back from escrow.
func restore(on disk, d Dirs, r *Root, one *epoch) error {
	if err := on.mkdir(d.Shred); err != nil {
		return unusable(d.Shred, err)
	}
	path := filepath.Join(d.Shred, epochName(one.number, epochSuffix))
	if _, err := on.read(path); !errors.Is(err, fs.ErrNotExist) {
		return kms.Errorf(kms.CodeExists, "the epoch KEK %s is there: it is not replaced", path)
	}
	if on.exists(filepath.Join(d.Shred, epochName(one.number, retiredSuffix))) {
		return kms.Errorf(kms.CodeConflict, "epoch %d is being retired: it does not come back", one.number)
	}
	e := &Epochs{dirs: d, disk: on}
	if err := e.put(r, one); err != nil {
		return unwritten("the epoch's file", err)
	}
	return nil
}
