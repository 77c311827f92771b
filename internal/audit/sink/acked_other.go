//go:build !linux

package sink

import "net"

// unacknowledged is not told by this system: that the connection stands has to do.
func unacknowledged(net.Conn) (int, error) { return 0, nil }
