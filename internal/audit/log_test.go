package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/kms"
)

// testKeys are keys as the server has them when it is unsealed.
func testKeys(t testing.TB) (Keys, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, KeyName("test"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	return Keys{
		Epoch: 7,
		MAC: func(epoch uint32, msg []byte) (out [32]byte, err error) {
			if epoch != 7 {
				return out, errors.New("no such key")
			}
			h := hmac.New(sha256.New, secret)
			h.Write(msg)
			h.Sum(out[:0])
			return out, nil
		},
		Signer: signer, Verifiers: note.VerifierList(verifier),
	}, vkey
}

func testConfig(t testing.TB) Config {
	t.Helper()
	return Config{
		Dir: t.TempDir(), Node: "n1", Cluster: "test", SegmentBytes: MinSegment, ReserveBytes: 64 << 10, Detail: "test",
		Head: func() (kms.Rev, [32]byte) { return 42, [32]byte{1} },
	}
}

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v (%v)", err, errors.Unwrap(err))
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func opened(t testing.TB, cfg Config, k Keys) *Log {
	t.Helper()
	l := open(t, cfg)
	if err := l.Keyed(k); err != nil {
		t.Fatalf("keyed: %v", err)
	}
	return l
}

func shut(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// numbered is a record that can be told from all others by its request id.
func numbered(i int) *Record {
	r := typical()
	r.RequestID = fmt.Sprintf("r-%d", i)
	return &r
}

func put(t testing.TB, l *Log, from, n int) []Position {
	t.Helper()
	out := make([]Position, n)
	for i := range n {
		p, err := l.Append(numbered(from + i))
		if err != nil {
			t.Fatalf("append %d: %v", from+i, err)
		}
		out[i] = p
	}
	return out
}

// flood appends from many callers at once.
func flood(t testing.TB, l *Log, from, callers, each int) map[int]Position {
	t.Helper()
	var mu sync.Mutex
	all := map[int]Position{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				n := from + c*each + i
				p, err := l.Append(numbered(n))
				if err != nil {
					t.Errorf("append %d: %v", n, err)
					return
				}
				mu.Lock()
				all[n] = p
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

func expect(t testing.TB, l *Log, n int, p Position) {
	t.Helper()
	r, err := l.Read(p)
	if err != nil {
		t.Fatalf("read %v: %v (%v)", p, err, errors.Unwrap(err))
	}
	if want := fmt.Sprintf("r-%d", n); r.RequestID != want {
		t.Fatalf("record at %v: got %s want %s", p, r.RequestID, want)
	}
}

func TestEveryAcknowledgedRecordIsThereAfterARestart(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	all := map[int]Position{}
	for boot := range 4 {
		l := opened(t, cfg, k)
		if got := l.Epoch(); got != uint64(boot+1) {
			t.Fatalf("epoch: got %d want %d", got, boot+1)
		}
		for n, p := range flood(t, l, boot*1000, 8, 50) {
			all[n] = p
		}
		for n, p := range all {
			expect(t, l, n, p)
		}
		shut(t, l)
	}
	seen := map[Position]bool{}
	for _, p := range all {
		if seen[p] {
			t.Fatalf("position %v was given twice", p)
		}
		seen[p] = true
	}
}

func TestPositionsOfAGroupAreConsecutive(t *testing.T) {
	l := open(t, testConfig(t))
	ps, err := l.AppendAll([]*Record{numbered(1), numbered(2), numbered(3)})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		if p.Seq != ps[0].Seq+uint64(i) {
			t.Errorf("position %d: got %v after %v", i, p, ps[0])
		}
		expect(t, l, i+1, p)
	}
}

func TestTheFirstRecordCommitsToTheEpochBefore(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	l := opened(t, cfg, k)
	put(t, l, 0, 10)
	size, origin := l.Size(), l.Origin()
	shut(t, l)
	l.pub.mu.Lock()
	root := l.pub.tree.Root()
	l.pub.mu.Unlock()
	l = open(t, cfg)
	r, err := l.Read(Position{"n1", 2, 0})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Link{origin, size, root}); r.Action != kms.StartServer || r.Prev != want {
		t.Errorf("got %v %+v, want StartServer %+v", r.Action, r.Prev, want)
	}
}

func TestTheNewestHeadOutlivesBootsThatWereNeverUnsealed(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	l := opened(t, cfg, k)
	if _, ok := l.LastHead(); ok {
		t.Error("a new log knows a head")
	}
	put(t, l, 0, 1)
	shut(t, l)
	cfg.Head = func() (kms.Rev, [32]byte) { return 3, [32]byte{3} } // a store that was put back
	for range 3 {
		l = open(t, cfg)
		put(t, l, 5, 1)
		if h, ok := l.LastHead(); !ok || h.Rev != 42 || h.Hash != [32]byte{1} {
			t.Fatalf("got %+v, %v, want revision 42", h, ok)
		}
		shut(t, l)
	}
}

func TestFindTellsWhatIsInTheLog(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	now := time.Unix(1_800_000_100, 0)
	cfg.Now = func() time.Time { return now }
	want := map[[32]byte]Position{}
	hashes := map[[32]byte]struct{}{}
	for boot := range 3 {
		l := opened(t, cfg, k)
		for i, p := range put(t, l, boot*100, 100) {
			if i%10 == 0 {
				leaf, err := numbered(boot*100 + i).LeafHash()
				if err != nil {
					t.Fatal(err)
				}
				want[leaf] = p
				hashes[leaf] = struct{}{}
			}
		}
		shut(t, l)
	}
	absent, _ := numbered(9999).LeafHash()
	hashes[absent] = struct{}{}
	l := open(t, cfg)
	got, err := l.Find(t.Context(), hashes, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("got %d of %d records", len(got), len(want))
	}
	for h, p := range want {
		if got[h] != p {
			t.Errorf("%x: got %v want %v", h, got[h], p)
		}
	}
	// Nothing before the segment of since is read.
	got, err = l.Find(t.Context(), hashes, Position{Node: cfg.Node, Epoch: 2})
	if err != nil || len(got) != 20 {
		t.Errorf("from the second boot epoch on: got %d, %v, want 20", len(got), err)
	}
	got, err = l.Find(t.Context(), hashes, Position{Node: cfg.Node, Epoch: l.Epoch()})
	if err != nil || len(got) != 0 {
		t.Errorf("from the newest boot epoch on: got %d, %v, want none", len(got), err)
	}
}

func TestAppendEncodedIsTheSameRecord(t *testing.T) {
	l := open(t, testConfig(t))
	r := numbered(5)
	body, annex, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.AppendEncoded(body, annex)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, l, 5, p)
	annex[20] ^= 1
	if _, err := l.AppendEncoded(body, annex); kms.CodeOf(err) != kms.CodeRecordDamaged {
		t.Errorf("a foreign annex: got %v, want %v", err, kms.CodeRecordDamaged)
	}
}

func TestListPagesOverAllEpochsNewestFirst(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	const boots, each = 3, 700
	cfg.Now = func() time.Time { return typical().Time.Add(3 * time.Hour) }
	for boot := range boots {
		l := opened(t, cfg, k)
		var group []*Record
		for i := range each {
			r := numbered(boot*each + i)
			r.Time = r.Time.Add(time.Duration(boot*each+i) * time.Second)
			if i%7 == 0 {
				r.Outcome, r.Code = Denied, kms.CodeDenied
			}
			if group = append(group, r); len(group) < 1+i%17 && i < each-1 {
				continue
			}
			if _, err := l.AppendAll(group); err != nil {
				t.Fatal(err)
			}
			group = nil
		}
		shut(t, l)
	}
	l := open(t, cfg)
	for name, tc := range map[string]struct {
		filter Filter
		limit  int
		want   int
	}{
		"all":       {Filter{Action: kms.Encrypt}, 100, boots * each},
		"one page":  {Filter{Action: kms.Encrypt}, 1000, boots * each},
		"denials":   {Filter{Outcome: Denied}, 30, boots * each / 7},
		"name":      {Filter{Name: "svc/orders", Outcome: Denied}, 1000, boots * each / 7},
		"key":       {Filter{Key: id(2), Namespace: "default"}, 500, boots * each},
		"no key":    {Filter{Key: id(9)}, 10, 0},
		"window":    {Filter{Since: typical().Time.Add(100 * time.Second), Until: typical().Time.Add(900 * time.Second)}, 77, 800},
		"one":       {Filter{RequestID: "r-900"}, 10, 1},
		"changes":   {Filter{Changes: true}, 10, 0},
		"alias":     {Filter{Aliases: [][16]byte{{9}, typical().Alias}}, 1000, boots * each},
		"starts":    {Filter{Action: kms.StartServer}, 2, boots + 1},
		"too large": {Filter{Action: kms.Encrypt}, 100000, boots * each},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Entry
			cursor := ""
			for {
				page, err := l.List(t.Context(), tc.filter, cursor, tc.limit)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Entries) > min(tc.limit, MaxPage) {
					t.Fatalf("a page of %d records, the limit is %d", len(page.Entries), tc.limit)
				}
				got = append(got, page.Entries...)
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			if len(got) != tc.want {
				t.Errorf("got %d records, want %d", len(got), tc.want)
			}
			for i := 1; i < len(got); i++ {
				if !got[i].Before(got[i-1].Position) {
					t.Fatalf("%v comes after %v", got[i].Position, got[i-1].Position)
				}
			}
		})
	}
	if _, err := l.List(t.Context(), Filter{}, "nonsense", 10); kms.CodeOf(err) != kms.CodeBadToken {
		t.Errorf("a bad cursor: got %v", err)
	}
}

