package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/witness"
)

// watched is a log that grows in memory, and can lie.
type watched struct {
	name     string
	signer   note.Signer
	verifier note.Verifier
	tree     *tree.Tree
}

func newWatched(t testing.TB, name string) *watched {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	l := &watched{name: name, tree: tree.New(t.TempDir())}
	if l.signer, err = note.NewSigner(private); err != nil {
		t.Fatal(err)
	}
	if l.verifier, err = note.NewVerifier(public); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *watched) grow(n int) *watched {
	for range n {
		l.tree.Append(tree.Hash{byte(l.tree.Size()), byte(l.tree.Size() >> 8)})
	}
	return l
}

// request asks for a cosignature of the tree at a size.
func (l *watched) request(t testing.TB, old, size uint64) []byte {
	t.Helper()
	return l.requestOf(t, l.name, old, size)
}

func (l *watched) requestOf(t testing.TB, origin string, old, size uint64) []byte {
	t.Helper()
	r := l.tree.Reader()
	root, err := r.RootAt(size)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := tree.Checkpoint{Origin: origin, Size: size, Root: root}.Sign(l.signer)
	if err != nil {
		t.Fatal(err)
	}
	x := tree.Extension{Old: old, Checkpoint: msg}
	if old > 0 && old < size {
		if x.Hashes, err = r.Extend(old, size); err != nil {
			t.Fatal(err)
		}
	}
	return x.Text()
}

// bench is a witness with its key.
type bench struct {
	*witness.Witness
	cfg witness.Config
}

func newBench(t testing.TB, logs ...*watched) *bench {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self, err := tree.NewWitness("witness.example/w1", public)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{cfg: witness.Config{Dir: filepath.Join(t.TempDir(), "w"), Witness: self, Sign: func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil }}}
	for _, l := range logs {
		b.cfg.Logs = append(b.cfg.Logs, l.verifier)
	}
	b.open(t)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (b *bench) open(t testing.TB) {
	t.Helper()
	w, err := witness.Open(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Witness = w
}

func (b *bench) restart(t testing.TB) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(t)
}

// cosigned tells whether an answer is the witness's cosignature of a request's checkpoint.
func (b *bench) cosigned(request []byte, answer string) bool {
	_, msg, _ := bytes.Cut(request, []byte("\n\n"))
	by, err := tree.Cosignatures(append(msg, answer...), []*tree.Witness{b.cfg.Witness})
	return err == nil && len(by) == 1
}

func TestAWitnessCosignsWhatExtends(t *testing.T) {
	l := newWatched(t, "log.example").grow(1000)
	b := newBench(t, l)
	var last uint64
	for _, size := range []uint64{1, 2, 3, 7, 8, 300, 300, 999, 1000} {
		q := l.request(t, last, size)
		line, err := b.Add(q)
		if err != nil || !b.cosigned(q, line) {
			t.Fatalf("%d to %d: %q, %v", last, size, line, err)
		}
		last = size
	}
}

// A second history, and a shorter one, are refused, before and behind a restart.
func TestAWitnessNeverVouchesForTwoHistories(t *testing.T) {
	l := newWatched(t, "log.example").grow(100)
	fork := &watched{l.name, l.signer, l.verifier, tree.New(t.TempDir())}
	fork.tree.Append(tree.Hash{0xff})
	fork.grow(99)
	b := newBench(t, l)
	if _, err := b.Add(l.request(t, 0, 50)); err != nil {
		t.Fatal(err)
	}
	var conflict *witness.Conflict
	for range 2 {
		for name, tc := range map[string]struct {
			request  []byte
			want     error
			conflict bool
		}{
			"a smaller one":              {l.request(t, 20, 40), nil, true},
			"from nothing":               {l.request(t, 0, 60), nil, true},
			"from more":                  {l.request(t, 51, 60), nil, true},
			"the other tree, grown":      {fork.request(t, 50, 60), witness.ErrInconsistent, false},
			"the other tree, same size":  {fork.request(t, 50, 50), witness.ErrMismatch, false},
			"old larger than new":        {l.request(t, 60, 50), witness.ErrMalformed, false},
			"a proof where none belongs": {bytes.Replace(l.request(t, 50, 50), []byte("\n\n"), []byte("\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"), 1), witness.ErrInconsistent, false},
		} {
			_, err := b.Add(tc.request)
			if tc.conflict && (!errors.As(err, &conflict) || conflict.Size != 50) || tc.want != nil && !errors.Is(err, tc.want) || err == nil {
				t.Errorf("%s: got %v", name, err)
			}
		}
		b.restart(t)
	}
	if kept, err := os.ReadFile(filepath.Join(b.cfg.Dir, "refused")); err != nil || !bytes.Contains(kept, fork.request(t, 50, 60)) {
		t.Errorf("what the log should not have signed was not kept: %v", err)
	}
	if _, err := b.Add(l.request(t, 50, 100)); err != nil {
		t.Errorf("the true one afterwards: %v", err)
	}
}

func TestAWitnessWatchesKnownLogsOnly(t *testing.T) {
	l, other := newWatched(t, "keyhold.a").grow(10), newWatched(t, "keyhold.a").grow(10)
	b := newBench(t, l)
	for origin, want := range map[string]error{
		"keyhold.a": nil, "keyhold.a/n1/1": nil, "keyhold.a/n1/2": nil, "keyhold.ab": witness.ErrUnknown, "keyhold.ab/n1/1": witness.ErrUnknown, "x/keyhold.a": witness.ErrUnknown,
	} {
		if _, err := b.Add(l.requestOf(t, origin, 0, 5)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", origin, err, want)
		}
	}
	if _, err := b.Add(other.requestOf(t, "keyhold.a/n1/1", 5, 6)); !errors.Is(err, witness.ErrUnsigned) {
		t.Errorf("another key of the same name: %v", err)
	}
	if _, err := b.Add([]byte("old 0\n\nhello\n")); !errors.Is(err, witness.ErrMalformed) {
		t.Errorf("not a checkpoint: %v", err)
	}
}

