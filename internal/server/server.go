// Package server is what stands around the engine: listeners, TLS, limits, request ids, health, metrics, and an ordered
// start and stop.
//
// It refuses to know what a request means: that is the dialects', which are mounted as handlers, and the engine's. It refuses
// plaintext on the network: every listener but the local socket speaks TLS 1.2 or 1.3.
//
// Invariants:
//   - Everything a stranger can use up has a limit: connections, also of one source, time for a handshake, a header, a body and an
//     answer, bytes of header and body, requests at the same time, HTTP/2 streams, log lines.
//   - A request that was read is answered, also while the server stops, as long as the grace period lasts.
//   - A panic in a handler becomes an internal error for its caller and a line in the log; nothing of it crosses the wire.
//   - A TLS certificate that cannot be read never replaces one that can.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
)

// Authenticator says who calls; *authn.Authenticator is the real one.
type Authenticator interface {
	Authenticate(ctx context.Context, h http.Header, state *tls.ConnectionState, remote netip.AddrPort) (*kms.Principal, error)
}

// Condition is what /health tells everybody. It holds no secret and no name.
type Condition struct {
	Initialised bool
	Sealed      bool
	Dev         bool
	Problem     *kms.Error // why the server cannot serve; nil: it can
	Clock       string     // what is wrong with the machine's clock; empty: nothing
}

// Mount is a dialect, or another handler, at a place.
type Mount struct {
	Name string // for the metrics: "native", "aws"
	// At are patterns of http.ServeMux ("POST /{$}"), or prefixes of a path: those that end in a dot, as the names of RPC services have
	// them ("/keyhold.v1."), or in a slash ("/v1/"). A prefix comes before any pattern, and its path arrives as it was sent.
	At      []string
	Handler http.Handler
	// Refuse answers a request that does not reach the handler, in the protocol's own form: too many at once, or one that is too large. Nil: in that of the
	// native API.
	Refuse func(http.ResponseWriter, *kms.Error)
}

// Config says what a Server needs. Settings, Authn and Condition are required.
type Config struct {
	Settings  *config.Config
	Mounts    []Mount
	Authn     Authenticator
	Condition func(context.Context) Condition
	// MayReadMetrics tells whether a principal is allowed ReadHealth; nil: none is, and the metrics are read over the
	// local socket, or from the listener of their own.
	MayReadMetrics func(context.Context, kms.Call) error
	Metrics        *Metrics   // nil: new ones
	Strangers      *Strangers // nil: new ones
	Version        string
	Log            *slog.Logger     // nil: nothing is logged
	Now            func() time.Time // nil: time.Now
}

// Server serves the dialects. Make it with New, then Run it once.
type Server struct {
	cfg       Config
	set       *config.Config
	log       *slog.Logger
	now       func() time.Time
	certs     *certificates
	metrics   *Metrics
	strangers *Strangers
	handler   http.Handler
	asking    chan struct{} // one place for each that asks for the condition

	listeners []listener
	serving   atomic.Int64 // requests
	inFlight  atomic.Int64 // requests that count against the limit
	draining  atomic.Bool
	ran       atomic.Bool
}

// listener is an open listener and the HTTP server on it.
type listener struct {
	net.Listener
	http *http.Server
	tls  bool
}

// New opens the listeners, so that every error of the configuration shows here, and what Addresses tells is already reachable.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, set: cfg.Settings, log: cfg.Log, now: cfg.Now, metrics: cfg.Metrics, strangers: cfg.Strangers, asking: make(chan struct{}, maxAsking)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(cfg.Version)
	}
	if s.strangers == nil {
		s.strangers = NewStrangers(s.log)
	}
	var err error
	if s.certs, err = loadCertificates(s.set, s.now); err != nil {
		return nil, kms.Errorf(kms.CodeBadSetting, "TLS: %v", err).Because(err)
	}
	if s.handler, err = s.routes(); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

// open opens every listener.
func (s *Server) open() error {
	limit := newConnLimit(s.set.Limits.Connections, s.set.Limits.ConnectionsPerSource, s.strangers.tooMany)
	s.metrics.watch(s, limit)
	add := func(addr string, h http.Handler) error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return kms.Errorf(kms.CodeBadSetting, "cannot listen on %s: %v", addr, err).Because(err)
		}
		srv := s.httpServer(h)
		srv.TLSConfig = s.tlsConfig()
		s.listeners = append(s.listeners, listener{limit.on(l), srv, true})
		return nil
	}
	for _, addr := range s.set.Listen {
		if err := add(addr, s.handler); err != nil {
			return err
		}
	}
	if at := s.set.LocalSocket; at != "" {
		l, err := listenLocal(at)
		if err != nil {
			return kms.Errorf(kms.CodeBadSetting, "cannot open the local socket %s: %v", at, err).Because(err)
		}
		s.listeners = append(s.listeners, listener{newConnLimit(maxLocalConns, maxLocalConns, s.strangers.tooMany).on(l), s.httpServer(s.handler), false})
	}
	if at := s.set.Metrics.Listen; at != "" {
		return add(at, s.observerRoutes())
	}
	return nil
}

// maxLocalConns is the limit of connections over the local socket, which strangers cannot use up.
const maxLocalConns = 256

