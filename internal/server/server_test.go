package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// records are the credentials of a test.
type records struct {
	mu       sync.Mutex // guards what follows
	tokens   map[kms.ID]authn.Identity
	subjects map[string]authn.Identity
}

func (r *records) Token(_ context.Context, id kms.ID) (authn.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return found(r.tokens[id])
}

func (r *records) Certificate(_ context.Context, subject string) (authn.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return found(r.subjects[subject])
}

func (r *records) UseToken(context.Context, kms.ID) error { return nil }

func (r *records) AccessKey(context.Context, string) (authn.Identity, error) {
	return authn.Identity{}, kms.Errorf(kms.CodeUnauthenticated, "no such access key")
}

func (r *records) Session(context.Context, string) (authn.Identity, error) {
	return authn.Identity{}, kms.Errorf(kms.CodeUnauthenticated, "no such session")
}

func found(id authn.Identity) (authn.Identity, error) {
	if id.Rev == 0 {
		return id, kms.Errorf(kms.CodeUnauthenticated, "there is none")
	}
	return id, nil
}

var (
	monitorID, userID = kms.ID{1}, kms.ID{2}
	tokenSecret       = bytes.Repeat([]byte{5}, token.SecretSize)
)

func bearer(id kms.ID) string { return "Bearer " + string(token.Format(id, tokenSecret)) }

// site is a running server and what a test needs of it.
type site struct {
	*Server
	t       testing.TB
	dir     string
	url     string
	records *records
	authn   *authn.Authenticator
	log     *logBuffer
	roots   *x509.CertPool
	stop    context.CancelFunc
	done    chan error

	condition atomic.Pointer[Condition]
}

// logBuffer collects the log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// serve starts a server with a handler at /t/ and settings "name=value".
func serve(t *testing.T, h http.HandlerFunc, settings ...string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), log: &logBuffer{}, done: make(chan error, 1)}
	s.records = &records{tokens: map[kms.ID]authn.Identity{}, subjects: map[string]authn.Identity{}}
	for id, name := range map[kms.ID]string{monitorID: "monitor", userID: "user"} {
		s.records.tokens[id] = authn.Identity{
			Principal: kms.Principal{Name: name, Namespace: kms.SystemNamespace, Method: kms.AuthToken}, Digest: token.Digest(tokenSecret), Rev: 1,
		}
	}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	strangers := NewStrangers(logger)
	s.authn = authn.New(authn.Config{Identities: s.records, LocalUIDs: LocalUsers(), Refused: strangers.Refused})
	s.condition.Store(&Condition{Initialised: true})
	if h == nil {
		h = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }
	}
	cfg := Config{
		Settings: s.settings(settings...), Authn: s.authn, Version: "1.2.3", Log: logger, Strangers: strangers,
		Mounts:    []Mount{{Name: "test", At: []string{"/t/", "/test.v1."}, Handler: h}},
		Condition: func(context.Context) Condition { return *s.condition.Load() },
		MayReadMetrics: func(_ context.Context, c kms.Call) error {
			if c.Principal.Name != "monitor" {
				return kms.Errorf(kms.CodeDenied, "%s may not read the metrics", c.Principal.Name)
			}
			return nil
		},
	}
	var err error
	if s.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + s.Addresses()[0].String()
	s.trust(s.CACert())
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err, open := <-s.done:
			if open && err != nil {
				t.Errorf("the server ended with: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server did not stop")
		}
	})
	return s
}

func (s *site) settings(settings ...string) *config.Config {
	s.t.Helper()
	over := []config.Override{
		{Name: "data_dir", Value: s.dir, Flag: "test"}, {Name: "listen", Value: "127.0.0.1:0", Flag: "test"},
		{Name: "shutdown.drain", Value: "0s", Flag: "test"}, {Name: "shutdown.grace", Value: "10s", Flag: "test"},
	}
	for _, pair := range settings {
		name, value, _ := strings.Cut(pair, "=")
		over = append(over, config.Override{Name: name, Value: value, Flag: "test"})
	}
	c, err := config.Load("", nil, over...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) trust(file string) {
	s.t.Helper()
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(text)
}

// ended waits for the end of Run; the clean-up then finds nothing to complain of.
func (s *site) ended() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		close(s.done)
		return err
	case <-time.After(20 * time.Second):
		s.t.Fatal("the server did not stop")
		return nil
	}
}

