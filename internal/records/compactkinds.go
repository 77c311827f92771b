package records

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// The records with a compact form. Numbers of fields are part of the format: append only (docs/formats.md, "Stored records"). A test
// fills every field of every struct and finds the one that is missing here.

func (k Key) fields(w *writer) { // 1 and 2, id and namespace, are those of the path
	w.text(3, k.Name)
	for _, a := range k.Aliases {
		w.element(4, a)
	}
	w.num(5, uint64(k.Algorithm))
	w.num(6, uint64(k.Usage))
	w.num(7, uint64(k.Origin))
	w.num(8, uint64(k.Switch))
	w.num(9, uint64(k.Primary))
	w.num(10, uint64(k.Latest))
	w.text(11, k.Description)
	w.pairs(12, k.Labels)
	w.time(13, k.Created)
	w.time(14, k.Changed)
	w.time(15, k.DestroyAt)
	w.num(16, k.Logical)
	w.time(17, k.Destroyed)
	w.num(18, uint64(k.Before))
	w.digest(19, &k.Change)
	w.num(20, uint64(k.Bytes)) //nolint:gosec // G115: not negative
	w.flag(21, k.Freeze)
	w.flag(22, k.ProcessDeactivated)
	w.flag(23, k.Exportable)
	w.text(24, k.Class)
	w.text(25, k.Template)
	if p := &k.Period; !p.IsZero() {
		w.message(26, func(w *writer) {
			w.num(1, uint64(p.Every))  //nolint:gosec // G115: not negative
			w.num(2, uint64(p.Jitter)) //nolint:gosec // G115: not negative
			w.text(3, p.Calendar)
			w.num(4, p.Operations)
			w.num(5, p.Bytes)
		})
	}
	w.time(27, k.Rotated)
	w.time(28, k.RotateAt)
	w.num(29, uint64(k.Next))
	w.time(30, k.NextAt)
	w.text(31, k.Region)
	for i := range k.Replicas {
		r := &k.Replicas[i]
		w.message(32, func(w *writer) {
			w.text(1, r.Region)
			w.num(2, uint64(r.Switch))
			w.num(3, uint64(r.Before))
			w.time(4, r.DestroyAt)
			w.text(5, r.Description)
			w.pairs(6, r.Labels)
			w.time(7, r.Created)
		})
	}
	w.num(33, uint64(k.Window)) //nolint:gosec // G115: not negative
	w.num(34, uint64(k.Lacking))
	w.num(35, uint64(k.ByHand))
	if t := k.Transit; t != (kms.Transit{}) {
		w.message(36, func(w *writer) {
			w.flag(1, t.Plain)
			w.flag(2, t.Derived)
			w.flag(3, t.Convergent)
			w.flag(4, t.Backup)
			w.flag(5, t.Mac)
			w.flag(6, t.Rotates)
		})
	}
	w.num(37, uint64(k.MinProtect))
	w.num(38, uint64(k.MinProcess))
	w.num(39, uint64(k.MinKept))
	w.time(40, k.Irrecoverable)
	w.num(41, uint64(k.Also))
	w.flag(60, k.HasPolicy)
	w.num(61, uint64(k.Grants))
}

func (k *Key) place(path []byte) {
	if n := len(path) - len(k.ID); n > 2 {
		k.Namespace, k.ID = kms.Namespace(path[1:n-1]), kms.ID(path[n:])
	}
}

