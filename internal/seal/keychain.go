package seal

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits of a keychain. At its limits its blob is below the 64 KiB of one store value.
const (
	MaxStoreKeys  = 256
	MaxAuditKeys  = 256
	keychainKey   = 32 // bytes of every key in it
	keychainBlobs = 64 << 10
)

// Keychain holds the random keys below the root: store keys by epoch, audit keys by epoch, and three keys of one use.
// It never shows their bytes. It is immutable and safe for concurrent use; a change gives a new keychain and its sealed
// blob, which the caller stores before using the new keychain.
type Keychain struct {
	cluster kms.ID
	serial  uint32
	memory  *arena.Arena // the root's

	index *secret.Bytes // hashes names in store paths
	alias *secret.Bytes // hashes names of principals
	page  *secret.Bytes // seals page tokens

	store []storeKey // ascending by epoch; the last one seals
	audit []auditKey // ascending by epoch; the last one signs
	sign  *secret.Bytes

	// Made from the above.
	storeKeys map[uint32]*box.Key
	pageKey   *box.Key
	signer    *signer
}

type storeKey struct {
	epoch uint32
	key   *secret.Bytes
}

type auditKey struct {
	epoch    uint32
	mac      *secret.Bytes
	public   [ed25519.PublicKeySize]byte
	endorsed [ed25519.SignatureSize]byte // by the key of the epoch before; zero for the first
}

// NewKeychain makes a keychain with a store key and audit keys of epoch 1, and its sealed blob.
func NewKeychain(r *Root) (*Keychain, []byte, error) {
	k := &Keychain{
		cluster: r.cluster,
		memory:  r.memory,
		index:   secret.Random(keychainKey),
		alias:   secret.Random(keychainKey),
		page:    secret.Random(keychainKey),
		store:   []storeKey{{epoch: 1, key: secret.Random(keychainKey)}},
		sign:    secret.Random(ed25519.SeedSize),
	}
	k.audit = []auditKey{{epoch: 1, mac: secret.Random(keychainKey), public: publicOf(k.sign)}}
	return k.finish(r)
}

// finish counts the serial up, prepares the keys for use and seals the blob.
func (k *Keychain) finish(r *Root) (*Keychain, []byte, error) {
	k.serial++
	if err := k.prepare(); err != nil {
		return nil, nil, err
	}
	blob, err := r.sealKeychain(k)
	if err != nil {
		k.Zero()
		return nil, nil, err
	}
	return k, blob, nil
}

// prepare moves the bytes to where they live and makes what use needs from them.
func (k *Keychain) prepare() error {
	for _, at := range []**secret.Bytes{&k.index, &k.alias, &k.page, &k.sign} {
		*at = k.memory.Keep(*at)
	}
	for i := range k.store {
		k.store[i].key = k.memory.Keep(k.store[i].key)
	}
	for i := range k.audit {
		k.audit[i].mac = k.memory.Keep(k.audit[i].mac)
	}
	k.storeKeys = make(map[uint32]*box.Key, len(k.store))
	for _, s := range k.store {
		key, err := box.NewKey(s.key)
		if err != nil {
			return err
		}
		k.storeKeys[s.epoch] = key
	}
	var err error
	if k.pageKey, err = box.NewKey(k.page); err != nil {
		return err
	}
	k.signer, err = newSigner(k.cluster, k.sign)
	return err
}

// clone copies every key, so that either keychain can be erased without the other.
func (k *Keychain) clone() *Keychain {
	again := func(s *secret.Bytes) *secret.Bytes { return secret.Copy(s.Reveal(reveal.Key{})) }
	n := &Keychain{cluster: k.cluster, serial: k.serial, memory: k.memory, index: again(k.index), alias: again(k.alias), page: again(k.page), sign: again(k.sign)}
	for _, s := range k.store {
		n.store = append(n.store, storeKey{s.epoch, again(s.key)})
	}
	for _, a := range k.audit {
		a.mac = again(a.mac)
		n.audit = append(n.audit, a)
	}
	return n
}

