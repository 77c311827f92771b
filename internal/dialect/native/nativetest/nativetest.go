// Package nativetest runs a whole server of the native dialect for tests: engine, audit log, authentication, TLS and the
// local socket are the real ones; the store is in memory.
package nativetest

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/dialect/native"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// Server is a running server. Separation of duties is on, as it is outside development.
type Server struct {
	Engine  *engine.Engine
	Authn   *authn.Authenticator
	Handler http.Handler // of the network's listener
	URL     string       // https://…
	CA      []byte       // PEM
	Socket  string       // unix:///…
	HTTP    *httptest.Server

	Shares []string // 2 of 3 open the root key; nil until Init
	Code   string   // enrolment code; "" until Init

	// Tokens of the default namespace, and of the system namespace for Operator; "" until Open.
	Admin, User, Auditor, Operator string

	t testing.TB
}

// Start starts a server that is not initialised yet.
func Start(t testing.TB, opts ...func(*engine.Config)) *Server {
	t.Helper()
	cluster := kms.ID{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}
	db := mem.Open(mem.Config{})
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "audit"), Node: "n1", Cluster: cluster.String(), SegmentBytes: 1 << 20,
		Head: func() (kms.Rev, [32]byte) {
			h, err := db.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		}})
	check(t, err)
	p, err := soft.New(soft.Config{})
	check(t, err)
	var auth *authn.Authenticator
	cfg := engine.Config{Cluster: cluster, Store: db, Log: log, Provider: p, ShredDir: filepath.Join(dir, "shred"),
		EscrowDir: filepath.Join(dir, "escrow"), Forget: []func(engine.Touch){func(engine.Touch) { auth.ForgetAll() }}}
	for _, o := range opts {
		o(&cfg)
	}
	e, err := engine.New(cfg)
	check(t, err)
	auth = authn.New(authn.Config{Identities: identities{e.Identities()}, LocalUIDs: []uint32{0}, Failures: authn.Rate{PerSecond: 1e6, Burst: 1e6}})
	s := &Server{Engine: e, Authn: auth, t: t, Handler: native.Handler(native.Config{Engine: e, Authn: auth})}
	s.HTTP = httptest.NewUnstartedServer(s.Handler)
	s.HTTP.EnableHTTP2 = true
	s.HTTP.StartTLS()
	s.URL = s.HTTP.URL
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.HTTP.Certificate().Raw})
	s.socket(s.Handler)
	t.Cleanup(func() {
		s.HTTP.Close()
		check(t, e.Close(context.Background()))
		check(t, log.Close())
	})
	return s
}

func (s *Server) socket(h http.Handler) {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "kh") // a socket's path has at most 107 bytes: shorter than many a test's name
	check(s.t, err)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	check(s.t, err)
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return authn.WithPeer(ctx, 0) }}
	go srv.Serve(l) //nolint:errcheck // ends with Close
	s.Socket = "unix://" + path
	s.t.Cleanup(func() {
		_ = srv.Close()
		_ = os.RemoveAll(dir)
	})
}

// Open starts a server, initialises and unseals it and makes the four tokens.
func Open(t testing.TB, opts ...func(*engine.Config)) *Server {
	t.Helper()
	s := Start(t, opts...)
	c := kms.Call{Principal: &kms.Principal{Name: "uid:0", Namespace: kms.SystemNamespace, Method: kms.AuthLocal}, Namespace: kms.SystemNamespace}
	out, err := s.Engine.Init(t.Context(), c, engine.InitInput{Shares: 3, Threshold: 2, KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))})
	check(t, err)
	for _, share := range out.Shares {
		s.Shares = append(s.Shares, string(share.Wire(release.Wire{})))
	}
	s.Code = string(out.Enrollment.Code.Wire(release.Wire{}))
	s.Unseal()
	op, err := s.Engine.Enroll(t.Context(), c, engine.EnrollInput{Code: secret.Copy([]byte(s.Code))})
	check(t, err)
	s.Operator = string(op.Token.Wire(release.Wire{}))
	as := kms.Call{Principal: &kms.Principal{Name: "admin", Namespace: kms.SystemNamespace, Roles: []kms.Role{kms.RoleOperator}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	for _, want := range []struct {
		text *string
		name string
		role kms.Role
	}{{&s.Admin, "alice", kms.RoleAdmin}, {&s.User, "svc/orders", kms.RoleUser}, {&s.Auditor, "eve", kms.RoleAuditor}} {
		out, err := s.Engine.CreateToken(t.Context(), as, engine.CreateTokenInput{Principal: want.name, Roles: []kms.Role{want.role}})
		check(t, err)
		*want.text = string(out.Token.Wire(release.Wire{}))
	}
	return s
}

// Unseal opens the root key with two shares.
func (s *Server) Unseal() {
	s.t.Helper()
	for _, share := range s.Shares[:2] {
		_, err := s.Engine.Unseal(s.t.Context(), kms.Call{}, engine.UnsealInput{Share: secret.Copy([]byte(share))})
		check(s.t, err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// identities gives authn what the engine's records know of a credential.
type identities struct{ of engine.Identities }

func (i identities) Token(ctx context.Context, id kms.ID) (authn.Identity, error) {
	got, err := i.of.Token(ctx, id)
	return authn.Identity(got), err
}

func (i identities) UseToken(ctx context.Context, id kms.ID) error { return i.of.UseToken(ctx, id) }

func (i identities) Certificate(ctx context.Context, subject string) (authn.Identity, error) {
	got, err := i.of.Certificate(ctx, subject)
	return authn.Identity(got), err
}

func (i identities) AccessKey(ctx context.Context, id string) (authn.Identity, error) {
	got, err := i.of.AccessKey(ctx, id)
	return authn.Identity(got), err
}

func (i identities) Session(ctx context.Context, token string) (authn.Identity, error) {
	got, err := i.of.Session(ctx, token)
	return authn.Identity(got), err
}
