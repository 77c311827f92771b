package cosign_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/cosign"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/audit/witness"
)

// soon is how long a test waits for what happens in the background.
const soon = 20 * time.Second

// onlooker is a real witness behind TLS, or something that claims to be one.
type onlooker struct {
	key     *tree.Witness
	private ed25519.PrivateKey
	dir     string
	server  *httptest.Server
	asked   atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc] // in the witness's place
	now     atomic.Int64                     // added to its clock, in nanoseconds
}

func newOnlooker(t testing.TB, name, logKey string) *onlooker {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := &onlooker{private: private, dir: t.TempDir()}
	if o.key, err = tree.NewWitness(name, public); err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(witness.Config{Dir: o.dir, Logs: []note.Verifier{v}, Witness: o.key,
		Sign: func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil },
		Now:  func() time.Time { return time.Now().Add(time.Duration(o.now.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := w.Handler()
	o.server = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		if f := o.answer.Load(); f != nil {
			(*f)(out, r)
			return
		}
		h.ServeHTTP(out, r)
	}))
	t.Cleanup(func() {
		o.server.Close()
		_ = w.Close()
	})
	return o
}

func (o *onlooker) says(f http.HandlerFunc) { o.answer.Store(&f) }
func (o *onlooker) speaksAgain()            { o.answer.Store(nil) }
func (o *onlooker) witness() cosign.Witness { return cosign.Witness{Key: o.key, URL: o.server.URL} }

// bench is a log whose checkpoints are cosigned.
type bench struct {
	*audit.Log
	cfg    audit.Config
	keys   audit.Keys
	logKey string
	asks   []cosign.Witness
	roots  *x509.CertPool
	pub    *cosign.Publisher
	every  time.Duration
}

func newBench(t testing.TB, quorum int) *bench {
	t.Helper()
	b := &bench{every: 20 * time.Millisecond, roots: x509.NewCertPool()}
	b.keys, b.logKey = audittest.Keys(t)
	b.cfg = audit.Config{Dir: t.TempDir(), Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1, Quorum: quorum}
	return b
}

func (b *bench) add(t testing.TB, name string) *onlooker {
	t.Helper()
	o := newOnlooker(t, name, b.logKey)
	b.asks = append(b.asks, o.witness())
	b.cfg.Witnesses = append(b.cfg.Witnesses, o.key)
	b.roots.AddCert(o.server.Certificate())
	return o
}

func (b *bench) start(t testing.TB) {
	t.Helper()
	l, err := audit.Open(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Log = l
	b.pub = cosign.New(cosign.Config{Log: l, Witnesses: b.asks, Dir: filepath.Join(b.cfg.Dir, "n1"), Every: b.every, Timeout: 300 * time.Millisecond, Roots: b.roots})
	b.pub.Start()
	if err := l.Keyed(b.keys); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(t) })
}

func (b *bench) stop(t testing.TB) {
	t.Helper()
	if b.Log == nil {
		return
	}
	b.pub.Close()
	if err := b.Log.Close(); err != nil {
		t.Error(err)
	}
	b.Log = nil
}

