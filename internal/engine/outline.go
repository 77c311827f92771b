package engine

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/rotation"
)

// outline is what filters of the inventory can tell of a key without opening its record, in 64 bytes. It may stand for more than the key is: what it lets
// pass is read and looked at again. It never stands for less.
type outline struct {
	id    kms.ID
	name  [outlineName]byte // how its name begins
	marks [2]uint64         // a Bloom filter of its class, template and labels
	ahead uint64            // a Bloom filter of longer beginnings of its name
	facts uint32            // algorithm, usage, switch, origin, and what is unsaid of it
	late  uint32            // the minute since 1970 from which its rotation is overdue; 0: never
}

const outlineName = 16 // bytes

// beginnings are the lengths of a name's beginning that are marked, in bytes.
var beginnings = [...]int{20, 24, 32, 40, 48, 64}

// The places of facts.
const (
	factUsage  = 8
	factSwitch = 12
	factOrigin = 16
	factUnsaid = 20
)

// unsaidBits are the places of what is unsaid.
var unsaidBits = map[string]uint32{
	UnknownClass: 1 << factUnsaid, UnknownOwner: 2 << factUnsaid, UnknownPurpose: 4 << factUnsaid, UnknownRotation: 8 << factUnsaid,
}

// outliner makes outlines; those of two of them do not go together.
type outliner struct{ seed maphash.Seed }

func (o outliner) of(k *kms.Key) outline {
	l := outline{id: k.ID, facts: uint32(k.Algorithm) | uint32(k.Usage)<<factUsage | uint32(k.Switch)<<factSwitch | uint32(k.Origin)<<factOrigin}
	copy(l.name[:], k.Name)
	for _, n := range beginnings {
		if n <= len(k.Name) {
			l.ahead |= o.ahead(k.Name[:n])
		}
	}
	if k.Class != "" {
		o.mark(&l.marks, "class", k.Class)
	}
	if k.Template != "" {
		o.mark(&l.marks, "template", k.Template)
	}
	for name, value := range k.Labels {
		o.mark(&l.marks, "label", name, value)
	}
	for _, u := range unsaid(k) {
		l.facts |= unsaidBits[u]
	}
	if k.Switch == kms.Enabled && !k.RotateAt.IsZero() {
		l.late = minuteOf(k.RotateAt.Add(rotation.Grace))
	}
	return l
}

// minuteOf is at least 1 and rounds down: a minute early is looked at again.
func minuteOf(t time.Time) uint32 { return uint32(min(max(t.Unix()/60, 1), 1<<32-1)) } //nolint:gosec // G115: bounded

// mark sets four of 128 bits.
func (o outliner) mark(to *[2]uint64, words ...string) {
	h := o.hash(words...)
	for range 4 {
		to[h>>6&1] |= 1 << (h & 63)
		h >>= 7
	}
}

// ahead is three of 64 bits.
func (o outliner) ahead(beginning string) (bits uint64) {
	h := o.hash(beginning)
	for range 3 {
		bits |= 1 << (h & 63)
		h >>= 6
	}
	return bits
}

func (o outliner) hash(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(o.seed)
	for _, w := range words {
		h.WriteString(w)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// wanted is a filter as outlines are compared with it.
type wanted struct {
	mask, facts uint32
	name        []byte
	marks       [2]uint64
	ahead       uint64
	late        uint32 // not 0: only what is overdue in that minute
}

// outlined tells whether outlines tell anything about what the filter asks for.
func (f *InventoryFilter) outlined() bool {
	return f.NamePrefix != "" || f.Algorithm != 0 || f.Usage != 0 || f.Switch != 0 || f.Origin != 0 || f.Class != "" || f.Template != "" || f.Overdue || len(f.Labels) > 0 ||
		slices.ContainsFunc(f.Unknown, func(u string) bool { return unsaidBits[u] != 0 })
}

// wanted answers what the outlines of all keys that a filter selects have in common.
func (o outliner) wanted(f *InventoryFilter, now time.Time) (w wanted) {
	fact := func(value uint32, at, bits int) {
		if value != 0 {
			w.mask |= (1<<bits - 1) << at
			w.facts |= value << at
		}
	}
	fact(uint32(f.Algorithm), 0, 8)
	fact(uint32(f.Usage), factUsage, 4)
	fact(uint32(f.Switch), factSwitch, 4)
	fact(uint32(f.Origin), factOrigin, 4)
	for _, u := range f.Unknown {
		w.mask |= unsaidBits[u]
		w.facts |= unsaidBits[u]
	}
	w.name = []byte(f.NamePrefix[:min(len(f.NamePrefix), outlineName)])
	for _, n := range beginnings {
		if n <= len(f.NamePrefix) {
			w.ahead |= o.ahead(f.NamePrefix[:n])
		}
	}
	if f.Class != "" {
		o.mark(&w.marks, "class", f.Class)
	}
	if f.Template != "" {
		o.mark(&w.marks, "template", f.Template)
	}
	for name, value := range f.Labels {
		o.mark(&w.marks, "label", name, value)
	}
	if f.Overdue {
		w.late = minuteOf(now)
	}
	return w
}

// fits tells whether the filter may select the key.
func (w *wanted) fits(l *outline) bool {
	return l.facts&w.mask == w.facts && l.marks[0]&w.marks[0] == w.marks[0] && l.marks[1]&w.marks[1] == w.marks[1] && l.ahead&w.ahead == w.ahead &&
		(w.late == 0 || l.late != 0 && l.late <= w.late) && bytes.HasPrefix(l.name[:], w.name)
}

// before is the order of ids, which is that of creation.
func before(a, b kms.ID) bool {
	if x, y := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8]); x != y {
		return x < y
	}
	return binary.BigEndian.Uint64(a[8:]) < binary.BigEndian.Uint64(b[8:])
}
