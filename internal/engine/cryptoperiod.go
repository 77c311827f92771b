package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/rotation"
)

// ScheduleRotationInput sets the cryptoperiod of a key; a zero one ends it.
type ScheduleRotationInput struct {
	Key    kms.Ref
	Period kms.Period
	Dates  bool `json:",omitzero"` // only when it is rotated changes, not how much a version may protect
}

// The descriptor of cryptoperiods.
var scheduleRotation = change[ScheduleRotationInput, KeyOutput]{
	name: kms.ScheduleRotation,
	roles: []role[ScheduleRotationInput]{{action: kms.ScheduleRotation, need: lifecycle.Manage,
		key: func(in *ScheduleRotationInput) (kms.Ref, error) { return in.Key, nil }}},
	do: doScheduleRotation,
}

// ScheduleRotation says when a key is rotated by itself, and how much a version may protect.
func (e *Engine) ScheduleRotation(ctx context.Context, c kms.Call, in ScheduleRotationInput) (KeyOutput, error) {
	return alter(ctx, e, c, &scheduleRotation, &in)
}

func doScheduleRotation(_ context.Context, w *work, tx *records.Tx, in *ScheduleRotationInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if in.Dates {
		in.Period.Operations, in.Period.Bytes = k.Period.Operations, k.Period.Bytes
	}
	if k.Period == in.Period {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if t := w.rules.templates[k.Template]; t != nil && t.Period != in.Period && slices.Contains(t.Locked, "cryptoperiod") {
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "template %q locks the cryptoperiod of its keys: %s", t.Name, periodWords(t.Period))
	}
	if err := rotation.Check(in.Period, w.rules.ns.Dev); err != nil {
		return KeyOutput{}, err
	}
	k.Period = in.Period
	if err := w.plan(tx, &k); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = "cryptoperiod: " + periodWords(in.Period)
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

// plan puts the next rotation into the index of what is due, in the place of the one that was planned before. It counts from when the primary version began to serve as such.
// For an imported key it is the date by which somebody has to bring new material: the server cannot, and says so when the date has come.
func (w *work) plan(tx *records.Tx, k *records.Key) error {
	if k.Period.Every == 0 && k.Period.Calendar == "" {
		return w.planFrom(tx, k, time.Time{})
	}
	v, there, err := tx.Version(k.ID, k.Primary)
	if err != nil {
		return err
	}
	if !there {
		return w.planFrom(tx, k, later(k.Rotated, k.Created)) // it is put after this
	}
	settleVersion(&v.Version, w.now)
	return w.planFrom(tx, k, servesFrom(&k.Key, &v.Version))
}

// servesFrom is when the primary version of a key began to serve as such, or will: one that was made for a date does not before. Zero: when it is activated by hand.
func servesFrom(k *kms.Key, v *kms.Version) time.Time {
	from := later(k.Rotated, k.Created)
	if v.State == kms.PreActive {
		if v.ActivateAt.IsZero() {
			return time.Time{}
		}
		return later(from, v.ActivateAt)
	}
	for _, s := range v.History {
		if s.To == kms.Active {
			return later(from, s.At)
		}
	}
	return from
}

func (w *work) planFrom(tx *records.Tx, k *records.Key, from time.Time) error {
	if !k.RotateAt.IsZero() {
		if err := tx.RemoveDue(rotationOf(k)); err != nil {
			return err
		}
	}
	k.RotateAt = time.Time{}
	if k.Primary == 0 || from.IsZero() {
		return nil
	}
	k.RotateAt = rotation.Next(k.Period, k.ID, from)
	return resume(tx, k)
}

// settlePrimary writes down in a key what its dates have made of it by a moment. A new primary version begins a new period.
func (w *work) settlePrimary(tx *records.Tx, k *records.Key, at time.Time) (was uint32, err error) {
	if was = k.Primary; lifecycle.Primary(&k.Key, at) {
		err = w.plan(tx, k)
	}
	return was, err
}

// resume puts a planned rotation back into the index: that of a key that cannot be rotated as it is was taken out when its date had come.
func resume(tx *records.Tx, k *records.Key) error {
	if k.RotateAt.IsZero() || k.Switch != kms.Enabled {
		return nil
	}
	return tx.PutDue(rotationOf(k))
}

func rotationOf(k *records.Key) records.Due {
	return records.Due{Namespace: k.Namespace, Key: k.ID, At: k.RotateAt, What: records.DueRotate}
}

func periodWords(p kms.Period) string {
	var said []string
	if p.Every != 0 {
		said = append(said, "every "+p.Every.Duration().String())
	}
	if p.Calendar != "" {
		said = append(said, p.Calendar)
	}
	if p.Jitter != 0 {
		said = append(said, "up to "+p.Jitter.Duration().String()+" earlier")
	}
	if p.Operations != 0 {
		said = append(said, fmt.Sprintf("%d operations", p.Operations))
	}
	if p.Bytes != 0 {
		said = append(said, fmt.Sprintf("%d bytes", p.Bytes))
	}
	if len(said) == 0 {
		return "none"
	}
	return strings.Join(said, ", ")
}

// rotateDue rotates a key whose date has come, or whose primary version comes near a limit.
func rotateDue(ctx context.Context, t *task) error {
	for range maxAdmissions {
		err := t.rotate(ctx)
		if !errors.Is(err, errStale) {
			return err
		}
		t.o.ring.Forget(Touch{Kind: records.TouchKey, Namespace: t.Namespace, ID: t.Key})
	}
	return kms.Errorf(kms.CodeConflict, "other changes of this key came between %d times", maxAdmissions)
}

func (t *task) rotate(ctx context.Context) error {
	why := bySchedule
	if t.Version != 0 {
		why = byLimit
	}
	var made *newVersion
	return t.e.directly(ctx, t.o, kms.Call{Namespace: t.Namespace, Reason: "rotated " + why}, kms.RotateKey,
		func(w *work) (err error) {
			home, err := t.o.records.Namespace(ctx, t.Namespace)
			if err != nil {
				return err
			}
			if !home.Destroyed.IsZero() { // and its keys with it
				return t.drop(ctx, nil)
			}
			k, err := t.o.ring.Key(ctx, t.Namespace, t.Key)
			if kms.CodeOf(err) == kms.CodeKeyNotFound || err == nil && !t.wanted(&k.Key) {
				return t.drop(ctx, t.wanted)
			}
			if err != nil {
				return err
			}
			w.keys[0], w.n = admitted{Key: k, action: kms.RotateKey, need: lifecycle.Rotate}, 1
			w.rec.Keys, w.rec.Resource = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev)), k.Name
			if err := mayGenerate(&k.Key, false); err != nil {
				return err
			}
			made, err = w.successor(ctx, 0)
			return err
		},
		func(w *work, tx *records.Tx) error {
			k, there, err := tx.Key(t.Namespace, t.Key)
			if err != nil {
				return err
			}
			if !there || k.Rev != w.keys[0].Rev {
				return errStale
			}
			if err := t.take(tx); err != nil {
				return err
			}
			w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
			if _, err := w.install(ctx, tx, &k, made, Dates{}, why+lateBy(t.Date(), w.now)); err != nil {
				return err
			}
			w.putKey(tx, &k)
			return nil
		})
}

