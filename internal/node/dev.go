package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	c, err := n.devCredentials(ctx)
	if err != nil {
		return err
	}
	return n.writeEnv(c)
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

// The principal that a development server makes credentials for, and the one that makes them.
const (
	devName  = "dev"
	devMaker = "development"
	devLife  = 365 * 24 * time.Hour
	devKept  = 3 // of each kind, from the starts before
)

// devCredentials are a token and an access key that can do everything in the default namespace: separation of duties is off there.
type devCredentials struct {
	token     secret.Released
	accessKey string
	secret    secret.Released
}

// devCredentials makes new ones, and ends those of starts long ago, so that a few of each stand.
func (n *Node) devCredentials(ctx context.Context) (made devCredentials, err error) {
	by := kms.Call{Namespace: kms.DefaultNamespace, Dialect: kms.DialectInternal, Principal: &kms.Principal{
		Name: devMaker, Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthSystem}}
	if err := n.endDevCredentials(ctx, by); err != nil {
		return made, err
	}
	roles := []kms.Role{kms.RoleAdmin, kms.RoleUser, kms.RoleAuditor}
	t, err := n.engine.CreateToken(ctx, by, engine.CreateTokenInput{Principal: devName, Roles: roles, TTL: devLife})
	if err != nil {
		return made, err
	}
	k, err := n.engine.CreateAccessKey(ctx, by, engine.CreateAccessKeyInput{Principal: devName, Roles: roles, TTL: devLife})
	return devCredentials{token: t.Token, accessKey: k.Info.ID, secret: k.Secret}, err
}

// endDevCredentials revokes what earlier starts made, but for the newest few: who has read dev.env goes on when the server starts again. What others made for
// the same principal stays.
func (n *Node) endDevCredentials(ctx context.Context, by kms.Call) error {
	var tokens []engine.TokenInfo
	for in := (engine.PageInput{Limit: 1000}); ; {
		page, err := n.engine.ListTokens(ctx, by, in)
		if err != nil {
			return err
		}
		for _, t := range page.Tokens {
			if t.Principal == devName && t.By == devMaker && t.Revoked.IsZero() {
				tokens = append(tokens, t)
			}
		}
		if in.Page = page.Next; in.Page == "" {
			break
		}
	}
	slices.SortFunc(tokens, func(a, b engine.TokenInfo) int { return b.Created.Compare(a.Created) })
	for _, t := range tokens[min(devKept, len(tokens)):] {
		if _, err := n.engine.RevokeToken(ctx, by, engine.IDInput{ID: t.ID}); err != nil {
			return err
		}
	}
	page, err := n.engine.ListAccessKeys(ctx, by, engine.ListAccessKeysInput{Principal: devName})
	if err != nil {
		return err
	}
	keys := slices.DeleteFunc(page.AccessKeys, func(k engine.AccessKeyInfo) bool { return k.By != devMaker || !k.Revoked.IsZero() })
	slices.SortFunc(keys, func(a, b engine.AccessKeyInfo) int { return b.Created.Compare(a.Created) })
	for _, k := range keys[min(devKept, len(keys)):] {
		if _, err := n.engine.RevokeAccessKey(ctx, by, engine.AccessKeyInput{ID: k.ID}); err != nil {
			return err
		}
	}
	return nil
}

// devRegion is the region that the development server's clients of AWS sign for; every other one is answered too.
const devRegion = "us-east-1"

// writeEnv renames dev.env into place: whoever sees it can use everything it names.
func (n *Node) writeEnv(c devCredentials) error {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s=%s\n", name, value) }
	at, ca := "https://"+loopback(n.server.Addresses()), absolute(n.server.CACert())
	line("KEYHOLD_ADDR", at)
	line("KEYHOLD_TOKEN", string(c.token.Wire(release.Wire{})))
	line("KEYHOLD_CACERT", ca)
	line("KEYHOLD_NAMESPACE", string(kms.DefaultNamespace))
	if n.opt.Settings.LocalSocket != "" {
		line("KEYHOLD_SOCKET", absolute(n.opt.Settings.LocalSocket))
	}
	for _, client := range []string{"VAULT", "BAO"} {
		line(client+"_ADDR", at)
		line(client+"_TOKEN", string(c.token.Wire(release.Wire{})))
		line(client+"_CACERT", ca)
	}
	line("AWS_ENDPOINT_URL_KMS", at)
	line("AWS_ENDPOINT_URL_STS", at)
	line("AWS_ACCESS_KEY_ID", c.accessKey)
	line("AWS_SECRET_ACCESS_KEY", string(c.secret.Wire(release.Wire{})))
	line("AWS_REGION", devRegion)
	line("AWS_DEFAULT_REGION", devRegion)
	line("AWS_CA_BUNDLE", ca)
	line("NODE_EXTRA_CA_CERTS", ca)
	c.token.Zero()
	c.secret.Zero()
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
