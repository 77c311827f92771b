package audit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/keyhold/keyhold/internal/audit/index"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

// Indexes stand in a folder beside the segments, named by their first record. A segment has one, or several if it is large.
const (
	indexFolder = "index"
	indexEnd    = ".idx"
	maxParts    = 1 << 16 // indexes whose headers are kept in memory, of some 200 bytes each
)

// part is an index and the run of records that it covers.
type part struct {
	path   string
	first  uint64
	mu     sync.Mutex // guards the fields below
	loaded bool
	bad    error // why it is not used
	header index.Header
	ends   bool // with the last batch of its segment
}

// lookup keeps what is known of the indexes.
type lookup struct {
	mu    sync.Mutex         // guards the fields below
	parts map[string][]*part // by folder of the epoch, in order
	count int
}

func indexPath(dir string, first uint64) string {
	return filepath.Join(dir, indexFolder, fmt.Sprintf("%020d%s", first, indexEnd))
}

// of gives the indexes of an epoch, in order. The list is not to be changed.
func (k *lookup) of(dir string) ([]*part, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if list, known := k.parts[dir]; known {
		return list, nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, indexFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list indexes: %w", err)
	}
	list := []*part{}
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), indexEnd)
		first, err := strconv.ParseUint(stem, 10, 64)
		if ok && err == nil && indexPath(dir, first) == filepath.Join(dir, indexFolder, e.Name()) {
			list = append(list, &part{path: indexPath(dir, first), first: first})
		}
	}
	if k.parts == nil || k.count+len(list) > maxParts {
		k.parts, k.count = map[string][]*part{}, 0
	}
	k.parts[dir], k.count = list, k.count+len(list)
	return list, nil
}

// add notes a new index.
func (k *lookup) add(dir string, first uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list, known := k.parts[dir]
	if !known {
		return // it is found when the folder is read
	}
	at, there := slices.BinarySearchFunc(list, first, func(p *part, first uint64) int { return cmp.Compare(p.first, first) })
	fresh := &part{path: indexPath(dir, first), first: first}
	list = slices.Clone(list) // a reader may have the old one
	if there {
		list[at] = fresh
	} else {
		list = slices.Insert(list, at, fresh)
		k.count++
	}
	k.parts[dir] = list
}

// forget is called when indexes of an epoch were removed.
func (k *lookup) forget(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count -= len(k.parts[dir])
	delete(k.parts, dir)
}

// covering gives the index that covers a record. Without one it gives nil, and the number from which on records have none.
func (k *lookup) covering(dir string, files []segment.File, seq uint64) (p *part, from uint64) {
	list, err := k.of(dir)
	if err != nil {
		return nil, 0
	}
	at, _ := slices.BinarySearchFunc(list, seq+1, func(p *part, first uint64) int { return cmp.Compare(p.first, first) })
	for i := at - 1; i >= 0; i-- {
		h, err := list[i].load(files)
		switch {
		case err != nil:
			continue
		case h.Next > seq:
			return list[i], h.First
		default:
			return nil, h.Next
		}
	}
	return nil, 0
}

var errForeign = fmt.Errorf("%w: it was made of other records", index.ErrDamaged)

// load reads the header, once, and compares it with the segment: the hash of the last batch commits to all records that it was made of.
func (p *part) load(files []segment.File) (*index.Header, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return &p.header, p.bad
	}
	p.header, p.ends, p.bad = readIndex(p.path, p.first, files)
	p.loaded = true
	return &p.header, p.bad
}

func readIndex(path string, first uint64, files []segment.File) (h index.Header, ends bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, false, err
	}
	defer f.Close() //nolint:errcheck // read only
	if h, err = index.ReadHeader(f); err != nil {
		return h, false, err
	}
	st, err := f.Stat()
	if err != nil {
		return h, false, err
	}
	if h.First != first || st.Size() != h.Size() {
		return h, false, errForeign
	}
	i := segmentOf(files, h.First)
	if i < 0 {
		return h, false, errForeign
	}
	src, err := segment.Open(files[i])
	if err != nil {
		return h, false, err
	}
	defer src.Close() //nolint:errcheck // read only
	var raw [segment.HeaderSize]byte
	if _, err := src.ReadAt(raw[:], h.LastOff); err != nil {
		return h, false, errForeign
	}
	last, err := segment.ParseHeader(raw[:])
	if err != nil || last.Tag != h.Tag || last.Next() != h.Next || segment.HashOf(raw[:]) != h.LastHash {
		return h, false, errForeign
	}
	return h, h.LastOff+last.Size() >= src.Size(), nil
}

// find gives the blocks of the index in which records can stand that a filter keeps. Damage is remembered: the index is not asked again.
func (p *part) find(since, until int64, terms [][]index.Term) ([]index.Block, error) {
	f, err := os.Open(p.path)
	if err == nil {
		defer f.Close() //nolint:errcheck // read only
		var blocks []index.Block
		if blocks, err = p.header.Find(f, since, until, terms...); err == nil {
			return blocks, nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = err
	return nil, err
}

// place gives the beginning of the block of a record that the index covers.
func (p *part) place(seq uint64) (mark, bool) {
	blocks, err := p.find(math.MinInt64, math.MaxInt64, nil)
	if err != nil {
		return mark{}, false
	}
	at := sort.Search(len(blocks), func(i int) bool { return blocks[i].First > seq }) - 1
	if at < 0 {
		return mark{}, false
	}
	return mark{First: blocks[at].First, Off: blocks[at].Off}, true
}

// end gives the number of the record after an epoch's last, if an index covers it.
func (k *lookup) end(dir string, files []segment.File) (next uint64, ok bool) {
	list, err := k.of(dir)
	if err != nil || len(list) == 0 || list[len(list)-1].first < files[len(files)-1].First {
		return 0, false
	}
	last := list[len(list)-1]
	h, err := last.load(files)
	return h.Next, err == nil && last.ends
}

// good tells whether the index can still be used.
func (p *part) good() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bad == nil
}

// at gives the index that begins with a record.
func (k *lookup) at(dir string, first uint64) *part {
	list, err := k.of(dir)
	if err != nil {
		return nil
	}
	at, there := slices.BinarySearchFunc(list, first, func(p *part, first uint64) int { return cmp.Compare(p.first, first) })
	if !there {
		return nil
	}
	return list[at]
}

// segmentOf finds the segment of a record, or gives -1.
func segmentOf(files []segment.File, seq uint64) int {
	at, there := slices.BinarySearchFunc(files, seq, func(f segment.File, seq uint64) int { return cmp.Compare(f.First, seq) })
	if there {
		return at
	}
	return at - 1
}
