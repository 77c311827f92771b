package engine

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of what is kept in memory for filters of the inventory.
const (
	outlinesMost    = 2_000_000        // keys of all namespaces: 128 MB
	outlinesIdle    = 15 * time.Minute // after which those of a namespace are forgotten, if nobody asks with a filter
	outlinesChunk   = 4096             // outlines that lie together
	outlinesChanged = 50_000           // changed keys of one namespace: with more it begins anew
	outlinesAtOnce  = 1 << 16          // outlines that are looked at under the lock, which changes of keys wait for
	refreshedAtOnce = 1000             // changed keys whose outlines one request brings up to date
	keysAtOnce      = 64               // records that are read together
)

// outlines are those of a namespace's keys, from the first on as far as somebody has walked through them with a filter: walks that nothing speeds up yet
// leave outlines behind for those that follow. What has changed since its outline was made is looked at whatever the filter.
type outlines struct {
	outliner
	mu      sync.RWMutex // guards what follows
	chunks  [][]outline  // in the order of ids
	n       int
	through kms.ID            // all keys up to this one have an outline, or are changed
	changed map[kms.ID]uint64 // keys that were written since their outline was made, or before they got one, with the count of the last time
	count   uint64            // of changes
	over    bool              // it has ended: more changed than is kept
	asked   time.Time
}

// shelf holds the outlines of all namespaces.
type shelf struct {
	mu  sync.Mutex // guards all
	all map[kms.Namespace]*outlines
}

func newShelf() *shelf { return &shelf{all: map[kms.Namespace]*outlines{}} }

// of answers a namespace's outlines.
func (s *shelf) of(ns kms.Namespace, now time.Time) *outlines {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[ns]
	if x == nil || x.ended() {
		x = &outlines{outliner: outliner{maphash.MakeSeed()}, changed: map[kms.ID]uint64{}}
		s.all[ns] = x
	}
	x.mu.Lock()
	x.asked = now
	x.mu.Unlock()
	return x
}

func (x *outlines) ended() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.over
}

// forget notes that a key has changed.
func (s *shelf) forget(t records.Touch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t.Kind {
	case records.TouchAll:
		clear(s.all)
	case records.TouchKey:
		if x := s.all[t.Namespace]; x != nil && x.touch(t.ID) {
			delete(s.all, t.Namespace)
		}
	case records.TouchVersion, records.TouchName, records.TouchNamespace, records.TouchPolicy, records.TouchToken, records.TouchCredential, records.TouchAccessKey, records.TouchRole:
	}
}

// tidy forgets what nobody asked for lately.
func (s *shelf) tidy(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ kms.Namespace, x *outlines) bool {
		x.mu.RLock()
		defer x.mu.RUnlock()
		return x.over || now.Sub(x.asked) > outlinesIdle
	})
}

// room tells whether n more outlines can be kept. If not, it forgets those of the namespace that was not asked for longest, but not of one.
func (s *shelf) room(of *outlines, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := n
	var oldest kms.Namespace
	var at time.Time
	for ns, x := range s.all {
		x.mu.RLock()
		sum += x.n
		if x != of && (oldest == "" || x.asked.Before(at)) {
			oldest, at = ns, x.asked
		}
		x.mu.RUnlock()
	}
	if sum > outlinesMost && oldest != "" {
		delete(s.all, oldest)
	}
	return sum <= outlinesMost
}

// touch tells whether it has ended by that.
func (x *outlines) touch(id kms.ID) (over bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.count++
	x.changed[id] = x.count
	x.over = len(x.changed) > outlinesChanged
	return x.over
}

// extend adds the keys that follow one without a gap, as they were read. Keys that were written meanwhile are among the changed ones.
func (x *outlines) extend(after kms.ID, keys []kms.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.through != after || len(keys) == 0 { // another request was faster
		return
	}
	for i := range keys {
		x.add(x.of(&keys[i]))
	}
	x.through = keys[len(keys)-1].ID
}

// add puts an outline in its place, or in the place of the one that the key had.
func (x *outlines) add(l outline) {
	c := x.chunk(l.id)
	if c == len(x.chunks) || c == len(x.chunks)-1 && len(x.chunks[c]) >= outlinesChunk && before(x.chunks[c][len(x.chunks[c])-1].id, l.id) {
		c = len(x.chunks)
		x.chunks = append(x.chunks, make([]outline, 0, outlinesChunk))
	}
	i, there := slices.BinarySearchFunc(x.chunks[c], l.id, byID)
	if there {
		x.chunks[c][i] = l
		return
	}
	x.chunks[c] = slices.Insert(x.chunks[c], i, l)
	x.n++
}

func byID(l outline, id kms.ID) int {
	switch {
	case l.id == id:
		return 0
	case before(l.id, id):
		return -1
	}
	return 1
}

// chunk is the place of the chunk that a key is in, or would be: the last one that does not begin after it.
func (x *outlines) chunk(id kms.ID) int {
	n := sort.Search(len(x.chunks), func(i int) bool { return before(id, x.chunks[i][0].id) })
	return max(n-1, 0)
}

// refresh makes the outlines of changed keys anew, if they are not too many; the others are looked at whatever the filter.
func (x *outlines) refresh(ctx context.Context, r *records.Records, ns kms.Namespace) error {
	x.mu.RLock()
	var ids []kms.ID
	at := x.count
	for id := range x.changed {
		if len(ids) < refreshedAtOnce && !before(x.through, id) {
			ids = append(ids, id)
		}
	}
	x.mu.RUnlock()
	for part := range slices.Chunk(ids, keysAtOnce) {
		keys, err := r.KeysOf(ctx, ns, part)
		if err != nil {
			return err
		}
		x.replace(keys, at)
	}
	return nil
}

// replace takes outlines of keys as they were read after so many changes. What was written since stays changed.
func (x *outlines) replace(keys []kms.Key, at uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range keys {
		x.add(x.of(&keys[i]))
		if x.changed[keys[i].ID] <= at {
			delete(x.changed, keys[i].ID)
		}
	}
}

// seek answers the keys after one that a filter may select, at most n, in order, and how far it looked. looked is 0 where there are no outlines.
func (x *outlines) seek(w *wanted, after kms.ID, n int) (ids []kms.ID, at kms.ID, looked int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.over || !before(after, x.through) {
		return nil, after, 0
	}
	for c := x.chunk(after); c < len(x.chunks); c++ {
		chunk := x.chunks[c]
		i, there := slices.BinarySearchFunc(chunk, after, byID)
		if there {
			i++
		}
		for ; i < len(chunk); i++ {
			looked++
			at = chunk[i].id
			if w.fits(&chunk[i]) {
				ids = append(ids, at)
			}
			if len(ids) == n || looked == outlinesAtOnce {
				return x.withChanged(ids, after, at), at, looked
			}
		}
	}
	return x.withChanged(ids, after, x.through), x.through, max(looked, 1)
}

// withChanged adds the changed keys between two others.
func (x *outlines) withChanged(ids []kms.ID, after, at kms.ID) []kms.ID {
	n := len(ids)
	for id := range x.changed {
		if before(after, id) && !before(at, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) > n {
		slices.SortFunc(ids, func(a, b kms.ID) int { return byID(outline{id: a}, b) })
		ids = slices.Compact(ids)
	}
	return ids
}
