package records

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a row of the usage ledger. With the longest names it has less than 48 KiB, which is below store.MaxValue.
const (
	MaxUsers     = 64  // principals; what others did is counted under nobody in particular
	MaxUserLines = 256 // of principals; Others has one for each action, once more for each kind of refusal
)

// Others is the user that stands for everybody who has no place of their own in a row.
const Others = -1

// Usage is what the audit log says of one version of a key, added up. Version 0 stands for what named no version: mostly requests that were refused
// because of the key itself. The row of the zero key is of the store as a whole.
type Usage struct {
	Key     kms.ID  `json:"key"`
	Version uint32  `json:"n"`
	Users   []User  `json:"users,omitempty"`
	Lines   []Tally `json:"lines,omitempty"`
}

// User is a principal as the records name it.
type User struct {
	Alias [16]byte      `json:"alias"`          // keyed hash of namespace and name
	Name  string        `json:"name,omitempty"` // as it was shown last; empty once it is erased
	Home  kms.Namespace `json:"home,omitempty"`
}

// Is tells whether two name the same principal. Who has no keyed hash, such as the server itself, goes by its name.
func (u User) Is(o User) bool {
	return u.Alias == o.Alias && (u.Alias != [16]byte{} || u.Name == o.Name && u.Home == o.Home)
}

// Tally counts the uses of one kind by one user.
type Tally struct {
	User    int         `json:"user"` // index into Users, or Others
	Action  kms.Action  `json:"action"`
	Dialect kms.Dialect `json:"dialect,omitempty"` // 0: several
	Code    kms.Code    `json:"code,omitempty"`    // why it was refused; 0: it was done
	N       uint64      `json:"n"`                 // items: each of a batch
	Bytes   uint64      `json:"bytes,omitempty"`   // of input
	First   time.Time   `json:"first"`
	Last    time.Time   `json:"last"`
}

// UsageEnd is how far the ledger has read the log of a node. It is written together with the rows that it covers, so that every record counts once.
type UsageEnd struct {
	Epoch uint64    `json:"epoch"` // of the last record that is in the ledger
	Seq   uint64    `json:"seq"`
	Part  int       `json:"part,omitzero"` // 0: all of that record; otherwise the parts of it that are (package usage)
	Time  time.Time `json:"time"`
	Begun time.Time `json:"begun"` // the earliest time of a record that the ledger knows: what was before is not in it
}

// UsageRebuild is that the ledger is made anew: what there is of it is removed first, then it counts as if it had never begun.
type UsageRebuild struct {
	Asked    time.Time `json:"asked"`
	Counting bool      `json:"counting,omitzero"` // everything is removed
	Done     uint64    `json:"done,omitzero"`     // records that were read since
}

func usagePrefix(id kms.ID) []byte { return append([]byte{byte(kindUsage)}, id[:]...) }

func usagePath(id kms.ID, n uint32) []byte { return binary.BigEndian.AppendUint32(usagePrefix(id), n) }

// usageEndPath cannot meet a row's: a node's name has no zero bytes, and ids of keys never start with 00.
func usageEndPath(node string) []byte { return append([]byte{byte(kindUsage), 0}, node...) }

// usageRebuildPath comes behind all others: ids of keys never start with ff.
func usageRebuildPath(node string) []byte { return append([]byte{byte(kindUsage), 0xff}, node...) }

// isUsageRow tells a row's path from those of nodes.
func isUsageRow(path []byte) bool {
	if len(path) != versionPathLen || path[1] == 0xff {
		return false
	}
	id, _ := splitVersion(path)
	return path[1] != 0 || id.IsZero()
}

// UsageRebuild reads whether the ledger is being made anew; a zero revision means that it is not.
func (r *Records) UsageRebuild(ctx context.Context, node string) (UsageRebuild, kms.Rev, error) {
	return load[UsageRebuild](ctx, r, usageRebuildPath(node))
}

// UsagePaths gives the places of at most n rows and ends of the ledger, whether or not they open.
func (r *Records) UsagePaths(ctx context.Context, n int) (paths [][]byte, err error) {
	recs, _, err := r.store.Scan(ctx, []byte{byte(kindUsage)}, nil, n)
	for _, rec := range recs {
		if rec.Key[1] != 0xff {
			paths = append(paths, rec.Key)
		}
	}
	return paths, storeError(err)
}

// AllUsage reads the rows among the next n records of the ledger, of whatever keys. next is what to pass as after, nil at the end.
func (r *Records) AllUsage(ctx context.Context, after []byte, n int) (all []Usage, next []byte, err error) {
	recs, _, err := r.store.Scan(ctx, []byte{byte(kindUsage)}, after, n)
	if err != nil {
		return nil, nil, storeError(err)
	}
	for _, rec := range recs {
		if !isUsageRow(rec.Key) {
			continue
		}
		u, err := decode[Usage](r, rec)
		if err != nil {
			return nil, nil, err
		}
		u.Key, u.Version = splitVersion(rec.Key)
		all = append(all, u)
	}
	if len(recs) == n {
		next = recs[n-1].Key
	}
	return all, next, nil
}

