package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// What the doctor calls too little, too much or too old.
const (
	certificateSoon = 14 * 24 * time.Hour // before its end, time to see to it
	tokenSoon       = time.Hour
	skewMost        = 5 * time.Second // the Date header has whole seconds
	skewWrong       = time.Minute
	recordOld       = 5 * time.Minute
	checkTime       = 10 * time.Second
	maxHealth       = 64 << 10 // bytes of the answer of /health
	recipientsLeast = 2
)

// How a check ended.
const (
	findingOK      = "ok"
	findingWarning = "warning"
	findingFailed  = "failed"
	findingSkipped = "skipped"
)

// finding is what one check found.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // "ok", "warning", "failed" or "skipped"
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"`
}

// diagnosis is the JSON of the doctor's findings.
type diagnosis struct {
	Healthy  bool      `json:"healthy"` // nothing failed
	Findings []finding `json:"findings"`
}

func (d *diagnosis) add(check, status, fix, format string, args ...any) {
	d.Findings = append(d.Findings, finding{Check: check, Status: status, Found: fmt.Sprintf(format, args...), Fix: fix})
}

func (a *app) doctorCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "doctor [flags]", Short: "Find what is wrong, with its fix", GroupID: groupServer,
		Long: `Look for what is wrong between here and the server, and in the server, and say how to put each thing right: address, TLS and its expiry,
clocks, token, health, audit log, recipients of the root key. With --data, on the server's machine, also the data directory: permissions, free
space, and whether what is written reaches the disk. Nothing is changed. Status 1 means that something is wrong.`,
		Example: "  keyhold doctor\n  keyhold doctor --data /var/lib/keyhold -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var d diagnosis
			a.examine(cmd.Context(), &d)
			if data != "" {
				d.directory(data)
			}
			d.Healthy = true
			for _, f := range d.Findings {
				d.Healthy = d.Healthy && f.Status != findingFailed
			}
			return errors.Join(a.showDiagnosis(d), answered(d.Healthy))
		},
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the server, to examine it too")
	must(cmd.MarkFlagDirname("data"))
	return cmd
}

func (a *app) showDiagnosis(d diagnosis) error {
	if a.json() {
		return a.writeJSON(d)
	}
	marks := map[string]cell{findingOK: {"ok", green}, findingWarning: {"warning", yellow}, findingFailed: {"FAILED", red}, findingSkipped: {"skipped", faint}}
	t := a.table("CHECK", "STATUS", "FOUND")
	for _, f := range d.Findings {
		if err := t.add(plain(f.Check), marks[f.Status], plain(f.Found)); err != nil {
			return err
		}
		if f.Fix != "" {
			if err := t.add(plain(""), plain(""), plain("fix: "+f.Fix)); err != nil {
				return err
			}
		}
	}
	return t.flush()
}

// examine looks at the way to the server, and at the server.
func (a *app) examine(ctx context.Context, d *diagnosis) {
	c, err := a.client()
	if err != nil {
		t := describe(err)
		d.add("settings", findingFailed, t.next, "%s", t.why)
		return
	}
	defer c.Close()
	address := or(a.flags.addr, a.getenv("KEYHOLD_ADDR"), client.DefaultAddress)
	if !a.connection(ctx, d, address) {
		return
	}
	a.serverHealth(ctx, d, c)
	if a.credential(ctx, d, c) {
		a.auditHealth(ctx, d, c)
	}
}

// connection checks address, TLS and clock. It tells whether it makes sense to go on.
func (a *app) connection(ctx context.Context, d *diagnosis, address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		d.add("address", findingOK, "", "%s is a local socket: TLS and clock need no check", address)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cfg, err := a.clientConfig(address)
	if err != nil {
		d.add("settings", findingFailed, "correct the setting", "%v", err)
		return false
	}
	set := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CACert != nil {
		set.RootCAs = x509.NewCertPool()
		set.RootCAs.AppendCertsFromPEM(cfg.CACert)
	}
	if cfg.Certificate != nil {
		set.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	transport := &http.Transport{TLSClientConfig: set, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+u.Host+"/health", nil)
	if err != nil {
		d.add("tls", findingFailed, "check KEYHOLD_ADDR or --addr", "%v", err)
		return false
	}
	sent := time.Now()
	res, err := (&http.Client{Transport: transport}).Do(req)
	took := time.Since(sent)
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial" || err != nil && ctx.Err() != nil:
		d.add("address", findingFailed, "check KEYHOLD_ADDR or --addr, that the server runs, and that no firewall is between", "%s does not answer: %v", address, unwrapURL(err))
		return false
	case err != nil:
		d.add("address", findingOK, "", "%s answers", address)
		d.add("tls", findingFailed, tlsFix(err), "%v", unwrapURL(err))
		return false
	}
	d.add("address", findingOK, "", "%s answers", address)
	defer res.Body.Close() //nolint:errcheck // it was only read
	d.certificate(res.TLS, time.Now())
	d.clock(res.Header.Get("Date"), sent, took)
	d.health(res)
	return true
}

func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func tlsFix(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "pass the server's own authority: KEYHOLD_CACERT or --cacert (the server keeps it in its data directory, tls/)"
	case errors.As(err, &host):
		return "use an address that the certificate names, or add the name to the server's tls.names"
	case errors.As(err, &invalid):
		return "renew the server's certificate, and check the clocks of both machines"
	case errors.As(err, &record):
		return "check the port: what answers there does not speak TLS"
	}
	return "see the server's log"
}

