package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/migrate"
	"github.com/keyhold/keyhold/internal/secret"
)

// migrated is the JSON of a plan, or of what became of it.
type migrated struct {
	Source  string        `json:"source"`
	DryRun  bool          `json:"dry_run"`
	Planned int           `json:"planned"`
	Moved   int           `json:"moved"`
	There   int           `json:"already_there"`
	Left    int           `json:"not_moved"`
	Failed  int           `json:"failed"`
	Untried int           `json:"not_tried"`
	Keys    []migrate.Key `json:"keys"`
}

// migration is one command that moves keys, or ciphertexts.
type migration struct {
	*app
	product                      string   // as people call it
	prefixes                     []string // of the variables of its clients, the first one first
	addr, token, cacert, ns      string
	mount, to, prefix, testToken string
	parallel                     int
	dryRun                       bool
	rewrap                       migrateRewrap
}

func (a *app) migrateCommand() *cobra.Command {
	return group(groupKeys, "migrate", "Move keys from Vault or OpenBao",
		"Move keys from the transit engine of a running Vault or OpenBao to this server (docs/migrate.md).",
		a.migrateFrom("vault", "Vault", "VAULT"), a.migrateFrom("openbao", "OpenBao", "BAO", "VAULT"))
}

const migrateLong = `Move keys with all their versions from the transit engine of a running %[1]s to this server. What they encrypted, signed or authenticated there
works here afterwards, by the Vault dialect. KEY is a name or a pattern like "orders-*"; without any, all keys of the mount are meant.

First comes a plan: keys whose configuration says exportable and allow_plaintext_backup move by a backup; those that are exportable only by what they
export; the others cannot, and the plan says why. --dry-run shows it and ends. Then the keys move, and each is tried: what %[1]s encrypts, signs or
authenticates by it must work here, as far as the tokens may. A key that is here already is recognised and left alone: run the command again after an
interruption or a failure. The source is only read. The exit status is 1 if a key that was meant did not come over.

The source is found by %[2]s_ADDR, %[2]s_TOKEN, %[2]s_CACERT and %[2]s_NAMESPACE, or by flags; its token must be allowed to list and read keys, and
to read backup and export; to try them also encrypt, sign and hmac. This server is found as by all commands, by a token.

--rewrap FILE is for keys that cannot leave: it reads ciphertexts of --key from FILE, one a line (or with --field in JSON lines), has the source
decrypt and this server encrypt them by the key --to, and writes them to --out. Plaintexts are in the memory of this program only.`

func (a *app) migrateFrom(name, product string, prefixes ...string) *cobra.Command {
	m := &migration{app: a, product: product, prefixes: prefixes}
	cmd := &cobra.Command{
		Use: name + " [KEY...] [flags]", Short: "Move keys from " + product,
		Long: fmt.Sprintf(migrateLong, product, prefixes[0]),
		Example: "  keyhold migrate " + name + " --dry-run\n" +
			"  keyhold migrate " + name + " 'orders-*' --prefix " + name + "-\n" +
			"  keyhold migrate " + name + " --rewrap column.txt --key cards --to cards-new --out column.new --resume",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if m.rewrap.file != "" {
				return m.rewrapFile(cmd.Context(), args)
			}
			return m.run(cmd.Context(), args)
		},
		ValidArgsFunction: fixed(),
	}
	f := cmd.Flags()
	env := func(name string) string {
		var all []string
		for _, p := range prefixes {
			all = append(all, p+"_"+name)
		}
		return strings.Join(all, ", else ")
	}
	f.StringVar(&m.addr, "from-addr", "", "the source: https://HOST:PORT ("+env("ADDR")+")")
	f.StringVar(&m.token, "from-token-file", "", "file of a token of the source ("+env("TOKEN")+" holds the token itself)")
	f.StringVar(&m.cacert, "from-cacert", "", "file of the authority of the source's certificate ("+env("CACERT")+")")
	f.StringVar(&m.ns, "from-namespace", "", "namespace of the source ("+env("NAMESPACE")+")")
	f.StringVar(&m.mount, "from-mount", migrate.DefaultMount, "where transit is at the source")
	f.StringVar(&m.to, "to-mount", migrate.DefaultMount, "mount of this server's Vault dialect that the keys come to")
	f.StringVar(&m.prefix, "prefix", "", "put in front of the keys' names here")
	f.StringVar(&m.testToken, "verify-token-file", "", "file of a token of this server that may use the keys, to try them with; else the one that makes them")
	f.IntVar(&m.parallel, "parallel", migrate.DefaultParallel, fmt.Sprintf("keys that move at a time, at most %d", migrate.MaxParallel))
	f.BoolVar(&m.dryRun, "dry-run", false, "show the plan, and change nothing")
	for _, name := range []string{"from-token-file", "from-cacert", "verify-token-file"} {
		must(cmd.RegisterFlagCompletionFunc(name, files))
	}
	m.rewrap.flags(a, cmd)
	return cmd
}

