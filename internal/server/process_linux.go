package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden keeps key material out of core files and away from other processes of the same user: no core dumps (setrlimit(2)), not
// dumpable (prctl(2), PR_SET_DUMPABLE: no ptrace, /proc/self/mem belongs to root). main calls it before anything else.
func Harden() error {
	var errs []error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("switch core dumps off: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make the process not dumpable: %w", err))
	}
	return errors.Join(errs...)
}

// beforeBind sets the mode that the socket's file will have: on Linux bind(2) takes it from the socket itself, so there is no
// moment at which others could connect.
func beforeBind(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); e != nil {
		return e
	}
	return err
}

// peerUID asks the kernel who is at the other end, unix(7), SO_PEERCRED.
func peerUID(c *net.UnixConn) (uint32, bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return 0, false
	}
	return cred.Uid, true
}