func TestOneServerAtATime(t *testing.T) {
	cfg := testConfig(t)
	open(t, cfg)
	if _, err := Open(cfg); kms.CodeOf(err) != kms.CodeAuditUnavailable {
		t.Errorf("a second open: got %v, want %v", err, kms.CodeAuditUnavailable)
	}
}

func TestAClosedLogRefuses(t *testing.T) {
	l := open(t, testConfig(t))
	shut(t, l)
	if _, err := l.Append(numbered(1)); kms.CodeOf(err) != kms.CodeStopping {
		t.Errorf("got %v, want %v", err, kms.CodeStopping)
	}
	if kms.CodeOf(l.Healthy()) != kms.CodeStopping {
		t.Errorf("healthy: got %v", l.Healthy())
	}
}

func TestAnEpochWithoutRecordsIsUsedAgain(t *testing.T) {
	cfg := testConfig(t)
	l := open(t, cfg)
	put(t, l, 0, 3)
	shut(t, l)
	dir := filepath.Join(cfg.Dir, "n1", epochFolder(2))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000000.log"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg)
	if l.Epoch() != 2 {
		t.Errorf("epoch: got %d want 2", l.Epoch())
	}
	if r, err := l.Read(Position{"n1", 2, 0}); err != nil || r.Prev.Size != 4 {
		t.Errorf("link: got %+v, %v", r.Prev, err)
	}
}

func TestSegmentsRollAndAreReadyAhead(t *testing.T) {
	cfg := testConfig(t)
	l := open(t, cfg)
	flood(t, l, 0, 8, 150)
	if n := l.Stats().Segments; n < 3 {
		t.Errorf("got %d segments, want several", n)
	}
	if err := l.Healthy(); err != nil {
		t.Error(err)
	}
}
