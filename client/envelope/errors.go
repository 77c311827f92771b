package envelope

import (
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// Why a file does not open. Find them with errors.Is. What a Keyhold server says is a *client.Error (errors.As); a failure
// to read or write is the error of the reader or writer.
var (
	// ErrFormat: it is not an envelope file, or not of a version and form that this package reads.
	ErrFormat = errors.New("not a file that this version of Keyhold encrypted")
	// ErrCorrupt: it is not what was encrypted. One error for every reason: altered, cut short, extended, put together from
	// other files.
	ErrCorrupt = errors.New("the file was changed after it was encrypted: it was altered, cut short, or put together from others")
	// ErrNoIdentity: none of the identities is one of its recipients.
	ErrNoIdentity = errors.New("the file was not encrypted for any of the given keys")
	// ErrPassphrase: the passphrase is not that of the file, or its place in the header was changed.
	ErrPassphrase = errors.New("the passphrase does not open the file")
	// ErrContext: its encryption context is not the one that was asked for.
	ErrContext = errors.New("the file has another encryption context")
	// ErrOptions: what was asked for cannot be done.
	ErrOptions = errors.New("wrong options")
)

func formatf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

func optionsf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
}

// outward turns an error of the stream into one of this package.
func outward(err error) error {
	if errors.Is(err, floe.ErrOpen) {
		return ErrCorrupt
	}
	return err
}
