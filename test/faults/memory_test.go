package faults

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// memory is the resident memory of the server, in bytes; 0 where the system does not tell.
func (p *process) memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib) // 0 if it is not there
	return kib << 10
}

// bounded fails if the server's memory has grown by more than so many bytes.
func (p *process) bounded(before, most int64) {
	p.t.Helper()
	if now := p.memory(); now-before > most {
		p.t.Errorf("resident memory went from %d MiB to %d MiB, want at most %d MiB more", before>>20, now>>20, most>>20)
	}
}

// within fails if something took longer.
func within(p *process, most time.Duration, what string, f func() error) {
	p.t.Helper()
	began := time.Now()
	if err := f(); err != nil {
		p.t.Errorf("%s: %v", what, err)
	}
	if took := time.Since(began); took > most {
		p.t.Errorf("%s took %s, want at most %s", what, took, most)
	}
}
