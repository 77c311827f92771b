package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// syslog sends messages over TLS (RFC 5425). The protocol has no acknowledgement. So a delivery counts when all its bytes were taken by the receiver's
// machine, and is settled when the connection has stood for a while after that; if it breaks before, everything that has not settled is sent
// again. What the receiver read and then lost stays lost: that is the protocol's limit.
type syslog struct {
	address string
	dialer  dialer
	header  header
	stands  time.Duration
	conn    *syslogConn // nil: none
	buf     []byte
}

// syslogConn is a connection whose end is noticed: receivers say nothing, so whatever a read gives is the end.
type syslogConn struct {
	*tls.Conn
	ended atomic.Pointer[error]
	done  chan struct{}
	stood time.Time // when it was last seen to stand
}

const (
	defaultEnterprise = 32473 // reserved for documentation, RFC 5612: until an own number is configured
	syslogFlush       = 64 << 10
	ackPoll           = 5 * time.Millisecond
)

func newSyslog(cfg *Config, s *Sink) (*syslog, error) {
	if _, _, err := net.SplitHostPort(s.Address); err != nil {
		return nil, errors.New("want an address HOST:PORT")
	}
	number := s.Enterprise
	if number == 0 {
		number = defaultEnterprise
	}
	return &syslog{
		address: s.Address, dialer: dialer{s.CAFile, s.CertFile, s.KeyFile}, stands: cfg.Pace.Settle,
		header: header{
			facility: s.Facility, host: cfg.Host, procID: strconv.Itoa(os.Getpid()), sdID: "keyhold@" + strconv.Itoa(number), mostLength: s.MessageBytes,
		},
	}, nil
}

func (s *syslog) settle() time.Duration { return s.stands }

// check notices a connection that ended: what had not settled when it was last seen to stand is lost for all that is known.
func (s *syslog) check(context.Context) error {
	if s.conn == nil {
		return nil
	}
	now := time.Now()
	err := s.conn.end()
	if err == nil {
		err = standing(s.conn.Conn)
	}
	if err == nil {
		s.conn.stood = now
		return nil
	}
	at := s.conn.stood
	s.close()
	return &ended{at, fmt.Errorf("the connection ended: %w", err)}
}

func (s *syslog) send(ctx context.Context, b *batch) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	if err := s.write(ctx, b); err != nil {
		s.close()
		return err
	}
	return nil
}

func (s *syslog) connect(ctx context.Context) error {
	c, err := s.dialer.dial(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.conn = &syslogConn{Conn: c, done: make(chan struct{}), stood: time.Now()}
	go s.conn.watch()
	return nil
}

func (s *syslog) write(ctx context.Context, b *batch) error {
	c := s.conn
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := s.buf[:0]
	var err error
	for i := range b.entries {
		if buf, err = s.header.message(buf, b.origin, &b.entries[i], &b.records[i], b.lines[i]); err != nil {
			return err
		}
		if len(buf) < syslogFlush && i+1 < len(b.entries) {
			continue
		}
		if _, err := c.Write(buf); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		buf = buf[:0]
	}
	s.buf = buf
	return c.flushed(ctx)
}

// close ends the connection, with a word if the receiver still takes any (RFC 5425 §4.4).
func (s *syslog) close() {
	if s.conn == nil {
		return
	}
	if left, err := unacknowledged(s.conn.Conn); err == nil && left == 0 && s.conn.end() == nil {
		_ = s.conn.CloseWrite()
	}
	_ = s.conn.NetConn().Close()
	<-s.conn.done
	s.conn = nil
}

// watch reads until the connection ends.
func (c *syslogConn) watch() {
	defer close(c.done)
	var b [512]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the receiver closed it")
			}
			c.ended.Store(&err)
			return
		}
	}
}

func (c *syslogConn) end() error {
	if err := c.ended.Load(); err != nil {
		return *err
	}
	return nil
}

// flushed waits until the receiver's machine has acknowledged every byte, where the system tells, or the connection ends.
func (c *syslogConn) flushed(ctx context.Context) error {
	tick := time.NewTicker(ackPoll)
	defer tick.Stop()
	for {
		left, err := unacknowledged(c.Conn)
		if err != nil || left == 0 {
			return errors.Join(err, c.end())
		}
		select {
		case <-c.done:
			return c.end()
		case <-ctx.Done():
			return fmt.Errorf("the receiver's machine has not taken %d bytes: %w", left, ctx.Err())
		case <-tick.C:
		}
	}
}
