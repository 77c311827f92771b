package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/rotation"
)

// RotationReportInput pages through the keys of a namespace that the caller may describe.
type RotationReportInput struct {
	Page  string // the previous answer's Next
	Limit int    // 0: 100; at most 1000
}

// RotationRow is how it stands with the rotation of one key.
type RotationRow struct {
	Key        kms.Key
	Missed     bool   // its date has passed, and it was not rotated
	SelfTest   string // now, of the primary version: "passed", "none" for keys that have no material, or why it failed
	Operations uint64 // that the primary version protected, of keys with a limit; what is reserved ahead counts
	Bytes      uint64
}

// RotationReportOutput is one page.
type RotationReportOutput struct {
	Rows []RotationRow
	Next string
}

// The descriptor of the report on rotations.
var rotationReport = op[RotationReportInput, RotationReportOutput]{
	name:  kms.ListKeys,
	check: func(in *RotationReportInput) error { return checkLimit(&in.Limit) },
	do:    doRotationReport,
}

// RotationReport tells of every key when it was rotated, when it is due, what was missed, and whether its primary version opens what it made at its birth.
func (e *Engine) RotationReport(ctx context.Context, c kms.Call, in RotationReportInput) (RotationReportOutput, error) {
	return use(ctx, e, c, &rotationReport, &in)
}

func doRotationReport(ctx context.Context, w *work, in *RotationReportInput) (RotationReportOutput, error) {
	page, err := doListKeys(ctx, w, &ListKeysInput{Page: in.Page, Limit: in.Limit})
	if err != nil {
		return RotationReportOutput{}, err
	}
	out := RotationReportOutput{Rows: make([]RotationRow, len(page.Keys)), Next: page.Next}
	for i := range page.Keys {
		k := &keyring.Key{Key: page.Keys[i]}
		row := RotationRow{Key: k.Key, Missed: k.Switch == kms.Enabled && rotation.Missed(k.RotateAt, w.now), SelfTest: "none"}
		if k.Switch != kms.DestroyedKey && k.Switch != kms.PendingImport && k.Primary != 0 {
			row.SelfTest = "passed"
			if err := w.o.proveVersion(ctx, w.o.ring, k, k.Primary); kms.CodeOf(err) == kms.CodeCancelled {
				return RotationReportOutput{}, err
			} else if err != nil {
				row.SelfTest = kms.AsError(err).Error()
			}
		}
		if k.Period.Operations|k.Period.Bytes != 0 {
			c, err := w.o.records.Counter(ctx, k.ID, k.Primary)
			if err != nil {
				return RotationReportOutput{}, err
			}
			row.Operations, row.Bytes = c.Operations, c.Bytes
		}
		out.Rows[i] = row
	}
	return out, nil
}