func (s *site) client(change ...func(*http.Transport)) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, MaxIdleConnsPerHost: 1000}
	for _, c := range change {
		c(tr)
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func http2Only(tr *http.Transport) {
	var p http.Protocols
	p.SetHTTP2(true)
	tr.Protocols = &p
}

// get asks and gives status, header and body.
func get(t *testing.T, c *http.Client, url string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func TestHealthTellsTheConditionAndNothingElse(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.client()
	for _, tc := range []struct {
		condition Condition
		status    int
		code      string
	}{
		{Condition{Initialised: true}, 200, ""},
		{Condition{Initialised: true, Dev: true}, 200, ""},
		{Condition{Initialised: true, Clock: "jumped ahead"}, 200, ""},
		{Condition{Problem: kms.Errorf(kms.CodeNotInitialised, "nothing is here")}, 503, "KH1902"},
		{Condition{Initialised: true, Sealed: true, Problem: kms.Errorf(kms.CodeSealed, "sealed")}, 503, "KH1901"},
		{Condition{Initialised: true, Problem: kms.Errorf(kms.CodeAuditUnavailable, "no record").Because(errors.New("/var/secret/path"))}, 503, "KH1903"},
	} {
		s.condition.Store(&tc.condition)
		status, h, body := get(t, c, s.url+"/health")
		var got healthReport
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		code := ""
		if got.Problem != nil {
			code = got.Problem.Code
		}
		if status != tc.status || code != tc.code || got.Version != "1.2.3" || got.Sealed != tc.condition.Sealed || got.Initialised != tc.condition.Initialised || got.Development != tc.condition.Dev || got.Clock != tc.condition.Clock {
			t.Errorf("%+v: got %d %s", tc.condition, status, body)
		}
		if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || strings.Contains(body, "/var/") {
			t.Errorf("header %v, body %s", h, body)
		}
		if resp, err := c.Head(s.url + "/health"); err != nil || resp.StatusCode != tc.status {
			t.Errorf("HEAD: %v %v", resp, err)
		}
		if status, _, body := get(t, c, s.url+"/health/live"); status != 200 || body != "{\"status\":\"alive\"}\n" {
			t.Errorf("live: %d %s", status, body)
		}
	}
	resp, err := c.Post(s.url+"/health", "", nil)
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", resp, err)
	}
	for path, want := range map[string]int{"/nowhere": 404, "/test.v1": 404, "/test.v1.Service/Do": 200, "/t": 404, "/t/": 200, "/t//x": 200, "/t/x": 200, "/": 404} {
		if status, _, body := get(t, c, s.url+path); status != want || want == 404 && !strings.Contains(body, "KH1303") {
			t.Errorf("%s: got %d %s, want %d", path, status, body, want)
		}
	}
}

func TestRequestIDsAreTakenIfSaneAndMadeOtherwise(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get(RequestIDHeader)) })
	c := s.client()
	for given, taken := range map[string]bool{
		"abc-DEF_1.2": true, strings.Repeat("x", 64): true, "": false, strings.Repeat("x", 65): false, "a b": false, "a\"b": false, "é": false,
	} {
		_, h, body := get(t, c, s.url+"/t/", RequestIDHeader, given)
		if (body == given) != taken || h.Get(RequestIDHeader) != body || len(body) == 0 {
			t.Errorf("%q: handler got %q, client %q", given, body, h.Get(RequestIDHeader))
		}
	}
}

func TestAPanicIsAnInternalErrorAndNoMore(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/t/late" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic("PLANTED-SECRET")
	})
	c := s.client()
	status, _, body := get(t, c, s.url+"/t/x")
	if status != 500 || !strings.Contains(body, "KH2001") || strings.Contains(body, "PLANTED") || strings.Contains(body, "goroutine") {
		t.Errorf("got %d %s", status, body)
	}
	resp, err := c.Get(s.url + "/t/late")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer looks whole: %q", text)
	}
	if log := s.log.String(); !strings.Contains(log, "handler panicked") || strings.Contains(log, "PLANTED") {
		t.Errorf("log: %s", log)
	}
}

func TestABodyBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = fmt.Fprint(w, n)
	}, "limits.request_bytes=64KiB")
	c := s.client()
	for _, tc := range []struct {
		size    int
		chunked bool
		want    int
	}{{limit, false, 200}, {limit + 1, false, 413}, {limit, true, 200}, {limit + 1, true, 413}} {
		var body io.Reader = bytes.NewReader(make([]byte, tc.size))
		if tc.chunked {
			body = struct{ io.Reader }{body}
		}
		resp, err := c.Post(s.url+"/t/", "", body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%d bytes, chunked %v: got %d, want %d", tc.size, tc.chunked, resp.StatusCode, tc.want)
		}
	}
}

func TestTooManyRequestsAreAnsweredBusyAtOnce(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-leave }, "limits.requests=2")
	c := s.client()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if resp, err := c.Get(s.url + "/t/"); err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v %v", resp, err)
			}
		})
		<-inside
	}
	status, h, body := get(t, c, s.url+"/t/")
	if status != 503 || h.Get("Retry-After") != "1" || !strings.Contains(body, "KH1802") {
		t.Errorf("got %d %v %s", status, h, body)
	}
	if status, _, _ := get(t, c, s.url+"/health"); status != 200 {
		t.Errorf("a busy server is not ill: got %d", status)
	}
	close(leave)
	wg.Wait()
}

