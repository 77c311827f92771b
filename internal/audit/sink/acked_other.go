//go:build !linux

package sink

import "crypto/tls"

// unacknowledged is not told by this system: that the connection stands has to do.
func unacknowledged(*tls.Conn) (int, error) { return 0, nil }

// standing is not told either; a reader notices the end.
func standing(*tls.Conn) error { return nil }