// env is the first of the product's variables that is set.
func (m *migration) env(name string) string {
	for _, p := range m.prefixes {
		if v := m.getenv(p + "_" + name); v != "" {
			return v
		}
	}
	return ""
}

// source is where the keys are.
func (m *migration) source() (*migrate.Server, func(), error) {
	cfg := migrate.ServerConfig{
		What: "the source", Code: kms.CodeSource, Address: or(m.addr, m.env("ADDR")), ServerName: m.env("TLS_SERVER_NAME"),
		Namespace: strings.Trim(or(m.ns, m.env("NAMESPACE")), "/"), Mount: m.mount, Timeout: m.app.flags.timeout,
	}
	if cfg.Address == "" {
		return nil, nil, usagef("name it with --from-addr or "+m.prefixes[0]+"_ADDR", "it is not known where %s is", m.product)
	}
	var err error
	if path := or(m.cacert, m.env("CACERT")); path != "" {
		if cfg.CACert, err = readSmall(path, maxCertFile); err != nil {
			return nil, nil, err
		}
	}
	if cert, key := m.env("CLIENT_CERT"), m.env("CLIENT_KEY"); cert != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, nil, refusal(kms.CodeSource, "check "+m.prefixes[0]+"_CLIENT_CERT and "+m.prefixes[0]+"_CLIENT_KEY: both are PEM files", "the client certificate cannot be read: %v", err)
		}
		cfg.Certificate = &pair
	}
	if cfg.Token, err = m.tokenIn(m.token, m.env("TOKEN")); err != nil {
		return nil, nil, err
	}
	return m.server(cfg)
}

// tokenIn is the token in a file, or else a text.
func (m *migration) tokenIn(path, text string) (*secret.Bytes, error) {
	if path == "" {
		return secret.Copy([]byte(text)), nil
	}
	b, err := readSmall(path, maxTokenFile)
	defer clear(b)
	return secret.Copy(bytes.TrimSpace(b)), err
}

// target is this server. test: with the token that keys are tried with.
func (m *migration) target(test bool) (*migrate.Server, func(), error) {
	at := or(m.flags.addr, m.getenv("KEYHOLD_ADDR"), client.DefaultAddress)
	own, err := m.clientConfig(at)
	if err != nil {
		return nil, nil, err
	}
	cfg := migrate.ServerConfig{
		What: "this server", Code: kms.CodeUnreachable, Address: at, CACert: own.CACert, Certificate: own.Certificate, Namespace: own.Namespace, Mount: m.to,
		Timeout: m.flags.timeout, Token: secret.Copy([]byte(own.Token)),
	}
	if test {
		if cfg.Token, err = m.tokenIn(m.testToken, ""); err != nil {
			return nil, nil, err
		}
	}
	return m.server(cfg)
}

func (m *migration) server(cfg migrate.ServerConfig) (*migrate.Server, func(), error) {
	s, err := migrate.NewServer(cfg)
	if err != nil {
		cfg.Token.Zero()
		return nil, nil, err
	}
	return s, func() { s.Close(); cfg.Token.Zero() }, nil
}

