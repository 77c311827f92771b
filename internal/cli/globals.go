package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
)

// globals are the flags that every command takes.
type globals struct {
	addr, tokenFile, caCert, clientCert, clientKey string
	namespace, output, requestID                   string
	timeout                                        time.Duration
}

// Limits of small files, in bytes.
const (
	maxTokenFile = 4 << 10
	maxCertFile  = 1 << 20
	maxTextFile  = 64 << 10
)

// maxRequestID is the longest request id that the server takes over, in bytes.
const maxRequestID = 64

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.flags.addr, "addr", "", "server: https://HOST:PORT, or unix:///PATH for its local socket (KEYHOLD_ADDR)")
	f.StringVar(&a.flags.tokenFile, "token-file", "", "file that holds the token (KEYHOLD_TOKEN_FILE; KEYHOLD_TOKEN holds the token itself)")
	f.StringVar(&a.flags.caCert, "cacert", "", "file of the authority that the server's certificate must come from (KEYHOLD_CACERT)")
	f.StringVar(&a.flags.clientCert, "client-cert", "", "file of a TLS client certificate (KEYHOLD_CLIENT_CERT)")
	f.StringVar(&a.flags.clientKey, "client-key", "", "file of its private key (KEYHOLD_CLIENT_KEY)")
	f.StringVarP(&a.flags.namespace, "namespace", "n", "", "namespace (KEYHOLD_NAMESPACE; else the caller's own)")
	f.StringVarP(&a.flags.output, "output", "o", formatTable, "form of the output: table or json")
	f.DurationVar(&a.flags.timeout, "timeout", client.DefaultTimeout, "longest time for one call to the server")
	f.StringVar(&a.flags.requestID, "request-id", "", "id for the audit trail and the server's log, at most 64 bytes")
	must(root.RegisterFlagCompletionFunc("output", fixed(formatTable, formatJSON)))
	must(root.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if a.flags.timeout <= 0 {
			return usagef(helpOf(cmd), "--timeout is %s: want more than nothing", a.flags.timeout)
		}
		if n := len(a.flags.requestID); n > maxRequestID {
			return usagef(helpOf(cmd), "--request-id has %d bytes, the limit is %d", n, maxRequestID)
		}
		return oneOf("a form of output", a.flags.output, []string{formatTable, formatJSON})
	}
}

// must is for what fails by a mistake in this package only.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// or answers the first that is not empty.
func or(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// client is a client of the server that flags and environment name.
func (a *app) client() (*client.Client, error) {
	return a.clientAt(or(a.flags.addr, a.getenv("KEYHOLD_ADDR")))
}

func (a *app) clientAt(address string) (*client.Client, error) {
	cfg, err := a.clientConfig(address)
	if err != nil {
		return nil, err
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, refusal(kms.CodeBadRequest, "check --addr, --cacert, --client-cert and the KEYHOLD_ variables", "%v", err)
	}
	return c, nil
}

func (a *app) clientConfig(address string) (client.Config, error) {
	cfg := client.Config{
		Address: address, Namespace: or(a.flags.namespace, a.getenv("KEYHOLD_NAMESPACE")), Timeout: a.flags.timeout, UserAgent: "keyhold-cli/" + a.version,
	}
	var err error
	if cfg.Token, err = a.token(); err != nil {
		return cfg, err
	}
	if path := or(a.flags.caCert, a.getenv("KEYHOLD_CACERT")); path != "" {
		if cfg.CACert, err = readSmall(path, maxCertFile); err != nil {
			return cfg, err
		}
	}
	cert, key := or(a.flags.clientCert, a.getenv("KEYHOLD_CLIENT_CERT")), or(a.flags.clientKey, a.getenv("KEYHOLD_CLIENT_KEY"))
	if (cert == "") != (key == "") {
		return cfg, usagef("give both, or neither", "--client-cert and --client-key go together")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return cfg, refusal(kms.CodeBadRequest, "check --client-cert and --client-key: both are PEM files", "the client certificate cannot be read: %v", err)
		}
		cfg.Certificate = &pair
	}
	return cfg, nil
}

