package sink

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged is how many bytes the peer's TCP has not acknowledged (tcp(7), SIOCOUTQ).
func unacknowledged(c net.Conn) (n int, err error) {
	t, ok := c.(*tls.Conn)
	if !ok {
		return 0, nil
	}
	tcp, ok := t.NetConn().(*net.TCPConn)
	if !ok {
		return 0, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	err2 := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	if err2 != nil {
		return 0, err2
	}
	return n, err
}
