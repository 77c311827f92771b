package config

import (
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func write(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keyhold.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDocumentationMatchesTheTable(t *testing.T) {
	const page = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(page, []byte(Markdown()), 0o644); err != nil { //nolint:gosec // documentation is public
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Errorf("%s is not what the table says: run go test ./internal/config -update", page)
	}
	for _, s := range table() {
		if s.help == "" || s.form == "" {
			t.Errorf("%s has no help or no form", s.name)
		}
	}
}

func TestTheDocumentedExampleIsGood(t *testing.T) {
	_, rest, _ := strings.Cut(Markdown(), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	if err := Check(write(t, example)); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	c := Default()
	if !slices.Equal(c.Listen, []string{"127.0.0.1:7443"}) || c.TLS.MinVersion != tls.VersionTLS12 || c.Log.Level != slog.LevelInfo ||
		c.Limits.RequestBytes != 8<<20 || c.Shred.Epoch != 24*time.Hour || c.Audit.Dir != "/var/lib/keyhold/audit" || c.LocalSocket != "/var/lib/keyhold/keyhold.sock" {
		t.Errorf("got %+v", c)
	}
}

func TestAWholeFile(t *testing.T) {
	name := write(t, `
# comment
listen:
  - 0.0.0.0:7443
  - "[::1]:8443"
data_dir: data
local_socket: off
profile: fips
tls:
  cert: /etc/k/server.pem
  key: ../k/server.key
  min_version: 1.3
  client_ca: ca.pem
  client_certificates: verified
limits:
  request_bytes: 64KiB
  principal_rate: 0
  idle_timeout: 12h
lock_out:
shred: {epoch: 1d12h}
log: {level: debug, format: json}
store: {cache_bytes: 2GiB}
`)
	c, err := Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(name)
	if len(c.Listen) != 2 || c.DataDir != dir+"/data" || c.LocalSocket != "" || c.Profile != ProfileFIPS || c.Audit.Dir != dir+"/data/audit" {
		t.Errorf("got %+v", c)
	}
	if c.TLS.Cert != "/etc/k/server.pem" || c.TLS.Key != filepath.Join(dir, "../k/server.key") || c.TLS.MinVersion != tls.VersionTLS13 || c.TLS.Clients != ClientsVerified {
		t.Errorf("got %+v", c.TLS)
	}
	if c.Limits.RequestBytes != 64<<10 || c.Limits.PrincipalRate != 0 || c.Limits.IdleTimeout != 12*time.Hour || c.Shred.Epoch != 36*time.Hour || c.Store.CacheBytes != 2<<30 {
		t.Errorf("got %+v", c.Limits)
	}
	if c.Log.Level != slog.LevelDebug || c.Log.Format != "json" || c.LockOut.Failures != 10 {
		t.Errorf("got %+v", c.Log)
	}
}

func TestTheCommandLineWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	name := write(t, "data_dir: /file\nlimits:\n  requests: 1\n  streams: 7\n")
	env := []string{"KEYHOLD_DATA_DIR=/env", "KEYHOLD_LIMITS_REQUESTS=2", "KEYHOLD_LISTEN=127.0.0.1:1, [::1]:2", "HOME=/root"}
	c, err := Load(name, env, Override{Name: "data_dir", Value: "/flag", Flag: "--data"})
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/flag" || c.Limits.Requests != 2 || c.Limits.Streams != 7 || !slices.Equal(c.Listen, []string{"127.0.0.1:1", "[::1]:2"}) {
		t.Errorf("got %+v", c)
	}
}

func TestEveryMistakeIsNamedWithItsPlaceAndTheFormWanted(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"data_dri: /x", `:1:1: data_dri: unknown setting; want data_dir`},
		{"\ntls:\n  min_verson: 1.3", `:3:3: tls.min_verson: unknown setting; want tls.min_version`},
		{"min_version: 1.3", `:1:1: min_version: unknown setting; want tls.min_version`},
		{"limit: {requests: 3}", `:1:1: limit: unknown setting; want limits`},
		{"limits: {cert: x}", `:1:10: limits.cert: unknown setting; want tls.cert`},
		{"xyzzy: 1", ":1:1: xyzzy: unknown setting\n"},
		{"root_password: hunter2", `:1:1: root_password: unknown setting; secrets do not belong in this file`},
		{"data_dir: /a\nlisten: 127.0.0.1:1\ndata_dir: /b", `:3:1: data_dir: it is given twice, first in line 1; want it once`},
		{"tls: {reload: 1m}\ntls: {reload: 2m}", `:2:1: tls: it is given twice, first in line 1`},
		{"tls.reload: 1m\ntls:\n  reload: 2m", `:3:3: tls.reload: it is given twice, first in line 1`},
		{"tls: yes", `:1:6: tls: these are not settings; want lines of the form NAME: VALUE`},
		{"- a\n- b", `:1:1: these are not settings`},
		{"data_dir:", `:1:1: data_dir: it has no value; want a path`},
		{`data_dir: ""`, `:1:11: data_dir: the value is empty`},
		{"data_dir: [a, b]", `:1:11: data_dir: it is a list`},
		{"data_dir: {a: b}", `:1:11: data_dir: it is a section`},
		{"listen: []", `:1:9: listen: the value is empty`},
		{"listen: example.org:7443", `:1:9: listen: "example.org" is not an IP address; want an address HOST:PORT`},
		{"listen: 127.0.0.1", `:1:9: listen: "127.0.0.1" is not HOST:PORT`},
		{"listen: 127.0.0.1:99999", `"99999" is not a port from 0 to 65535`},
		{"listen: [127.0.0.1:1, 127.0.0.1:1]", `"127.0.0.1:1" is there twice`},
		{"limits: {request_bytes: 64MB}", `limits.request_bytes: "64MB" is not a size; want a size from 64KiB to 64MiB, as in`},
		{"limits: {request_bytes: 1GiB}", `1GiB is out of range`},
		{"limits: {request_bytes: 9999999TiB}", `"9999999TiB" is out of range`},
		{"limits: {request_bytes: -1}", `"-1" is not a size`},
		{"limits: {requests: many}", `"many" is not a whole number; want a whole number from 1 to 1048576`},
		{"limits: {requests: 0}", `0 is out of range`},
		{"limits: {idle_timeout: 3}", `"3" is not a duration; want a duration from 1s to 1d`},
		{"limits: {idle_timeout: 99999999d}", `is not a duration`},
		{"limits: {idle_timeout: -3s}", `"-3s" is not a duration`},
		{"profile: FIPS", `:1:10: profile: "FIPS" is none of them; want default or fips`},
		{"tls: {min_version: 1.1}", `tls.min_version: "1.1" is none of them; want 1.2 or 1.3`},
		{"tls: {names: [a_b]}", `"a_b" is neither a DNS name nor an IP address`},
		{"tls: {cert: /x}", `:1:13: tls.cert: tls.key is missing; want both or neither`},
		{"tls: {client_ca: /x}", `:1:18: tls.client_certificates: it is "off" and tls.client_ca is "/x"`},
		{"tls: {client_certificates: verified}", `tls.client_ca is ""; want verified together with tls.client_ca`},
		{"lock_out: {first: 2h}", `:1:19: lock_out.most: 1h0m0s is less than lock_out.first, 2h0m0s`},
		{"limits: {read_timeout: 5s}", `limits.read_timeout: 5s is less than limits.read_header_timeout`},
		{"limits: {connections: 10, connections_per_source: 11}", `11 is more than limits.connections, 10`},
		{"local_socket: /" + strings.Repeat("x", 107), `the path has 108 bytes, a socket's path can have 107`},
		{"data_dir: &a /x\nlocal_socket: *a", `:1:11: data_dir: anchors and aliases are not read`},
		{"data_dir: !!binary aGk=", `the tag !!binary is not read`},
		{"<<: {a: b}", `<<: unknown setting`},
		{"data_dir: /a\n---\ndata_dir: /b", `a second document begins here; want one document`},
		{"data_dir: /a\n  x: {", `keyhold.yaml:2:1: this is not YAML`},
		{"data_dir: \"\\x01\"", `has control characters`},
		{"? [a]\n: b", `this is not the name of a setting`},
		{"data_dir: " + strings.Repeat("x", 5000), `the value has 5000 bytes, the limit is 4096`},
	} {
		name := write(t, tc.text)
		err := Check(name)
		if kms.CodeOf(err) != kms.CodeBadSetting {
			t.Errorf("%q: got %v", tc.text, err)
			continue
		}
		if got := err.Error() + "\n"; !strings.Contains(got, tc.want) || !strings.Contains(got, name+":") {
			t.Errorf("%q:\n got %s want %s", tc.text, got, tc.want)
		}
	}
}

