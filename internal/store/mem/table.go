package mem

import (
	"bytes"
	"slices"
	"sort"

	"github.com/keyhold/keyhold/internal/store"
)

// runMax is how many records a run holds before it is split in two.
const runMax = 512

// table is an ordered map: a sorted list of sorted, non-empty runs. Records are never changed in place.
type table struct {
	runs [][]store.Record
	n    int
}

// find answers the run and the place in it where key is or belongs.
func (t *table) find(key []byte) (run, at int, found bool) {
	run = sort.Search(len(t.runs), func(i int) bool { return bytes.Compare(t.runs[i][0].Key, key) > 0 }) - 1
	if run < 0 {
		return 0, 0, false
	}
	at, found = slices.BinarySearchFunc(t.runs[run], key, func(r store.Record, k []byte) int { return bytes.Compare(r.Key, k) })
	return run, at, found
}

func (t *table) get(key []byte) (store.Record, bool) {
	run, at, ok := t.find(key)
	if !ok {
		return store.Record{}, false
	}
	return t.runs[run][at], true
}

func (t *table) put(r store.Record) {
	run, at, ok := t.find(r.Key)
	if ok {
		t.runs[run][at] = r
		return
	}
	t.n++
	if len(t.runs) == 0 {
		t.runs = [][]store.Record{{r}}
		return
	}
	list := slices.Insert(t.runs[run], at, r)
	t.runs[run] = list
	if len(list) > runMax {
		t.runs[run] = slices.Clone(list[:runMax/2])
		t.runs = slices.Insert(t.runs, run+1, slices.Clone(list[runMax/2:]))
	}
}

func (t *table) remove(key []byte) {
	run, at, ok := t.find(key)
	if !ok {
		return
	}
	t.n--
	t.runs[run] = slices.Delete(t.runs[run], at, at+1)
	if len(t.runs[run]) == 0 {
		t.runs = slices.Delete(t.runs, run, run+1)
	}
}

// from yields the records whose key is at least start, in order.
func (t *table) from(start []byte) func(yield func(store.Record) bool) {
	return func(yield func(store.Record) bool) {
		run, at, _ := t.find(start)
		for ; run < len(t.runs); run, at = run+1, 0 {
			for ; at < len(t.runs[run]); at++ {
				if !yield(t.runs[run][at]) {
					return
				}
			}
		}
	}
}
