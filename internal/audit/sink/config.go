package sink

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// Kind is what a sink speaks.
type Kind string

// The kinds.
const (
	Syslog    Kind = "syslog"
	Webhook   Kind = "webhook"
	OTLP      Kind = "otlp"
	Directory Kind = "directory"
)

// Limits of what is configured, and of what is not.
const (
	MaxSinks        = 16
	MaxBatchRecords = 5000
	MaxBatchBytes   = 16 << 20 // of JSON
	MaxFacility     = 23       // RFC 5424 §6.2.1
	MinMessageBytes = 2048     // RFC 5425 §4.3.1: what receivers must take
	MaxMessageBytes = 1 << 20

	maxScan  = 20_000   // records that are read for one batch when a filter leaves out most of them
	maxReply = 64 << 10 // bytes of an answer that are read
	maxFile  = 4 << 20  // bytes of a file of certificates
	maxError = 512      // bytes of an error that are shown
)

// Config says what is shipped where.
type Config struct {
	Log     *audit.Log
	Dir     string // of the cursors
	Node    string
	Cluster string
	Host    string // this machine's name
	Version string // of the server
	Sinks   []Sink
	Logger  *slog.Logger // nil: silent
	Pace    Pace         // zero fields: defaults
}

// Sink is one place where the log is copied to.
type Sink struct {
	Name string // [a-z0-9][a-z0-9-]{0,62}; names the cursor
	Kind Kind

	Address  string // syslog: HOST:PORT
	URL      string // webhook, otlp: https
	Folder   string // directory: an existing folder
	CAFile   string // authorities that may have issued the receiver's certificate; empty: the system's
	CertFile string // client certificate; empty: none
	KeyFile  string

	Facility     int // syslog: 0 to 23
	Enterprise   int // syslog: private enterprise number in the name of the structured data
	MessageBytes int // syslog: longest message, unless the fields alone are longer

	Sign          func(msg []byte) ([]byte, error) // webhook: HMAC-SHA-256 under its secret
	Authorization func() (string, error)           // webhook, otlp: value of the header; nil: none

	BatchRecords int           // most records of one delivery
	BatchBytes   int           // most bytes of their JSON, unless a single one is larger
	Delay        time.Duration // records may wait so long for a fuller batch
	Timeout      time.Duration // of one delivery, connection included

	Namespace kms.Namespace // only records of this namespace; empty: all
	Required  bool          // the log keeps what this sink has not shipped
}

// Pace is how often things are tried.
type Pace struct {
	Poll    time.Duration // between looks at a log that had nothing new
	First   time.Duration // wait after the first failure; each further one is twice as long
	Most    time.Duration // longest wait
	Refused time.Duration // shortest wait after a receiver refused what trying again does not change
	Settle  time.Duration // a syslog connection must stand so long after a message before its cursor moves
	Log     time.Duration // between two lines about the same lasting trouble
}

// maxRetryAfter bounds what a receiver can ask for (RFC 9110 §10.2.3).
const maxRetryAfter = 15 * time.Minute

func (p *Pace) complete() {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{
		{&p.Poll, time.Second}, {&p.First, time.Second}, {&p.Most, 5 * time.Minute}, {&p.Refused, 30 * time.Second},
		{&p.Settle, 5 * time.Second}, {&p.Log, 10 * time.Minute},
	} {
		if *d.at == 0 {
			*d.at = d.value
		}
	}
}

func (c *Config) complete() error {
	if c.Log == nil || c.Dir == "" {
		return errors.New("audit sinks: no log or no folder for the cursors is configured")
	}
	if len(c.Sinks) > MaxSinks {
		return fmt.Errorf("%d audit sinks are more than %d", len(c.Sinks), MaxSinks)
	}
	seen := make(map[string]bool)
	for i := range c.Sinks {
		s := &c.Sinks[i]
		if err := s.complete(); err != nil {
			return fmt.Errorf("audit sink %q: %w", s.Name, err)
		}
		if seen[s.Name] {
			return fmt.Errorf("audit sink %q: the name is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Pace.complete()
	return nil
}

func (s *Sink) complete() error {
	if err := audit.CheckNode(s.Name); err != nil {
		return errors.New("want a name of 1 to 63 of a-z, 0-9 and '-'")
	}
	for _, d := range []struct {
		what  string
		at    *int
		value int
		least int
		most  int
	}{
		{"batch of records", &s.BatchRecords, 500, 1, MaxBatchRecords},
		{"batch of bytes", &s.BatchBytes, 1 << 20, 1, MaxBatchBytes},
		{"message of bytes", &s.MessageBytes, 8192, MinMessageBytes, MaxMessageBytes},
		{"facility", &s.Facility, s.Facility, 0, MaxFacility},
	} {
		if *d.at == 0 {
			*d.at = d.value
		}
		if *d.at < d.least || *d.at > d.most {
			return fmt.Errorf("%s: %d is not from %d to %d", d.what, *d.at, d.least, d.most)
		}
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	return nil
}
