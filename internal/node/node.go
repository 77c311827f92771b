// Package node puts a server together from its parts and takes it apart again, in the right order. It decides nothing:
// it is the parts list.
package node

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/cosign"
	"github.com/keyhold/keyhold/internal/audit/sink"
	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/dialect/aws"
	"github.com/keyhold/keyhold/internal/dialect/native"
	"github.com/keyhold/keyhold/internal/dialect/vault"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/server"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

// Options say what kind of node is wanted, beside its configuration.
type Options struct {
	Settings       *config.Config
	Dev            bool // development: initialises and unseals itself, writes dev.env
	AcceptRestore  bool // an operator accepts a store that is behind its audit log
	RollAlteredLog bool // an operator orders a new boot epoch behind an altered audit log
	Version        string
	Log            *slog.Logger
}

// The places under the data directory.
const (
	storeDir  = "store"
	shredDir  = "shred"  // epoch KEKs: leave it out of ordinary backups
	escrowDir = "escrow" // copies of them for the custodians: a small backup with a short retention of its own
	idFile    = "cluster"
	nodeName  = "n1"
)

// services are the places of the native API.
var services = []string{"/keyhold.v1.KeyService/", "/keyhold.v1.DataKeyService/", "/keyhold.v1.CryptoService/", "/keyhold.v1.AdminService/", "/keyhold.v1.AuditService/",
	"/keyhold.v1.OperatorService/", "/keyhold.v1.UsageService/", "/keyhold.v1.ApprovalService/",
	"/keyhold.v1.TransferService/", "/keyhold.v1.InventoryService/",

	"/keyhold.v1.DestructionService/"}

// Node is a server that runs.
type Node struct {
	opt    Options
	store  store.Store
	log    *audit.Log
	sinks  *sink.Set
	cosign *cosign.Publisher
	memory *arena.Arena
	engine *engine.Engine
	server *server.Server
}

// Open makes all parts. What it answers holds the listeners and the data directory: Run it, which also closes it.
func Open(ctx context.Context, opt Options) (n *Node, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	set := opt.Settings
	n = &Node{opt: opt}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := os.MkdirAll(set.DataDir, 0o700); err != nil {
		return n, fmt.Errorf("make the data directory: %w", err)
	}
	if n.store, err = openStore(set, opt.Log); err != nil {
		return n, err
	}
	if opt.Dev { // now that the directory is ours
		if err := removeEnv(set.DataDir); err != nil {
			return n, err
		}
	}
	cluster, err := clusterID(filepath.Join(set.DataDir, idFile))
	if err != nil {
		return n, err
	}
	witnesses, err := witnessesOf(set)
	if err != nil {
		return n, err
	}
	if n.log, err = n.openLog(cluster, opt, witnesses); err != nil {
		return n, err
	}
	if n.cosign, err = n.openCosign(witnesses); err != nil {
		return n, err
	}
	if n.sinks, err = n.openSinks(cluster); err != nil {
		return n, err
	}
	profile, err := profileOf(set)
	if err != nil {
		return n, err
	}
	provider, err := soft.New(soft.Config{Profile: profile})
	if err != nil {
		return n, err
	}
	if n.memory, err = openMemory(opt.Log); err != nil {
		return n, err
	}
	var auth *authn.Authenticator
	metrics := server.NewMetrics(opt.Version)
	n.engine, err = engine.New(engine.Config{
		Cluster: cluster, Store: n.store, Log: n.log, Provider: provider, Profile: profile, Dev: opt.Dev, Restore: opt.AcceptRestore,
		ShredDir: filepath.Join(set.DataDir, shredDir), EscrowDir: filepath.Join(set.DataDir, escrowDir),
		Keys: set.Keyring.Entries, Versions: set.Keyring.Entries, EpochPeriod: set.Shred.Epoch, MaxJump: set.Clock.MaxJump, Accounts: set.AWS.Accounts, Logins: logins(), Paths: vault.Paths(set.Vault.Mounts, set.Vault.KV), Memory: n.memory, Logger: opt.Log,
		Observe: metrics.Observe, Sinks: n.sinkStatus, Witnesses: n.cosign.States,
		Forget: []func(engine.Touch){func(t engine.Touch) { forget(auth, t) }},
	})
	if err != nil {
		return n, err
	}
	strangers := server.NewStrangers(opt.Log)
	tokens, err := tokenVerifier(set, n.engine.Now)
	if err != nil {
		return n, err
	}
	auth = authenticator(set, n.engine, tokens, strangers.Refused)
	n.measure(metrics, auth)
	n.measureSinks(metrics)
	n.measureWitnesses(metrics)
	n.measureMemory(metrics)
	api := native.Handler(native.Config{Engine: n.engine, Authn: auth, Logger: opt.Log})
	n.server, err = server.New(server.Config{
		Settings: set, Authn: auth, Version: opt.Version, Log: opt.Log, Strangers: strangers, Metrics: metrics,
		Mounts: []server.Mount{
			{Name: "native", At: services, Handler: api},
			{Name: "aws", At: []string{"/{$}"}, Handler: aws.Handler(aws.Config{Engine: n.engine, Authn: auth, Accounts: set.AWS.Accounts, Logger: opt.Log})},
			{Name: "vault", At: []string{"/v1/"}, Handler: vault.Handler(vault.Config{Engine: n.engine, Authn: auth, Mounts: set.Vault.Mounts, KV: set.Vault.KV, Logger: opt.Log}), Refuse: vault.Refuse},
		},
		Condition: n.condition,
		MayReadMetrics: func(ctx context.Context, c kms.Call) error {
			_, err := n.engine.ReadHealth(ctx, c)
			return err
		},
	})
	return n, err
}

