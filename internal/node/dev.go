package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// The files of a development server, beside its data.
const (
	devEnv   = "dev.env"
	rootFile = "root.key"
	auditPub = "audit.pub"
	shareDir = "shares"
)

// removeEnv takes away what the last run left, so that a dev.env is always that of a server which is ready.
func removeEnv(dir string) error {
	if err := os.Remove(filepath.Join(dir, devEnv)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// develop initialises a development store if it is new, unseals it from the key file in its directory, and writes dev.env
// when everything can be used.
func (n *Node) develop(ctx context.Context) error {
	dir := n.opt.Settings.DataDir
	by := kms.Call{Principal: localUser(), Namespace: kms.SystemNamespace, Dialect: kms.DialectInternal}
	seed, err := devSeed(filepath.Join(dir, rootFile), n.engine.Status(ctx).Initialised)
	if err != nil {
		return err
	}
	defer seed.Zero()
	if !n.engine.Status(ctx).Initialised {
		if err := n.initialise(ctx, by, seed); err != nil {
			return err
		}
	}
	if _, err := n.engine.Unseal(ctx, by, engine.UnsealInput{KeyFile: seed}); err != nil {
		return err
	}
	st := n.engine.Status(ctx)
	if err := writeFile(filepath.Join(dir, auditPub), []byte(st.AuditKey+"\n"), 0o644); err != nil {
		return err
	}
	token, err := n.devToken(ctx)
	if err != nil {
		return err
	}
	return n.writeEnv(token)
}

func devSeed(path string, initialised bool) (*secret.Bytes, error) {
	seed, err := keyfile.Read(path)
	if err == nil || initialised || !errors.Is(err, os.ErrNotExist) && kms.CodeOf(err) != kms.CodeNotFound {
		return seed, err
	}
	return keyfile.Create(path)
}

// initialise makes the root key with two recipients: the key file, and a share set written beside it.
func (n *Node) initialise(ctx context.Context, by kms.Call, seed *secret.Bytes) error {
	out, err := n.engine.Init(ctx, by, engine.InitInput{Shares: 3, Threshold: 2, KeyFile: seed, Dev: true})
	if err != nil {
		return err
	}
	dir := filepath.Join(n.opt.Settings.DataDir, shareDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, s := range out.Shares {
		text := append(s.Wire(release.Wire{}), '\n')
		err := writeFile(filepath.Join(dir, fmt.Sprintf("share-%d.txt", i+1)), text, 0o600)
		clear(text)
		s.Zero()
		if err != nil {
			return err
		}
	}
	out.Enrollment.Code.Zero()
	return nil
}

// devToken makes a token that can do everything in the default namespace: separation of duties is off there.
func (n *Node) devToken(ctx context.Context) (secret.Released, error) {
	by := kms.Call{Namespace: kms.DefaultNamespace, Dialect: kms.DialectInternal, Principal: &kms.Principal{
		Name: "development", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthSystem}}
	out, err := n.engine.CreateToken(ctx, by, engine.CreateTokenInput{
		Principal: "dev", Roles: []kms.Role{kms.RoleAdmin, kms.RoleUser, kms.RoleAuditor}, TTL: 365 * 24 * time.Hour})
	return out.Token, err
}

// writeEnv renames dev.env into place: whoever sees it can use everything it names.
func (n *Node) writeEnv(token secret.Released) error {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s=%s\n", name, value) }
	line("KEYHOLD_ADDR", "https://"+loopback(n.server.Addresses()))
	line("KEYHOLD_TOKEN", string(token.Wire(release.Wire{})))
	token.Zero()
	line("KEYHOLD_CACERT", absolute(n.server.CACert()))
	line("KEYHOLD_NAMESPACE", string(kms.DefaultNamespace))
	if n.opt.Settings.LocalSocket != "" {
		line("KEYHOLD_SOCKET", absolute(n.opt.Settings.LocalSocket))
	}
	return writeFile(filepath.Join(n.opt.Settings.DataDir, devEnv), []byte(b.String()), 0o600)
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

func loopback(all []net.Addr) string {
	for _, a := range all {
		if t, ok := a.(*net.TCPAddr); ok {
			return t.String()
		}
	}
	return ""
}

// CheckDev refuses to listen on anything but loopback.
func CheckDev(listen []string) error {
	for _, at := range listen {
		host, _, err := net.SplitHostPort(at)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return kms.Errorf(kms.CodeBadSetting, "a development server listens on loopback only, not on %q", at)
		}
	}
	return nil
}
