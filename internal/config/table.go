package config

import (
	"log/slog"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// A setting is one row of the table.
type setting struct {
	name   string // "section.name", or "name"
	value  string // the default, in the form a file has it
	shown  string // what the documentation shows as default where value is empty
	form   string // what is wanted
	help   string
	list   bool
	assign func(c *Config, values []string, base string) error
}

// env is the setting's name in the environment: KEYHOLD_, and the name in capitals with every dot an underscore.
func (s *setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.name, ".", "_"))
}

const envPrefix = "KEYHOLD_"

// Bounds that several settings share.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
	day = 24 * time.Hour
)

// table is every setting, in the order of the documentation.
func table() []setting {
	return []setting{
		addresses("listen", "127.0.0.1:7443", func(c *Config) *[]string { return &c.Listen },
			"Addresses that serve TLS. All dialects over HTTP share them. Port 0 takes a free one."),
		path("data_dir", "/var/lib/keyhold", "", func(c *Config) *string { return &c.DataDir },
			"Directory of the store, the audit log, the shred epochs and the server's own certificates."),
		path("local_socket", "", "`keyhold.sock` in `data_dir`", func(c *Config) *string { return &c.LocalSocket },
			"Socket for the operator on the server's own machine, mode 0600: init, unseal, metrics. `off` for none."),
		choice("profile", "default", []Profile{ProfileDefault, ProfileFIPS}, func(c *Config) *Profile { return &c.Profile },
			"`fips` permits approved algorithms only and needs the binary with the certified module."),

		path("tls.cert", "", "an own authority in `data_dir`/tls", func(c *Config) *string { return &c.TLS.Cert },
			"File of the server's certificate chain, PEM. Read again when it changes."),
		path("tls.key", "", "", func(c *Config) *string { return &c.TLS.Key },
			"File of its private key, PEM; not readable by others."),
		words("tls.names", func(c *Config) *[]string { return &c.TLS.Names },
			"Further DNS names and IP addresses of the certificate that the own authority issues; not used with `tls.cert`."),
		choice("tls.min_version", "1.2", []string{"1.2", "1.3"}, nil,
			"Lowest version of TLS. 1.2 has forward-secret AEAD suites only.").to(func(c *Config, v string) { c.TLS.MinVersion = tlsVersions[v] }),
		path("tls.client_ca", "", "", func(c *Config) *string { return &c.TLS.ClientCA },
			"File of the authorities that issue client certificates, PEM. Read again when it changes."),
		choice("tls.client_certificates", "off", []ClientCertificates{ClientsOff, ClientsPinned, ClientsVerified}, func(c *Config) *ClientCertificates { return &c.TLS.Clients },
			"`verified`: issued by `tls.client_ca`, known by SPIFFE id, else by fingerprint. `pinned`: any, known by fingerprint. `off`: not asked for."),
		duration("tls.reload", "30s", time.Second, day, func(c *Config) *time.Duration { return &c.TLS.Reload },
			"Time between two looks at the certificate files."),

		size("limits.request_bytes", "8MiB", 64*kib, 64*mib, func(c *Config) *int64 { return &c.Limits.RequestBytes },
			"Largest body of a request."),
		size("limits.header_bytes", "16KiB", 4*kib, mib, func(c *Config) *int64 { return &c.Limits.HeaderBytes },
			"Largest header of a request."),
		number("limits.requests", "4096", 1, 1<<20, func(c *Config) *int { return &c.Limits.Requests },
			"Requests being served at the same time; more are answered \"busy\" at once."),
		number("limits.connections", "16384", 1, 1<<20, func(c *Config) *int { return &c.Limits.Connections },
			"Open connections; more are closed at once."),
		number("limits.connections_per_source", "4096", 1, 1<<20, func(c *Config) *int { return &c.Limits.ConnectionsPerSource },
			"Open connections from one address (IPv6: one /64)."),
		number("limits.streams", "100", 1, 1000, func(c *Config) *int { return &c.Limits.Streams },
			"HTTP/2 requests at the same time on one connection."),
		number("limits.credentials", "65536", 64, 1<<24, func(c *Config) *int { return &c.Limits.Credentials },
			"Tokens, and client certificates, kept in memory; others are read when they are used."),
		number("limits.principal_rate", "100000", 0, 1<<30, func(c *Config) *int { return &c.Limits.PrincipalRate },
			"Requests a second of one principal, all its credentials together. 0: no limit."),
		number("limits.principal_burst", "0", 0, 1<<30, func(c *Config) *int { return &c.Limits.PrincipalBurst },
			"Requests at once of one principal. 0: as many as one second's."),
		number("limits.source_rate", "100000", 0, 1<<30, func(c *Config) *int { return &c.Limits.SourceRate },
			"Requests a second from one address (IPv6: one /64). 0: no limit."),
		number("limits.source_burst", "0", 0, 1<<30, func(c *Config) *int { return &c.Limits.SourceBurst },
			"Requests at once from one address. 0: as many as one second's."),
		duration("limits.read_header_timeout", "10s", 100*time.Millisecond, 10*time.Minute, func(c *Config) *time.Duration { return &c.Limits.ReadHeaderTimeout },
			"Time for the TLS handshake, and for the header of a request."),
		duration("limits.read_timeout", "30s", 100*time.Millisecond, time.Hour, func(c *Config) *time.Duration { return &c.Limits.ReadTimeout },
			"Time for a whole request to arrive."),
		duration("limits.write_timeout", "60s", time.Second, day, func(c *Config) *time.Duration { return &c.Limits.WriteTimeout },
			"Time for the answer, from the end of the request's header."),
		duration("limits.idle_timeout", "3m", time.Second, day, func(c *Config) *time.Duration { return &c.Limits.IdleTimeout },
			"Time that a connection may stay open without a request."),

		number("lock_out.failures", "10", 1, 1<<20, func(c *Config) *int { return &c.LockOut.Failures },
			"So many failed authentications with one credential from one address lock the two out."),
		duration("lock_out.window", "15m", time.Second, 30*day, func(c *Config) *time.Duration { return &c.LockOut.Window },
			"Time in which they count together, and time on probation after a lock."),
		duration("lock_out.first", "1m", time.Second, 30*day, func(c *Config) *time.Duration { return &c.LockOut.First },
			"Length of the first lock; each further one is twice as long."),
		duration("lock_out.most", "1h", time.Second, 30*day, func(c *Config) *time.Duration { return &c.LockOut.Most },
			"Longest lock."),
		number("lock_out.failure_rate", "5", 1, 1<<20, func(c *Config) *int { return &c.LockOut.FailureRate },
			"Failed authentications a second from one address (ten times as many at once) before unknown credentials from there are not looked up."),

		path("audit.dir", "", "`audit` in `data_dir`", func(c *Config) *string { return &c.Audit.Dir },
			"Directory of the audit log; a disk of its own is better."),
		size("audit.segment_bytes", "64MiB", mib, gib, func(c *Config) *int64 { return &c.Audit.SegmentBytes },
			"Size at which a segment of the log is closed and the next begun."),
		size("audit.reserve_bytes", "64MiB", mib, gib, func(c *Config) *int64 { return &c.Audit.ReserveBytes },
			"Space kept free so that an administrator can still act, on the record, when the disk is full."),
		duration("audit.compress_after", "1h", 0, 365*day, func(c *Config) *time.Duration { return &c.Audit.CompressAfter },
			"Age at which a full segment of the log is compressed. 0: never."),
		duration("audit.retention", "0s", 0, 100*365*day, func(c *Config) *time.Duration { return &c.Audit.Retention },
			"Age at which the data of audit records is dropped, segment by segment; their hashes stay, so that what is left can still be proved. Sinks that are `required` must have the records. 0: they are kept for ever."),
		witnesses("audit.witnesses", func(c *Config) *[]string { return &c.Audit.Witnessing.Witnesses },
			"Witnesses that are asked to cosign the log's checkpoints (C2SP tlog-witness): the verifier key as the witness shows it, a space, and its submission prefix. No operation waits for them."),
		number("audit.witness_quorum", "0", 0, MaxWitnesses, func(c *Config) *int { return &c.Audit.Witnessing.Quorum },
			"How many cosignatures make a checkpoint a witnessed one, which proofs prefer. 0: those of all witnesses."),
		duration("audit.witness_interval", "10s", time.Second, day, func(c *Config) *time.Duration { return &c.Audit.Witnessing.Every },
			"Least time between checkpoints that are sent to witnesses."),
		path("audit.witness_ca_file", "", "the system's authorities", func(c *Config) *string { return &c.Audit.Witnessing.CAFile },
			"File of the authorities that may have issued the witnesses' certificates, PEM."),

		accounts("aws.accounts", func(c *Config) *map[kms.Namespace]string { return &c.AWS.Accounts },
			"Account numbers by which namespaces are known in the AWS dialect. Where there is none, `default` is 000000000000 and another namespace has a number made of its name."),
		duration("aws.clock_skew", "5m", time.Second, time.Hour, func(c *Config) *time.Duration { return &c.AWS.Skew },
			"How far apart the clocks of the server and of who signs a request (AWS Signature Version 4) may be: so long a signed request is good."),

		mounts("vault.mounts", "transit", false, func(c *Config) *[]string { return &c.Vault.Mounts },
			"Where the Vault dialect has transit. Key `k` of the mount `transit` is the key `k`, and that of another mount `m` the key `m/k`."),
		mounts("vault.kv_mounts", "secret", true, func(c *Config) *[]string { return &c.Vault.KV },
			"Where the Vault dialect has secrets, as KV version 2. The secret `s` of the mount `m` is the secret `m/s`."),

		issuers("oidc.issuers", func(c *Config) *[]string { return &c.OIDC.Issuers },
			"OpenID Connect issuers whose identity tokens roles may trust. The server asks these for their keys, over TLS, and no others. None: identity tokens are refused."),
		path("oidc.ca_file", "", "the system's authorities", func(c *Config) *string { return &c.OIDC.CAFile },
			"File of the authorities that may have issued the issuers' certificates, PEM."),

		size("store.cache_bytes", "48MiB", mib, tib, func(c *Config) *int64 { return &c.Store.CacheBytes },
			"Memory for the store's own cache."),
		size("store.min_free_bytes", "256MiB", mib, tib, func(c *Config) *int64 { return &c.Store.MinFreeBytes },
			"Changes are refused when the disk of `data_dir` has less than this."),
		number("keyring.entries", "32768", 16, 1<<24, func(c *Config) *int { return &c.Keyring.Entries },
			"Keys, and key versions, kept ready for use in memory: about 1.5 KiB for each key. Others are read from the store when they are used."),
		duration("clock.max_jump", "24h", time.Minute, 3650*day, func(c *Config) *time.Duration { return &c.Clock.MaxJump },
			"How far the machine's clock may be ahead of the time that was seen to pass before nothing is destroyed by date any more, until an operator confirms the clock."),
		duration("shred.epoch", "24h", time.Minute, 365*day, func(c *Config) *time.Duration { return &c.Shred.Epoch },
			"Time after which the epoch key is replaced, which makes what was destroyed irrecoverable from old backups."),

		choice("log.level", "info", []string{"debug", "info", "warn", "error"}, nil,
			"Least severity that is logged, to standard error.").to(func(c *Config, v string) { c.Log.Level = logLevels[v] }),
		choice("log.format", "text", []string{"text", "json"}, func(c *Config) *string { return &c.Log.Format },
			"Form of the log."),
		choice("metrics.serve", "authenticated", []MetricsAccess{MetricsAuthenticated, MetricsLocal, MetricsOff}, func(c *Config) *MetricsAccess { return &c.Metrics.Serve },
			"Who may read /metrics: `authenticated` principals that are allowed ReadHealth, and the local socket; the `local` socket only; or `off`."),
		address("metrics.listen", func(c *Config) *string { return &c.Metrics.Listen },
			"A further TLS listener that serves /metrics and /health alone and asks for no credential; put it on a private network."),

		duration("shutdown.drain", "500ms", 0, 10*time.Minute, func(c *Config) *time.Duration { return &c.Shutdown.Drain },
			"Time between the first word of a stop (/health answers 503, answers close their connection) and the end of accepting requests."),
		duration("shutdown.grace", "30s", 0, time.Hour, func(c *Config) *time.Duration { return &c.Shutdown.Grace },
			"Time for requests in flight to end after that."),
	}
}

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
