package server

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// raw opens a TLS connection of HTTP/1.1 to write to by hand.
func (s *site) raw() *tls.Conn {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.Addresses()[0].String(), &tls.Config{RootCAs: s.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}, "limits.read_header_timeout=300ms", "limits.read_timeout=600ms", "limits.idle_timeout=1s")
	ends := func(t *testing.T, conn net.Conn, within time.Duration, write string) {
		t.Helper()
		began := time.Now()
		_ = conn.SetDeadline(began.Add(15 * time.Second))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { // one byte now and then, as a slow loris does
			for i := 0; ; i++ {
				b := "x"
				if i < len(write) {
					b = write[i : i+1]
				}
				if _, err := io.WriteString(conn, b); err != nil {
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
		_, err := io.Copy(io.Discard, conn)
		close(stop)
		wg.Wait()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || time.Since(began) > within {
			t.Errorf("open for %s (%v), want less than %s", time.Since(began), err, within)
		}
	}
	t.Run("handshake", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Addresses()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the server closed it
		// A record of handshake whose content trickles in.
		ends(t, conn, 5*time.Second, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	})
	t.Run("header", func(t *testing.T) { ends(t, s.raw(), 5*time.Second, "GET /t/ HTTP/1.1\r\nHost: x\r\nX-Slow: ") })
	t.Run("body", func(t *testing.T) {
		conn := s.raw()
		if _, err := io.WriteString(conn, "POST /t/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		ends(t, conn, 5*time.Second, "")
	})
	t.Run("idle", func(t *testing.T) {
		conn := s.raw()
		if _, err := io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("open for %s: %v", time.Since(began), err)
		}
	})
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "limits.header_bytes=8KiB")
	for name, c := range map[string]*http.Client{"h1": s.client(), "h2": s.client(http2Only)} {
		for _, tc := range []struct {
			size int
			want int
		}{{4 << 10, 200}, {64 << 10, 431}} {
			req, err := http.NewRequest(http.MethodGet, s.url+"/t/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Huge", strings.Repeat("x", tc.size))
			resp, err := c.Do(req)
			if err != nil { // the client may know the limit (SETTINGS_MAX_HEADER_LIST_SIZE), or find the connection closed
				if tc.want == 200 {
					t.Errorf("%s, %d bytes: %v", name, tc.size, err)
				}
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tc.want {
				t.Errorf("%s, %d bytes: got %d, want %d", name, tc.size, resp.StatusCode, tc.want)
			}
		}
	}
}

func TestOneConnectionTooManyIsClosed(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "limits.connections=3", "limits.connections_per_source=2")
	talk := func(conn net.Conn) error {
		if _, err := io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	one, two := s.raw(), s.raw()
	for _, conn := range []net.Conn{one, two} {
		if err := talk(conn); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := s.dial(nil); err == nil {
		t.Errorf("a third connection of one source was accepted: %+v", state.Version)
	}
	if err := talk(one); err != nil {
		t.Errorf("the refusal hurt another connection: %v", err)
	}
	_ = two.Close()
	for end := time.Now().Add(10 * time.Second); ; { // the server learns of the close in its own time
		if _, err := s.dial(nil); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the place was not given back: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if log := s.log.String(); !strings.Contains(log, "connection refused because too many are open") {
		t.Errorf("log: %s", log)
	}
}

func TestConnectionsOfManySourcesShareOneLimit(t *testing.T) {
	t.Parallel()
	l := newConnLimit(3, 2, func(string) {})
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	for i, step := range []struct {
		from netip.Addr
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {c, false}} {
		if got := l.enter(step.from); got != step.want {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
	l.leave(a)
	if !l.enter(c) || l.current() != 3 || len(l.bySource) != 3 {
		t.Errorf("after one left: %d open, %v", l.current(), l.bySource)
	}
	for _, from := range []netip.Addr{a, b, c} {
		l.leave(from)
	}
	if l.current() != 0 || len(l.bySource) != 0 {
		t.Errorf("not empty: %d, %v", l.current(), l.bySource)
	}
}

// Ten thousand clients that keep a connection open and say nothing cost memory, and nobody else's service.
func TestIdleConnectionsDoNotStopOthers(t *testing.T) {
	t.Parallel()
	conns := 300
	if os.Getenv("KEYHOLD_LONG") == "1" {
		conns = 9500 // both ends are files of this process, of which it may open 20,000
	}
	s := serve(t, nil, "limits.connections=12000", "limits.connections_per_source=12000")
	sessions := tls.NewLRUClientSessionCache(1) // resumed handshakes are quicker
	var wg sync.WaitGroup
	open := make([]net.Conn, conns)
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				conn, err := tls.Dial("tcp", s.Addresses()[0].String(), &tls.Config{RootCAs: s.roots, ClientSessionCache: sessions})
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					continue
				}
				open[i] = conn
			}
		})
	}
	for i := range conns {
		work <- i
	}
	close(work)
	wg.Wait()
	began := time.Now()
	c := s.client()
	for range 20 {
		if status, _, _ := get(t, c, s.url+"/t/"); status != 200 {
			t.Fatalf("got %d", status)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("20 requests took %s beside %d idle connections", took, conns)
	}
	for _, conn := range open {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// A client that opens more streams than it was allowed, written frame by frame (RFC 9113 §4.1, §6) because a well-behaved
// one cannot be made to.
func TestHTTP2StreamsAreLimited(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}, 100), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-leave }, "limits.streams=3")
	defer close(leave)
	conn, err := tls.Dial("tcp", s.Addresses()[0].String(), &tls.Config{RootCAs: s.roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the streams end with it
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	const headers, rstStream, settings = 1, 3, 4
	frame := func(kind, flags byte, stream uint32, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, byte(stream)}) + payload
	}
	request := "\x82\x87\x44\x03/t/\x41\x01x" // GET, https, /t/, authority x: RFC 7541 §6
	out := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, "")
	for stream := uint32(1); stream <= 7; stream += 2 {
		out += frame(headers, 0x5, stream, request)
	}
	if _, err := io.WriteString(conn, out); err != nil {
		t.Fatal(err)
	}
	announced := uint32(0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			t.Fatalf("the fourth stream was not refused: %v", err)
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, body); err != nil {
			t.Fatal(err)
		}
		for i := 0; head[3] == settings && i+6 <= len(body); i += 6 {
			if binary.BigEndian.Uint16(body[i:]) == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
				announced = binary.BigEndian.Uint32(body[i+2:])
			}
		}
		if head[3] == rstStream {
			if stream := binary.BigEndian.Uint32(head[5:]); stream != 7 {
				t.Errorf("stream %d was refused, want 7", stream)
			}
			break
		}
	}
	if announced != 3 {
		t.Errorf("announced %d streams, want 3", announced)
	}
	for range 3 {
		<-inside
	}
	if len(inside) != 0 {
		t.Error("a fourth request is served")
	}
}