func (k *Key) field(n protowire.Number, v value) {
	switch n {
	case 1:
		k.ID = v.id()
	case 2:
		k.Namespace = kms.Namespace(v.text())
	case 3:
		k.Name = v.text()
	case 4:
		k.Aliases = append(k.Aliases, v.text())
	case 5:
		k.Algorithm = kms.Algorithm(v.u8())
	case 6:
		k.Usage = kms.Usage(v.u8())
	case 7:
		k.Origin = kms.Origin(v.u8())
	case 8:
		k.Switch = kms.Switch(v.u8())
	case 9:
		k.Primary = v.u32()
	case 10:
		k.Latest = v.u32()
	case 11:
		k.Description = v.text()
	case 12:
		k.Labels = v.pair(k.Labels)
	case 13:
		k.Created = v.time()
	case 14:
		k.Changed = v.time()
	case 15:
		k.DestroyAt = v.time()
	case 16:
		k.Logical = v.num(1<<64 - 1)
	case 17:
		k.Destroyed = v.time()
	case 18:
		k.Before = kms.Switch(v.u8())
	case 19:
		k.Change = v.digest()
	case 20:
		k.Bytes = int(v.num(1<<31 - 1)) //nolint:gosec // G115: bounded
	case 21:
		k.Freeze = v.flag()
	case 22:
		k.ProcessDeactivated = v.flag()
	case 23:
		k.Exportable = v.flag()
	case 24:
		k.Class = v.text()
	case 25:
		k.Template = v.text()
	case 26:
		v.message(func(n protowire.Number, v value) { periodField(&k.Period, n, v) })
	case 27:
		k.Rotated = v.time()
	case 28:
		k.RotateAt = v.time()
	case 29:
		k.Next = v.u32()
	case 30:
		k.NextAt = v.time()
	case 31:
		k.Region = v.text()
	case 32:
		var r kms.Replica
		v.message(func(n protowire.Number, v value) { replicaField(&r, n, v) })
		k.Replicas = append(k.Replicas, r)
	case 33:
		k.Window = kms.Seconds(v.num(1 << 33)) //nolint:gosec // G115: bounded
	case 34:
		k.Lacking = v.u32()
	case 35:
		k.ByHand = v.u32()
	case 36:
		v.message(func(n protowire.Number, v value) { transitField(&k.Transit, n, v) })
	case 37:
		k.MinProtect = v.u32()
	case 38:
		k.MinProcess = v.u32()
	case 39:
		k.MinKept = v.u32()
	case 40:
		k.Irrecoverable = v.time()
	case 41:
		k.Also = kms.Usage(v.u8())
	case 60:
		k.HasPolicy = v.flag()
	case 61:
		k.Grants = v.u32()
	}
}

func replicaField(r *kms.Replica, n protowire.Number, v value) {
	switch n {
	case 1:
		r.Region = v.text()
	case 2:
		r.Switch = kms.Switch(v.u8())
	case 3:
		r.Before = kms.Switch(v.u8())
	case 4:
		r.DestroyAt = v.time()
	case 5:
		r.Description = v.text()
	case 6:
		r.Labels = v.pair(r.Labels)
	case 7:
		r.Created = v.time()
	}
}

func transitField(t *kms.Transit, n protowire.Number, v value) {
	switch n {
	case 1:
		t.Plain = v.flag()
	case 2:
		t.Derived = v.flag()
	case 3:
		t.Convergent = v.flag()
	case 4:
		t.Backup = v.flag()
	case 5:
		t.Mac = v.flag()
	case 6:
		t.Rotates = v.flag()
	}
}

func periodField(p *kms.Period, n protowire.Number, v value) {
	switch n {
	case 1:
		p.Every = kms.Seconds(v.num(1 << 33)) //nolint:gosec // G115: bounded
	case 2:
		p.Jitter = kms.Seconds(v.num(1 << 33)) //nolint:gosec // G115: bounded
	case 3:
		p.Calendar = v.text()
	case 4:
		p.Operations = v.num(math.MaxUint64)
	case 5:
		p.Bytes = v.num(math.MaxUint64)
	}
}

