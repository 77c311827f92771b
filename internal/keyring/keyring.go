// Package keyring knows which keys exist now: it finds a key by id, name or alias and a version's unwrapped handle by
// number, each in one map look-up when it was used before, however many keys and versions the store holds.
//
// Its caches are bounded. What they hold is immutable; a change makes them forget, and what was forgotten says so
// (Key.Ended), so that an operation admitted on it can be stopped just before its output leaves. Handles are closed,
// and with them what can be erased of their material, when the last operation that uses them ends; KEKs are erased likewise.
//
// It decides nothing: who may do what, and in which state, is the engine's to ask.
package keyring

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/cache"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
)

// Defaults of the caches' sizes.
const (
	DefaultKeys     = 32768
	DefaultVersions = 32768
	namespaces      = 4096
)

// Config is what a keyring is made of.
type Config struct {
	Records  *records.Records
	Provider provider.Provider
	Root     *seal.Root
	Epochs   *seal.Epochs
	Keys     int // most keys held; 0: DefaultKeys
	Versions int // most unwrapped versions held; 0: DefaultVersions
	// Attach makes what the engine keeps beside a cached key, such as prepared policy input. May be nil.
	Attach func(*kms.Key) any
	// Lease tells until when cached state may be used. Nil: for ever, which is right on a single node.
	Lease func() Lease
}

// Lease is the freshness rule for cached state: it may be used while the lease is valid, asked at the start of an
// operation and again just before its output leaves (architecture, section 7). On a single node it is always valid.
type Lease struct {
	Always bool
	Until  time.Duration // by CLOCK_BOOTTIME
	Now    time.Duration
}

// Valid tells whether cached state may be used.
func (l Lease) Valid() bool { return l.Always || l.Now < l.Until }

// Ring is the keyring. It is safe for concurrent use.
type Ring struct {
	cfg      Config
	keys     *cache.Cache[keyAt, *Key]
	names    *cache.Cache[nameAt, kms.ID]
	versions *cache.Cache[versionAt, *Version]
	keks     *cache.Cache[kms.Namespace, *namespaceKEK]
}

type keyAt struct {
	ns kms.Namespace
	id kms.ID
}

type nameAt struct {
	ns   kms.Namespace
	name string
}

type versionAt struct {
	id kms.ID
	n  uint32
}

// Key is a key as it was at one revision. It is shared and never changes.
type Key struct {
	kms.Key
	Attached any
	ended    atomic.Bool
}

// Ended tells that this is no longer known to be the key's current state: it changed, or left the cache.
func (k *Key) Ended() bool { return k.ended.Load() }

// Version is a version with its open handle. Release it after use.
type Version struct {
	kms.Version
	Handle provider.Handle // nil for an archived version, which Archived opens
	holds  holds
}

func (v *Version) hold() bool { return v.holds.take() }

// Release gives the version back.
func (v *Version) Release() {
	if v.holds.last() && v.Handle != nil {
		v.Handle.Close()
	}
}

// namespaceKEK is an opened KEK. It is erased when it left the cache and its last user is done, neither before nor later.
type namespaceKEK struct {
	*seal.KEK
	holds holds
}

func (k *namespaceKEK) hold() bool { return k.holds.take() }

func (k *namespaceKEK) release() {
	if k.holds.last() {
		k.Zero()
	}
}

// holds counts who needs a value: 1 for the cache, 1 for each user. At 0 it ends, for good.
type holds struct{ n atomic.Int64 }