func TestStrangersCannotFloodTheLog(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for i := range 5000 {
		s.strangers.Refused(kms.CodeBadRequest, netip.MustParseAddrPort("192.0.2.1:"+strconv.Itoa(i+1)))
		_, _ = s.strangers.Write([]byte("http: TLS handshake error from " + strings.Repeat("x", 9000)))
	}
	lines := strings.Count(s.log.String(), "\n")
	if lines > 3*linesBurst || len(s.log.String()) > 3*linesBurst*(maxLine+200) {
		t.Errorf("%d lines, %d bytes", lines, len(s.log.String()))
	}
	if got := s.strangers.refused[kms.CodeBadRequest].Load(); got != 5000 {
		t.Errorf("counted %d, want 5000", got)
	}
	if dropped := s.strangers.dropped.Load(); dropped < 10_000-3*linesBurst {
		t.Errorf("left out %d", dropped)
	}
}

func FuzzRequestID(f *testing.F) {
	f.Add("abc")
	f.Add("a\r\nb: c")
	f.Fuzz(func(t *testing.T, id string) {
		if sane(id) && (len(id) > maxRequestID || strings.ContainsAny(id, "\r\n\x00 \"'<>=&%")) {
			t.Errorf("%q is not sane", id)
		}
		if made := newRequestID(); !sane(made) {
			t.Errorf("%q was made and is not sane", made)
		}
	})
}

func BenchmarkFront(b *testing.B) {
	s := &Server{set: (&site{t: b, dir: b.TempDir()}).settings(), metrics: NewMetrics("x")}
	h := s.front(s.guard(s.metrics.mount("bench"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })))
	r, err := http.NewRequest(http.MethodPost, "/x", nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &nullWriter{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		delete(r.Header, RequestIDHeader)
		h.ServeHTTP(w, r)
	}
}

type nullWriter struct{ h http.Header }

func (n *nullWriter) Header() http.Header         { return n.h }
func (n *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (n *nullWriter) WriteHeader(int)             {}
