package audit

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestASlowDiskBoundsWhatWaits holds a sync back: callers wait, memory stays bounded, and nobody is lost when the disk goes on.
func TestASlowDiskBoundsWhatWaits(t *testing.T) {
	cfg := testConfig(t)
	var fs disktest.FS
	cfg.FS = &fs
	l := open(t, cfg)
	release := make(chan struct{})
	held := make(chan struct{})
	var once sync.Once
	fs.Set(func(op disktest.Op, path string) *disktest.Fault {
		if op == disktest.Sync && strings.HasSuffix(path, ".log") {
			once.Do(func() { close(held) })
			<-release
		}
		return nil
	})
	group := make([]*Record, 16)
	for i := range group {
		r := everything()
		group[i] = &r
	}
	const callers = 12 // of about a megabyte each
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]bool{}
	for range callers {
		wg.Go(func() {
			rs := make([]*Record, len(group))
			for i, r := range group {
				c := *r
				rs[i] = &c
			}
			ps, err := l.AppendAll(rs)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, p := range ps {
				seen[p.Seq] = true
			}
		})
	}
	<-held
	waiting := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.cur.buf)
	}
	for end := time.Now().Add(10 * time.Second); waiting() < MaxBatch-MaxGroup && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := waiting(); got < MaxBatch-MaxGroup || got > MaxBatch {
		t.Errorf("%d bytes wait, want at most %d", got, MaxBatch)
	}
	close(release)
	wg.Wait()
	if len(seen) != callers*len(group) {
		t.Errorf("got %d records, want %d", len(seen), callers*len(group))
	}
}

func TestAGroupBeyondTheLimitIsRefused(t *testing.T) {
	l := open(t, testConfig(t))
	var rs []*Record
	for range MaxGroup/(40<<10) + 10 {
		r := everything()
		rs = append(rs, &r)
	}
	before := l.Size()
	if _, err := l.AppendAll(rs); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("got %v, want %v", err, kms.CodeTooLarge)
	}
	if l.Size() != before {
		t.Error("a part of the group was written")
	}
	if ps, err := l.AppendAll(nil); err != nil || len(ps) != 0 {
		t.Errorf("no records: got %v, %v", ps, err)
	}
}