func (h *holds) take() bool {
	for {
		n := h.n.Load()
		if n <= 0 {
			return false
		}
		if h.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// last gives a hold back, and tells whether it was the last.
func (h *holds) last() bool { return h.n.Add(-1) == 0 }

// New makes a keyring.
func New(cfg Config) *Ring {
	if cfg.Keys == 0 {
		cfg.Keys = DefaultKeys
	}
	if cfg.Versions == 0 {
		cfg.Versions = DefaultVersions
	}
	if cfg.Attach == nil {
		cfg.Attach = func(*kms.Key) any { return nil }
	}
	if cfg.Lease == nil {
		cfg.Lease = func() Lease { return Lease{Always: true} }
	}
	return &Ring{
		cfg:      cfg,
		keys:     cache.New[keyAt](cfg.Keys, func(k *Key) bool { return !k.ended.Load() }, func(k *Key) { k.ended.Store(true) }),
		names:    cache.New[nameAt](2*cfg.Keys, func(kms.ID) bool { return true }, func(kms.ID) {}),
		versions: cache.New[versionAt](cfg.Versions, (*Version).hold, (*Version).Release),
		keks:     cache.New[kms.Namespace](namespaces, (*namespaceKEK).hold, (*namespaceKEK).release),
	}
}

// Lease answers the freshness lease.
func (r *Ring) Lease() Lease { return r.cfg.Lease() }

func noKey(ref kms.Ref) error {
	return kms.Errorf(kms.CodeKeyNotFound, "there is no key %q in this namespace", string(ref))
}

// Resolve finds the key a reference leads to. CodeKeyNotFound: there is none.
func (r *Ring) Resolve(ctx context.Context, ns kms.Namespace, ref kms.Ref) (*Key, error) {
	form, id, name, err := ref.Parse()
	if err != nil {
		return nil, err
	}
	if form != kms.ByID {
		id, err = r.names.Load(ctx, nameAt{ns, name}, func(ctx context.Context) (kms.ID, error) {
			n, rev, err := r.cfg.Records.Name(ctx, ns, name)
			if err == nil && rev == 0 {
				err = noKey(ref)
			}
			return n.Key, err
		})
		if err != nil {
			return nil, err
		}
	}
	k, err := r.Key(ctx, ns, id)
	if kms.CodeOf(err) == kms.CodeKeyNotFound {
		return nil, noKey(ref)
	}
	return k, err
}

// Key finds a key by its id.
func (r *Ring) Key(ctx context.Context, ns kms.Namespace, id kms.ID) (*Key, error) {
	return r.keys.Load(ctx, keyAt{ns, id}, func(ctx context.Context) (*Key, error) {
		k, err := r.cfg.Records.Key(ctx, ns, id)
		if err != nil {
			return nil, err
		}
		if k.Rev == 0 {
			return nil, noKey(kms.RefTo(id))
		}
		out := &Key{Key: k.Key}
		out.Attached = r.cfg.Attach(&out.Key)
		return out, nil
	})
}

// Version opens a version of a key, verifying its check value. The caller releases it.
func (r *Ring) Version(ctx context.Context, k *Key, n uint32) (*Version, error) {
	return r.versions.Load(ctx, versionAt{k.ID, n}, func(ctx context.Context) (*Version, error) {
		return r.openVersion(ctx, k.Namespace, k.ID, n)
	})
}

// openVersion reads a version and unwraps it.
func (r *Ring) openVersion(ctx context.Context, ns kms.Namespace, id kms.ID, n uint32) (*Version, error) {
	rec, s, err := r.sealed(ctx, ns, id, n, nil)
	if errors.Is(err, errArchived) {
		return newVersion(rec.Version, nil), nil
	}
	if err != nil {
		return nil, err
	}
	return r.open(&rec, s)
}

// open unwraps a version's material and erases the key that it is wrapped under.
func (r *Ring) open(rec *records.Version, s provider.Sealed) (*Version, error) {
	defer s.Wrap.Zero()
	h, err := r.cfg.Provider.Open(s.Algorithm, s.Wrapped, s.Wrap, s.Place, s.Check)
	if err != nil {
		return nil, err
	}
	return newVersion(rec.Version, h), nil
}

func newVersion(v kms.Version, h provider.Handle) *Version {
	out := &Version{Version: v, Handle: h}
	out.holds.n.Store(1)
	return out
}

// sealed reads a version as it is kept, and makes the key that it is wrapped under, which the caller erases. A shred row that does not open
// is read again: its epoch may have ended since, which left another row in its place. was is the row that did not open.
func (r *Ring) sealed(ctx context.Context, ns kms.Namespace, id kms.ID, n uint32, was []byte) (records.Version, provider.Sealed, error) {
	var none provider.Sealed
	rec, row, err := r.cfg.Records.VersionWithShred(ctx, id, n)
	switch {
	case err != nil:
		return rec, none, err
	case rec.Rev == 0:
		return rec, none, kms.Errorf(kms.CodeVersionNotFound, "the key has no version %d", n)
	case rec.State == kms.Destroyed || rec.State == kms.DestroyedCompromised:
		return rec, none, kms.Errorf(kms.CodeKeyDestroyed, "version %d is %s", n, rec.State)
	case rec.Archived:
		return rec, none, errArchived
	case len(rec.Wrapped) == 0 && !rec.ExpiresAt.IsZero():
		return rec, none, kms.Errorf(kms.CodeMaterialExpired, "the imported material of version %d expired and was erased", n)
	case len(row.Row) == 0:
		return rec, none, kms.Errorf(kms.CodeRecordDamaged, "the shred secret of version %d of key %s is missing", n, id)
	}
	s, err := r.sealedWith(ctx, ns, &rec, row.Row)
	if kms.CodeOf(err) == kms.CodeRecordDamaged && !bytes.Equal(row.Row, was) {
		return r.sealed(ctx, ns, id, n, row.Row)
	}
	return rec, s, err
}

// errArchived: the material is elsewhere. Who may open it asks for it there.
var errArchived = kms.Errorf(kms.CodeVersionState, "the version's material is in the archive")

// sealedWith makes the key that a version's material is wrapped under, with its shred row.
func (r *Ring) sealedWith(ctx context.Context, ns kms.Namespace, rec *records.Version, row []byte) (provider.Sealed, error) {
	var none provider.Sealed
	place := versionPlace(ns, rec.Key, rec.Number)
	shred, err := r.cfg.Epochs.OpenShred(row, place)
	if err != nil {
		return none, err
	}
	defer shred.Zero()
	wrap, err := r.wrapping(ctx, ns, shred, place)
	if err != nil {
		return none, err
	}
	return provider.Sealed{Algorithm: rec.Algorithm, Wrapped: rec.Wrapped, Wrap: wrap, Place: place, Check: rec.Check}, nil
}

func versionPlace(ns kms.Namespace, id kms.ID, n uint32) []byte {
	return seal.Place{Kind: seal.PlaceVersion, Namespace: ns, Key: id, Version: n}.Bytes()
}

func namespacePlace(ns kms.Namespace) []byte {
	return seal.Place{Kind: seal.PlaceNamespace, Namespace: ns}.Bytes()
}

// Place is where a new version's material will belong: the key to wrap it under, and the shred row to store with it.
type Place struct {
	Name  []byte // canonical place
	Wrap  *box.Key
	Shred records.Shred
}

// NewPlace makes a fresh shred secret, and from it and the namespace's KEK the wrapping key of a new version.
// The caller erases Wrap after use.
func (r *Ring) NewPlace(ctx context.Context, ns kms.Namespace, id kms.ID, n uint32) (Place, error) {
	return r.newPlace(ctx, ns, versionPlace(ns, id, n))
}

func (r *Ring) newPlace(ctx context.Context, ns kms.Namespace, name []byte) (Place, error) {
	shred := seal.NewShredSecret()
	defer shred.Zero()
	row, err := r.cfg.Epochs.WrapShred(shred, name)
	if err != nil {
		return Place{}, err
	}
	wrap, err := r.wrapping(ctx, ns, shred, name)
	if err != nil {
		return Place{}, err
	}
	return Place{Name: name, Wrap: wrap, Shred: records.Shred{Row: row, Namespace: ns}}, nil
}

func (r *Ring) wrapping(ctx context.Context, ns kms.Namespace, shred *secret.Bytes, place []byte) (*box.Key, error) {
	kek, err := r.keks.Load(ctx, ns, func(ctx context.Context) (*namespaceKEK, error) { return r.openKEK(ctx, ns, nil) })
	if err != nil {
		return nil, err
	}
	defer kek.release()
	return kek.Wrapping(shred, place)
}

// openKEK does the same for a namespace's KEK.
func (r *Ring) openKEK(ctx context.Context, ns kms.Namespace, was []byte) (*namespaceKEK, error) {
	rec, err := r.cfg.Records.Namespace(ctx, ns)
	if err != nil {
		return nil, err
	}
	if rec.Rev == 0 || len(rec.KEK) == 0 {
		return nil, kms.Errorf(kms.CodeNotFound, "there is no namespace %q that holds keys", ns)
	}
	row, err := r.cfg.Records.NamespaceShred(ctx, ns)
	if err != nil {
		return nil, err
	}
	place := namespacePlace(ns)
	shred, err := r.cfg.Epochs.OpenShred(row.Row, place)
	if kms.CodeOf(err) == kms.CodeRecordDamaged && !bytes.Equal(row.Row, was) {
		return r.openKEK(ctx, ns, row.Row)
	}
	if err != nil {
		return nil, err
	}
	defer shred.Zero()
	opened, err := r.cfg.Root.UnwrapKEK(rec.KEK, shred, place)
	if err != nil {
		return nil, err
	}
	kek := &namespaceKEK{KEK: opened}
	kek.holds.n.Store(1)
	return kek, nil
}

// Forget drops what a change made stale. It returns when no later Resolve can see the old state.
func (r *Ring) Forget(t records.Touch) {
	switch t.Kind {
	case records.TouchKey:
		r.keys.Forget(keyAt{t.Namespace, t.ID})
	case records.TouchVersion:
		r.versions.Forget(versionAt{t.ID, t.Version})
	case records.TouchName:
		r.names.Forget(nameAt{t.Namespace, t.Name})
	case records.TouchNamespace:
		r.keks.Forget(t.Namespace)
	case records.TouchAll:
		r.Clear()
	case records.TouchPolicy, records.TouchToken, records.TouchCredential, records.TouchAccessKey, records.TouchRole:
	}
}

// Clear drops everything, as sealing does.
func (r *Ring) Clear() {
	r.keys.Clear()
	r.names.Clear()
	r.versions.Clear()
	r.keks.Clear()
}

// Size counts the keys and versions held.
func (r *Ring) Size() (keys, versions int) { return r.keys.Len(), r.versions.Len() }
