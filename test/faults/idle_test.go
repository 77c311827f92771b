package faults

import (
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// openFiles raises the number of files that this process may open, and tells how many that are.
func openFiles(t *testing.T) int {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return int(min(l.Cur, 1<<20)) //nolint:gosec // G115: bounded
}

// TestIdleConnectionsAreCheapAndEnd opens thousands of connections that say nothing, and as many that say almost nothing; meanwhile an administrator
// works. One connection too many is closed at once, and those that stay idle are closed in the end.
func TestIdleConnectionsAreCheapAndEnd(t *testing.T) {
	t.Parallel()
	conns := sized(1000, 10_000)
	if most := openFiles(t); most < conns+1000 {
		t.Fatalf("this process may open %d files, the test needs %d: raise ulimit -n", most, conns+1000)
	}
	const spare = 50
	p := start(t, t.TempDir(), "KEYHOLD_LIMITS_READ_HEADER_TIMEOUT=10m", "KEYHOLD_LIMITS_READ_TIMEOUT=10m", "KEYHOLD_LIMITS_IDLE_TIMEOUT="+map[bool]string{false: "10s", true: "4m"}[long],
		"KEYHOLD_LIMITS_CONNECTIONS=20000", "KEYHOLD_LIMITS_CONNECTIONS_PER_SOURCE="+strconv.Itoa(conns+spare))
	c := p.client()
	if _, err := c.WhoAmI(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := p.memory()
	sessions := tls.NewLRUClientSessionCache(1) // resumed handshakes are quicker
	cfg := &tls.Config{RootCAs: p.roots(), ServerName: "127.0.0.1", ClientSessionCache: sessions, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	open := make([]*tls.Conn, conns)
	var wg sync.WaitGroup
	work := make(chan int)
	began := time.Now()
	for range 16 {
		wg.Go(func() {
			for i := range work {
				raw := p.dial()
				_ = raw.SetDeadline(time.Now().Add(10 * time.Minute))
				conn := tls.Client(raw, cfg)
				// Half of them have had an answer and are idle, half trickle: a header that is never whole.
				text := "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
				if i%2 == 1 {
					text = "GET /health/live HTTP/1.1\r\nHost: x\r\nX: "
				}
				if err := conn.HandshakeContext(t.Context()); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
				if _, err := io.WriteString(conn, text); err != nil {
					t.Errorf("connection %d: %v", i, err)
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
	if t.Failed() {
		return
	}
	opening := time.Since(began)
	each := (p.memory() - before) / int64(conns)
	within(p, 10*time.Second, "an administrator's 20 requests", func() error {
		for range 20 {
			if _, err := c.WhoAmI(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	if each > 128<<10 {
		t.Errorf("an idle connection takes %d bytes of the server, want at most 128 KiB", each)
	}

	// Beyond the limit of one source, connections are closed at once; those there are stay, and serve.
	refused := 0
	for range 3 * spare {
		conn := tls.Client(p.dial(), cfg)
		if err := conn.HandshakeContext(t.Context()); err != nil {
			refused++
		}
	}
	if refused < spare {
		t.Errorf("%d of %d connections too many were refused, want at least %d", refused, 3*spare, spare)
	}
	if _, err := c.WhoAmI(t.Context()); err != nil {
		t.Errorf("a connection that was there before: %v", err)
	}
	t.Logf("%d connections in %s, %d KiB of the server each; %d of %d too many refused", conns, opening.Round(time.Millisecond), each>>10, refused, 3*spare)

	// Those that are idle are closed; those that trickle have ten minutes here.
	var left atomic.Int32
	for i := 0; i < conns; i += sized(2, 20) {
		wg.Go(func() {
			_ = open[i].SetReadDeadline(time.Now().Add(6 * time.Minute))
			if err := closes(open[i]); err != nil {
				left.Add(1)
			}
		})
	}
	wg.Wait()
	if left.Load() > 0 {
		t.Errorf("%d idle connections were left open", left.Load())
	}
	p.wholesome()
	for _, conn := range open {
		_ = net.Conn(conn).Close()
	}
}
