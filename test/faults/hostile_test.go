package faults

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long the hostile tests wait for what must come much sooner.
const patience = 30 * time.Second

// dial opens a TCP connection.
func (p *process) dial() net.Conn {
	p.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(p.t.Context(), "tcp", strings.TrimPrefix(p.env["KEYHOLD_ADDR"], "https://"))
	if err != nil {
		p.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dialTLS opens a connection to write to by hand.
func (p *process) dialTLS(proto string) *tls.Conn {
	p.t.Helper()
	conn := tls.Client(p.dial(), &tls.Config{RootCAs: p.roots(), NextProtos: []string{proto}, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// answers sends bytes and reads the status of the answer: 0 if the connection was closed without one.
func answers(p *process, text string) (int, string) {
	conn := p.dialTLS("http/1.1")
	_, _ = io.WriteString(conn, text) // the server may close first
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // a test's
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body)
}

// closes reads until the server closes the connection, and fails if it does not.
func closes(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection was left open")
	}
	return nil
}

// trickle writes a byte now and then until the server closes the connection.
func trickle(conn net.Conn, text string) error {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			b := "x"
			if i < len(text) {
				b = text[i : i+1]
			}
			if _, err := io.WriteString(conn, b); err != nil {
				return
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	err := closes(conn)
	close(done)
	wg.Wait()
	return err
}

// frame is an HTTP/2 frame: RFC 9113 §4.1.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}, payload...)
}

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// GET, https, /health/live, authority x: RFC 7541 §6.
	hpack = "\x82\x87\x44\x0c/health/live\x41\x01x"

	frameHeaders, frameReset, frameSettings, framePing, frameContinuation = 1, 3, 4, 6, 9
	endStream, endHeaders                                                 = 0x1, 0x4
)

// http2 opens a connection and says hello; what the server sends is thrown away, and ended tells when it closes.
func (p *process) http2() (conn *tls.Conn, ended <-chan error) {
	p.t.Helper()
	conn = p.dialTLS("h2")
	if _, err := conn.Write(append([]byte(preface), frame(frameSettings, 0, 0, nil)...)); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- closes(conn) }()
	return conn, done
}

// attacks are what a hostile client does to a connection. Each says what is wrong with how the server takes it.
var attacks = []struct {
	name string
	do   func(*process) error
}{
	{"a body of a petabyte is announced", func(p *process) error {
		return status(p, "POST /keyhold.v1.KeyService/CreateKey HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999999999\r\n\r\n{", 413)
	}},
	{"two lengths", func(p *process) error {
		return status(p, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400)
	}},
	{"a negative length", func(p *process) error {
		return status(p, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nxx", 400)
	}},
	{"an unknown transfer encoding", func(p *process) error {
		return status(p, "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 501)
	}},
	{"no host", func(p *process) error { return status(p, "GET /health/live HTTP/1.1\r\n\r\n", 400) }},
	{"HTTP/1.0", func(p *process) error { return status(p, "GET /health/live HTTP/1.0\r\n\r\n", 200) }},
	{"HTTP/9.9", func(p *process) error { return status(p, "GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n", 505) }},
	{"not HTTP", func(p *process) error { return status(p, "\x00\x01\x02\x03\r\n\r\n", 400) }},
	{"ten thousand headers", func(p *process) error {
		return status(p, "GET /health/live HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X-A: b\r\n", 10_000)+"\r\n", 431)
	}},
	{"one long header", func(p *process) error {
		return status(p, "GET /health/live HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 4<<20)+"\r\n\r\n", 431)
	}},
	{"plain HTTP to TLS", func(p *process) error {
		conn := p.dial()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		return closes(conn)
	}},
	{"a body without end", func(p *process) error {
		conn := p.dialTLS("http/1.1")
		if _, err := io.WriteString(conn, "POST /keyhold.v1.KeyService/CreateKey HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+p.env["KEYHOLD_TOKEN"]+
			"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
			return err
		}
		go io.Copy(io.Discard, conn) //nolint:errcheck // its end is seen by the writer
		chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
		const most = 64 << 20
		for sent := 0; sent < most; sent += len(chunk) {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return nil //nolint:nilerr // it was cut off, as it must be
			}
		}
		return errors.New("64 MiB were taken")
	}},
	{"a chunk that lies", func(p *process) error {
		return status(p, "POST /keyhold.v1.KeyService/CreateKey HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+p.env["KEYHOLD_TOKEN"]+
			"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400, 499, 503)
	}},
	{"pipelined requests", func(p *process) error {
		conn, n := p.dialTLS("http/1.1"), 500
		go io.WriteString(conn, strings.Repeat("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", n)) //nolint:errcheck // the reader sees it
		r := bufio.NewReader(conn)
		for i := range n {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return fmt.Errorf("answer %d: %w", i, err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != 200 {
				return fmt.Errorf("answer %d: %d %w", i, resp.StatusCode, err)
			}
		}
		return nil
	}},
	{"a slow header", func(p *process) error {
		return trickle(p.dialTLS("http/1.1"), "GET /health HTTP/1.1\r\nHost: x\r\nX: ")
	}},
	{"a slow body", func(p *process) error {
		conn := p.dialTLS("http/1.1")
		_, err := io.WriteString(conn, "POST /keyhold.v1.KeyService/CreateKey HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+p.env["KEYHOLD_TOKEN"]+
			"\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n")
		return errors.Join(err, trickle(conn, "{"))
	}},
	{"garbage instead of TLS", func(p *process) error {
		conn, b := p.dial(), make([]byte, 4096)
		for i := range b {
			b[i] = byte(rand.Uint32()) //nolint:gosec // G115: a byte of it
		}
		_, _ = conn.Write(b)
		return closes(conn)
	}},
	{"half a handshake", func(p *process) error {
		conn := p.dial()
		_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		return closes(conn)
	}},
	{"a silent connection", func(p *process) error { return closes(p.dial()) }},
	{"rapid reset (CVE-2023-44487)", func(p *process) error {
		conn, ended := p.http2()
		var b bytes.Buffer
		for i := range sized(10_000, 200_000) {
			stream := uint32(2*i + 1) //nolint:gosec // G115: small
			b.Write(frame(frameHeaders, endStream|endHeaders, stream, []byte(hpack)))
			b.Write(frame(frameReset, 0, stream, []byte{0, 0, 0, 8}))
			if b.Len() > 32<<10 {
				if _, err := conn.Write(b.Bytes()); err != nil {
					return <-ended // cut off
				}
				b.Reset()
			}
		}
		return nil // served, within the bounds that are looked at below
	}},
	{"continuation without end (CVE-2023-45288)", func(p *process) error {
		conn, ended := p.http2()
		_, err := conn.Write(frame(frameHeaders, endStream, 1, []byte(hpack)))
		fill := append([]byte("\x00\x01a\x7f\x80\x7f"), bytes.Repeat([]byte{'x'}, 255)...) // a literal header of 255 bytes
		for range 20_000 {
			if err != nil {
				return <-ended
			}
			_, err = conn.Write(frame(frameContinuation, 0, 1, fill))
		}
		return errors.New("5 MB of header were taken")
	}},
	{"a flood of pings and settings", func(p *process) error {
		conn, ended := p.http2()
		some := bytes.Repeat(append(frame(framePing, 0, 0, make([]byte, 8)), frame(frameSettings, 0, 0, nil)...), 100)
		for range sized(100, 2000) {
			if _, err := conn.Write(some); err != nil {
				return <-ended
			}
		}
		return nil
	}},
	{"a frame of garbage", func(p *process) error {
		conn, ended := p.http2()
		_, err := conn.Write(frame(frameHeaders, endStream|endHeaders, 1, bytes.Repeat([]byte{0xff}, 16000)))
		return errors.Join(err, <-ended)
	}},
}

// status compares the answer to some bytes. The connection may also be closed without one, if the server will read no further.
func status(p *process, text string, want ...int) error {
	got, body := answers(p, text)
	for _, w := range want {
		if got == w && !leak.MatchString(body) {
			return nil
		}
	}
	return fmt.Errorf("got %d %.200q, want %d", got, body, want)
}

// TestHostileConnectionsHurtNobodyElse attacks connections in every way at the same time, while an administrator works.
func TestHostileConnectionsHurtNobodyElse(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "KEYHOLD_LIMITS_READ_HEADER_TIMEOUT=1s", "KEYHOLD_LIMITS_READ_TIMEOUT=2s", "KEYHOLD_LIMITS_IDLE_TIMEOUT=2s")
	c := p.client()
	before := p.memory()
	var wg sync.WaitGroup
	for _, a := range attacks {
		for range sized(2, 20) {
			wg.Go(func() {
				if err := a.do(p); err != nil {
					t.Errorf("%s: %v", a.name, err)
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	served, slowest := 0, time.Duration(0)
	for attacking := true; attacking; served++ {
		began := time.Now()
		if _, err := c.WhoAmI(t.Context()); err != nil {
			t.Errorf("an administrator: %v", err)
			break
		}
		slowest = max(slowest, time.Since(began))
		select {
		case <-over:
			attacking = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	<-over
	if slowest > 10*time.Second {
		t.Errorf("an administrator waited %s", slowest)
	}
	p.bounded(before, 256<<20)
	p.wholesome()
	t.Logf("%d requests served meanwhile, the slowest in %s; resident memory went from %d MiB to %d MiB", served, slowest.Round(time.Millisecond), before>>20, p.memory()>>20)
}
