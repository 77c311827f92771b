package node

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyhold/keyhold/internal/audit/sink"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/server"
)

// sinkDir holds the cursors of the audit sinks, below the data directory.
const sinkDir = "audit-sinks"

// Sizes of the secrets of audit sinks, in bytes.
const (
	leastSinkSecret = 32
	mostSinkSecret  = 4096
)

// openSinks makes what ships the audit log.
func (n *Node) openSinks(cluster kms.ID) (*sink.Set, error) {
	set := n.opt.Settings
	host, err := os.Hostname()
	if err != nil {
		host = nodeName
	}
	cfg := sink.Config{
		Log: n.log, Dir: filepath.Join(set.DataDir, sinkDir), Node: nodeName, Cluster: cluster.String(), Host: host, Version: n.opt.Version, Logger: n.opt.Log,
	}
	for i := range set.Audit.Sinks {
		cfg.Sinks = append(cfg.Sinks, sinkOf(&set.Audit.Sinks[i]))
	}
	return sink.New(cfg)
}

func sinkOf(s *config.Sink) sink.Sink {
	out := sink.Sink{
		Name: s.Name, Kind: sink.Kind(s.Kind), Address: s.Address, URL: s.URL, Folder: s.Dir, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile,
		Facility: s.Facility, Enterprise: s.Enterprise, MessageBytes: int(s.MessageBytes), BatchRecords: s.BatchRecords, BatchBytes: int(s.BatchBytes),
		Delay: s.Delay, Timeout: s.Timeout, Namespace: kms.Namespace(s.Namespace), Required: s.Required == "yes",
	}
	if s.Secret != "" {
		out.Sign = signer(s.Secret)
	}
	if s.Authorize != "" {
		out.Authorization = func() (string, error) {
			text, err := readSinkSecret(s.Authorize, 1)
			defer clear(text)
			if err == nil && strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' || r > '~' }) {
				err = fmt.Errorf("%s holds what no header can", s.Authorize)
			}
			return string(text), err
		}
	}
	return out
}

// signer makes HMAC-SHA-256 under the secret in a file. The file is read each time: a new secret needs no restart, and none stays in memory.
func signer(path string) func([]byte) ([]byte, error) {
	return func(msg []byte) ([]byte, error) {
		key, err := readSinkSecret(path, leastSinkSecret)
		if err != nil {
			return nil, err
		}
		defer clear(key)
		h := hmac.New(sha256.New, key)
		h.Write(msg) //nolint:errcheck // never fails
		return h.Sum(nil), nil
	}
}

// readSinkSecret reads a secret from a file, without the line end that editors add.
func readSinkSecret(path string, least int) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // G304: a path from the configuration
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if st.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod o-rwx", path, st.Mode().Perm())
	}
	text := make([]byte, mostSinkSecret+1)
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(text)
		return nil, err
	}
	for n > 0 && (text[n-1] == '\n' || text[n-1] == '\r') {
		n--
	}
	if n < least || n > mostSinkSecret {
		clear(text)
		return nil, fmt.Errorf("%s holds a secret of %d bytes: want %d to %d", path, n, least, mostSinkSecret)
	}
	return text[:n], nil
}

// sinkStatus is how the sinks stand, for the engine's status.
func (n *Node) sinkStatus() []engine.SinkStatus {
	var all []engine.SinkStatus
	for _, s := range n.sinks.Status() {
		out := engine.SinkStatus{
			Name: s.Name, Kind: string(s.Kind), State: string(s.State), Required: s.Required, Lag: s.Lag, Behind: s.Behind, LastSuccess: s.LastSuccess,
			Delivered: s.Delivered, Failures: s.Failures, Missing: s.Missing, Error: s.Error, Since: s.Since,
		}
		if !s.Position.IsZero() {
			out.Position = s.Position.String()
		}
		all = append(all, out)
	}
	return all
}

// measureSinks lists the figures of the sinks, labelled with their names.
func (n *Node) measureSinks(m *server.Metrics) {
	for i, s := range n.sinks.Status() {
		labels := map[string]string{"sink": s.Name, "kind": string(s.Kind)}
		now := func() sink.Status { return n.sinks.Status()[i] }
		m.AddLabelled(labels,
			server.Figure{Name: "audit_sink_lag_records", Help: "Audit records that the sink does not surely have.", Read: func() float64 { return float64(now().Lag) }},
			server.Figure{Name: "audit_sink_lag_seconds", Help: "Age of the oldest of them.", Read: func() float64 { return now().Behind.Seconds() }},
			server.Figure{Name: "audit_sink_delivered_total", Help: "Audit records delivered since the start, repetitions included.", Counter: true,
				Read: func() float64 { return float64(now().Delivered) }},
			server.Figure{Name: "audit_sink_failures_total", Help: "Failed attempts since the start.", Counter: true, Read: func() float64 { return float64(now().Failures) }},
			server.Figure{Name: "audit_sink_missing_total", Help: "Times that records had left the log before they were shipped.", Counter: true,
				Read: func() float64 { return float64(now().Missing) }},
			server.Figure{Name: "audit_sink_last_success_timestamp_seconds", Help: "When the sink last took records, Unix time; 0: not since the start.", Read: func() float64 {
				if at := now().LastSuccess; !at.IsZero() {
					return float64(at.UnixMilli()) / 1000
				}
				return 0
			}},
		)
		for _, state := range sink.States() {
			labels := map[string]string{"sink": s.Name, "kind": string(s.Kind), "state": string(state)}
			m.AddLabelled(labels, server.Figure{Name: "audit_sink_state", Help: "1 for the state that the sink is in.", Read: func() float64 {
				if now().State == state {
					return 1
				}
				return 0
			}})
		}
	}
}
