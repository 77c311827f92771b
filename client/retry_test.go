package client_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

// front is a TLS server in front of a handler, and a client of it.
func front(t *testing.T, token string, retry client.Retry, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	c, err := client.New(client.Config{Address: srv.URL, Token: token, CACert: ca, Retry: retry, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var quick = client.Retry{Attempts: 4, Base: time.Millisecond, Max: 2 * time.Millisecond}

// refuse answers with an error of the server's own.
func refuse(w http.ResponseWriter, r *http.Request, code connect.Code, detail *keyholdv1.ErrorDetail) {
	e := connect.NewError(code, errors.New(detail.GetCode()))
	d, err := connect.NewErrorDetail(detail)
	if err != nil {
		panic(err)
	}
	e.AddDetail(d)
	_ = connect.NewErrorWriter().Write(w, r, e)
}

// The answer of the first two attempts is lost after the server has done the work: the key is made once all the same.
func TestAChangeWhoseAnswerIsLostHappensOnce(t *testing.T) {
	s := nativetest.Open(t)
	var mu sync.Mutex
	var tokens []string
	c := front(t, s.Admin, quick, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tokens = append(tokens, r.Header.Get("Keyhold-Idempotency-Token"))
		n := len(tokens)
		mu.Unlock()
		if n > 2 {
			s.Handler.ServeHTTP(w, r)
			return
		}
		s.Handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	k, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "orders", Algorithm: "aes-256-gcm"})
	if err != nil {
		t.Fatal(err)
	}
	if len(tokens) != 3 || tokens[0] == "" || tokens[0] != tokens[1] || tokens[1] != tokens[2] {
		t.Errorf("got tokens %q, want one for three attempts", tokens)
	}
	found := 0
	for other, err := range as(t, s, s.Admin).ListKeys(t.Context(), client.KeyFilter{}) {
		if err != nil || other.ID != k.ID {
			t.Errorf("got %+v, %v", other, err)
		}
		found++
	}
	if found != 1 {
		t.Errorf("got %d keys, want 1", found)
	}
	tokens = nil
	for range 2 {
		if _, err := c.DescribeKey(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsRepeatedAndWhatIsNot(t *testing.T) {
	for _, test := range []struct {
		code     connect.Code
		kh       string
		attempts int
	}{
		{connect.CodeResourceExhausted, "KH1801", 4}, {connect.CodeResourceExhausted, "KH1802", 4}, {connect.CodeUnavailable, "KH1904", 4},
		{connect.CodeUnavailable, "KH1909", 4}, {connect.CodeUnavailable, client.CodeSealed, 1}, {connect.CodeUnavailable, "KH1905", 1},
		{connect.CodePermissionDenied, client.CodeDenied, 1}, {connect.CodeInternal, client.CodeInternal, 1}, {connect.CodeAborted, client.CodeConflict, 1},
	} {
		n := 0
		c := front(t, "", quick, func(w http.ResponseWriter, r *http.Request) {
			n++
			refuse(w, r, test.code, &keyholdv1.ErrorDetail{Code: test.kh, Title: "t", What: "w", Next: "n", Decision: "d"})
		})
		_, err := c.WhoAmI(t.Context())
		var e *client.Error
		if !errors.As(err, &e) || e.Code != test.kh || e.Title != "t" || e.What != "w" || e.Next != "n" || e.Decision != "d" || e.Retryable != (test.attempts > 1) {
			t.Errorf("%s: got %+v", test.kh, err)
		}
		if n != test.attempts {
			t.Errorf("%s: got %d attempts, want %d", test.kh, n, test.attempts)
		}
		n = 0
		if _, err := c.Enroll(t.Context(), "code", ""); err == nil || n != 1 {
			t.Errorf("%s: a one-time code was sent %d times", test.kh, n)
		}
	}
}

func TestTheServersWaitIsHonoured(t *testing.T) {
	var at []time.Time
	c := front(t, "", client.Retry{Attempts: 2, Base: time.Millisecond, Max: time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		at = append(at, time.Now())
		refuse(w, r, connect.CodeResourceExhausted, &keyholdv1.ErrorDetail{Code: "KH1801", RetryAfterMs: 120})
	})
	_, err := c.WhoAmI(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.RetryAfter != 120*time.Millisecond || len(at) != 2 || at[1].Sub(at[0]) < 120*time.Millisecond {
		t.Errorf("got %+v after attempts at %v", err, at)
	}
	// A wait longer than the call has: the reason comes at once.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	at = nil
	if _, err := c.WhoAmI(ctx); client.CodeOf(err) != client.CodeRateLimited || ctx.Err() != nil || len(at) != 1 {
		t.Errorf("got %v after %d attempts", err, len(at))
	}
}

func TestTimeOutsEndACall(t *testing.T) {
	release := make(chan struct{})
	c := front(t, "", quick, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := c.WhoAmI(ctx)
	if client.CodeOf(err) != client.CodeCancelled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WhoAmI(gone); client.CodeOf(err) != client.CodeCancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	leaked := false
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked = true }))
	defer other.Close()
	c := front(t, "kh_secret", quick, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := c.WhoAmI(t.Context()); err == nil || leaked {
		t.Errorf("got %v; the other server was asked: %t", err, leaked)
	}
}

func TestWhatAnswersMayBeSomethingElse(t *testing.T) {
	c := front(t, "", quick, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<h1>hello</h1>"))
	})
	_, err := c.WhoAmI(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.Code != client.CodeUnreachable || e.Retryable || !strings.Contains(e.Next, "address") {
		t.Errorf("a web site: got %+v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	nobody, err := client.New(client.Config{Address: "https://" + closed, Retry: quick})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = nobody.WhoAmI(t.Context()); !errors.As(err, &e) || e.Code != client.CodeUnreachable || !e.Retryable {
		t.Errorf("nobody: got %+v", err)
	}
	s := nativetest.Start(t)
	stranger, err := client.New(client.Config{Address: s.URL, Retry: quick})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stranger.WhoAmI(t.Context()); !errors.As(err, &e) || e.Code != client.CodeUnreachable || e.Retryable || !strings.Contains(e.Next, "KEYHOLD_CACERT") {
		t.Errorf("an unknown CA: got %+v", err)
	}
}

func TestATokenSourceIsAskedForEachAttempt(t *testing.T) {
	n := 0
	var seen []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		refuse(w, r, connect.CodeUnavailable, &keyholdv1.ErrorDetail{Code: "KH1904"})
	}))
	defer srv.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	c, err := client.New(client.Config{Address: srv.URL, CACert: ca, Retry: client.Retry{Attempts: 2, Base: 1, Max: 1}, TokenSource: func(context.Context) (string, error) {
		if n++; n > 2 {
			return "", errors.New("vault is closed")
		}
		return "t" + strconv.Itoa(n), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WhoAmI(t.Context()); err == nil || len(seen) != 2 || seen[0] != "Bearer t1" || seen[1] != "Bearer t2" {
		t.Errorf("got %q, %v", seen, err)
	}
	if _, err := c.WhoAmI(t.Context()); client.CodeOf(err) != client.CodeUnauthenticated || !strings.Contains(err.Error(), "vault is closed") {
		t.Errorf("got %v", err)
	}
}

// A server that is killed resets its connections: that is no change of the caller's mind, and the call is repeated.
func TestAResetConnectionIsNotACallerWhoGaveUp(t *testing.T) {
	s := nativetest.Open(t)
	var attempts atomic.Int32
	reset := func(w http.ResponseWriter, r *http.Request) {
		if attempts.Add(1) == 2 {
			s.Handler.ServeHTTP(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		tc, ok := conn.(*tls.Conn)
		if !ok {
			t.Errorf("got a %T", conn)
			return
		}
		if raw, ok := tc.NetConn().(*net.TCPConn); ok {
			_ = raw.SetLinger(0) // closing it sends a reset
			_ = raw.Close()
		}
	}
	c := front(t, s.Admin, quick, reset)
	if _, err := c.WhoAmI(t.Context()); err != nil || attempts.Load() != 2 {
		t.Errorf("got %v after %d attempts, want an answer to the second", err, attempts.Load())
	}
	attempts.Store(2)
	c = front(t, s.Admin, client.Retry{Attempts: 1}, reset)
	if _, err := c.WhoAmI(t.Context()); client.CodeOf(err) != client.CodeUnreachable {
		t.Errorf("got %v, want %s", err, client.CodeUnreachable)
	}
}