// AddStoreKey makes a new store key, which seals from then on; the old ones still open.
// Errors: CodeTooLarge, CodeSealed.
func (k *Keychain) AddStoreKey(r *Root) (*Keychain, []byte, error) {
	if k.erased() {
		return nil, nil, errErased()
	}
	if len(k.store) >= MaxStoreKeys {
		return nil, nil, kms.Errorf(kms.CodeTooLarge, "there are %d store keys, the limit is %d: re-seal the records and retire old ones", len(k.store), MaxStoreKeys)
	}
	n := k.clone()
	n.store = append(n.store, storeKey{epoch: k.StoreEpoch() + 1, key: secret.Random(keychainKey)})
	return n.finish(r)
}

// RetireStoreKey drops an old store key. records is how many records are still sealed under it; it refuses while there
// are any. Errors: CodeConflict, CodeNotFound, CodeSealed.
func (k *Keychain) RetireStoreKey(r *Root, epoch uint32, records int) (*Keychain, []byte, error) {
	if k.erased() {
		return nil, nil, errErased()
	}
	if epoch == k.StoreEpoch() {
		return nil, nil, kms.Errorf(kms.CodeConflict, "store key %d is the one in use: add a new one first", epoch)
	}
	if _, ok := k.storeKeys[epoch]; !ok {
		return nil, nil, kms.Errorf(kms.CodeNotFound, "there is no store key %d", epoch)
	}
	if records != 0 {
		return nil, nil, kms.Errorf(kms.CodeConflict, "%d records are still sealed under store key %d: re-seal them first", records, epoch)
	}
	n := k.clone()
	n.store = slices.DeleteFunc(n.store, func(s storeKey) bool {
		if s.epoch == epoch {
			s.key.Zero()
		}
		return s.epoch == epoch
	})
	return n.finish(r)
}

// StoreEpoch is the epoch of the store key that seals.
func (k *Keychain) StoreEpoch() uint32 { return k.store[len(k.store)-1].epoch }

// StoreEpochs lists the epochs of the store keys that open, ascending.
func (k *Keychain) StoreEpochs() []uint32 {
	out := make([]uint32, 0, len(k.store))
	for _, s := range k.store {
		out = append(out, s.epoch)
	}
	return out
}

// Serial is counted up by every change of the keychain.
func (k *Keychain) Serial() uint32 { return k.serial }

// Page is the key of page tokens (box label Page).
func (k *Keychain) Page() *box.Key { return k.pageKey }

// Index hashes what would show a name in a store path: HMAC-SHA-256 over the parts, each with its length as u32 before
// it, cut to 16 bytes. The same parts always give the same bytes; other splits of the same text give others.
func (k *Keychain) Index(parts ...[]byte) [16]byte { return keyedHash(k.index, parts...) }

// Alias hashes a principal's name for the audit trail.
func (k *Keychain) Alias(name string) [16]byte { return keyedHash(k.alias, []byte(name)) }

func keyedHash(key *secret.Bytes, parts ...[]byte) (out [16]byte) {
	if key.Len() == 0 {
		return out // an erased keychain finds nothing; a hash without a key must not stand in
	}
	text := make([]byte, 0, 256) // no secret
	for _, p := range parts {
		text = binary.BigEndian.AppendUint32(text, uint32(len(p))) //nolint:gosec // G115: names are short
		text = append(text, p...)
	}
	sum := kdf.MAC(key.Reveal(reveal.Key{}), text)
	return [16]byte(sum[:])
}

func (k *Keychain) erased() bool { return k.index.Len() == 0 }

// Zero erases every key. Nothing may be using them: who seals the server drains it first.
func (k *Keychain) Zero() {
	if k == nil {
		return
	}
	for _, s := range []*secret.Bytes{k.index, k.alias, k.page, k.sign} {
		s.Zero()
	}
	for _, s := range k.store {
		s.key.Zero()
	}
	for _, a := range k.audit {
		a.mac.Zero()
	}
}

// ErrRecord is the one error of OpenRecord; where more can be told, it is wrapped.
var ErrRecord = errors.New("stored record does not open")
