package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// sourceBits is how much of an IPv6 address names a source, as in package authn.
const sourceBits = 64

// connLimit bounds open connections, over all the listeners it is put on. One too many is closed at once: a client that is told
// so can go elsewhere, one that is left in the queue cannot.
type connLimit struct {
	most, mostPerSource int
	refused             func(from string) // called for each one that was closed

	mu       sync.Mutex // guards what follows
	open     int
	bySource map[netip.Addr]int

	rejected atomic.Uint64
}

func newConnLimit(most, mostPerSource int, refused func(string)) *connLimit {
	return &connLimit{most: most, mostPerSource: mostPerSource, refused: refused, bySource: make(map[netip.Addr]int)}
}

// LimitConnections bounds the open connections of a listener, in all and from one address: one too many is closed at once.
func LimitConnections(l net.Listener, most, mostPerSource int) net.Listener {
	return newConnLimit(most, mostPerSource, func(string) {}).on(l)
}

func (c *connLimit) on(l net.Listener) net.Listener { return &limitedListener{l, c} }

func (c *connLimit) current() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func (c *connLimit) enter(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.most || c.bySource[from] >= c.mostPerSource {
		return false
	}
	c.open++
	c.bySource[from]++
	return true
}

func (c *connLimit) leave(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.bySource[from]--; c.bySource[from] == 0 {
		delete(c.bySource, from)
	}
}

type limitedListener struct {
	net.Listener
	limit *connLimit
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := sourceOf(conn)
		if l.limit.enter(from) {
			return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { l.limit.leave(from) })}, nil
		}
		l.limit.rejected.Add(1)
		l.limit.refused(conn.RemoteAddr().String())
		_ = conn.Close() // there is nobody to tell
	}
}

// sourceOf is the address that is counted; all local connections are one source.
func sourceOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	at := tcp.AddrPort().Addr().Unmap().WithZone("")
	if at.Is6() {
		if p, err := at.Prefix(sourceBits); err == nil {
			return p.Addr()
		}
	}
	return at
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