// lateBy is said of a rotation that was missed and is made up for.
func lateBy(due, now time.Time) string {
	if !rotation.Missed(due, now) {
		return ""
	}
	return ", " + now.Sub(due).Round(time.Second).String() + " late"
}

// wanted tells whether the key is still to be rotated because of this row. A key that cannot be rotated as it is comes back when it is enabled.
func (t *task) wanted(k *kms.Key) bool {
	if k.Switch != kms.Enabled {
		return false
	}
	primary := lifecycle.PrimaryAt(k, t.e.now())
	if t.Version != 0 {
		return primary == t.Version && k.Period.Operations|k.Period.Bytes != 0
	}
	return primary == k.Primary && k.RotateAt.Equal(t.Date()) // a version that took over by its date begins its period when that is written down
}

// drop forgets a row that asks for nothing any more. If it came from a limit, that may ask again. What is in memory may be older than what another node has
// written: where the key as it is stored still wants it, nothing is forgotten, and the answer is errStale.
func (t *task) drop(ctx context.Context, wanted func(*kms.Key) bool) error {
	_, _, err := t.o.records.Update(ctx, func(tx *records.Tx) error {
		if wanted != nil {
			k, there, err := tx.Key(t.Namespace, t.Key)
			if err != nil {
				return err
			}
			if there && wanted(&k.Key) {
				return errStale
			}
		}
		if err := t.take(tx); err != nil || t.Version == 0 {
			return err
		}
		c, err := tx.Counter(t.Key, t.Version)
		if err != nil || !c.Asked {
			return err
		}
		c.Asked = false
		return tx.PutCounter(t.Key, t.Version, c)
	})
	if err == nil {
		err = errGone
	}
	return err
}

// missedRotations tells how many rotations should have happened by a moment and did not, and how many failed at least once.
func (o *opened) missedRotations(ctx context.Context, now time.Time) (missed, failed int, err error) {
	err = o.eachRotation(ctx, now, func(d *records.Due) {
		failed, missed = failed+one(d.Attempts > 0), missed+one(rotation.Missed(d.Date(), now))
	})
	return missed, failed, err
}

// eachRotation goes through the rotations that are due at a moment, with those that failed: they wait retryMost at most.
func (o *opened) eachRotation(ctx context.Context, now time.Time, f func(*records.Due)) error {
	var after []byte
	for seen := 0; seen < dueSearched; {
		page, err := o.records.DueBy(ctx, now.Add(retryMost), after, pageMost)
		if err != nil {
			return err
		}
		for i := range page.Rows {
			if d := &page.Rows[i]; d.What == records.DueRotate {
				f(d)
			}
		}
		seen += len(page.Rows) + len(page.Damaged)
		if after = page.Next; after == nil {
			break
		}
	}
	return nil
}