// Run serves until the context ends, then stops in order: requests, engine (which seals), witnesses, sinks, log, store.
func (n *Node) Run(ctx context.Context) error {
	if err := n.engine.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	n.sinks.Start()
	n.cosign.Start()
	if n.opt.Dev {
		if err := n.develop(ctx); err != nil {
			return errors.Join(err, n.server.Close(), n.close(context.WithoutCancel(ctx)))
		}
	}
	debug.FreeOSMemory() // what the start has left behind: reading schemas, tables and the store's end
	server.TrimProgram()
	err := n.server.Run(ctx)
	return errors.Join(err, n.close(context.WithoutCancel(ctx)))
}

// close takes apart what there is.
func (n *Node) close(ctx context.Context) error {
	var errs []error
	if n.engine != nil {
		errs = append(errs, n.engine.Close(ctx))
	}
	if n.cosign != nil { // the end of the log, which sealing signed, is worth the most
		n.cosign.Close()
	}
	if n.sinks != nil {
		errs = append(errs, n.sinks.Close())
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	errs = append(errs, n.memory.Close()) // when nobody is left to read it
	return errors.Join(errs...)
}

// Addresses are the listeners'.
func (n *Node) Addresses() []net.Addr { return n.server.Addresses() }

// profileOf is the rule set: that of the binary's cryptographic module, if it has one. A setting cannot make a module.
func profileOf(set *config.Config) (kms.Profile, error) {
	switch {
	case fips140.Enabled():
		return kms.ProfileFIPS, nil
	case set.Profile == config.ProfileFIPS:
		return 0, kms.Errorf(kms.CodeBadSetting, "profile: fips needs the binary that was built with the FIPS 140-3 module (keyhold-fips)")
	}
	return kms.ProfileDefault, nil
}

func openStore(set *config.Config, log *slog.Logger) (store.Store, error) {
	st, err := pebble.Open(pebble.Config{
		Dir: filepath.Join(set.DataDir, storeDir), CacheBytes: set.Store.CacheBytes, MinFree: uint64(max(set.Store.MinFreeBytes, 0)), Logger: log, //nolint:gosec // G115: not negative
	})
	switch {
	case errors.Is(err, store.ErrInUse):
		return nil, kms.Errorf(kms.CodeStoreInUse, "another server uses the data directory %s", set.DataDir).Because(err)
	case errors.Is(err, store.ErrDamaged):
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the store in %s is damaged: %v", set.DataDir, err).Because(err)
	case err != nil:
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return st, nil
}

// openLog opens the audit log. What it asks of sinks and engine it asks when the server is unsealed, and they are there.
func (n *Node) openLog(cluster kms.ID, opt Options, witnesses []cosign.Witness) (*audit.Log, error) {
	set := opt.Settings
	compress := set.Audit.CompressAfter
	if compress == 0 {
		compress = -1 // never
	}
	return audit.Open(audit.Config{
		CompressAfter: compress, Retention: set.Audit.Retention,
		MayDrop: func(last audit.Position) bool { return n.sinks.Passed(last) },
		Trusted: func() (time.Time, bool) {
			c := n.engine.Clock()
			return c.Trusted, !c.Suspended
		},
		Dir: set.Audit.Dir, Node: nodeName, Cluster: cluster.String(), SegmentBytes: set.Audit.SegmentBytes, ReserveBytes: set.Audit.ReserveBytes,
		Witnesses: keysOf(witnesses), Quorum: set.Audit.Witnessing.Quorum, SealAndRoll: opt.RollAlteredLog, Logger: opt.Log, Detail: "keyhold " + opt.Version,
		Head: func() (kms.Rev, [32]byte) {
			h, err := n.store.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		},
	})
}

// clusterID reads the identity of the data, or makes it with a new data directory.
func clusterID(path string) (kms.ID, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		var random [10]byte
		rand.Read(random[:]) //nolint:errcheck // never fails since Go 1.24
		id := kms.NewID(time.Now(), random)
		return id, writeFile(path, []byte(id.String()+"\n"), 0o600)
	}
	if err != nil {
		return kms.ID{}, fmt.Errorf("read the cluster's identity: %w", err)
	}
	id, ok := kms.ParseID(strings.TrimSpace(string(b)))
	if !ok {
		return kms.ID{}, fmt.Errorf("%s does not hold a cluster's identity", path)
	}
	return id, nil
}

// writeFile makes a file whole or not at all: written beside, synced, renamed into place.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// tokenVerifier verifies the identity tokens of the issuers that are configured.
func tokenVerifier(set *config.Config, now func() time.Time) (*oidc.Verifier, error) {
	c := oidc.Config{Issuers: set.OIDC.Issuers, Now: now}
	if path := set.OIDC.CAFile; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadSetting, "oidc.ca_file cannot be read: %v", err).Because(err)
		}
		if c.Roots = x509.NewCertPool(); !c.Roots.AppendCertsFromPEM(text) {
			return nil, kms.Errorf(kms.CodeBadSetting, "oidc.ca_file: %s holds no certificate", path)
		}
	}
	return oidc.New(c)
}

