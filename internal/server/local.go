package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/authn"
)

// listenLocal opens the local socket. It is 0600 before anybody can connect. A socket that a dead server left is
// replaced; one that answers is another server's.
func listenLocal(at string) (net.Listener, error) {
	st, err := os.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is not a socket", at)
	default:
		if conn, err := net.DialTimeout("unix", at, time.Second); err == nil {
			return nil, errors.Join(errors.New("another server answers there"), conn.Close())
		}
		if err := os.Remove(at); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return beforeBind(c) }}
	l, err := lc.Listen(context.Background(), "unix", at)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(at, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

const socketMode = 0o600

// connContext notes the user at the other end of a local connection: see authn.WithPeer.
func connContext(ctx context.Context, c net.Conn) context.Context {
	limited, ok := c.(*limitedConn)
	if !ok {
		return ctx
	}
	local, ok := limited.Conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	if uid, ok := peerUID(local); ok {
		return authn.WithPeer(ctx, uid)
	}
	return ctx
}

// LocalUsers are those whom the local socket admits: the server's own user, and root.
func LocalUsers() []uint32 {
	own := uint32(os.Geteuid()) //nolint:gosec // G115: a user id has 32 bits
	if own == 0 {
		return []uint32{0}
	}
	return []uint32{0, own}
}