// Of requests at the same time each size is cosigned with one tree, and the state never goes back.
func TestRequestsAtTheSameTimeDoNotRollBack(t *testing.T) {
	l := newWatched(t, "log.example").grow(64)
	b := newBench(t, l)
	var all sync.WaitGroup
	for i := range 4 {
		var requests [][]byte
		for size := uint64(1); size <= 64; size++ {
			requests = append(requests, l.request(t, size-1, size))
		}
		all.Go(func() {
			for size := 0; size < 64; {
				_, err := b.Add(requests[size])
				var conflict *witness.Conflict
				switch {
				case err == nil:
					size++
				case errors.As(err, &conflict) && int(conflict.Size) > size: //nolint:gosec // G115: small
					size = int(conflict.Size) //nolint:gosec // G115: small
				default:
					t.Errorf("%d: size %d: %v", i, size, err)
					return
				}
			}
		})
	}
	all.Wait()
	if _, err := b.Add(l.request(t, 64, 64)); err != nil {
		t.Error(err)
	}
}

func TestAStateThatSomebodyElseWroteStopsTheWitness(t *testing.T) {
	l := newWatched(t, "log.example").grow(100)
	b := newBench(t, l)
	if _, err := b.Add(l.request(t, 0, 60)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(b.cfg.Dir, "*.checkpoint"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %v, %v", files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, back, _ := bytes.Cut(l.request(t, 0, 20), []byte("\n\n"))
	for name, bad := range map[string][]byte{"rolled back": back, "cut short": good[:len(good)-20], "empty": nil, "changed": bytes.Replace(good, []byte("\n60\n"), []byte("\n20\n"), 1)} {
		if err := os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if w, err := witness.Open(b.cfg); err == nil {
			_ = w.Close()
			t.Errorf("%s: it was taken", name)
		}
	}
	if err := os.WriteFile(files[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	b.open(t)
}

func TestTheProtocolIsSpoken(t *testing.T) {
	l := newWatched(t, "log.example").grow(100)
	fork := &watched{l.name, l.signer, l.verifier, tree.New(t.TempDir())}
	fork.tree.Append(tree.Hash{0xff})
	fork.grow(99)
	stranger := newWatched(t, "log.example").grow(9)
	b := newBench(t, l)
	s := httptest.NewServer(b.Handler())
	defer s.Close()
	for i, tc := range []struct {
		method, path string
		body         []byte
		status       int
		says, kind   string
	}{
		{"GET", "/health", nil, 200, "ok\n", ""},
		{"POST", "/add-checkpoint", l.request(t, 0, 40), 200, "— witness.example/w1 ", ""},
		{"POST", "/add-checkpoint", l.request(t, 0, 50), 409, "40\n", "text/x.tlog.size"},
		{"POST", "/add-checkpoint", l.request(t, 40, 50), 200, "— witness.example/w1 ", ""},
		{"POST", "/add-checkpoint", l.request(t, 50, 50), 200, "— witness.example/w1 ", ""},
		{"POST", "/add-checkpoint", fork.request(t, 50, 50), 409, "another", "text/plain; charset=utf-8"},
		{"POST", "/add-checkpoint", fork.request(t, 50, 60), 422, "extend", ""},
		{"POST", "/add-checkpoint", l.requestOf(t, "other.example", 0, 5), 404, "", ""},
		{"POST", "/add-checkpoint", stranger.request(t, 50, 9), 403, "", ""},
		{"POST", "/add-checkpoint", l.request(t, 70, 60), 400, "", ""},
		{"POST", "/add-checkpoint", []byte("hello"), 400, "", ""},
		{"POST", "/add-checkpoint", bytes.Repeat([]byte("x"), 1<<20), 413, "", ""},
		{"GET", "/add-checkpoint", nil, 405, "", ""},
		{"GET", "/checkpoints", nil, 200, "log.example\n50\n", ""},
		{"GET", "/other", nil, 404, "", ""},
	} {
		q, err := http.NewRequestWithContext(t.Context(), tc.method, s.URL+tc.path, bytes.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != tc.status || !strings.HasPrefix(string(body), tc.says) && !strings.Contains(string(body), tc.says) || tc.kind != "" && r.Header.Get("Content-Type") != tc.kind {
			t.Errorf("%d: %s %s: got %d %q %q, want %d %q", i, tc.method, tc.path, r.StatusCode, r.Header.Get("Content-Type"), body, tc.status, tc.says)
		}
	}
}

func FuzzAdd(f *testing.F) {
	l := newWatched(f, "log.example").grow(20)
	b := newBench(f, l)
	if _, err := b.Add(l.request(f, 0, 7)); err != nil {
		f.Fatal(err)
	}
	f.Add(l.request(f, 7, 20))
	f.Add([]byte("old 7\n\nlog.example\n7\nAAAA\n\n— log.example AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if line, err := b.Add(text); err == nil && !b.cosigned(text, line) {
			t.Errorf("%q was answered with %q", text, line)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	l := newWatched(b, "log.example").grow(b.N + 1)
	w := newBench(b, l)
	requests := make([][]byte, b.N)
	for i := range requests {
		requests[i] = l.request(b, uint64(i), uint64(i+1)) //nolint:gosec // G115: small
	}
	b.ResetTimer()
	for _, q := range requests {
		if _, err := w.Add(q); err != nil {
			b.Fatal(err)
		}
	}
}