// Usage reads a page of a key's rows, by version. next is the version to pass as after, 0 at the end.
func (r *Records) Usage(ctx context.Context, id kms.ID, after uint32, n int) (all []Usage, next uint32, err error) {
	var from []byte
	if after > 0 {
		from = usagePath(id, after)
	}
	more, err := scan(ctx, r, usagePrefix(id), from, n, func(path []byte, u Usage, _ kms.Rev) { all = append(all, u) })
	if err == nil && more != nil {
		next = all[len(all)-1].Version
	}
	return all, next, err
}

// UsageUpTo reads the rows of the versions up to one, and that of none, together. There are no rows of what was never used.
func (r *Records) UsageUpTo(ctx context.Context, id kms.ID, latest uint32) (all []Usage, err error) {
	paths := make([][]byte, 0, latest+1)
	for n := range latest + 1 {
		paths = append(paths, usagePath(id, n))
	}
	recs, _, err := r.store.Get(ctx, paths...)
	if err != nil {
		return nil, storeError(err)
	}
	for _, rec := range recs {
		if rec.Rev == 0 {
			continue
		}
		u, err := decode[Usage](r, rec)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// UsageOf reads one row; it is empty if there is none.
func (r *Records) UsageOf(ctx context.Context, id kms.ID, n uint32) (Usage, error) {
	u, _, err := load[Usage](ctx, r, usagePath(id, n))
	u.Key, u.Version = id, n
	return u, err
}

// UsageEnd reads how far the ledger is; a zero revision means that it was never begun.
func (r *Records) UsageEnd(ctx context.Context, node string) (UsageEnd, kms.Rev, error) {
	return load[UsageEnd](ctx, r, usageEndPath(node))
}

// Usage reads a row within the transaction.
func (tx *Tx) Usage(id kms.ID, n uint32) (Usage, error) {
	u, _, _, err := fetch[Usage](tx, usagePath(id, n))
	u.Key, u.Version = id, n
	return u, err
}

// PutUsage writes a row.
func (tx *Tx) PutUsage(u Usage) error { return tx.put(usagePath(u.Key, u.Version), u) }

// UsageEnd reads how far the ledger is, within the transaction.
func (tx *Tx) UsageEnd(node string) (UsageEnd, error) {
	e, _, _, err := fetch[UsageEnd](tx, usageEndPath(node))
	return e, err
}

// PutUsageEnd writes how far it is.
func (tx *Tx) PutUsageEnd(node string, e UsageEnd) error { return tx.put(usageEndPath(node), e) }

// UsageRebuild reads whether the ledger is being made anew, within the transaction.
func (tx *Tx) UsageRebuild(node string) (UsageRebuild, bool, error) {
	u, _, ok, err := fetch[UsageRebuild](tx, usageRebuildPath(node))
	return u, ok, err
}

// AskUsageRebuild has the ledger made anew, whatever was there before.
func (tx *Tx) AskUsageRebuild(node string, u UsageRebuild) error {
	return tx.write(usageRebuildPath(node), u, true)
}

// PutUsageRebuild writes how far that is.
func (tx *Tx) PutUsageRebuild(node string, u UsageRebuild) error {
	return tx.put(usageRebuildPath(node), u)
}

// EndUsageRebuild: it is done.
func (tx *Tx) EndUsageRebuild(node string) error { return tx.remove(usageRebuildPath(node)) }

func (r Usage) fields(w *writer) { // 1 and 2, the key's id and the version, are those of the path
	for i := range r.Users {
		u := &r.Users[i]
		w.message(3, func(w *writer) {
			if u.Alias != ([16]byte{}) {
				w.bytes(1, u.Alias[:])
			}
			w.text(2, u.Name)
			w.text(3, string(u.Home))
		})
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		w.message(4, func(w *writer) {
			w.num(1, uint64(l.User+1)) //nolint:gosec // G115: Others is -1
			w.num(2, uint64(l.Action))
			w.num(3, uint64(l.Dialect))
			w.num(4, uint64(l.Code))
			w.num(5, l.N)
			w.num(6, l.Bytes)
			w.time(7, l.First)
			w.time(8, l.Last)
		})
	}
}

func (r *Usage) place(path []byte) {
	if len(path) == versionPathLen {
		r.Key, r.Version = splitVersion(path)
	}
}

func (r *Usage) field(n protowire.Number, v value) {
	switch n {
	case 3:
		var u User
		v.message(func(n protowire.Number, v value) {
			switch n {
			case 1:
				u.Alias = [16]byte(v.id())
			case 2:
				u.Name = v.text()
			case 3:
				u.Home = kms.Namespace(v.text())
			}
		})
		v.is(len(r.Users) < MaxUsers)
		r.Users = append(r.Users, u)
	case 4:
		l := Tally{User: Others}
		v.message(func(n protowire.Number, v value) { l.field(n, v) })
		v.is(l.User < len(r.Users))
		r.Lines = append(r.Lines, l)
	}
}

func (l *Tally) field(n protowire.Number, v value) {
	switch n {
	case 1:
		l.User = int(v.num(MaxUsers)) - 1 //nolint:gosec // G115: bounded
	case 2:
		l.Action = kms.Action(v.u8())
	case 3:
		l.Dialect = kms.Dialect(v.u8())
	case 4:
		l.Code = kms.Code(v.num(math.MaxUint16)) //nolint:gosec // G115: bounded
	case 5:
		l.N = v.num(math.MaxUint64)
	case 6:
		l.Bytes = v.num(math.MaxUint64)
	case 7:
		l.First = v.time()
	case 8:
		l.Last = v.time()
	}
}
