// Package results is the file that measurements go to: JSON lines, appended, each a machine, a disk or a run.
package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// Line is one line: one of its fields is set.
type Line struct {
	Machine *Machine `json:"machine,omitempty"`
	Disk    *Disk    `json:"disk,omitempty"`
	Run     *Run     `json:"run,omitempty"`
}

// Machine is what the runs after it ran on.
type Machine struct {
	Date       string `json:"date"` // of the start, UTC
	Version    string `json:"version"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Pinned     bool   `json:"pinned"` // server and client on a core each
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"` // of the data directories
	Go         string `json:"go"`
	Note       string `json:"note,omitempty"` // what could not be measured
}

// Disk is what durability costs in the data directories. Times are in microseconds.
type Disk struct {
	Group     int     `json:"group"`
	P50       float64 `json:"p50_us"` // of one fdatasync after overwriting 512 bytes of a zero-filled file
	P99       float64 `json:"p99_us"`
	Waiters   int     `json:"waiters"` // of the group commit
	PerSecond float64 `json:"per_s"`   // records
	Syncs     float64 `json:"syncs_per_s"`
	Own       float64 `json:"cpu_us"` // CPU time of a record
}

// Run is one server under one load. CPU times are in microseconds for each operation, latencies in microseconds for each request.
type Run struct {
	Server    string  `json:"server"`
	Op        string  `json:"op"`
	Group     int     `json:"group"` // runs of one group were made one after the other and may be compared
	Conns     int     `json:"conns"`
	Reconnect bool    `json:"reconnect,omitempty"` // a TLS handshake for each request
	Seconds   float64 `json:"seconds"`
	Ops       uint64  `json:"ops"`
	Errors    uint64  `json:"errors,omitempty"`
	Error     string  `json:"error,omitempty"` // the first
	PerSecond float64 `json:"ops_per_s"`
	P50       float64 `json:"p50_us"`
	P95       float64 `json:"p95_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	Max       float64 `json:"max_us"`
	User      float64 `json:"user_us"`
	Sys       float64 `json:"sys_us"`
	Client    float64 `json:"client_us"`
	Written   float64 `json:"written_bytes"` // to storage, for each operation
	RSS       int64   `json:"rss_bytes"`
	Peak      int64   `json:"peak_bytes"`
	Other     float64 `json:"other"`  // part of the server's cores that neither server nor client took
	Stolen    float64 `json:"stolen"` // part that the hypervisor took
}

// CPU is user and system time together.
func (r *Run) CPU() float64 { return r.User + r.Sys }

// Idle is the Op of a run without load: what a server that has just started holds in memory.
const Idle = "idle"

// Append adds lines to a file.
func Append(path string, lines ...Line) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, l := range lines {
		if err == nil {
			err = enc.Encode(l)
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Read reads the lines of a file.
func Read(r io.Reader) ([]Line, error) {
	var all []Line
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return all, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, l)
	}
	return all, in.Err()
}
