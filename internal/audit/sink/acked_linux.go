package sink

import (
	"crypto/tls"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged is how many bytes the peer's TCP has not acknowledged (tcp(7), SIOCOUTQ).
func unacknowledged(c *tls.Conn) (n int, err error) {
	failed := onSocket(c, func(fd int) { n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return n, errors.Join(failed, err)
}

// established is TCP_ESTABLISHED of linux/tcp_states.h.
const established = 1

// standing asks the system whether the connection stands in both directions (tcp(7), TCP_INFO): what the peer did shows there before a reader is
// told.
func standing(c *tls.Conn) error {
	var info *unix.TCPInfo
	var err error
	if failed := onSocket(c, func(fd int) { info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO) }); failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	if info.State != established {
		return errors.New("the receiver closed it")
	}
	return nil
}

func onSocket(c *tls.Conn, do func(fd int)) error {
	tcp, ok := c.NetConn().(*net.TCPConn)
	if !ok {
		return errors.New("the connection is not one of TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}
