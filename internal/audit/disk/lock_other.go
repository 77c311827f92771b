//go:build !unix

package disk

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked says that another process has the log open.
var ErrLocked = errors.New("in use by another process")

// Lock takes a lock that ends with the call of release. Where files cannot be locked it only makes the file.
func Lock(path string) (release func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f.Close, nil
}