func TestAllMistakesAreShownAtOnce(t *testing.T) {
	err := Check(write(t, "a1: 1\nprofile: x\nlimits: {requests: y}\n"))
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
	err = Check(write(t, func() string {
		var b strings.Builder
		for i := range 500 {
			b.WriteString("x" + strings.Repeat("y", i%50) + string(rune('a'+i/50)) + ": 1\n")
		}
		return b.String()
	}()))
	if n := strings.Count(err.Error(), "\n"); n != maxProblems {
		t.Errorf("%d lines for hundreds of mistakes, want %d and a last one", n, maxProblems)
	}
}

func TestMistakesInTheEnvironment(t *testing.T) {
	for env, want := range map[string]string{
		"KEYHOLD_TLS_MIN_VERSON=1.3":    "KEYHOLD_TLS_MIN_VERSON: unknown setting; want KEYHOLD_TLS_MIN_VERSION",
		"KEYHOLD_DATADIR=/x":            "KEYHOLD_DATADIR: unknown setting; want KEYHOLD_DATA_DIR",
		"KEYHOLD_LIMITS_XYZZY=1":        "KEYHOLD_LIMITS_XYZZY: unknown setting",
		"KEYHOLD_LIMITS_REQUESTS=x":     `KEYHOLD_LIMITS_REQUESTS: limits.requests: "x" is not a whole number`,
		"KEYHOLD_PROFILE=":              "KEYHOLD_PROFILE: profile: the value is empty",
		"KEYHOLD_LISTEN=127.0.0.1:1,,x": "KEYHOLD_LISTEN: listen: the value is empty",
	} {
		if _, err := Load("", []string{env}); kms.CodeOf(err) != kms.CodeBadSetting || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", env, err, want)
		}
	}
	others := []string{
		"KEYHOLD_ADDR=https://x", "KEYHOLD_TOKEN=kh_x", "KEYHOLD_CACERT=x", "KEYHOLD_NAMESPACE=x", "KEYHOLD_LONG=1", "KEYHOLD_SERVICE_HOST=10.0.0.1",
		"KEYHOLD_SERVICE_PORT_HTTPS=1", "KEYHOLD_PORT=tcp://x", "KEYHOLD_AUDIT_PORT_443_TCP_ADDR=x", "KEYHOLD_STORE_SERVICE_HOST=x",
	}
	if _, err := Load("", others); err != nil {
		t.Errorf("names of the client and of an orchestrator are no mistakes: %v", err)
	}
}