func TestMetricsAreForThoseWhoMay(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "metrics.listen=127.0.0.1:0")
	c := s.client()
	s.metrics.Observe(kms.Encrypt, 3*time.Millisecond)
	s.metrics.AddCounts(func() []Count { return []Count{{kms.Encrypt, kms.DialectAWS, "ok", 7}} })
	get(t, c, s.url+"/t/")
	for _, tc := range []struct {
		auth string
		want int
	}{{"", 401}, {"Bearer kh_nonsense", 401}, {bearer(userID), 403}, {bearer(monitorID), 200}} {
		if status, _, body := get(t, c, s.url+"/metrics", "Authorization", tc.auth); status != tc.want {
			t.Errorf("%q: got %d, want %d: %s", tc.auth, status, tc.want, body)
		}
	}
	_, _, body := get(t, c, s.url+"/metrics", "Authorization", bearer(monitorID))
	for _, want := range []string{
		`keyhold_operations_total{action="Encrypt",dialect="aws",outcome="ok"} 7`,
		`keyhold_operation_duration_seconds_count{action="Encrypt"} 1`,
		`keyhold_operation_duration_seconds_count{action="Sign"} 0`,
		`keyhold_http_requests_total{mount="test",status="2xx"} 1`,
		`keyhold_http_requests_total{mount="metrics",status="4xx"} 3`,
		`keyhold_refused_total{code="KH1101"} 2`,
		`keyhold_build_info{go="go`,
		`keyhold_tls_certificate_expiry_timestamp_seconds 1.`,
		`keyhold_connections 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if status, _, observed := get(t, c, "https://"+s.MetricsAddress().String()+"/metrics"); status != 200 || !strings.Contains(observed, "keyhold_build_info") {
		t.Errorf("own listener: got %d", status)
	}
	if status, _, _ := get(t, c, "https://"+s.MetricsAddress().String()+"/t/"); status != 404 {
		t.Errorf("the metrics' listener serves a dialect: got %d", status)
	}
	if status, _, _ := get(t, s.local(), "http://local/metrics"); status != 200 {
		t.Errorf("local socket: got %d", status)
	}
}

func TestMetricsCanBeKeptOffTheNetwork(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "metrics.serve=local")
	if status, _, body := get(t, s.client(), s.url+"/metrics", "Authorization", bearer(monitorID)); status != 403 || !strings.Contains(body, "KH1206") {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, _ := get(t, s.local(), "http://local/metrics"); status != 200 {
		t.Errorf("local socket: got %d", status)
	}
	off := serve(t, nil, "metrics.serve=off")
	if status, _, body := get(t, off.local(), "http://local/metrics"); status != 403 || !strings.Contains(body, "KH1207") {
		t.Errorf("got %d %s", status, body)
	}
}

// local is a client of the local socket.
func (s *site) local() *http.Client {
	return s.client(func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.set.LocalSocket)
		}
	})
}

func TestTheLocalSocketIsForTheServersUserAlone(t *testing.T) {
	t.Parallel()
	var s *site
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		p, err := s.authn.Authenticate(r.Context(), r.Header, r.TLS, netipOf(r))
		if err != nil {
			writeError(w, r, kms.AsError(err))
			return
		}
		_, _ = fmt.Fprint(w, p.Name, " ", p.Method)
	})
	at := filepath.Join(s.dir, "keyhold.sock")
	st, err := os.Stat(at)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v %v, want a socket with 0600", st.Mode(), err)
	}
	if status, _, body := get(t, s.local(), "http://local/t/"); status != 200 || body != fmt.Sprintf("uid:%d local", os.Geteuid()) {
		t.Errorf("got %d %q", status, body)
	}
	if status, _, _ := get(t, s.client(), s.url+"/t/"); status != 401 {
		t.Errorf("over TLS nobody is local: got %d", status)
	}
	if _, err := listenLocal(at); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server took the socket: %v", err)
	}
	s.stop()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestASocketThatADeadServerLeftIsReplaced(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := listenLocal(at)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := os.WriteFile(at, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenLocal(at); err == nil {
		t.Error("a file was replaced by a socket")
	}
}

func TestProcessAndMemory(t *testing.T) {
	t.Parallel()
	files := map[string]string{"/proc/meminfo": "MemTotal:       2048 kB\nMemFree: 1 kB\n"}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
	if got := memory(read); got != 2<<20 {
		t.Errorf("got %d, want %d", got, 2<<20)
	}
	files["/sys/fs/cgroup/memory.max"] = "max\n"
	if got := memory(read); got != 2<<20 {
		t.Errorf("got %d, want %d", got, 2<<20)
	}
	files["/sys/fs/cgroup/memory.max"] = "4096\n"
	if got := memory(read); got != 4096 {
		t.Errorf("got %d, want 4096", got)
	}
	clear(files)
	if got := memory(read); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
}

func TestMountsThatClashAreAnError(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir()}
	_, err := New(Config{Settings: s.settings(), Condition: func(context.Context) Condition { return Condition{} }, Mounts: []Mount{
		{Name: "one", At: []string{"/x"}, Handler: http.NotFoundHandler()}, {Name: "two", At: []string{"/x"}, Handler: http.NotFoundHandler()},
	}})
	if err == nil || !strings.Contains(err.Error(), "/x") {
		t.Errorf("got %v", err)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	other := &site{t: t, dir: t.TempDir()}
	_, err := New(Config{Settings: other.settings("listen=" + s.Addresses()[0].String()), Condition: func(context.Context) Condition { return Condition{} }})
	if kms.CodeOf(err) != kms.CodeBadSetting || !strings.Contains(err.Error(), s.Addresses()[0].String()) {
		t.Errorf("got %v", err)
	}
}

// A path below a mount that ends in a slash arrives as it was sent: http.ServeMux would redirect where two slashes stand together.
func TestPathsBelowAMountArriveAsTheyWereSent(t *testing.T) {
	var got string
	ps := prefixes{{"/v1/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Path })}}
	for _, path := range []string{"/v1/", "/v1/a/b", "/v1//transit//encrypt/k", "/v1/a/../b"} {
		w := httptest.NewRecorder()
		ps.before(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://localhost"+path, nil))
		if w.Code != http.StatusOK || got != path {
			t.Errorf("%s: got %d, %s", path, w.Code, got)
		}
	}
	for at, want := range map[string]bool{"/v1/": true, "/keyhold.v1.": true, "/{$}": false, "POST /{$}": false, "/": false, "/health": false} {
		if byPrefix(at) != want {
			t.Errorf("%s: got %v", at, !want)
		}
	}
}
