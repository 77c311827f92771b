package lifecycle

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// StateAt is the state of a version at a moment: the one that was written down last, and what its dates have made of it since. Dates
// take effect at their second whether or not anybody has written the transition down yet.
func StateAt(v *kms.Version, now time.Time) kms.State {
	st := v.State
	if st == kms.PreActive && reached(v.ActivateAt, now) {
		st = kms.Active
	}
	if (st == kms.Active || st == kms.Suspended) && reached(v.DeactivateAt, now) {
		st = kms.Deactivated
	}
	return st
}

// PrimaryAt is the version that protects at a moment: from its date on, the one that was to be next.
func PrimaryAt(k *kms.Key, now time.Time) uint32 {
	if k.Next != 0 && reached(k.NextAt, now) {
		return k.Next
	}
	return k.Primary
}

// Primary writes down in a key what its dates have made of it by a moment, and tells whether that was anything.
func Primary(k *kms.Key, now time.Time) bool {
	n := PrimaryAt(k, now)
	if n == k.Primary {
		return false
	}
	k.Primary, k.Rotated = n, k.NextAt
	k.Next, k.NextAt = 0, time.Time{}
	return true
}

// Steps are the transitions that dates have made of a version by a moment and that are not written down, each with its own date.
func Steps(v *kms.Version, now time.Time) []kms.Transition {
	to := StateAt(v, now)
	if to == v.State {
		return nil
	}
	var steps []kms.Transition
	if v.State == kms.PreActive {
		steps = append(steps, kms.Transition{To: kms.Active, At: v.ActivateAt})
	}
	if to == kms.Deactivated {
		steps = append(steps, kms.Transition{To: kms.Deactivated, At: v.DeactivateAt})
	}
	return steps
}

// Recalled tells whether a recall is open.
func Recalled(v *kms.Version, now time.Time) bool {
	return !v.RecallUntil.IsZero() && now.Before(v.RecallUntil)
}

// TermsAt are the terms that a key and one of its versions are under at a moment. That a caller may process with compromised versions
// is added by whoever asked policy.
func TermsAt(k *kms.Key, v *kms.Version, now time.Time) Terms {
	return Terms{Freeze: k.Freeze, ProcessDeactivated: k.ProcessDeactivated, Recall: Recalled(v, now)}
}

// Expired tells whether the imported material of a version is to be forgotten: from that second on it serves nothing.
func Expired(v *kms.Version, now time.Time) bool { return reached(v.ExpiresAt, now) }

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// Limits of dates.
const (
	MaxAhead      = 100 * 365 * day // how far ahead a date may be
	DefaultRecall = time.Hour
	MinRecall     = time.Second
	MaxRecall     = 30 * day
)

// Date reads a date that is asked for now: in whole seconds, ahead of now. CodeBadRequest if it is not ahead, or too far.
func Date(at, now time.Time, what string) (time.Time, error) {
	at = at.UTC().Truncate(time.Second)
	switch {
	case !at.After(now):
		return at, kms.Errorf(kms.CodeBadRequest, "the date of %s, %s, is not ahead: it is %s", what, spelt(at), spelt(now))
	case at.Sub(now) > MaxAhead:
		return at, kms.Errorf(kms.CodeBadRequest, "the date of %s, %s, is more than 100 years ahead", what, spelt(at))
	}
	return at, nil
}

// InOrder checks that a version is not deactivated before it is active. CodeBadRequest.
func InOrder(activate, deactivate time.Time) error {
	if activate.IsZero() || deactivate.IsZero() || activate.Before(deactivate) {
		return nil
	}
	return kms.Errorf(kms.CodeBadRequest, "the version would be deactivated at %s, before it is active at %s", spelt(deactivate), spelt(activate))
}

// RecallEnd is when a recall that is asked for now ends; in whole seconds. A length of 0 stands for the default of an hour. CodeBadRequest if
// it is longer than 30 days, or no time at all.
func RecallEnd(now time.Time, length time.Duration) (time.Time, error) {
	if length == 0 {
		length = DefaultRecall
	}
	if length < MinRecall || length > MaxRecall {
		return time.Time{}, kms.Errorf(kms.CodeBadRequest, "a recall of %s was asked for, the limits are %s and %s", days(length), MinRecall, days(MaxRecall))
	}
	return now.Add(length + time.Second - 1).UTC().Truncate(time.Second), nil
}

func spelt(t time.Time) string { return t.UTC().Format(time.RFC3339) }
