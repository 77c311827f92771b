package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sink is a place where the audit log is copied to.
type Sink struct {
	Name      string
	Kind      SinkKind
	Address   string // of syslog: HOST:PORT
	URL       string // of webhook and otlp
	Dir       string // of directory
	CAFile    string
	CertFile  string
	KeyFile   string
	Secret    string // path of a file
	Authorize string // path of a file

	Facility, Enterprise int
	MessageBytes         int64
	BatchRecords         int
	BatchBytes           int64
	Delay, Timeout       time.Duration
	Namespace            string // empty: all
	Required             string // "yes" or "no"
}

// SinkKind is what a sink speaks.
type SinkKind string

// The kinds of sinks.
const (
	SinkSyslog    SinkKind = "syslog"
	SinkWebhook   SinkKind = "webhook"
	SinkOTLP      SinkKind = "otlp"
	SinkDirectory SinkKind = "directory"
)

// MaxSinks is the most sinks there can be.
const MaxSinks = 16

// sinksName is the list of sinks, each a section of its own.
const sinksName = "audit.sinks"

// sinkTable is the settings of the sink with a number. The rows of all sinks are in the table, so that every way of giving a setting, every check
// and every message is the same for them; Config.finish keeps those sinks that something was given for.
func sinkTable(i int) []setting {
	of := func(c *Config) *Sink { return &c.Audit.Sinks[i] }
	at := func(name string) string { return fmt.Sprintf("%s.%d.%s", sinksName, i, name) }
	return []setting{
		pattern(at("name"), sinkName, "a name of 1 to 63 of a-z, 0-9 and '-'", func(c *Config) *string { return &of(c).Name },
			"Names the sink in figures and messages, and its cursor. Keep it: under a new name everything is shipped once more."),
		choice(at("kind"), "", []SinkKind{SinkSyslog, SinkWebhook, SinkOTLP, SinkDirectory}, nil,
			"What it speaks.").optional().to(func(c *Config, v string) { of(c).Kind = SinkKind(v) }),
		one(at("address"), "", "HOST:PORT", "Of a `syslog` receiver, RFC 5424 over TLS. The host is what its certificate must name.", func(c *Config, v, _ string) error {
			of(c).Address = v
			return checkRemote(v)
		}),
		one(at("url"), "", "an https URL", "Of a `webhook`, or of an `otlp` receiver: usually https://HOST:4318/v1/logs.", func(c *Config, v, _ string) error {
			of(c).URL = v
			return checkURL(v)
		}),
		path(at("dir"), "", "", func(c *Config) *string { return &of(c).Dir },
			"Of a `directory`: an existing one, local or mounted."),
		path(at("ca_file"), "", "the system's authorities", func(c *Config) *string { return &of(c).CAFile },
			"File of the authorities that may have issued the receiver's certificate, PEM."),
		path(at("cert_file"), "", "", func(c *Config) *string { return &of(c).CertFile },
			"File of a client certificate, PEM. It is read at every connection, like the other files."),
		path(at("key_file"), "", "", func(c *Config) *string { return &of(c).KeyFile },
			"File of its private key, PEM."),
		path(at("secret_file"), "", "", func(c *Config) *string { return &of(c).Secret },
			"File of the secret that signs what a `webhook` is sent, at least 32 bytes; not readable by others."),
		path(at("authorization_file"), "", "", func(c *Config) *string { return &of(c).Authorize },
			"File of the value of the Authorization header, for `webhook` and `otlp`, as in `Bearer …`; not readable by others."),
		number(at("facility"), "13", 0, 23, func(c *Config) *int { return &of(c).Facility },
			"Of `syslog`; 13 is log audit."),
		number(at("enterprise"), "32473", 1, 1<<31-1, func(c *Config) *int { return &of(c).Enterprise },
			"Private enterprise number in the name of the structured data of `syslog`. The default is the one for examples (RFC 5612); set your own."),
		size(at("message_bytes"), "8KiB", 2*kib, mib, func(c *Config) *int64 { return &of(c).MessageBytes },
			"Longest message of `syslog`; more than the receiver takes is cut there. A record's JSON is shortened to fit."),
		number(at("batch_records"), "500", 1, 5000, func(c *Config) *int { return &of(c).BatchRecords },
			"Most records of one delivery."),
		size(at("batch_bytes"), "1MiB", 4*kib, 16*mib, func(c *Config) *int64 { return &of(c).BatchBytes },
			"Most bytes of one delivery, unless a single record has more."),
		duration(at("delay"), "0s", 0, time.Hour, func(c *Config) *time.Duration { return &of(c).Delay },
			"Records may wait so long for a fuller delivery. For a `directory` it is at least 10s unless it is set: each delivery is a file."),
		duration(at("timeout"), "30s", time.Second, 10*time.Minute, func(c *Config) *time.Duration { return &of(c).Timeout },
			"Time for one delivery, the connection included."),
		pattern(at("namespace"), sinkName, "the name of a namespace", func(c *Config) *string { return &of(c).Namespace },
			"Ships only the records of this namespace."),
		choice(at("required"), "no", []string{"yes", "no"}, func(c *Config) *string { return &of(c).Required },
			"`yes`: the log keeps what this sink has not shipped, whatever its retention says."),
	}
}

