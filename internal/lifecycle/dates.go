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

// TermsAt are the terms that a key and one of its versions are under at a moment. That a caller may process with compromised versions
// is added by whoever asked policy.
func TermsAt(k *kms.Key, v *kms.Version, now time.Time) Terms {
	return Terms{
		Freeze: k.Freeze, ProcessDeactivated: k.ProcessDeactivated,
		Recall: !v.RecallUntil.IsZero() && now.Before(v.RecallUntil),
	}
}

// Expired tells whether the imported material of a version is to be forgotten: from that second on it serves nothing.
func Expired(v *kms.Version, now time.Time) bool { return reached(v.ExpiresAt, now) }

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