// token is the caller's token; the flag wins over the environment.
func (a *app) token() (string, error) {
	path := a.flags.tokenFile
	if path == "" {
		if t := a.getenv("KEYHOLD_TOKEN"); t != "" {
			return t, nil
		}
		path = a.getenv("KEYHOLD_TOKEN_FILE")
	}
	if path == "" {
		return "", nil
	}
	text, err := readSmall(path, maxTokenFile)
	if err != nil {
		return "", err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || bytes.ContainsAny(text, " \r\n\t\x00") {
		return "", refusal(kms.CodeBadToken, "put the token alone into the file, on one line", "the file %s does not hold one token", path)
	}
	return string(text), nil
}

// local says where the server's local socket is.
type local struct{ socket, config string }

func (l *local) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.socket, "socket", "", "the server's local socket (KEYHOLD_SOCKET; else that of --config, else "+config.Default().LocalSocket+")")
	cmd.Flags().StringVar(&l.config, "config", "", "the server's configuration file, to find its socket")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
}

// localClient is a client over the local socket; --addr, if it was given, wins.
func (a *app) localClient(l local) (*client.Client, error) {
	if a.flags.addr != "" {
		return a.client()
	}
	path := l.socket
	if path == "" && l.config != "" {
		set, err := config.Load(l.config, a.environ)
		if err != nil {
			return nil, err
		}
		if path = set.LocalSocket; path == "" {
			return nil, refusal(kms.CodeBadSetting, "use --addr", "the configuration %s switches the local socket off", l.config)
		}
	}
	path = or(path, a.getenv("KEYHOLD_SOCKET"), config.Default().LocalSocket)
	abs, err := absolute(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, refusal(kms.CodeUnreachable, "run it on the server's machine as the server's user, and name the socket with --socket or KEYHOLD_SOCKET",
			"there is no local socket of a server at %s: %v", abs, err)
	}
	cfg, err := a.clientConfig("unix://" + abs)
	if err != nil {
		return nil, err
	}
	cfg.Token = "" // on the socket the caller is the operator of the machine, not the principal of a token
	c, err := client.New(cfg)
	if err != nil {
		return nil, refusal(kms.CodeBadRequest, "check --socket", "%v", err)
	}
	return c, nil
}

// call runs one command against the server.
func (a *app) call(run func(context.Context, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return run(cmd.Context(), c, args)
	}
}

// change are the flags of every command that changes something.
type change struct {
	dryRun        bool
	reason, token string
	approval      string
	ask           bool
	askFor        days
}

func (ch *change) flags(cmd *cobra.Command) {
	ch.plainFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&ch.approval, "approval", "", "id of the request under which others have approved exactly this (keyhold approval)")
	f.BoolVar(&ch.ask, "request-approval", false, "ask others to approve exactly this, and do nothing else; prints the id of the request")
	f.Var(&ch.askFor, "approval-ttl", "how long the request is open, with --request-approval, for example 4h or 3d (default: 24h; at most 7d)")
	cmd.MarkFlagsMutuallyExclusive("approval", "request-approval")
	cmd.MarkFlagsMutuallyExclusive("approval", "approval-ttl")
	must(cmd.RegisterFlagCompletionFunc("approval", fixed()))
	must(cmd.RegisterFlagCompletionFunc("approval-ttl", fixed()))
}

// plainFlags are those of a change that no rule puts under approval.
func (ch *change) plainFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&ch.dryRun, "dry-run", false, "decide and show what would be done, and do nothing")
	f.StringVar(&ch.reason, "reason", "", "why, for the audit trail; at most 256 bytes")
	f.StringVar(&ch.token, "idempotency-token", "", "name of this change: repeated with the same name it is done once; at most 128 bytes")
}

// apart are the flags of another change that the same command makes before: token and approval are not its own.
func (ch change) apart() change {
	return change{dryRun: ch.dryRun || ch.ask || ch.askFor > 0, reason: ch.reason}
}

// options of a call that reads.
func (a *app) options() []client.Option {
	if a.flags.requestID == "" {
		return nil
	}
	return []client.Option{client.RequestID(a.flags.requestID)}
}

// with are the options of a call that changes something.
func (a *app) with(ch change) []client.Option {
	o := a.options()
	if ch.dryRun {
		o = append(o, client.DryRun())
	}
	if ch.reason != "" {
		o = append(o, client.Reason(ch.reason))
	}
	if ch.approval != "" {
		o = append(o, client.WithApproval(ch.approval))
	}
	if ch.ask || ch.askFor > 0 {
		o = append(o, client.AskApproval(time.Duration(ch.askFor)))
	}
	if ch.token != "" {
		o = append(o, client.IdempotencyToken(ch.token))
	}
	return o
}

// planned says on standard error that a dry run was one.
func (a *app) planned(ch change) {
	if ch.dryRun {
		fmt.Fprintln(a.stderr, "dry run: nothing was changed")
	}
}
