package lifecycle

import (
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// The window between scheduling a destruction and carrying it out.
const (
	DefaultWindow = 30 * day
	MinWindow     = 7 * day   // in production
	MaxWindow     = 365 * day // everywhere
	day           = 24 * time.Hour
)

// End gives the moment of destruction for a window asked for now. A window of 0 stands for the default. In a development
// namespace any positive window will do. CodeWindow if it is shorter or longer than permitted.
func End(now time.Time, window time.Duration, development bool) (time.Time, error) {
	if window == 0 {
		window = DefaultWindow
	}
	least := MinWindow
	if development {
		least = 0
	}
	if window < least || window > MaxWindow {
		refusal := kms.Errorf(kms.CodeWindow, "a destruction window of %s was asked for, the limits are %s and %s",
			days(window), days(least), days(MaxWindow))
		return time.Time{}, refusal
	}
	return now.Add(window), nil
}

// Cancellable decides whether a scheduled destruction can still be cancelled: nil before its end, CodeWindow from then on.
func Cancellable(end, now time.Time) error {
	if end.IsZero() || now.Before(end) {
		return nil // without an end nothing is due, so there is nothing to fear from cancelling
	}
	refusal := kms.Errorf(kms.CodeWindow, "the destruction window ended at %s", end.UTC().Format(time.RFC3339))
	refusal.Next = "nothing: the destruction is being carried out"
	return refusal
}

// Due decides whether a scheduled destruction may be carried out: nil from its end on, CodeWindow before, and for a key
// that has no end. Now must be the durable high-water mark of time: a clock that jumped must not destroy a key.
func Due(end, now time.Time) error {
	if end.IsZero() {
		return kms.Errorf(kms.CodeWindow, "the key's destruction has no date: it is not carried out")
	}
	if now.Before(end) {
		return kms.Errorf(kms.CodeWindow, "the destruction window ends at %s", end.UTC().Format(time.RFC3339))
	}
	return nil
}

// days writes a window as people ask for it.
func days(d time.Duration) string {
	if d%day == 0 {
		switch n := int(d / day); n {
		case 0:
			return "0"
		case 1:
			return "1 day"
		default:
			return fmt.Sprintf("%d days", n)
		}
	}
	return d.String()
}
