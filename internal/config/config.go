// Package config reads the server's one YAML file, and the environment, into a typed Config.
//
// Every setting is a row of one table (table.go): its name, default, form and meaning. The loader, the names in the
// environment and docs/configuration.md all come from it. Precedence: command line, environment, file, default.
//
// It refuses, with file and line, the nearest known name and the form that is wanted: unknown settings, settings given
// twice, values of a wrong form or out of range, YAML aliases, several documents in one file. It refuses to hold secrets: there is no
// setting for one, only for paths of files that hold them.
package config

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// Config is the server's configuration. All values have been checked; paths are absolute or relative to the working
// directory of the process.
type Config struct {
	Listen      []string // "host:port"
	DataDir     string
	LocalSocket string // empty: none
	Profile     Profile
	TLS         TLS
	Limits      Limits
	LockOut     LockOut
	Audit       Audit
	Store       Store
	AWS         AWS
	Vault       Vault
	OIDC        OIDC
	Keyring     Keyring
	Clock       Clock
	Shred       Shred
	Log         Log
	Metrics     Metrics
	Shutdown    Shutdown
}

// Profile limits the algorithms.
type Profile string

// The profiles.
const (
	ProfileDefault Profile = "default"
	ProfileFIPS    Profile = "fips"
)

// TLS is what the listeners present and demand.
type TLS struct {
	Cert, Key  string // paths; both empty: an own authority in DataDir/tls
	Names      []string
	MinVersion uint16 // tls.VersionTLS12 or tls.VersionTLS13
	ClientCA   string // path; empty: none
	Clients    ClientCertificates
	Reload     time.Duration // between looks at the files
}

// ClientCertificates says what is asked of TLS clients.
type ClientCertificates string

// What can be asked of TLS clients.
const (
	ClientsOff      ClientCertificates = "off"      // not asked for
	ClientsPinned   ClientCertificates = "pinned"   // any; known by fingerprint
	ClientsVerified ClientCertificates = "verified" // issued by ClientCA; known by SPIFFE id, else by fingerprint
)

// Limits bound what callers can use up.
type Limits struct {
	RequestBytes         int64
	HeaderBytes          int64
	Requests             int // at the same time
	Connections          int
	ConnectionsPerSource int
	Streams              int // HTTP/2, of one connection
	Credentials          int // kept in memory

	PrincipalRate, PrincipalBurst int // requests a second; 0: no limit
	SourceRate, SourceBurst       int

	ReadHeaderTimeout, ReadTimeout, WriteTimeout, IdleTimeout time.Duration
}

// LockOut says when a credential is refused without being looked at.
type LockOut struct {
	Failures    int
	Window      time.Duration
	First, Most time.Duration
	FailureRate int // failed authentications a second from one address before the store is not asked again
}

// Audit is where and how the audit log is kept.
type Audit struct {
	Dir           string
	SegmentBytes  int64
	ReserveBytes  int64
	CompressAfter time.Duration // 0: never
	Retention     time.Duration // 0: for ever
	Sinks         []Sink        // copies of the log elsewhere
	Witnessing    Witnessing
}

// Store is how the embedded store is kept.
type Store struct {
	CacheBytes   int64
	MinFreeBytes int64
}

// Keyring is how many unwrapped keys stay in memory.
type Keyring struct{ Entries int }

// Clock says how far the machine's clock is believed.
type Clock struct{ MaxJump time.Duration }

// Shred is the schedule of crypto-shredding.
type Shred struct{ Epoch time.Duration }

// Log is what the server tells its operators.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Metrics says where the figures for machines are served.
type Metrics struct {
	Serve  MetricsAccess
	Listen string // a listener of their own; empty: none
}

// MetricsAccess says who may read the metrics on the ordinary listeners.
type MetricsAccess string

// Who may read the metrics.
const (
	MetricsAuthenticated MetricsAccess = "authenticated" // a principal allowed ReadHealth, and the local socket
	MetricsLocal         MetricsAccess = "local"         // the local socket only
	MetricsOff           MetricsAccess = "off"
)

// Shutdown is how long an ordered stop takes.
type Shutdown struct {
	Drain time.Duration // answers still go out on open connections, which are then closed
	Grace time.Duration // requests in flight may take so long after that
}

// Default is the configuration of an empty file.
func Default() *Config {
	c, err := build(nil)
	if err != nil {
		panic(fmt.Sprintf("config: a default in table.go is wrong: %v", err)) // a test reads them all
	}
	return c
}

// Off is the value that switches a setting off where it can be.
const Off = "off"

// finish resolves what depends on other settings and checks what concerns several.
func (c *Config) finish(from map[string]place) Problems {
	var ps Problems
	if c.Audit.Dir == "" {
		c.Audit.Dir = filepath.Join(c.DataDir, "audit")
	}
	switch c.LocalSocket {
	case "":
		c.LocalSocket = filepath.Join(c.DataDir, "keyhold.sock")
	case Off:
		c.LocalSocket = ""
	}
	if n := len(c.LocalSocket); n > maxSocketPath {
		ps.add(from["local_socket"], "local_socket", fmt.Sprintf("the path has %d bytes, a socket's path can have %d: %q", n, maxSocketPath, c.LocalSocket), "a shorter path, or off")
	}
	ps = append(ps, c.finishSinks(from)...)
	both := func(one, other string, given, alsoGiven bool) {
		if given && !alsoGiven {
			ps.add(from[one], one, other+" is missing", "both or neither")
		}
	}
	both("tls.cert", "tls.key", c.TLS.Cert != "", c.TLS.Key != "")
	both("tls.key", "tls.cert", c.TLS.Key != "", c.TLS.Cert != "")
	if verified := c.TLS.Clients == ClientsVerified; verified != (c.TLS.ClientCA != "") {
		ps.add(from["tls.client_certificates"].or(from["tls.client_ca"]), "tls.client_certificates",
			fmt.Sprintf("it is %q and tls.client_ca is %q", c.TLS.Clients, c.TLS.ClientCA), "verified together with tls.client_ca, or neither")
	}
	c.Audit.Witnessing.checkQuorum(from, &ps)
	c.checkMounts(from, &ps)
	if c.LockOut.Most < c.LockOut.First {
		ps.add(from["lock_out.most"].or(from["lock_out.first"]), "lock_out.most", fmt.Sprintf("%s is less than lock_out.first, %s", c.LockOut.Most, c.LockOut.First), "at least lock_out.first")
	}
	if c.Limits.ReadTimeout < c.Limits.ReadHeaderTimeout {
		ps.add(from["limits.read_timeout"].or(from["limits.read_header_timeout"]), "limits.read_timeout",
			fmt.Sprintf("%s is less than limits.read_header_timeout, %s", c.Limits.ReadTimeout, c.Limits.ReadHeaderTimeout), "at least limits.read_header_timeout")
	}
	if c.Limits.ConnectionsPerSource > c.Limits.Connections {
		if from["limits.connections_per_source"].known() {
			ps.add(from["limits.connections_per_source"], "limits.connections_per_source",
				fmt.Sprintf("%d is more than limits.connections, %d", c.Limits.ConnectionsPerSource, c.Limits.Connections), "at most limits.connections")
		}
		c.Limits.ConnectionsPerSource = c.Limits.Connections
	}
	return ps
}

// maxSocketPath is the room for a path in sockaddr_un, unix(7), less the final zero.
const maxSocketPath = 107

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