// Times of HTTP/2 that are not worth a setting.
const (
	pingAfter   = time.Minute // of silence, RFC 9113 §6.7
	pingTimeout = 15 * time.Second
)

// httpServer is an HTTP server with every limit set.
func (s *Server) httpServer(h http.Handler) *http.Server {
	l := &s.set.Limits
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: l.ReadHeaderTimeout, // net/http limits the TLS handshake by it as well
		ReadTimeout:       l.ReadTimeout,
		WriteTimeout:      l.WriteTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    int(l.HeaderBytes),
		ConnContext:       connContext,
		ErrorLog:          log.New(s.strangers, "", 0),
		Protocols:         &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: l.WriteTimeout,
		},
	}
}

// Addresses are where the server listens, TLS first, in the order of the settings; the metrics' own listener is not among them.
func (s *Server) Addresses() []net.Addr {
	var all []net.Addr
	for i := range s.set.Listen {
		all = append(all, s.listeners[i].Addr())
	}
	return all
}

// MetricsAddress is where the metrics' own listener listens; nil: there is none.
func (s *Server) MetricsAddress() net.Addr {
	if s.set.Metrics.Listen == "" {
		return nil
	}
	return s.listeners[len(s.listeners)-1].Addr()
}

// CACert is the file of the authority that clients have to trust; empty if the certificate was configured.
func (s *Server) CACert() string { return s.certs.ca }

// Run serves until the context ends or the process gets SIGINT or SIGTERM, then stops in order. A second signal ends the
// process at once. It answers an error if a listener failed or requests had to be cut off.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("server: Run was called before")
	}
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	failed := make(chan error, len(s.listeners))
	var serving, watching sync.WaitGroup
	for _, l := range s.listeners {
		serving.Go(func() { failed <- l.serve() })
		s.log.Info("listening", "address", l.Addr().String(), "tls", l.tls)
	}
	watch, stopWatching := context.WithCancel(context.Background())
	watching.Go(func() { s.watchCertificates(watch) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed: // a listener ended by itself
	}
	restore() // from here on a signal ends the process
	err = errors.Join(err, s.stop())
	stopWatching()
	serving.Wait()
	watching.Wait()
	return err
}

func (l *listener) serve() error {
	var err error
	if l.tls {
		err = l.http.ServeTLS(l.Listener, "", "")
	} else {
		err = l.http.Serve(l.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// stop ends serving in order. While it drains, requests are still served, but every answer closes its connection, so that
// clients find the end of a connection between two requests and not under one. Then nothing new is accepted, idle
// connections close, and what is in flight has the grace period to end.
func (s *Server) stop() error {
	s.draining.Store(true)
	s.log.Info("stopping", "requests", s.serving.Load(), "drain", s.set.Shutdown.Drain, "grace", s.set.Shutdown.Grace)
	time.Sleep(s.set.Shutdown.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), s.set.Shutdown.Grace)
	defer cancel()
	err := s.shutdown(ctx)
	if err == nil {
		s.log.Info("stopped")
		return nil
	}
	left := s.serving.Load()
	err = errors.Join(err, s.cut())
	s.log.Error("stopped before all requests had ended", "requests", left)
	return fmt.Errorf("%d requests were cut off after %s: %w", left, s.set.Shutdown.Grace, err)
}

// shutdown waits for the connections to end. One that carries no request can be left over: an HTTP/2 connection that was
// still shaking hands when the others were told to go away is not told by net/http, and its client may keep it for hours.
// Hence, when nothing has been served for a while, what is still open is closed.
func (s *Server) shutdown(ctx context.Context) error {
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { errs <- l.http.Shutdown(ctx) }()
	}
	tick := time.NewTicker(quiet / 20)
	defer tick.Stop()
	var err error
	lastServed := time.Now()
	for left := len(s.listeners); left > 0; {
		select {
		case e := <-errs:
			err, left = errors.Join(err, e), left-1
		case <-tick.C:
			if s.serving.Load() > 0 {
				lastServed = time.Now()
			} else if time.Since(lastServed) > quiet {
				err = errors.Join(err, s.cut())
				lastServed = time.Now()
			}
		}
	}
	return err
}

// quiet is longer than what net/http gives an HTTP/2 client to close after GOAWAY, 1 s, and than the flight of a last answer.
const quiet = 2 * time.Second

// cut closes every connection.
func (s *Server) cut() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.http.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Close closes the listeners of a server that will not be run.
func (s *Server) Close() error {
	if s.ran.Swap(true) {
		return nil
	}
	return s.closeListeners()
}

// Refused counts a request that was refused before the engine saw it: see Strangers.Refused.
func (s *Server) Refused(code kms.Code, remote netip.AddrPort) { s.strangers.Refused(code, remote) }

func (s *Server) watchCertificates(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(s.set.TLS.Reload)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick.C:
		}
		changed, err := s.certs.reload(s.now())
		switch {
		case err != nil:
			s.metrics.reloads.Add(1)
			s.log.Error("certificate not reloaded; the one in use stays", "error", err)
		case changed:
			s.log.Info("certificate reloaded", "expires", s.certs.expires())
		}
	}
}
