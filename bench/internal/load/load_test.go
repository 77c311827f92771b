package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/load"
	"github.com/keyhold/keyhold/bench/internal/results"
	"github.com/keyhold/keyhold/bench/internal/wire"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/node"
)

// develop runs a development server in this process, and answers its URL and token.
func develop(t *testing.T) (url, token string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	set, err := config.Load("", nil, config.Override{Name: "data_dir", Value: dir}, config.Override{Name: "listen", Value: "127.0.0.1:0"}, config.Override{Name: "local_socket", Value: "off"},
		config.Override{Name: "shutdown.drain", Value: "0s"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Options{Settings: set, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for {
		text, err := os.ReadFile(filepath.Join(dir, "dev.env"))
		for line := range strings.Lines(string(text)) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
			case "KEYHOLD_ADDR":
				url = value
			case "KEYHOLD_TOKEN":
				token = value
			}
		}
		if err == nil {
			return url, token
		}
		select {
		case err := <-ended:
			t.Fatal("the server ended: ", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// run runs a plan, with longer windows where the machine is too busy for a short one.
func run(t *testing.T, p load.Plan) *results.Run {
	t.Helper()
	for {
		r, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatalf("%s: %v", p.Op.Name, err)
		}
		if r.Ops > 0 || p.Window > 10*time.Second {
			return r
		}
		p.Window *= 4
	}
}

// Every operation that is measured works on a real server, over TLS, from several connections.
func TestKeyholdDoesEveryOperation(t *testing.T) {
	url, token := develop(t)
	s, err := wire.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range api.Ops {
		r := run(t, load.Plan{Server: s, API: api.Native{Token: token}, Op: op, Conns: 3, Window: 60 * time.Millisecond, PID: os.Getpid()})
		if r.Errors > 0 || r.Ops == 0 || r.Ops%uint64(op.Units()) != 0 || r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P999 || r.RSS == 0 {
			t.Errorf("%s: got %+v", op.Name, r)
		}
	}
}

// A server that begins to refuse is told from one that answers.
func TestRefusalsAreCountedApart(t *testing.T) {
	var n atomic.Int64
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if k := n.Add(1); k > 4 && k%2 == 0 {
			http.Error(w, "too busy", http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte(`{"data":{"name":"k","ciphertext":"v1:x"}}`))
	}))
	defer web.Close()
	s, err := wire.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	op, err := api.Find("encrypt-32")
	if err != nil {
		t.Fatal(err)
	}
	p := load.Plan{Server: s, API: api.Vault{}, Op: op, Conns: 2, Window: 100 * time.Millisecond}
	if r := run(t, p); r.Ops == 0 || r.Errors == 0 || !strings.Contains(r.Error, "503: too busy") {
		t.Errorf("got %+v", r)
	}
	n.Store(0)
	p.Reconnect = true
	if r := run(t, p); r.Ops == 0 || !r.Reconnect {
		t.Errorf("a handshake each: got %+v", r)
	}
}

func TestPlansHaveLimits(t *testing.T) {
	for _, p := range []load.Plan{{Conns: 0, Window: 1}, {Conns: load.MaxConns + 1, Window: 1}, {Conns: 1}, {Conns: 1, Window: load.MaxWindow + 1}, {Conns: 1, Window: 1, Warmup: -1}} {
		if _, err := load.Run(t.Context(), p); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

func TestQuantilesAreValuesThatWereSeen(t *testing.T) {
	var v []time.Duration
	for i := range 100 {
		v = append(v, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0: 1, .5: 50, .95: 95, .99: 99, .999: 100, 1: 100} {
		if got := load.Quantile(v, q); got != want {
			t.Errorf("%v: got %d, want %d", q, got, want)
		}
	}
	if got := load.Quantile(v[:1], .999); got != 1 {
		t.Errorf("of one value: got %d, want 1", got)
	}
}
