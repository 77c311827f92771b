package usage

import (
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of a fold: what is written in one transaction of the store, which takes a condition and a write for each row.
const (
	MaxRows  = 96
	maxLines = 2048
)

// At is a version of a key; version 0 is the key itself, and the zero key the store.
type At struct {
	Key     kms.ID
	Version uint32
}

// Fold holds what was added up and is not written yet.
type Fold struct {
	rows  map[At]*delta
	order []*delta
	lines int
	most  int
}

// delta is what is added to one row.
type delta struct {
	at    At
	lines map[line]int // into tally
	tally []records.Tally
	who   []records.User // of the tally of that index
	last  int            // of the tally that was added to last
	key   line           // of that
}

// line is what uses are told apart by.
type line struct {
	alias   [16]byte
	name    string // of who has no alias
	code    kms.Code
	action  kms.Action
	dialect kms.Dialect
}

// New is a fold of nothing that is full when it is of about so many rows.
func New(rows int) *Fold { return &Fold{rows: map[At]*delta{}, most: rows} }

// Full tells that a fold is to be written before more is added.
func (f *Fold) Full() bool { return len(f.order) >= f.most || f.lines >= maxLines }

// Empty tells that nothing was added.
func (f *Fold) Empty() bool { return len(f.order) == 0 }

// Add adds what a record says, beginning with the part of that number: a part is what it says of one version. A fold that gets full answers the number of
// the part that has no place any more, to go on from when it was written; otherwise all is added, and the answer is 0. The fold keeps nothing of the
// record but its strings.
func (f *Fold) Add(r *audit.Record, from int) (rest int) {
	if r.Outcome == audit.DryRun || r.Outcome == audit.Replayed {
		return 0
	}
	p := parts{f: f, r: r, from: from}
	switch {
	case r.Action == kms.ExportStore:
		p.whole(At{}, r.Action)
	case len(r.Keys) == 0:
	default:
		if a := first(r); a != 0 {
			p.items(a)
		}
		if a := second(r); a != 0 {
			p.whole(At{r.Keys[1].Key, r.Keys[1].Version}, a)
		}
	}
	return p.rest
}

// parts goes through what a record says, version by version.
type parts struct {
	f    *Fold
	r    *audit.Record
	from int // the first part that is to be added
	n    int // parts that were met
	rest int // the first part that found no place; 0: none
}

// next begins a part, and tells whether it is to be added. The first that is finds its place in an empty fold, whatever its limits.
func (p *parts) next() bool {
	n := p.n
	p.n++
	switch {
	case n < p.from || p.rest > 0:
		return false
	case n > p.from && p.f.Full():
		p.rest = n
		return false
	}
	return true
}

// whole adds all items to one version.
func (p *parts) whole(at At, a kms.Action) {
	if p.next() {
		p.f.add(p.r, p.r.Items, at, a)
	}
}

// items adds each item to the version of the record's first key that it used.
func (p *parts) items(a kms.Action) {
	k := p.r.Keys[0]
	if len(p.r.Versions) == 0 {
		p.whole(At{k.Key, k.Version}, a)
		return
	}
	runs := map[uint32][]audit.Item{}
	var versions []uint32 // in the order in which they were met
	items := p.r.Items
	for _, v := range p.r.Versions {
		run := items[:v.Items]
		items = items[v.Items:]
		all, met := runs[v.Version]
		if !met {
			versions = append(versions, v.Version)
		}
		runs[v.Version] = append(all, run...)
	}
	for _, v := range versions {
		if p.next() {
			p.f.add(p.r, runs[v], At{k.Key, v}, a)
		}
	}
}

// add adds items of a record to one version.
func (f *Fold) add(r *audit.Record, items []audit.Item, at At, a kms.Action) {
	d := f.row(at)
	k := line{alias: r.Alias, code: r.Code, action: a, dialect: r.Dialect}
	if k.alias == [16]byte{} {
		k.name = r.Name
	}
	if len(items) == 0 { // one thing
		f.count(d, k, r, 1, r.Bytes)
		return
	}
	for i := 0; i < len(items); { // runs of the same outcome: mostly one
		if r.Code == 0 { // otherwise all of it failed together
			k.code = items[i].Code
		}
		n, bytes := uint64(0), uint64(0)
		for ; i < len(items) && (r.Code != 0 || items[i].Code == k.code); i++ {
			n, bytes = n+1, bytes+uint64(items[i].Bytes)
		}
		f.count(d, k, r, n, bytes)
	}
}

func (f *Fold) row(at At) *delta {
	d, ok := f.rows[at]
	if !ok {
		d = &delta{at: at, lines: map[line]int{}, last: -1}
		f.rows[at] = d
		f.order = append(f.order, d)
	}
	return d
}

func (f *Fold) count(d *delta, k line, r *audit.Record, n, bytes uint64) {
	if d.last < 0 || d.key != k {
		i, ok := d.lines[k]
		if !ok {
			i = len(d.tally)
			d.lines[k] = i
			d.tally = append(d.tally, records.Tally{Action: k.action, Dialect: k.dialect, Code: k.code, First: r.Time, Last: r.Time})
			d.who = append(d.who, records.User{Alias: r.Alias, Home: r.Home})
			f.lines++
		}
		d.last, d.key = i, k
	}
	t := &d.tally[d.last]
	t.N, t.Bytes = t.N+n, t.Bytes+bytes
	t.First, t.Last = earlier(t.First, r.Time), later(t.Last, r.Time)
	if r.Name != "" {
		u := &d.who[d.last]
		u.Name, u.Home = r.Name, r.Home
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Rows are the versions that something is to be added to, in the order in which they were met.
func (f *Fold) Rows() []At {
	all := make([]At, len(f.order))
	for i, d := range f.order {
		all[i] = d.at
	}
	return all
}

// Into adds what the fold holds of a row's version to the row.
func (f *Fold) Into(row *records.Usage) {
	d, ok := f.rows[At{row.Key, row.Version}]
	if !ok {
		return
	}
	for i := range d.tally {
		add(row, d.who[i], d.tally[i])
	}
}
