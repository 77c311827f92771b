package config

import (
	"fmt"
	"strings"
)

// Markdown is the table as documentation: docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	section := "\x00"
	for _, s := range table() {
		in, _, nested := strings.Cut(s.name, ".")
		if !nested {
			in = ""
		}
		if in != section {
			section = in
			title := "General"
			if in != "" {
				title = "`" + in + "`"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| setting | default | form | meaning |\n|---|---|---|---|\n", title)
		}
		row(&b, s.name, s.env(), &s)
	}
	b.WriteString(sinksPreface)
	for _, s := range sinkTable(0) {
		row(&b, strings.TrimPrefix(s.name, sinksName+".0."), strings.Replace(s.env(), "_0_", "_N_", 1), &s)
	}
	return b.String()
}

func row(b *strings.Builder, name, env string, s *setting) {
	shown := s.shown
	if s.value != "" {
		shown = "`" + s.value + "`"
	}
	if shown == "" {
		shown = "none"
	}
	fmt.Fprintf(b, "| `%s`<br>`%s` | %s | %s | %s |\n", name, env, shown, s.form, s.help)
}

var sinksPreface = fmt.Sprintf(`
## `+"`audit.sinks`"+`

A list of at most %d places where the audit log is copied to; [audit-sinks.md](audit-sinks.md) explains them. In the environment the first has number 0.

`+"```yaml"+`
audit:
  sinks:
    - name: siem
      kind: syslog
      address: siem.example.org:6514
      ca_file: /etc/keyhold/siem-ca.pem
    - name: archive
      kind: directory
      dir: /srv/audit-archive
      required: yes
`+"```"+`

| setting | default | form | meaning |
|---|---|---|---|
`, MaxSinks)

const preface = `# Configuration

<!-- Written by package config from its table of settings; a test compares the two. -->

` + "`keyhold server --config FILE`" + ` reads one YAML file. Every setting can also be given in the environment, under the second name
shown: ` + "`KEYHOLD_`" + `, the setting's name in capitals, every dot an underscore; a list is separated by commas. The command line
wins over the environment, that over the file, that over the default.

A setting that is unknown, given twice, or not of the form shown stops the start with the file and line, the nearest
known name and the form that is wanted. ` + "`keyhold config check FILE`" + ` tests a file without starting. In the environment, a name that
begins like a section or is nearly a setting counts as a mistake; other names that begin with ` + "`KEYHOLD_`" + ` belong to the client.

There is no setting for a secret: only for the paths of files that hold one.

` + "```yaml" + `
listen: [0.0.0.0:7443]
data_dir: /var/lib/keyhold
tls:
  cert: /etc/keyhold/server.pem
  key: /etc/keyhold/server.key
  client_ca: /etc/keyhold/clients.pem
  client_certificates: verified
audit:
  dir: /var/log/keyhold
limits:
  request_bytes: 2MiB
shred:
  epoch: 24h
` + "```" + `

Two variables of the Go runtime count as well: ` + "`GOGC`" + ` (400 unless set) and ` + "`GOMEMLIMIT`" + ` (three quarters of the memory that the
machine or its control group has, unless set).
`
