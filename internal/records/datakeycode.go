package records

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

func (d DataKey) fields(w *writer) { // 1 and 2, the ids, are those of the path
	w.text(3, d.Name)
	w.num(4, uint64(d.State))
	w.num(5, uint64(d.Version))
	w.num(6, uint64(d.Algorithm))
	w.num(7, uint64(d.Bytes))
	w.bytes(8, d.Wrapped)
	w.digest(9, &d.Fingerprint)
	w.pairs(10, d.Context)
	w.bytes(11, d.AAD)
	w.pairs(12, d.Labels)
	w.time(13, d.Created)
	w.text(14, d.By)
	w.num(15, uint64(d.Wraps))
	w.time(16, d.Rewrapped)
	w.time(17, d.Revoked)
	w.text(18, d.RevokedBy)
	w.digest(19, &d.Change)
}

func (d *DataKey) place(path []byte) {
	if len(path) == dataKeyPathLen {
		d.Parent, d.ID = kms.ID(path[1:17]), kms.ID(path[17:])
	}
}

func (d *DataKey) field(n protowire.Number, v value) {
	switch n {
	case 1:
		d.Parent = v.id()
	case 2:
		d.ID = v.id()
	case 3:
		d.Name = v.text()
	case 4:
		d.State = DataKeyState(v.u8())
	case 5:
		d.Version = v.u32()
	case 6:
		d.Algorithm = kms.Algorithm(v.u8())
	case 7:
		d.Bytes = v.u32()
	case 8:
		d.Wrapped = v.bytes()
	case 9:
		d.Fingerprint = v.digest()
	case 10:
		d.Context = v.pair(d.Context)
	case 11:
		d.AAD = v.bytes()
	case 12:
		d.Labels = v.pair(d.Labels)
	case 13:
		d.Created = v.time()
	case 14:
		d.By = v.text()
	case 15:
		d.Wraps = v.u32()
	case 16:
		d.Rewrapped = v.time()
	case 17:
		d.Revoked = v.time()
	case 18:
		d.RevokedBy = v.text()
	case 19:
		d.Change = v.digest()
	}
}

// pairs writes names and values in the order of the names.
func (w *writer) pairs(n protowire.Number, all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w.message(n, func(w *writer) {
			w.text(1, name)
			w.text(2, all[name])
		})
	}
}

// pair adds one name and its value.
func (v value) pair(to map[string]string) map[string]string {
	var name, text string
	v.message(func(n protowire.Number, v value) {
		switch n {
		case 1:
			name = v.text()
		case 2:
			text = v.text()
		}
	})
	if to == nil {
		to = map[string]string{}
	}
	to[name] = text
	return to
}

// underVersion is the value of an index row: its path says everything.
type underVersion struct{}

func (underVersion) fields(*writer)                 {}
func (*underVersion) field(protowire.Number, value) {}
