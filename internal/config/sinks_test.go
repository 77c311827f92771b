package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

func TestSinksAreAListOfSections(t *testing.T) {
	name := write(t, `
audit:
  dir: log
  sinks:
    - name: siem
      kind: syslog
      address: siem.example.org:6514
      ca_file: siem.pem
      facility: 10
    - {name: hook, kind: webhook, url: "https://hooks.example.org/a?b=c", secret_file: /etc/hook, batch_records: 7, required: yes}
    - name: archive
      kind: directory
      dir: archive
`)
	c, err := Load(name, []string{"KEYHOLD_AUDIT_SINKS_1_URL=https://other.example.org/", "KEYHOLD_AUDIT_SINKS_2_NAMESPACE=payments"})
	if err != nil {
		t.Fatal(err)
	}
	got, dir := c.Audit.Sinks, filepath.Dir(name)
	if len(got) != 3 || c.Audit.Dir != filepath.Join(dir, "log") {
		t.Fatalf("got %+v", c.Audit)
	}
	if s := got[0]; s.Name != "siem" || s.Kind != SinkSyslog || s.Address != "siem.example.org:6514" || s.CAFile != filepath.Join(dir, "siem.pem") ||
		s.Facility != 10 || s.Enterprise != 32473 || s.BatchRecords != 500 || s.Delay != 0 || s.Timeout != 30*time.Second || s.Required != "no" {
		t.Errorf("got %+v", s)
	}
	if s := got[1]; s.URL != "https://other.example.org/" || s.Secret != "/etc/hook" || s.BatchRecords != 7 || s.Required != "yes" {
		t.Errorf("got %+v", s)
	}
	if s := got[2]; s.Dir != filepath.Join(dir, "archive") || s.Namespace != "payments" || s.Delay != directoryDelay {
		t.Errorf("got %+v", s)
	}
	if n := len(Default().Audit.Sinks); n != 0 {
		t.Errorf("%d sinks by default", n)
	}
}

func TestMistakesInSinksAreNamed(t *testing.T) {
	const dir = "{name: a, kind: directory, dir: /x}"
	for _, tc := range []struct{ sinks, want string }{
		{"yes", `:1:16: audit.sinks: it is no list; want a list of sinks`},
		{"{name: a}", `audit.sinks: it is no list`},
		{"[a]", `audit.sinks.0: these are not settings`},
		{"[{kind: directory, dir: /x}]", `audit.sinks.0.name: it is missing; want a name in every sink`},
		{"[{name: a}]", `audit.sinks.0.kind: it is missing; want syslog, webhook, otlp or directory`},
		{"[{name: A, kind: otlp}]", `audit.sinks.0.name: "A" is not of that form; want a name of 1 to 63 of a-z`},
		{"[{name: a, kind: kafka}]", `audit.sinks.0.kind: "kafka" is none of them; want syslog, webhook, otlp or directory`},
		{"[" + dir + ", " + dir + "]", `audit.sinks.1.name: "a" is the name of audit.sinks.0 too`},
		{"[{name: a, kind: syslog}]", `audit.sinks.0.address: it is missing`},
		{"[{name: a, kind: webhook, url: https://x}]", `audit.sinks.0.secret_file: it is missing`},
		{"[{name: a, kind: otlp, url: http://x}]", `audit.sinks.0.url: "http://x" is not https`},
		{"[{name: a, kind: otlp, url: 'https://u:p@x'}]", `audit.sinks.0.url: the URL has a user or password; secrets do not belong in this file`},
		{"[{name: a, kind: syslog, address: x}]", `audit.sinks.0.address: "x" is not HOST:PORT`},
		{"[{name: a, kind: syslog, address: 'x:0'}]", `"0" is not a port`},
		{"[{name: a, kind: directory, dir: /x, facility: 3}]", `audit.sinks.0.facility: a sink of kind directory has no such setting`},
		{"[{name: a, kind: otlp, url: https://x, cert_file: /c}]", `audit.sinks.0.cert_file: cert_file and key_file belong together`},
		{"[{name: a, kind: otlp, url: https://x, secret: s}]", `audit.sinks.0.secret: unknown setting; secrets do not belong in this file`},
		{"[{name: a, kind: otlp, ulr: https://x}]", `:1:39: audit.sinks.0.ulr: unknown setting; want audit.sinks.0.url`},
		{"[{name: a, name: b}]", `audit.sinks.0.name: it is given twice`},
		{"[" + strings.Repeat(dir+",", MaxSinks) + dir + "]", `audit.sinks: 17 sinks are more than 16`},
		{"[{}, " + dir + "]", `audit.sinks.1: there is no sink 0; want sinks numbered from 0, without gaps`},
	} {
		err := Check(write(t, "audit: {sinks: "+tc.sinks+"}"))
		if kms.CodeOf(err) != kms.CodeBadSetting || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s:\n got %v\nwant %s", tc.sinks, err, tc.want)
		}
	}
	if _, err := Load("", []string{"KEYHOLD_AUDIT_SINKS_0_ULR=https://x"}); err == nil || !strings.Contains(err.Error(), "KEYHOLD_AUDIT_SINKS_0_ULR: unknown setting; want KEYHOLD_AUDIT_SINKS_0_URL") {
		t.Errorf("got %v", err)
	}
}

func TestTheDocumentedSinksAreGood(t *testing.T) {
	_, rest, _ := strings.Cut(sinksPreface, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	if err := Check(write(t, example)); err != nil {
		t.Error(err)
	}
}
