//go:build !linux

package server

import (
	"fmt"
	"net"
	"syscall"
)

// Harden switches core dumps off.
func Harden() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	return nil
}

// beforeBind has nothing to do: the socket lies in the data directory, which is 0700.
func beforeBind(syscall.RawConn) error { return nil }

// peerUID is not asked on this system: the local socket admits nobody without a token.
func peerUID(*net.UnixConn) (uint32, bool) { return 0, false }

// TrimProgram does nothing here.
func TrimProgram() {}