// sinkRows are the rows of all sinks.
func sinkRows() []setting {
	var all []setting
	for i := range MaxSinks {
		all = append(all, sinkTable(i)...)
	}
	return all
}

var sinkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// pattern makes a row for a text of a form; empty: none was given.
func pattern(name string, of *regexp.Regexp, form string, at func(*Config) *string, help string) setting {
	return one(name, "", form, help, func(c *Config, v, _ string) error {
		if v != "" && !of.MatchString(v) {
			return fmt.Errorf("%q is not of that form", clip(v))
		}
		*at(c) = v
		return nil
	})
}

// optional lets a choice stay open.
func (s setting) optional() setting {
	check := s.assign
	s.assign = func(c *Config, vs []string, base string) error {
		if vs[0] == "" {
			return nil
		}
		return check(c, vs, base)
	}
	return s
}

func checkRemote(v string) error {
	if v == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(v)
	if err != nil || !hostLike(host) || strings.HasPrefix(host, "*") {
		return fmt.Errorf("%q is not HOST:PORT", clip(v))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return fmt.Errorf("%q is not a port from 1 to 65535", clip(port))
	}
	return nil
}

func checkURL(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a URL", clip(v))
	case u.Scheme != "https":
		return fmt.Errorf("%q is not https: the audit log leaves over TLS only", clip(v))
	case u.User != nil:
		return fmt.Errorf("the URL has a user or password; secrets do not belong in this file")
	case u.Fragment != "":
		return fmt.Errorf("%q has a fragment", clip(v))
	}
	return nil
}

// sinkFields says which settings belong to which kinds; those that are not here belong to all.
var sinkFields = []struct {
	name   string
	kinds  []SinkKind
	needed bool
}{
	{"address", []SinkKind{SinkSyslog}, true},
	{"facility", []SinkKind{SinkSyslog}, false},
	{"enterprise", []SinkKind{SinkSyslog}, false},
	{"message_bytes", []SinkKind{SinkSyslog}, false},
	{"url", []SinkKind{SinkWebhook, SinkOTLP}, true},
	{"secret_file", []SinkKind{SinkWebhook}, true},
	{"authorization_file", []SinkKind{SinkWebhook, SinkOTLP}, false},
	{"dir", []SinkKind{SinkDirectory}, true},
	{"ca_file", []SinkKind{SinkSyslog, SinkWebhook, SinkOTLP}, false},
	{"cert_file", []SinkKind{SinkSyslog, SinkWebhook, SinkOTLP}, false},
	{"key_file", []SinkKind{SinkSyslog, SinkWebhook, SinkOTLP}, false},
}

// directoryDelay is the delay of a directory's deliveries unless one is set.
const directoryDelay = 10 * time.Second

// finishSinks keeps the sinks that something was given for, and checks each as a whole.
func (c *Config) finishSinks(from map[string]place) Problems {
	var ps Problems
	kept := c.Audit.Sinks[:0:0]
	names := make(map[string]string)
	for i, s := range c.Audit.Sinks {
		prefix := fmt.Sprintf("%s.%d.", sinksName, i)
		at, given := place{}, false
		for _, row := range sinkTable(i) {
			if p, ok := from[row.name]; ok {
				at, given = at.or(p), true
			}
		}
		if !given {
			continue
		}
		missing := func(name string) { ps.add(at, prefix+name, "it is missing", "it in every sink of this kind") }
		if i != len(kept) {
			ps.add(at, strings.TrimSuffix(prefix, "."), fmt.Sprintf("there is no sink %d", len(kept)), "sinks numbered from 0, without gaps")
		}
		kept = append(kept, s)
		switch before, twice := names[s.Name]; {
		case s.Name == "":
			ps.add(at, prefix+"name", "it is missing", "a name in every sink")
		case twice:
			ps.add(from[prefix+"name"], prefix+"name", fmt.Sprintf("%q is the name of %s too", s.Name, before), "another name")
		}
		names[s.Name] = strings.TrimSuffix(prefix, ".")
		if s.Kind == "" {
			ps.add(at, prefix+"kind", "it is missing", oneOf([]string{string(SinkSyslog), string(SinkWebhook), string(SinkOTLP), string(SinkDirectory)}))
			continue
		}
		for _, f := range sinkFields {
			p, given := from[prefix+f.name]
			switch belongs := slices.Contains(f.kinds, s.Kind); {
			case given && !belongs:
				ps.add(p, prefix+f.name, fmt.Sprintf("a sink of kind %s has no such setting", s.Kind), "it not at all")
			case !given && belongs && f.needed:
				missing(f.name)
			}
		}
		if (s.CertFile == "") != (s.KeyFile == "") {
			ps.add(from[prefix+"cert_file"].or(from[prefix+"key_file"]), prefix+"cert_file", "cert_file and key_file belong together", "both or neither")
		}
		if _, set := from[prefix+"delay"]; !set && s.Kind == SinkDirectory {
			kept[len(kept)-1].Delay = directoryDelay
		}
	}
	c.Audit.Sinks = kept
	return ps
}
