package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Dates take effect when they are reached, by what asks lifecycle: nothing waits for a job. What is stored catches up later, in a change
// of its own that the server makes, or with the next change that somebody makes of the same version.

// dated is an output that shows keys or versions: it shows them as their dates have made them.
type dated interface{ asOf(now time.Time) }

func (out *KeyOutput) asOf(now time.Time) {
	lifecycle.Primary(&out.Key, now)
	out.Versions = versionsAt(out.Versions, now)
}

// versionsAt shows versions as their dates have made them. What it is given is not changed: it may be shared.
func versionsAt(all []kms.Version, now time.Time) []kms.Version {
	shown := all
	for i := range all {
		v := all[i]
		if !settleVersion(&v, now) {
			continue
		}
		if &shown[0] == &all[0] {
			shown = slices.Clone(all)
		}
		shown[i] = v
	}
	return shown
}

// settleVersion writes down in a version what its dates have made of it by a moment, and tells whether that was anything. It shares nothing
// with what the version was.
func settleVersion(v *kms.Version, now time.Time) bool {
	steps := lifecycle.Steps(v, now)
	over := !v.RecallUntil.IsZero() && !lifecycle.Recalled(v, now)
	if len(steps) == 0 && !over {
		return false
	}
	if over {
		v.RecallUntil = time.Time{}
	}
	v.History = slices.Clone(v.History)
	for _, s := range steps {
		s.By = system.Name
		enterState(v, s)
	}
	return true
}

// maxHistory bounds a version's history: transitions are few, except for suspend and resume in a loop.
const maxHistory = 64

func enterState(v *kms.Version, s kms.Transition) {
	v.State = s.To
	if len(v.History) >= maxHistory {
		v.History = append(v.History[:1:1], v.History[2:]...) // the birth stays; the audit log has the rest
	}
	v.History = append(v.History, s)
}

// move takes a version to a state now.
func (w *work) move(v *kms.Version, to kms.State) {
	enterState(v, kms.Transition{To: to, At: w.now.UTC(), By: w.call.Principal.Name, Reason: w.call.Reason})
}

// remind notes a date of a version, so that what it brings is written down; zero: there is none.
func remind(tx *records.Tx, k *kms.Key, version uint32, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return tx.PutDue(records.Due{Namespace: k.Namespace, Key: k.ID, At: at, What: records.DueState, Version: version})
}

// redate replaces one of a version's dates, and what it reminds of.
func redate(tx *records.Tx, k *kms.Key, v *kms.Version, date *time.Time, to time.Time) error {
	was := *date
	*date = to
	shared := was.Equal(v.ActivateAt) || was.Equal(v.DeactivateAt) || was.Equal(v.RecallUntil) // a row stands for all dates of a second
	if !was.IsZero() && !shared {
		if err := tx.RemoveDue(records.Due{Namespace: k.Namespace, Key: k.ID, At: was, What: records.DueState, Version: v.Number}); err != nil {
			return err
		}
	}
	return remind(tx, k, v.Number, to)
}

// writeDate writes down what a date of a version has brought, with that date.
func writeDate(ctx context.Context, t *task) error {
	e, o, at := t.e, t.o, t.Date()
	v, err := o.records.Version(ctx, t.Key, t.Version)
	if err != nil {
		return err
	}
	k, err := o.records.Key(ctx, t.Namespace, t.Key)
	if err != nil {
		return err
	}
	if !settleVersion(&v.Version, at) && !lifecycle.Primary(&k.Key, at) {
		_, _, err := o.records.Update(ctx, t.take)
		return err // it was written down with another change, or is a date no longer
	}
	return e.direct(ctx, o, kms.Call{Namespace: t.Namespace}, kms.ActivateVersion, func(w *work, tx *records.Tx) error {
		if err := t.take(tx); err != nil {
			return err
		}
		k, there, err := tx.Key(t.Namespace, t.Key)
		if err != nil {
			return err
		}
		v, is, err := tx.Version(t.Key, t.Version)
		if err != nil {
			return err
		}
		if !there || !is {
			w.rec.Detail = "nothing to do: there is no such version"
			return nil
		}
		return w.writeDates(tx, &k, &v, at)
	})
}

// writeDates writes down what the dates of a version have brought by one of them, and what that makes of its key.
func (w *work) writeDates(tx *records.Tx, k *records.Key, v *records.Version, at time.Time) error {
	w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, v.Number, k.Rev))
	was, recalled := v.State, !v.RecallUntil.IsZero()
	if settleVersion(&v.Version, at) {
		if err := tx.PutVersion(*v); err != nil {
			return err
		}
	}
	switch {
	case v.State == kms.Deactivated && was != kms.Deactivated:
		w.rec.Action = kms.DeactivateVersion
	case v.State == was && recalled:
		w.rec.Action = kms.RecallVersion
	}
	w.rec.Detail = fmt.Sprintf("by date, %s: %s", spelt(at), v.State)
	if recalled && v.RecallUntil.IsZero() {
		w.rec.Detail += ", the recall is over"
	}
	from, err := w.settlePrimary(tx, k, at)
	if err != nil {
		return err
	}
	if from != k.Primary {
		w.rec.Detail += fmt.Sprintf(", primary %d to %d", from, k.Primary)
	}
	if err := w.e.putTime(tx); err != nil {
		return err
	}
	w.putKey(tx, k) // also so that what was admitted on the key is decided anew
	return nil
}
