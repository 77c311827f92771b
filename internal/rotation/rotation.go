// Package rotation decides when a key is rotated: by time, by amount of use, and when it has done what it may (SP 800-57 part 1 rev. 5 §5.3: a cryptoperiod limits
// what one version protects).
//
// It decides on what it is given: it has no clock, stores nothing and rotates nothing. What it answers depends on the key and its cryptoperiod alone, so that
// a server that was started again, and every other one, comes to the same date.
//
// Invariants:
//   - Next is later than the moment it is asked from, and by at most the jitter earlier than the schedule says.
//   - Share is at most a thousandth of a limit (at least 1), so that what a crash loses of a share is little.
package rotation

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a cryptoperiod.
const (
	MinEvery      = time.Hour   // outside development
	MinEveryDev   = time.Second // in development
	MaxEvery      = 10 * 365 * day
	MinOperations = 10
	MinBytes      = 1 << 10
	MaxLimit      = 1 << 62 // of operations and bytes

	// Grace is how long after its date a rotation is not missed yet.
	Grace = time.Hour

	day = 24 * time.Hour
)

// Check refuses a cryptoperiod that is none. CodeBadRequest says what is wrong.
func Check(p kms.Period, development bool) error {
	least := MinEvery
	if development {
		least = MinEveryDev
	}
	var longest time.Duration // of jitter
	switch {
	case p.Every != 0 && p.Calendar != "":
		return bad("every and calendar are two schedules: give one")
	case p.Every < 0 || p.Every != 0 && (p.Every < seconds(least) || p.Every > seconds(MaxEvery)):
		return bad("a rotation every %s was asked for: want %s to %s", p.Every.Duration(), least, MaxEvery)
	case p.Every != 0:
		longest = p.Every.Duration() / 2
	case p.Calendar != "":
		c, err := ParseCalendar(p.Calendar)
		if err != nil {
			return err
		}
		longest = c.shortest() / 2
	case p.Jitter != 0:
		return bad("a jitter belongs to a schedule: give every or calendar")
	}
	switch {
	case p.Jitter < 0 || p.Jitter.Duration() > longest:
		return bad("a jitter of %s was asked for: want at most half the time between rotations, %s", p.Jitter.Duration(), longest)
	case p.Operations != 0 && (p.Operations < MinOperations || p.Operations > MaxLimit):
		return bad("a limit of %d operations was asked for: want %d to %d", p.Operations, uint64(MinOperations), uint64(MaxLimit))
	case p.Bytes != 0 && (p.Bytes < MinBytes || p.Bytes > MaxLimit):
		return bad("a limit of %d bytes was asked for: want %d to %d", p.Bytes, uint64(MinBytes), uint64(MaxLimit))
	}
	return nil
}

func seconds(d time.Duration) kms.Seconds { return kms.Seconds(d / time.Second) }

func bad(format string, args ...any) error { return kms.Errorf(kms.CodeBadRequest, format, args...) }

// Next is when a version that became the primary one at a moment is due to be replaced: zero if only by hand or by use. It is in UTC and in whole seconds.
func Next(p kms.Period, key kms.ID, from time.Time) time.Time {
	early := jitter(p, key)
	from = from.UTC().Truncate(time.Second)
	if p.Every > 0 {
		return from.Add(p.Every.Duration() - early)
	}
	c, err := ParseCalendar(p.Calendar)
	if err != nil { // none, or of a newer version of the program
		return time.Time{}
	}
	for at := c.After(from); ; at = c.After(at) {
		if due := at.Add(-early); due.After(from) {
			return due
		}
	}
}

// jitter is by how much a key's rotations come earlier: always the same for one key.
func jitter(p kms.Period, key kms.ID) time.Duration {
	if p.Jitter <= 0 {
		return 0
	}
	sum := sha256.Sum256(append([]byte("keyhold rotation jitter\x00"), key[:]...))
	return time.Duration(binary.BigEndian.Uint64(sum[:])%(uint64(p.Jitter)+1)) * time.Second //nolint:gosec // G115: at most the jitter
}

// Missed tells whether a rotation that was due at a date should have happened by now.
func Missed(due, now time.Time) bool { return !due.IsZero() && now.After(due.Add(Grace)) }

// Trigger is how much use of a limit calls for a rotation: 80 %, rounded up.
func Trigger(limit uint64) uint64 { return limit - limit/5 }

// Share is how much of a limit is reserved at a time.
func Share(limit uint64) uint64 { return max(limit/1000, 1) }