// write appends records and has a checkpoint signed over them.
func (b *bench) write(t testing.TB, n int) audit.Position {
	t.Helper()
	var at audit.Position
	for i := range n {
		var err error
		if at, err = b.Append(audittest.Record(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Keyed(b.keys); err != nil {
		t.Fatal(err)
	}
	return at
}

func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !yes(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// cosigned counts the cosignatures of a checkpoint that covers n records.
func (b *bench) cosigned(msg []byte, n uint64) int {
	c, err := tree.Unverified(msg)
	if err != nil || c.Size < n {
		return 0
	}
	by, err := tree.Cosignatures(msg, b.cfg.Witnesses)
	if err != nil {
		return 0
	}
	return len(by)
}

func (b *bench) state(i int) audit.WitnessState { return b.pub.States()[i] }

func TestCheckpointsAreCosigned(t *testing.T) {
	b := newBench(t, 0)
	b.add(t, "w1")
	b.add(t, "w2")
	b.start(t)
	at := b.write(t, 30)
	eventually(t, "both witnesses cosign the newest checkpoint", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 2 })
	if got := b.cosigned(b.Witnessed(), b.Size()); got != 2 {
		t.Errorf("the witnessed checkpoint has %d cosignatures, want 2", got)
	}
	keys, err := verify.ParseKeys([]byte(b.logKey))
	if err != nil {
		t.Fatal(err)
	}
	keys.Witnesses = verify.Witnesses{Known: b.cfg.Witnesses}
	text, err := b.Prove(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := verify.Proof(text, keys); err != nil || len(p.Cosigned) != 2 {
		t.Errorf("a proof under it: %+v, %v", p, err)
	}
	// The next checkpoint is not cosigned yet; proofs of what the witnessed one covers are given under that.
	if text, err = b.Prove(t.Context(), audit.Position{Node: "n1", Epoch: 1, Seq: 3}); err != nil {
		t.Fatal(err)
	}
	if p, err := verify.Proof(text, keys); err != nil || len(p.Cosigned) != 2 {
		t.Errorf("a proof of an earlier record: %+v, %v", p, err)
	}
	way, err := b.Consistency(t.Context(), nil, audit.Mark{Origin: b.Origin()}, audit.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	if w, err := verify.Consistency(way, keys); err != nil || len(w.Cosigned) != 2 {
		t.Errorf("the way to it: %+v, %v", w, err)
	}
}

// A witness that never answers delays neither records nor the other witnesses, nor the end.
func TestAWitnessThatNeverAnswersDelaysNothing(t *testing.T) {
	b := newBench(t, 1)
	good := b.add(t, "good")
	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts in the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close() //nolint:errcheck // nobody talks to it
	hole := newOnlooker(t, "hole", b.logKey)
	b.asks = append(b.asks, cosign.Witness{Key: hole.key, URL: "https://" + dead.Addr().String()})
	b.cfg.Witnesses = append(b.cfg.Witnesses, hole.key)
	b.start(t)
	for round := range 3 {
		b.write(t, 20)
		size := b.Size()
		eventually(t, fmt.Sprintf("round %d: the other witness cosigns", round), func() bool { return b.cosigned(b.Witnessed(), size) == 1 })
	}
	eventually(t, "the silence is noticed", func() bool { return b.state(1).State == audit.WitnessFailing && b.state(1).Problem != "" })
	if s := b.state(0); s.State != audit.WitnessOK || s.Size == 0 || s.At.IsZero() {
		t.Errorf("the other witness: %+v", s)
	}
	began := time.Now()
	b.stop(t)
	if took := time.Since(began); took > cosign.LastTimeout+2*time.Second {
		t.Errorf("the end took %s", took)
	}
	if good.asked.Load() == 0 {
		t.Error("the other witness was not asked")
	}
}

// Who loses the cursors, or the witness's answer, learns from the witness how far it is.
func TestTheWayIsTakenUpWhereTheWitnessIs(t *testing.T) {
	b := newBench(t, 0)
	o := b.add(t, "w1")
	b.start(t)
	b.write(t, 10)
	eventually(t, "it cosigns", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 })
	// It answers, and the answer is lost.
	forward := o.server.Config.Handler
	o.says(func(out http.ResponseWriter, r *http.Request) {
		o.speaksAgain()
		forward.ServeHTTP(httptest.NewRecorder(), r)
		out.WriteHeader(http.StatusBadGateway)
	})
	b.write(t, 10)
	eventually(t, "it cosigns what it had cosigned", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 })
	b.write(t, 10)
	eventually(t, "it cosigns what comes behind", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 })
	size := b.Size()
	b.stop(t)
	for _, how := range []string{"kept", "lost", "nonsense"} {
		path := filepath.Join(b.cfg.Dir, "n1", "witnesses")
		switch how {
		case "lost":
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		case "nonsense":
			if err := os.WriteFile(path, []byte(o.key.Key()+" keyhold.test/n1/1 99999\n\x00\xff garbage\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.start(t)
		if how == "kept" {
			if got := b.cosigned(b.Witnessed(), size); got != 1 {
				t.Errorf("after a restart the witnessed checkpoint is that of the epoch before: %d cosignatures", got)
			}
		}
		b.write(t, 3)
		eventually(t, how+": it cosigns the next epoch", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 })
		b.stop(t)
	}
	if text, err := os.ReadFile(filepath.Join(b.cfg.Dir, "n1", "0000000001", "cosigned")); err != nil || !bytes.Contains(text, []byte("— w1 ")) {
		t.Errorf("the file of cosigned checkpoints: %q, %v", text, err)
	}
}

// The end of an epoch that was never sent is sent at the next start.
func TestTheEndOfTheEpochBeforeIsCosigned(t *testing.T) {
	b := newBench(t, 0)
	o := b.add(t, "w1")
	o.says(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
	b.start(t)
	b.write(t, 10)
	eventually(t, "it fails", func() bool { return b.state(0).State == audit.WitnessFailing })
	b.stop(t)
	o.speaksAgain()
	b.start(t)
	eventually(t, "both are cosigned", func() bool {
		text, err := os.ReadFile(filepath.Join(b.cfg.Dir, "n1", "0000000001", "cosigned"))
		return err == nil && bytes.Contains(text, []byte("— w1 ")) && b.cosigned(b.Checkpoint(), b.Size()) == 1
	})
}

func TestWhatIsNotACosignatureIsNotTaken(t *testing.T) {
	b := newBench(t, 0)
	o := b.add(t, "w1")
	other := newOnlooker(t, "w1", b.logKey)
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	forward := o.server.Config.Handler
	for name, tc := range map[string]struct {
		f    http.HandlerFunc
		says string
	}{
		"a redirect": {func(out http.ResponseWriter, r *http.Request) {
			http.Redirect(out, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirect"},
		"another's signature": {func(out http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/add-checkpoint"
			other.server.Config.Handler.ServeHTTP(out, r)
		}, "no cosignature"},
		"an endless answer": {func(out http.ResponseWriter, _ *http.Request) {
			for range 1 << 12 {
				_, _ = out.Write(make([]byte, 1<<10))
			}
		}, "more than"},
		"an empty answer":    {func(http.ResponseWriter, *http.Request) {}, "no cosignature"},
		"no log of ours":     {func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusNotFound) }, "404"},
		"a key it knows not": {func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusForbidden) }, "403"},
		"a conflict of words": {func(out http.ResponseWriter, _ *http.Request) {
			out.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(out, "many\n")
		}, "no size"},
		"a clock of yesterday": {func(out http.ResponseWriter, r *http.Request) {
			o.now.Store(int64(-24 * time.Hour))
			defer o.now.Store(0)
			o.speaksAgain()
			forward.ServeHTTP(out, r)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			failed := uint64(0)
			o.says(tc.f)
			b.start(t)
			b.write(t, 3)
			eventually(t, "it fails", func() bool {
				s := b.state(0)
				return s.Failed > failed && (s.State == audit.WitnessFailing || tc.says == "")
			})
			if s := b.state(0); tc.says != "" && !strings.Contains(s.Problem, tc.says) {
				t.Errorf("got %q, want something with %q", s.Problem, tc.says)
			}
			if got := b.cosigned(b.Checkpoint(), 0); got != 0 && tc.says != "" {
				t.Errorf("it was taken: %d cosignatures", got)
			}
			o.speaksAgain()
			eventually(t, "it recovers", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 && b.state(0).State == audit.WitnessOK })
			b.stop(t)
		})
	}
}

// A witness that saw more than is there, or something else, is told from one that fails: the log was taken back.
func TestALogThatWasTakenBackIsNoticed(t *testing.T) {
	for name, keep := range map[string]int{"another history": 60, "less than there was": 2} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 0)
			b.add(t, "w1")
			b.start(t)
			b.write(t, 40)
			eventually(t, "it cosigns", func() bool { return b.cosigned(b.Checkpoint(), b.Size()) == 1 })
			b.stop(t)
			if err := os.RemoveAll(filepath.Join(b.cfg.Dir, "n1")); err != nil { // the whole node begins anew
				t.Fatal(err)
			}
			b.start(t)
			b.write(t, keep)
			eventually(t, "the witness refuses", func() bool {
				return b.state(0).State == audit.WitnessRefusing && strings.Contains(b.state(0).Problem, "another history")
			})
			if got := b.cosigned(b.Checkpoint(), 0); got != 0 {
				t.Errorf("%d cosignatures", got)
			}
		})
	}
}

func TestTheTextOfAWitnessHasOneForm(t *testing.T) {
	o := newOnlooker(t, "w1", func() string { _, k := audittest.Keys(t); return k }())
	if w, err := cosign.ParseWitness(o.key.Key() + " https://w.example/prefix/"); err != nil || w.URL != "https://w.example/prefix" {
		t.Errorf("got %+v, %v", w, err)
	}
	for _, bad := range []string{"", o.key.Key(), o.key.Key() + " http://w.example", o.key.Key() + " https://", o.key.Key() + " https://u:p@w.example",
		o.key.Key() + " https://w.example/?q", "x " + o.key.Key(), o.key.Key() + " https://w.example https://x.example"} {
		if w, err := cosign.ParseWitness(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, w)
		}
	}
}