func TestEverySettingCanBeGivenInTheEnvironment(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range table() {
		if seen[s.env()] || slices.Contains(clientNames, s.env()) || serviceLink(s.env()) {
			t.Errorf("%s is not one setting's name alone", s.env())
		}
		seen[s.env()] = true
		if s.value == "" {
			continue
		}
		if _, err := Load("", []string{s.env() + "=" + s.value}); err != nil {
			t.Errorf("%s: %v", s.env(), err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := Check(filepath.Join(dir, "none.yaml")); kms.CodeOf(err) != kms.CodeBadSetting {
		t.Errorf("got %v", err)
	}
	if err := Check(dir); kms.CodeOf(err) != kms.CodeBadSetting {
		t.Errorf("a directory: got %v", err)
	}
	if err := Check(write(t, strings.Repeat("# long\n", maxFile/7+1))); kms.CodeOf(err) != kms.CodeBadSetting {
		t.Errorf("a large file: got %v", err)
	}
	if err := Check(write(t, "")); err != nil {
		t.Errorf("an empty file is all defaults: %v", err)
	}
	if err := Check(write(t, "# nothing\n---\n")); err != nil {
		t.Errorf("an empty document is all defaults: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("listen: [a, b]\ntls:\n  cert: x\n")
	f.Add("a: &a [*a]\n---\nb")
	f.Add("limits: {request_bytes: 64MiB, idle_timeout: 1d2h}")
	f.Add("\xff\xfe\x00")
	f.Fuzz(func(t *testing.T, text string) {
		given, ps := parse("f", []byte(text))
		c, err := build(given)
		if (c == nil) == (err == nil) {
			t.Fatal("a configuration or an error")
		}
		if len(ps) > maxUnknown+1 {
			t.Fatalf("%d problems", len(ps))
		}
		_ = ps.Error()
	})
}

func FuzzForms(f *testing.F) {
	f.Add("1d2h", "64MiB")
	f.Add("99999999999d", "9223372036854775807B")
	f.Fuzz(func(t *testing.T, d, s string) {
		if got, err := parseDuration(d); err == nil {
			if again, err := parseDuration(durationText(got)); got < 0 || err != nil || again != got {
				t.Fatalf("%q is %d, written %q, read %d %v", d, got, durationText(got), again, err)
			}
		}
		if got, err := parseSize(s); err == nil {
			if again, err := parseSize(sizeText(got)); got < 0 || err != nil || again != got {
				t.Fatalf("%q is %d, written %q, read %d %v", s, got, sizeText(got), again, err)
			}
		}
	})
}
