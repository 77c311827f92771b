package seal

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// The keychain's blob is 01 | root generation u32 | box(label Keychain), bound to the cluster. Inside, integers big-endian:
//
//	01 | serial u32 | index 32 | alias 32 | page 32 | signing seed 32
//	| store keys u16, each: epoch u32 | key 32
//	| audit keys u16, each: epoch u32 | mac key 32 | public 32 | endorsement 64
const (
	keychainVersion = 1
	storeKeySize    = 4 + keychainKey
	auditKeySize    = 4 + keychainKey + 32 + 64
)

func (r *Root) keychainAAD() []byte {
	return append([]byte("keyhold/keychain/v1\x00"), r.cluster[:]...)
}

// sealKeychain seals under the newest root generation.
func (r *Root) sealKeychain(k *Keychain) ([]byte, error) {
	plain, err := k.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return r.sealKeychainBytes(plain)
}

func (r *Root) sealKeychainBytes(plain []byte) ([]byte, error) {
	top := r.newest()
	if top.raw.Len() == 0 {
		return nil, errErased()
	}
	head := tag(top.generation)
	out, err := top.key.Seal(append([]byte(nil), head[:]...), box.Keychain, head[:], plain, r.keychainAAD())
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the keychain could not be sealed").Because(err)
	}
	return out, nil
}

func (r *Root) openKeychain(blob []byte) ([]byte, error) {
	bad := kms.Errorf(kms.CodeRecordDamaged, "the keychain does not open: it is damaged, or of another root key or cluster")
	generation, head, sealed, ok := readTag(blob)
	if !ok || len(blob) > keychainBlobs {
		return nil, bad
	}
	k, ok := r.under(generation)
	if !ok {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the keychain is under root generation %d, which is not there", generation)
	}
	if k.raw.Len() == 0 {
		return nil, errErased()
	}
	plain, err := k.key.Open(nil, box.Keychain, head, sealed, r.keychainAAD())
	if err != nil {
		return nil, bad.Because(err)
	}
	return plain, nil
}

// OpenKeychain opens a keychain's blob. Errors: CodeRecordDamaged, for every reason not to open; CodeSealed.
func OpenKeychain(r *Root, blob []byte) (*Keychain, error) {
	plain, err := r.openKeychain(blob)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	k, ok := decodeKeychain(plain)
	if !ok {
		k.Zero()
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the keychain opens, but its content is not of a form that this program knows")
	}
	k.cluster, k.memory = r.cluster, r.memory
	if err := k.prepare(); err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the keychain could not be prepared").Because(err)
	}
	return k, nil
}

// RewrapKeychain brings a keychain's blob under the newest root generation. changed is false if it is there already.
// Errors: those of OpenKeychain.
func (r *Root) RewrapKeychain(blob []byte) (out []byte, changed bool, err error) {
	plain, err := r.openKeychain(blob)
	if err != nil {
		return nil, false, err
	}
	defer clear(plain)
	if n, _ := WrappedUnder(blob); n == r.Generation() {
		return blob, false, nil
	}
	out, err = r.sealKeychainBytes(plain)
	return out, err == nil, err
}

// encode writes into one buffer of the right size, so that no copy of the keys is left behind.
func (k *Keychain) encode() ([]byte, error) {
	if k.erased() {
		return nil, errErased()
	}
	size := 1 + 4 + 4*keychainKey + 2 + len(k.store)*storeKeySize + 2 + len(k.audit)*auditKeySize
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, size))
	b.AddUint8(keychainVersion)
	b.AddUint32(k.serial)
	for _, s := range []*secret.Bytes{k.index, k.alias, k.page, k.sign} {
		b.AddBytes(s.Reveal(reveal.Key{}))
	}
	b.AddUint16(uint16(len(k.store))) //nolint:gosec // G115: at most MaxStoreKeys
	for _, s := range k.store {
		b.AddUint32(s.epoch)
		b.AddBytes(s.key.Reveal(reveal.Key{}))
	}
	b.AddUint16(uint16(len(k.audit))) //nolint:gosec // G115: at most MaxAuditKeys
	for _, a := range k.audit {
		b.AddUint32(a.epoch)
		b.AddBytes(a.mac.Reveal(reveal.Key{}))
		b.AddBytes(a.public[:])
		b.AddBytes(a.endorsed[:])
	}
	out, err := b.Bytes()
	if err != nil || len(out) != size {
		return nil, kms.Errorf(kms.CodeInternal, "the keychain could not be encoded").Because(err)
	}
	return out, nil
}

// decodeKeychain reads the content. It gives what it has read even where it fails, for erasing.
func decodeKeychain(plain []byte) (*Keychain, bool) {
	k := new(Keychain)
	s := cryptobyte.String(plain)
	var version uint8
	if !s.ReadUint8(&version) || version != keychainVersion || !s.ReadUint32(&k.serial) {
		return k, false
	}
	for _, at := range []**secret.Bytes{&k.index, &k.alias, &k.page, &k.sign} {
		if !readKey(&s, at) {
			return k, false
		}
	}
	var n uint16
	if !s.ReadUint16(&n) || n == 0 || n > MaxStoreKeys {
		return k, false
	}
	for last := uint32(0); n > 0; n-- {
		var e storeKey
		if !s.ReadUint32(&e.epoch) || e.epoch <= last || !readKey(&s, &e.key) {
			return k, false
		}
		k.store, last = append(k.store, e), e.epoch
	}
	if !s.ReadUint16(&n) || n == 0 || n > MaxAuditKeys {
		return k, false
	}
	for last := uint32(0); n > 0; n-- {
		var e auditKey
		if !s.ReadUint32(&e.epoch) || e.epoch <= last || !readKey(&s, &e.mac) || !s.CopyBytes(e.public[:]) || !s.CopyBytes(e.endorsed[:]) {
			return k, false
		}
		k.audit, last = append(k.audit, e), e.epoch
	}
	return k, s.Empty() && k.audit[len(k.audit)-1].public == publicOf(k.sign)
}

func readKey(s *cryptobyte.String, to **secret.Bytes) bool {
	var raw []byte
	if !s.ReadBytes(&raw, keychainKey) {
		return false
	}
	*to = secret.Copy(raw)
	return true
}
