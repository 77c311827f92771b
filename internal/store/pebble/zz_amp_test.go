package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

func procWrite() int64 {
	b, _ := os.ReadFile("/proc/self/io")
	for _, l := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, "write_bytes: "); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}

func TestZZAmp(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("AMP_N"))
	if n == 0 {
		n = 20000
	}
	sizes := map[byte]int{'n': 183, 'R': 286, 'V': 490, 'K': 391, 'O': 477}
	for _, kv := range strings.Split(os.Getenv("AMP_SIZES"), ",") {
		if len(kv) > 2 {
			sizes[kv[0]], _ = strconv.Atoi(kv[2:])
		}
	}
	dir := os.Getenv("AMP_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	s, err := Open(Config{Dir: dir, CacheBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var seq atomic.Uint64
	w0 := procWrite()
	start := time.Now()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			var last []byte
			for i := g; i < n; i += 16 {
				var id [16]byte
				binary.BigEndian.PutUint64(id[:], 0x0190000000000000+seq.Add(1))
				rand.Read(id[8:])
				var h [16]byte
				rand.Read(h[:])
				val := func(k byte) []byte { b := make([]byte, sizes[k]); rand.Read(b); return b }
				key := func(k byte, p []byte) []byte { return append([]byte{k}, p...) }
				txn := store.Txn{}
				rand.Read(txn.Token[:])
				nk := key('n', h[:])
				txn.If = []store.Cond{{Key: nk}}
				txn.Then = []store.Write{{Key: nk, Value: val('n')},
					{Key: append(key('R', id[:]), 0, 0, 0, 1), Value: val('R')},
					{Key: append(key('V', id[:]), 0, 0, 0, 1), Value: val('V')},
					{Key: append([]byte("Kdefault\x00"), id[:]...), Value: val('K')},
				}
				if last != nil {
					txn.Then = append(txn.Then, store.Write{Key: last, Delete: true})
				}
				last = key('O', id[:])
				txn.Then = append(txn.Then, store.Write{Key: last, Value: val('O')})
				if _, err := s.Commit(context.Background(), txn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	el := time.Since(start)
	time.Sleep(500 * time.Millisecond)
	m := s.com.view.eng.db.Metrics()
	fmt.Printf("keys %d in %.1fs (%.0f/s); proc write_bytes/key %d\n", n, el.Seconds(), float64(n)/el.Seconds(), (procWrite()-w0)/int64(n))
	fmt.Printf("WAL in %d written %d; flush %d bytes (%d); compactions %d default %d move %d\n", m.WAL.BytesIn/uint64(n), m.WAL.BytesWritten/uint64(n), m.Levels[0].TableBytesFlushed/uint64(n), m.Flush.Count, m.Compact.Count, m.Compact.DefaultCount, m.Compact.MoveCount)
	for l := range m.Levels {
		x := m.Levels[l]
		if x.TablesCount > 0 || x.TableBytesCompacted > 0 {
			fmt.Printf("L%d files %d size %d KB compacted/key %d moved/key %d sublevels %d\n", l, x.TablesCount, x.TablesSize>>10, x.TableBytesCompacted/uint64(n), x.TableBytesMoved/uint64(n), x.Sublevels)
		}
	}
	s.Close()
}
