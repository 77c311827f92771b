//go:build !linux

package arena

func mapMemory(size int) ([]byte, Kind, func() error, error) {
	return make([]byte, size), Visible, func() error { return nil }, nil
}