func (m *migration) run(ctx context.Context, patterns []string) error {
	if m.parallel < 1 || m.parallel > migrate.MaxParallel {
		return usagef("how many keys are sensible depends on the source", "--parallel is %d: want 1 to %d", m.parallel, migrate.MaxParallel)
	}
	if m.rewrap.given() {
		return usagef("--rewrap FILE names what is moved", "--key, --to, --out, --field and --resume belong to --rewrap")
	}
	source, done, err := m.source()
	if err != nil {
		return err
	}
	defer done()
	target, done, err := m.target(false)
	if err != nil {
		return err
	}
	defer done()
	tester := target
	if m.testToken != "" {
		if tester, done, err = m.target(true); err != nil {
			return err
		}
		defer done()
	}
	mover := migrate.New(migrate.Config{Source: source, Target: target, Tester: tester, Prefix: m.prefix, Parallel: m.parallel})
	keys, err := m.shown("planning", func(show func(int, int)) ([]migrate.Key, error) { return mover.Plan(ctx, patterns, show) })
	if err != nil {
		return err
	}
	if !m.dryRun {
		_, err = m.shown("moving keys", func(show func(int, int)) ([]migrate.Key, error) { return nil, mover.Move(ctx, keys, show) })
	}
	return m.tell(source.Address(), keys, err)
}

// shown runs long work behind a bar.
func (m *migration) shown(label string, work func(show func(done, total int)) ([]migrate.Key, error)) ([]migrate.Key, error) {
	p := m.progress(label)
	defer p.end()
	return work(func(done, total int) { p.show(uint64(done), uint64(total), count) }) //nolint:gosec // G115: counts
}

// outcomeColours say at a glance what became of a key.
var outcomeColours = map[migrate.Outcome]colour{migrate.Moved: green, migrate.There: green, migrate.Left: yellow, migrate.Untried: yellow, migrate.Failed: red, migrate.Planned: faint}

// tell writes the plan, or the report. ended is why the run ended before its time.
func (m *migration) tell(source string, keys []migrate.Key, ended error) error {
	r := migrated{Source: source, DryRun: m.dryRun, Keys: keys}
	counts := map[migrate.Outcome]*int{migrate.Planned: &r.Planned, migrate.Moved: &r.Moved, migrate.There: &r.There, migrate.Left: &r.Left, migrate.Failed: &r.Failed, migrate.Untried: &r.Untried}
	for i := range keys {
		*counts[keys[i].Outcome]++
	}
	if m.json() {
		if err := m.writeJSON(r); err != nil {
			return err
		}
	} else if err := m.tellTable(&r); err != nil {
		return err
	}
	if ended != nil {
		return ended
	}
	return answered(m.dryRun || r.Left+r.Failed+r.Untried == 0)
}

func (m *migration) tellTable(r *migrated) error {
	t := m.table("KEY", "TYPE", "VERSIONS", "HOW", "OUTCOME", "NOTE")
	for i := range r.Keys {
		k := &r.Keys[i]
		name, versions := k.Name, ""
		if k.Target != k.Name {
			name += " → " + k.Target
		}
		if k.Versions > 0 {
			versions = fmt.Sprint(k.Versions)
		}
		if err := t.add(plain(name), plain(k.Type), plain(versions), plain(string(k.How)), cell{string(k.Outcome), outcomeColours[k.Outcome]}, plain(note(k))); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if m.dryRun {
		fmt.Fprintf(m.stderr, "dry run: %d would move, %d are here already, %d cannot move\n", r.Planned, r.There, r.Left)
		return nil
	}
	fmt.Fprintf(m.stderr, "%d moved, %d here already, %d not moved, %d failed", r.Moved, r.There, r.Left, r.Failed)
	if r.Untried > 0 {
		fmt.Fprintf(m.stderr, ", %d not tried: run the command again", r.Untried)
	}
	fmt.Fprintln(m.stderr)
	return nil
}

// note is what there is to say of a key in a line.
func note(k *migrate.Key) string {
	var parts []string
	for _, p := range []struct{ what, said string }{{"verified: ", k.Verified}, {"", k.Why}, {"next: ", k.Next}, {"left behind: ", k.Left}} {
		if p.said != "" {
			parts = append(parts, p.what+p.said)
		}
	}
	return strings.Join(parts, "; ")
}
