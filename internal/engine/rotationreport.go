package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/rotation"
)

const (
	// reportFor is for how long one page of a report tests keys: an asymmetric key takes milliseconds. The page then ends, and says where to go on.
	reportFor = 2 * time.Second
	// reportHolds is how many opened versions a report keeps: its own, so that it puts nothing out of memory that clients use.
	reportHolds = 64
)

// RotationReportInput pages through the keys of a namespace that the caller may describe.
type RotationReportInput struct {
	NamePrefix string
	Page       string // the previous answer's Next
	Limit      int    // 0: 100; at most 1000
}

// How the self-test of a key's primary version ended.
const (
	SelfTestPassed = "passed"
	SelfTestFailed = "failed"
	SelfTestNone   = "none" // there is no material to test: none yet, destroyed, archived or forgotten
)

// RotationRow is how it stands with the rotation of one key.
type RotationRow struct {
	Key        kms.Key
	Missed     bool      // its date has passed by more than an hour, and it was not rotated
	Failed     uint32    // attempts to rotate it that failed since then
	RetryAt    time.Time // when it is tried again; zero: nothing failed
	Failure    string    // why the last attempt failed, for callers that may rotate the key
	SelfTest   string    // now, of the primary version
	Error      string    // why the self-test failed: the code, and the whole text for callers that may rotate the key
	Operations uint64    // that the primary version protected, of keys with a limit; what is reserved ahead counts
	Bytes      uint64
}

// RotationReportOutput is one page. It may hold fewer keys than the limit although more follow: only an empty Next ends it.
type RotationReportOutput struct {
	Rows []RotationRow
	Next string
}

// The descriptor of the report on rotations. Each page leaves a record that says what was tested and found: the evidence that rotation is tested (RES-8).
var rotationReport = op[RotationReportInput, RotationReportOutput]{
	name:  kms.ListKeys,
	check: func(in *RotationReportInput) error { return checkLimit(&in.Limit) },
	do:    doRotationReport,
}

// RotationReport tells of every key when it was rotated, when it is due, what was missed or failed, and whether its primary version opens what it made at its birth.
func (e *Engine) RotationReport(ctx context.Context, c kms.Call, in RotationReportInput) (RotationReportOutput, error) {
	return use(ctx, e, c, &rotationReport, &in)
}

func doRotationReport(ctx context.Context, w *work, in *RotationReportInput) (RotationReportOutput, error) {
	page, err := doListKeys(ctx, w, &ListKeysInput{Filter: KeyFilter{NamePrefix: in.NamePrefix}, Page: in.Page, Limit: in.Limit})
	if err != nil {
		return RotationReportOutput{}, err
	}
	failing, err := w.failedRotations(ctx, page.Keys)
	if err != nil {
		return RotationReportOutput{}, err
	}
	ring := keyring.New(keyring.Config{Records: w.o.records, Provider: w.e.cfg.Provider, Root: w.o.root, Epochs: w.o.epochs, Keys: reportHolds, Versions: reportHolds})
	defer ring.Clear()
	out := RotationReportOutput{Rows: make([]RotationRow, 0, len(page.Keys)), Next: page.Next}
	var missed, failed, broken int
	began := time.Now()
	for i := range page.Keys {
		row, err := w.rotationRow(ctx, ring, &page.Keys[i], failing[page.Keys[i].ID])
		if err != nil {
			return RotationReportOutput{}, err
		}
		out.Rows = append(out.Rows, row)
		missed, failed, broken = missed+one(row.Missed), failed+one(row.Failed > 0), broken+one(row.SelfTest == SelfTestFailed)
		if i+1 < len(page.Keys) && time.Since(began) > reportFor {
			out.Next = pageOf(row.Key.ID)
			break
		}
	}
	w.rec.Detail = fmt.Sprintf("rotation report: %d keys, %d missed, %d failing, %d self-tests failed", len(out.Rows), missed, failed, broken)
	return out, nil
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (w *work) rotationRow(ctx context.Context, ring *keyring.Ring, k *kms.Key, failing *records.Due) (RotationRow, error) {
	row := RotationRow{Key: *k, Missed: k.Switch == kms.Enabled && rotation.Missed(k.RotateAt, w.now)}
	may, err := w.wouldAllow(ctx, k, kms.RotateKey)
	if err != nil {
		return row, err
	}
	if failing != nil {
		row.Failed, row.RetryAt = failing.Attempts, failing.At
		if may {
			row.Failure = failing.Error
		}
	}
	if row.SelfTest, err = w.selfTest(ctx, ring, &keyring.Key{Key: *k}); kms.CodeOf(err) == kms.CodeCancelled {
		return row, err
	}
	if told := kms.AsError(err); err != nil && may {
		row.Error = told.Error()
	} else if err != nil {
		row.Error = told.Code.String() + " " + told.Code.Title()
	}
	if k.Period.Operations|k.Period.Bytes != 0 {
		c, err := w.o.records.Counter(ctx, k.ID, k.Primary)
		if err != nil {
			return row, err
		}
		row.Operations, row.Bytes = c.Operations, c.Bytes
	}
	return row, nil
}

// selfTest opens the primary version of a key anew, and lets it open what it made at its birth.
func (w *work) selfTest(ctx context.Context, ring *keyring.Ring, k *keyring.Key) (string, error) {
	if k.Switch == kms.DestroyedKey || k.Primary == 0 {
		return SelfTestNone, nil
	}
	if v, err := w.o.records.Version(ctx, k.ID, k.Primary); err == nil && lifecycle.Expired(&v.Version, w.now) {
		return SelfTestNone, nil // forgotten on purpose
	}
	tested, err := w.o.proveVersion(ctx, ring, k, k.Primary)
	switch {
	case err != nil:
		return SelfTestFailed, err
	case !tested:
		return SelfTestNone, nil
	}
	return SelfTestPassed, nil
}

// failedRotations finds the rotations of some keys that failed and wait to be tried again.
func (w *work) failedRotations(ctx context.Context, keys []kms.Key) (map[kms.ID]*records.Due, error) {
	ask := map[kms.ID]*records.Due{}
	for i := range keys {
		if k := &keys[i]; !k.Period.IsZero() {
			ask[k.ID] = nil
		}
	}
	if len(ask) == 0 {
		return ask, nil
	}
	err := w.o.eachRotation(ctx, w.e.now(), func(d *records.Due) {
		if was, ours := ask[d.Key]; ours && d.Attempts > 0 && (was == nil || was.Attempts < d.Attempts) {
			ask[d.Key] = d
		}
	})
	return ask, err
}