func (d *diagnosis) certificate(state *tls.ConnectionState, now time.Time) {
	if state == nil || len(state.PeerCertificates) == 0 {
		d.add("tls", findingFailed, "check what answers at the address", "the server showed no certificate")
		return
	}
	end := state.PeerCertificates[0].NotAfter
	for _, c := range state.PeerCertificates {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	said := fmt.Sprintf("%s, the certificate ends %s", tls.VersionName(state.Version), moment(end))
	if end.Sub(now) < certificateSoon {
		d.add("tls", findingWarning, "renew the server's certificate", "%s: in %s", said, spell(end.Sub(now)))
		return
	}
	d.add("tls", findingOK, "", "%s", said)
}

// clock compares the server's clock, which has whole seconds, with the middle of the exchange.
func (d *diagnosis) clock(date string, sent time.Time, took time.Duration) {
	server, err := http.ParseTime(date)
	if err != nil {
		d.add("clock", findingWarning, "check what is between here and the server", "the server's answer carries no time")
		return
	}
	skew := server.Add(time.Second / 2).Sub(sent.Add(took / 2)).Abs()
	switch {
	case skew > skewWrong:
		d.add("clock", findingFailed, "let NTP set the clocks of both machines", "the clocks are %s apart", skew.Round(time.Second))
	case skew > skewMost:
		d.add("clock", findingWarning, "let NTP set the clocks of both machines", "the clocks are %s apart", skew.Round(time.Second))
	default:
		d.add("clock", findingOK, "", "less than %s apart", skewMost)
	}
}

// health reads /health, which tells strangers too why a server cannot serve.
func (d *diagnosis) health(res *http.Response) {
	var h struct {
		Status  string `json:"status"`
		Version string `json:"version"`
		Problem *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Next    string `json:"next"`
		} `json:"problem"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxHealth)).Decode(&h); err != nil || h.Status == "" {
		d.add("server", findingFailed, "check the address: something else may answer there", "what answers at /health is not Keyhold (status %d)", res.StatusCode)
		return
	}
	if h.Problem != nil {
		d.add("server", findingFailed, h.Problem.Next, "it cannot serve: %s %s", h.Problem.Code, h.Problem.Message)
		return
	}
	d.add("server", findingOK, "", "it serves, version %s", h.Version)
}

// serverHealth looks at what the server tells of itself.
func (a *app) serverHealth(ctx context.Context, d *diagnosis, c *client.Client) {
	s, err := c.Status(ctx, a.options()...)
	if err != nil {
		t := describe(err)
		d.add("status", findingFailed, t.next, "%s", t.why)
		return
	}
	if s.Development {
		d.add("store", findingWarning, "use a production server for secrets that matter", "it is a development store, and stays one for ever")
	}
	d.sinks(s.AuditSinks)
	d.witnesses(s.Witnesses)
	d.memory(s.Memory)
	d.time(s)
	d.rotations(s)
	switch n := len(s.Recipients); {
	case !s.Initialised:
		d.add("recipients", findingFailed, "on the server's machine: keyhold operator init", "the server has no root key yet")
	case n == 0:
		d.add("recipients", findingSkipped, "pass a token, or ask over the local socket: --addr unix:///PATH", "the server does not tell strangers who can open the root key")
	case n < recipientsLeast:
		d.add("recipients", findingFailed, "initialise with a passphrase or a key file beside the shares", "the root key has %d recipient: if it is lost, so is every key", n)
	default:
		d.add("recipients", findingOK, "", "the root key has %d recipients", n)
	}
}

// credential checks the token or certificate. It tells whether there is a good one.
func (a *app) credential(ctx context.Context, d *diagnosis, c *client.Client) bool {
	i, err := c.WhoAmI(ctx, a.options()...)
	if err != nil {
		t := describe(err)
		d.add("credential", findingFailed, t.next, "%s (%s)", t.why, t.code)
		return false
	}
	left := time.Until(i.ExpiresAt)
	switch {
	case i.ExpiresAt.IsZero():
		d.add("credential", findingOK, "", "%s by %s, without an end", i.Principal, i.Method)
	case left < tokenSoon:
		d.add("credential", findingWarning, "ask an administrator for a new one: keyhold token create", "%s by %s ends %s: in %s", i.Principal, i.Method, moment(i.ExpiresAt), spell(left))
	default:
		d.add("credential", findingOK, "", "%s by %s until %s", i.Principal, i.Method, moment(i.ExpiresAt))
	}
	return true
}

// auditHealth asks for the checkpoint and for the newest record, which is the one of a question before.
func (a *app) auditHealth(ctx context.Context, d *diagnosis, c *client.Client) {
	const fix = "see the server's log and the free space of its audit directory"
	p, err := c.GetCheckpoint(ctx, a.options()...)
	switch code := client.CodeOf(err); {
	case strings.HasPrefix(code, "KH12"):
		d.add("audit log", findingSkipped, "a token of the auditor role sees it", "this principal may not read the audit log")
		return
	case err != nil:
		t := describe(err)
		d.add("audit log", findingFailed, or(t.next, fix), "%s", t.why)
		return
	case len(p.Note) == 0:
		d.add("audit log", findingFailed, fix, "it has no signed checkpoint")
		return
	}
	for r, err := range c.ListRecords(ctx, client.AuditFilter{}, a.options()...) {
		if err != nil {
			t := describe(err)
			d.add("audit log", findingFailed, or(t.next, fix), "%s", t.why)
			return
		}
		age := time.Since(r.Time)
		if age > recordOld {
			d.add("audit log", findingFailed, fix, "the newest record is %s old, although the question itself must have one", spell(age))
			return
		}
		d.add("audit log", findingOK, "", "healthy, the newest record is %s old", spell(max(age, 0)))
		return
	}
	d.add("audit log", findingWarning, fix, "it shows no record")
}
