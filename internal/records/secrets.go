package records

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// v 00 namespace 00 keyed hash of the folder, keyed hash of the name: an entry of a folder; v 01 id: a secret; v 02 id: a sealed value; v 03 namespace 00
// keyed hash of the folder: what holds for the secrets of a folder
const kindSecret kind = 'v'

// SecretEntry is what a folder has by one name: a secret, a folder, or both.
type SecretEntry struct {
	Name     string `json:"name"`
	Secret   kms.ID `json:"id,omitzero"`        // zero: no secret has this name
	Children uint32 `json:"children,omitempty"` // entries of the folder of this name; 0: there is none
}

// Secret is a document that a client keeps here, without its values.
type Secret struct {
	ID          kms.ID            `json:"id"`
	Namespace   kms.Namespace     `json:"ns"`
	Path        string            `json:"path"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	Current     uint32            `json:"current,omitempty"`      // the number of the newest version; 0: it never had one
	Keep        uint32            `json:"keep,omitempty"`         // versions; 0: as many as is usual
	MustCheck   bool              `json:"cas,omitempty"`          // writers say which version they replace
	DeleteAfter int64             `json:"delete_after,omitempty"` // seconds after which a new version is deleted; 0: never
	Custom      map[string]string `json:"custom,omitempty"`
	Versions    []SecretVersion   `json:"versions,omitempty"` // by number
	Change      [32]byte          `json:"change"`

	Rev kms.Rev `json:"-"`
}

// SecretVersion is one version of a secret.
type SecretVersion struct {
	Number    uint32    `json:"n"`
	Value     kms.ID    `json:"value,omitzero"` // where the sealed value is; zero: destroyed
	Bytes     uint32    `json:"bytes"`
	Created   time.Time `json:"created"`
	By        string    `json:"by"`
	Deleted   time.Time `json:"deleted,omitzero"` // from then on it is not given out; it may be ahead
	Destroyed bool      `json:"destroyed,omitempty"`
}

// SecretSettings are what holds for the secrets of a folder that say nothing else.
type SecretSettings struct {
	Folder      string   `json:"folder"`
	Keep        uint32   `json:"keep,omitempty"`
	MustCheck   bool     `json:"cas,omitempty"`
	DeleteAfter int64    `json:"delete_after,omitempty"`
	Change      [32]byte `json:"change"`
}

// Sealed is a value that is sealed under a key of its own, made from the namespace's KEK and the shred row of the same id.
type Sealed struct{ Sealed []byte }

func (r Sealed) fields(w *writer) { w.bytes(1, r.Sealed) }

func (r *Sealed) field(n protowire.Number, v value) {
	if n == 1 {
		r.Sealed = v.bytes()
	}
}

func (r *Records) secretFolder(ns kms.Namespace, folder string) []byte {
	h := r.chain.Index([]byte("secret folder"), []byte(ns), []byte(folder))
	b := append([]byte{byte(kindSecret), 0}, ns...)
	return append(append(b, 0), h[:]...)
}

func (r *Records) secretEntryPath(ns kms.Namespace, folder, name string) []byte {
	h := r.chain.Index([]byte("secret"), []byte(ns), []byte(folder), []byte(name))
	return append(r.secretFolder(ns, folder), h[:]...)
}

func (r *Records) secretSettingsPath(ns kms.Namespace, folder string) []byte {
	path := r.secretFolder(ns, folder)
	path[1] = 3
	return path
}

func secretPath(id kms.ID) []byte { return append([]byte{byte(kindSecret), 1}, id[:]...) }

func sealedPath(id kms.ID) []byte { return append([]byte{byte(kindSecret), 2}, id[:]...) }

// secretShredPath cannot meet a key's: no UUIDv7 begins with ff (that would be after the year 10889).
func secretShredPath(id kms.ID) []byte { return append([]byte{byte(kindShred), 0xff}, id[:]...) }

const secretShredPathLen = 2 + 16

// SecretEntry reads what a folder has by a name; a zero id and no children: nothing.
func (r *Records) SecretEntry(ctx context.Context, ns kms.Namespace, folder, name string) (SecretEntry, error) {
	e, _, err := load[SecretEntry](ctx, r, r.secretEntryPath(ns, folder, name))
	return e, err
}

// SecretEntries reads a page of what a folder has, in no meaningful order. after is the previous answer's next.
func (r *Records) SecretEntries(ctx context.Context, ns kms.Namespace, folder string, after []byte, n int) (all []SecretEntry, next []byte, err error) {
	next, err = scan(ctx, r, r.secretFolder(ns, folder), after, n, func(_ []byte, e SecretEntry, _ kms.Rev) { all = append(all, e) })
	return all, next, err
}

// SecretSettings reads what holds for the secrets of a folder; the zero value: nothing.
func (r *Records) SecretSettings(ctx context.Context, ns kms.Namespace, folder string) (SecretSettings, error) {
	s, _, err := load[SecretSettings](ctx, r, r.secretSettingsPath(ns, folder))
	return s, err
}

// Secret reads a secret; a zero Rev means there is none.
func (r *Records) Secret(ctx context.Context, id kms.ID) (Secret, error) {
	s, rev, err := load[Secret](ctx, r, secretPath(id))
	s.Rev = rev
	return s, err
}

// Secrets reads a page of the secrets of all namespaces in order of creation.
func (r *Records) Secrets(ctx context.Context, after kms.ID, n int) (all []Secret, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = secretPath(after)
	}
	more, err := scan(ctx, r, []byte{byte(kindSecret), 1}, from, n, func(_ []byte, s Secret, rev kms.Rev) {
		s.Rev = rev
		all = append(all, s)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// Sealed reads a sealed value with its shred row, from one snapshot. Nothing is sealed if there is none.
func (r *Records) Sealed(ctx context.Context, id kms.ID) (Sealed, Shred, error) {
	recs, _, err := r.store.Get(ctx, sealedPath(id), secretShredPath(id))
	if err != nil {
		return Sealed{}, Shred{}, storeError(err)
	}
	v, err := decode[Sealed](r, recs[0])
	if err != nil {
		return Sealed{}, Shred{}, err
	}
	s, err := decode[Shred](r, recs[1])
	return v, s, err
}

// SecretEntry reads what a folder has by a name within the transaction.
func (tx *Tx) SecretEntry(ns kms.Namespace, folder, name string) (SecretEntry, bool, error) {
	e, _, ok, err := fetch[SecretEntry](tx, tx.r.secretEntryPath(ns, folder, name))
	return e, ok, err
}

// PutSecretEntry writes what a folder has by a name; what leads to nothing is removed.
func (tx *Tx) PutSecretEntry(ns kms.Namespace, folder string, e SecretEntry) error {
	path := tx.r.secretEntryPath(ns, folder, e.Name)
	if e.Secret.IsZero() && e.Children == 0 {
		return tx.remove(path)
	}
	return tx.put(path, e)
}

// SecretSettings reads them within the transaction.
func (tx *Tx) SecretSettings(ns kms.Namespace, folder string) (SecretSettings, error) {
	s, _, _, err := fetch[SecretSettings](tx, tx.r.secretSettingsPath(ns, folder))
	return s, err
}

// PutSecretSettings writes them.
func (tx *Tx) PutSecretSettings(ns kms.Namespace, s SecretSettings) error {
	return tx.put(tx.r.secretSettingsPath(ns, s.Folder), s)
}

// Secret reads a secret within the transaction.
func (tx *Tx) Secret(id kms.ID) (Secret, bool, error) {
	s, rev, ok, err := fetch[Secret](tx, secretPath(id))
	s.Rev = rev
	return s, ok, err
}

// PutSecret writes a secret.
func (tx *Tx) PutSecret(s Secret) error { return tx.put(secretPath(s.ID), s) }

// RemoveSecret forgets a secret. Its values are erased apart.
func (tx *Tx) RemoveSecret(id kms.ID) error { return tx.remove(secretPath(id)) }

// InsertSealed writes a sealed value whose id is new, with its shred row.
func (tx *Tx) InsertSealed(id kms.ID, v Sealed, s Shred) error {
	if err := tx.insert(secretShredPath(id), s); err != nil {
		return err
	}
	return tx.insert(sealedPath(id), v)
}

// EraseSealed erases a value and the shred row without which no copy of it opens.
func (tx *Tx) EraseSealed(id kms.ID) {
	tx.drop(secretShredPath(id))
	tx.drop(sealedPath(id))
}