func (r Version) fields(w *writer) { // 1 and 2, the key's id and the number, are those of the path
	w.num(3, uint64(r.Algorithm))
	w.num(4, uint64(r.State))
	w.num(5, uint64(r.Origin))
	w.text(6, r.Source)
	w.time(7, r.Created)
	for i := range r.History {
		t := &r.History[i]
		w.message(8, func(w *writer) {
			w.num(1, uint64(t.To))
			w.time(2, t.At)
			w.text(3, t.By)
			w.text(4, t.Reason)
		})
	}
	w.bytes(9, r.Public)
	w.bytes(10, r.Check)
	w.bytes(11, r.Wrapped)
	w.time(12, r.ActivateAt)
	w.time(13, r.DeactivateAt)
	w.time(14, r.RecallUntil)
	w.time(15, r.ExpiresAt)
	w.flag(16, r.Archived)
	w.bytes(17, r.Canary)
	w.flag(18, r.Lacking)
	w.text(19, r.Note)
	for _, c := range r.Chain {
		w.bytes(20, c)
	}
}

func (r *Version) place(path []byte) {
	if len(path) == versionPathLen {
		r.Key, r.Number = splitVersion(path)
	}
}

func (r *Version) field(n protowire.Number, v value) {
	switch n {
	case 1:
		r.Key = v.id()
	case 2:
		r.Number = v.u32()
	case 3:
		r.Algorithm = kms.Algorithm(v.u8())
	case 4:
		r.State = kms.State(v.u8())
	case 5:
		r.Origin = kms.Origin(v.u8())
	case 6:
		r.Source = v.text()
	case 7:
		r.Created = v.time()
	case 8:
		var t kms.Transition
		v.message(func(n protowire.Number, v value) {
			switch n {
			case 1:
				t.To = kms.State(v.u8())
			case 2:
				t.At = v.time()
			case 3:
				t.By = v.text()
			case 4:
				t.Reason = v.text()
			}
		})
		r.History = append(r.History, t)
	case 9:
		r.Public = v.bytes()
	case 10:
		r.Check = v.bytes()
	case 11:
		r.Wrapped = v.bytes()
	case 12:
		r.ActivateAt = v.time()
	case 13:
		r.DeactivateAt = v.time()
	case 14:
		r.RecallUntil = v.time()
	case 15:
		r.ExpiresAt = v.time()
	case 16:
		r.Archived = v.flag()
	case 17:
		r.Canary = v.bytes()
	case 18:
		r.Lacking = v.flag()
	case 19:
		r.Note = v.text()
	case 20:
		r.Chain = append(r.Chain, v.bytes())
	}
}

func (r Name) fields(w *writer) {
	w.id(1, r.Key)
	w.text(2, r.Name)
	w.flag(3, r.Alias)
}

func (r *Name) field(n protowire.Number, v value) {
	switch n {
	case 1:
		r.Key = v.id()
	case 2:
		r.Name = v.text()
	case 3:
		r.Alias = v.flag()
	}
}

func (r Shred) fields(w *writer) {
	w.bytes(1, r.Row)
	w.text(2, string(r.Namespace))
}

func (r *Shred) field(n protowire.Number, v value) {
	switch n {
	case 1:
		r.Row = v.bytes()
	case 2:
		r.Namespace = kms.Namespace(v.text())
	}
}

func (r Outbox) fields(w *writer) { // 1, the id, is that of the path
	w.bytes(2, r.Body)
	w.bytes(3, r.Annex)
	w.time(4, r.Time)
	w.num(5, r.Epoch)
	w.num(6, r.Seq)
}

func (r *Outbox) place(path []byte) {
	if len(path) == 1+len(r.ID) {
		r.ID = kms.ID(path[1:])
	}
}

func (r *Outbox) field(n protowire.Number, v value) {
	switch n {
	case 1:
		r.ID = v.id()
	case 2:
		r.Body = v.bytes()
	case 3:
		r.Annex = v.bytes()
	case 4:
		r.Time = v.time()
	case 5:
		r.Epoch = v.num(math.MaxUint64)
	case 6:
		r.Seq = v.num(math.MaxUint64)
	}
}
