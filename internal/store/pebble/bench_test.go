package pebble

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/store"
)

// syncCounter counts the syncs of the engine's log.
type syncCounter struct {
	vfs.FS
	n atomic.Int64
}

type countedFile struct {
	vfs.File
	n *atomic.Int64
}

func (f *countedFile) SyncData() error { f.n.Add(1); return f.File.SyncData() }
func (f *countedFile) Sync() error     { f.n.Add(1); return f.File.Sync() }

func (c *syncCounter) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, cat)
	return c.wrap(f, cat), err
}

func (c *syncCounter) ReuseForWrite(oldname, newname string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.ReuseForWrite(oldname, newname, cat)
	return c.wrap(f, cat), err
}

func (c *syncCounter) wrap(f vfs.File, cat vfs.DiskWriteCategory) vfs.File {
	if f == nil || cat != "pebble-wal" {
		return f
	}
	return &countedFile{f, &c.n}
}

func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// A write like one that makes a key: a condition that it is absent, a sealed record of about 1 KiB, a token.
func benchTxn(rng *rand.Rand, value []byte) store.Txn {
	key := fmt.Appendf(nil, "n%03d/key/%024x", rng.IntN(100), rng.Uint64())
	x := store.Txn{If: []store.Cond{{Key: key}}, Then: []store.Write{{Key: key, Value: value}}}
	for i := range x.Token {
		x.Token[i] = byte(rng.Uint32())
	}
	return x
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			disk := &syncCounter{FS: vfs.Default}
			s := mustOpen(b, Config{Dir: b.TempDir(), FS: disk})
			defer s.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			disk.n.Store(0)
			before := cpu()
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(w), uint64(b.N)))
					value := randomBytes(rng, 1000)
					for left.Add(-1) >= 0 {
						if _, err := s.Commit(b.Context(), benchTxn(rng, value)); err != nil {
							b.Errorf("commit: %v", err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(disk.n.Load())/float64(b.N), "syncs/op")
			b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, Config{Dir: b.TempDir()})
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	value := randomBytes(rng, 1000)
	var keys [][]byte
	for range 100 {
		var x store.Txn
		for range 250 {
			k := benchTxn(rng, value).Then[0].Key
			keys = append(keys, k)
			x.Then = append(x.Then, store.Write{Key: k, Value: value})
		}
		if _, err := s.Commit(b.Context(), x); err != nil {
			b.Fatal(err)
		}
	}
	for name, pick := range map[string]func() []byte{
		"present": func() []byte { return keys[rng.IntN(len(keys))] },
		"absent":  func() []byte { return fmt.Appendf(nil, "n%03d/key/%024x", rng.IntN(100), rng.Uint64()) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.Get(b.Context(), pick()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
