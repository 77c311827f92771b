package audit

import (
	"encoding/binary"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/kms"
)

// unsynced is a disk that promises nothing: for logs that are written to be read.
type unsynced struct{ disk.OS }

type unsyncedFile struct{ disk.File }

func (unsyncedFile) Sync() error { return nil }

func (u unsynced) Create(path string) (disk.File, error) { return lazy(u.OS.Create(path)) }
func (u unsynced) Open(path string) (disk.File, error)   { return lazy(u.OS.Open(path)) }
func (unsynced) SyncDir(string) error                    { return nil }

func lazy(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// rareKey is used three times in a synthetic log; commonKey at every hundredth record.
var rareKey, commonKey = kms.ID{0xee, 1}, kms.ID{0xee, 2}

// synthetic writes a log as a busy server would in some weeks: ten thousand keys, a thousand callers, one refusal in a thousand.
func synthetic(b *testing.B, l *Log, n int) {
	b.Helper()
	rnd := mrand.New(mrand.NewPCG(1, uint64(n)))
	begin := time.Unix(1_800_000_000, 0)
	random := func(p []byte) {
		for ; len(p) >= 8; p = p[8:] {
			binary.LittleEndian.PutUint64(p, rnd.Uint64())
		}
	}
	const group = 500
	rs := make([]*Record, group)
	for i := range rs {
		r := typical()
		r.Keys = []KeyUse{{Version: 1, Rev: 7}}
		rs[i] = &r
	}
	for at := 0; at < n; at += group {
		for i, r := range rs {
			seq := at + i
			r.Time = begin.Add(time.Duration(seq) * 10 * time.Millisecond)
			random(r.ID[:])
			random(r.Salt[:])
			var key, caller, request [16]byte
			binary.BigEndian.PutUint32(key[:], uint32(min(rnd.IntN(10_000), rnd.IntN(10_000))))
			binary.BigEndian.PutUint32(caller[:], uint32(min(rnd.IntN(1000), rnd.IntN(1000))))
			random(request[:])
			key[15], caller[15] = 7, 9
			r.Keys[0].Key, r.Alias, r.RequestID = key, caller, kms.ID(request).String()
			r.Action, r.Outcome, r.Code = kms.Decrypt, OK, 0
			switch rnd.IntN(10) {
			case 0:
				r.Action = kms.Encrypt
			case 1:
				r.Action = kms.GenerateDataKey
			}
			if rnd.IntN(1000) == 0 {
				r.Outcome, r.Code = Denied, kms.CodeDenied
			}
			switch {
			case seq == 10 || seq == n/2 || seq == n-n/4:
				r.Keys[0].Key = rareKey
			case seq%100 == 0:
				r.Keys[0].Key = commonKey
			}
			r.Name = "svc/" + strconv.Itoa(int(binary.BigEndian.Uint32(caller[:])))
		}
		if _, err := l.AppendAll(rs); err != nil {
			b.Fatal(err)
		}
	}
}

func sizeOf(b *testing.B, cfg Config, pattern string) (sum float64) {
	b.Helper()
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, cfg.Node, "*", pattern))
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			b.Fatal(err)
		}
		sum += float64(st.Size())
	}
	return sum
}

// BenchmarkSearch measures listings of a large log. KEYHOLD_RECORDS says how large (a million), KEYHOLD_BENCH_DIR where it stands and stays.
func BenchmarkSearch(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("KEYHOLD_RECORDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	cfg := unkeptConfig(b)
	cfg.FS, cfg.SegmentBytes, cfg.ReserveBytes = unsynced{}, DefaultSegment, -1
	if dir := os.Getenv("KEYHOLD_BENCH_DIR"); dir != "" {
		cfg.Dir = dir
	}
	end := time.Unix(1_800_000_000, 0).Add(time.Duration(n) * 10 * time.Millisecond)
	cfg.Now = func() time.Time { return end }
	k, _ := testKeys(b)
	_, missing := os.Stat(filepath.Join(cfg.Dir, cfg.Node))
	l := open(b, cfg)
	if missing != nil {
		if err := l.Keyed(k); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		synthetic(b, l, n)
		b.Logf("%d records written in %s, %.0f bytes each in segments", n, time.Since(began).Round(time.Millisecond), sizeOf(b, cfg, "*.log")/float64(n))
		shut(b, l)
		l = open(b, cfg)
	}
	began := time.Now()
	if err := l.Keep(); err != nil {
		b.Fatal(err)
	}
	b.Logf("kept in %s, %.0f bytes each compressed, %.1f in indexes", time.Since(began).Round(time.Millisecond),
		sizeOf(b, cfg, "*.log.zst")/float64(n), sizeOf(b, cfg, filepath.Join(indexFolder, "*"))/float64(n))
	alias := func(n uint32) (a [16]byte) {
		binary.BigEndian.PutUint32(a[:], n)
		a[15] = 9
		return a
	}
	key := func(n uint32) (a kms.ID) {
		binary.BigEndian.PutUint32(a[:], n)
		a[15] = 7
		return a
	}
	for _, c := range []struct {
		name   string
		filter Filter
	}{
		{"newest", Filter{}},
		{"common key", Filter{Key: commonKey}},
		{"rare key", Filter{Key: rareKey}},
		{"no key", Filter{Key: kms.ID{0xdd}}},
		{"no request", Filter{RequestID: "6f1d2c3a-0b1c-4d5e-8f90-a1b2c3d4e5f6"}},
		{"denied", Filter{Outcome: Denied}},
		{"caller and denied", Filter{Aliases: [][16]byte{alias(300)}, Outcome: Denied}},
		{"caller and key", Filter{Aliases: [][16]byte{alias(300)}, Key: key(5000)}},
		{"key and action", Filter{Key: key(5000), Action: kms.Encrypt}},
		{"an hour long ago", Filter{Since: time.Unix(1_800_000_000, 0).Add(time.Hour), Until: time.Unix(1_800_000_000, 0).Add(2 * time.Hour), Outcome: Denied}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var pages, found int
			for b.Loop() {
				cursor := ""
				pages, found = 0, 0
				for {
					page, err := l.List(b.Context(), c.filter, cursor, 100)
					if err != nil {
						b.Fatal(err)
					}
					pages++
					found += len(page.Entries)
					if cursor = page.Next; cursor == "" || found >= 100 {
						break
					}
				}
			}
			b.ReportMetric(float64(pages), "pages")
			b.ReportMetric(float64(found), "records")
		})
	}
}