func authenticator(set *config.Config, e *engine.Engine, tokens *oidc.Verifier, refused func(kms.Code, netip.AddrPort)) *authn.Authenticator {
	return authn.New(authn.Config{
		Identities: identities{e.Identities()},
		Dates:      e.Now,
		Entries:    set.Limits.Credentials,
		Skew:       set.AWS.Skew,
		OIDC:       tokens,
		LockOut:    authn.LockOut{Failures: set.LockOut.Failures, Window: set.LockOut.Window, First: set.LockOut.First, Most: set.LockOut.Most},
		Principals: authn.Rate{PerSecond: float64(set.Limits.PrincipalRate), Burst: set.Limits.PrincipalBurst},
		Sources:    authn.Rate{PerSecond: float64(set.Limits.SourceRate), Burst: set.Limits.SourceBurst},
		Failures:   authn.Rate{PerSecond: float64(set.LockOut.FailureRate)},
		LocalUIDs:  server.LocalUsers(),
		Refused:    refused,
		Locked: func(l authn.Lock) {
			c := kms.Call{Principal: l.Principal, Namespace: kms.SystemNamespace, Dialect: kms.DialectNative, Remote: l.Remote}
			if l.Principal != nil {
				c.Namespace = l.Principal.Namespace
			}
			e.RecordAuthentication(c, kms.CodeLockedOut, fmt.Sprintf("%s %s failed %d times and is locked out until %s",
				l.Method, l.Credential, l.Failures, l.Until.UTC().Format(time.RFC3339)))
		},
	})
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

// forget tells authn of withdrawn credentials.
func forget(a *authn.Authenticator, t engine.Touch) {
	switch {
	case a == nil:
	case t.Kind == records.TouchToken:
		a.ForgetToken(t.ID)
	case t.Kind == records.TouchCredential:
		a.ForgetCertificate(t.Name)
	case t.Kind == records.TouchAccessKey:
		a.ForgetAccessKey(t.Name)
	case t.Kind == records.TouchRole:
		a.ForgetRole(t.ID)
	case t.Kind == records.TouchAll:
		a.ForgetAll()
	}
}

// localUser is the server's own user, who initialises and unseals a development server.
func localUser() *kms.Principal {
	name := "uid:" + strconv.Itoa(os.Geteuid())
	return &kms.Principal{Name: name, Namespace: kms.SystemNamespace, Method: kms.AuthLocal, Credential: name}
}

// condition is what /health tells. It takes no lock that unsealing holds.
func (n *Node) condition(context.Context) server.Condition {
	problem := n.engine.Health()
	c := server.Condition{Initialised: true, Dev: n.opt.Dev, Problem: problem}
	switch k := n.engine.Clock(); {
	case k.Suspended:
		c.Clock = "jumped ahead"
	case k.Behind > 0:
		c.Clock = "behind"
	}
	if problem != nil {
		c.Initialised = problem.Code != kms.CodeNotInitialised
		c.Sealed = !c.Initialised || problem.Code == kms.CodeSealed
	}
	return c
}
