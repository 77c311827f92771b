// Package wire is an HTTP/1.1 client for load generation: a request is serialised once and sent again as bytes, and of an
// answer only its status and its end are looked for, so that the client costs far less than the server it measures.
//
// It refuses to load anything but this machine, and checks no certificate there: it must not be used for anything else.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Counter stands in a request for a number that is another one each time the request is sent.
const Counter = "##########"

// Limits.
const (
	maxAnswer   = 16 << 20 // bytes of an answer's body
	dialTimeout = 10 * time.Second
)

// Request is what is sent. Names of headers are in lower case; host and content-length are added.
type Request struct {
	Method, Path string
	Header       [][2]string
	Body         []byte
}

// Server is where requests go.
type Server struct {
	Addr string // host:port
	tls  *tls.Config
}

// Parse takes the URL of a server on this machine, as in https://127.0.0.1:7443.
func Parse(text string) (*Server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" || u.Port() == "" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%q: want https://127.0.0.1:PORT: only servers on this machine are loaded", text)
	}
	return &Server{Addr: u.Host, tls: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}}, nil
}

// Message is a serialised request. It is stamped in place, so each connection needs its own.
type Message struct {
	b      []byte
	stamps []int // where Counter stood
}

// Serialise makes the bytes of a request.
func (s *Server) Serialise(r Request) *Message {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nhost: %s\r\n", r.Method, r.Path, s.Addr)
	for _, h := range r.Header {
		b = fmt.Appendf(b, "%s: %s\r\n", h[0], h[1])
	}
	if r.Method != "GET" {
		b = fmt.Appendf(b, "content-length: %d\r\n", len(r.Body))
	}
	b = append(append(b, "\r\n"...), r.Body...)
	m := &Message{b: b}
	for at := 0; ; at += len(Counter) {
		i := bytes.Index(b[at:], []byte(Counter))
		if i < 0 {
			return m
		}
		at += i
		m.stamps = append(m.stamps, at)
	}
}

// Sequence numbers requests. One is shared by all connections of a run.
type Sequence struct {
	n     atomic.Uint64
	below uint64
}

// Start sets where the numbers begin: runs against one server must not repeat them.
func (q *Sequence) Start(at uint64) { q.n.Store(at) }

// Scatter makes the numbers spread evenly below n, in no order and with repetitions, instead of going up. Call it before the first request.
func (q *Sequence) Scatter(n uint64) { q.below = n }

func (q *Sequence) next() uint64 {
	n := q.n.Add(1)
	if q.below == 0 {
		return n
	}
	// SplitMix64 (Steele, Lea and Flood 2014): numbers in a row become as if random.
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return (n ^ n>>31) % q.below
}

func (m *Message) stamp(q *Sequence) {
	if len(m.stamps) == 0 {
		return
	}
	n := q.next()
	for _, at := range m.stamps {
		digits := m.b[at : at+len(Counter)]
		for i, v := len(digits)-1, n; i >= 0; i, v = i-1, v/10 {
			digits[i] = byte('0' + v%10)
		}
	}
}

// Conn is one keep-alive connection, for one goroutine.
type Conn struct {
	net  net.Conn
	in   *bufio.Reader
	body []byte
}

// Dial connects and shakes hands. Whatever happens on the connection fails after life.
func (s *Server) Dial(ctx context.Context, life time.Duration) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := tls.Dialer{Config: s.tls}
	c, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(life)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Conn{net: c, in: bufio.NewReaderSize(c, 32<<10)}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// Do sends a request and reads its answer. The body is good until the next call.
func (c *Conn) Do(m *Message, q *Sequence) (status int, body []byte, err error) {
	m.stamp(q)
	if _, err := c.net.Write(m.b); err != nil {
		return 0, nil, err
	}
	return c.read()
}

var errMalformed = errors.New("the answer is not HTTP/1.1 that a server of ours would send")

func (c *Conn) read() (status int, body []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, errMalformed
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil || status < 200 {
		return 0, nil, errMalformed
	}
	length, chunked, err := c.header()
	c.body = c.body[:0]
	switch {
	case err != nil:
	case chunked:
		err = c.chunks()
	case length >= 0:
		err = c.take(length)
	case status != 204:
		err = errMalformed
	}
	return status, c.body, err
}

// header reads to the empty line.
func (c *Conn) header() (length int, chunked bool, err error) {
	length = -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, false, errMalformed
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
}

// take appends n bytes to the body.
func (c *Conn) take(n int) error {
	at := len(c.body)
	if at+n > maxAnswer {
		return fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if cap(c.body) < at+n {
		c.body = append(make([]byte, 0, 2*(at+n)), c.body...)
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.in, c.body[at:])
	return err
}

// chunks reads a chunked body (RFC 9112 §7.1).
func (c *Conn) chunks() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 31)
		if err != nil {
			return errMalformed
		}
		if n == 0 {
			_, _, err := c.header() // trailers
			return err
		}
		if err := c.take(int(n)); err != nil {
			return err
		}
		if end, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimRight(end, "\r\n")) > 0 {
			return errors.Join(errMalformed, err)
		}
	}
}
