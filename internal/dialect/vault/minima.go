package vault

import (
	"context"
	"net/http"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// minima sets the least versions that a key lets be used.
func (x *exchange) minima(ctx context.Context, ref kms.Ref) *fault {
	in := engine.UpdateKeyInput{Key: ref}
	for _, m := range []struct {
		name, negative string
		to             **uint32
	}{{"min_decryption_version", "min decryption version cannot be negative", &in.MinProcess}, {"min_encryption_version", "min encryption version cannot be negative", &in.MinProtect}} {
		if !x.in.has(m.name) {
			continue
		}
		n, f := x.in.number(m.name)
		switch {
		case f != nil:
			return f
		case n < 0:
			return newFault(http.StatusBadRequest, m.negative)
		case n == 0 && m.to == &in.MinProcess:
			n = 1
			x.warnings = append(x.warnings, "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1")
		}
		least := uint32(n) //nolint:gosec // G115: from 32 bits, not negative
		*m.to = &least
	}
	if in.MinProcess == nil && in.MinProtect == nil {
		return nil
	}
	if _, err := x.engine.UpdateKey(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	return nil
}

// letGo lets a key leave that was not made so. It is never taken back: false is passed over, as by transit itself.
func (x *exchange) letGo(ctx context.Context, ref kms.Ref, k *kms.Key) *fault {
	in := engine.AllowExportInput{Key: ref}
	var f *fault
	if in.Exportable, f = x.in.yes("exportable"); f != nil {
		return f
	}
	if in.Backup, f = x.in.yes("allow_plaintext_backup"); f != nil {
		return f
	}
	in.Exportable, in.Backup = in.Exportable && !k.Exportable, in.Backup && !k.Transit.Backup
	if !in.Exportable && !in.Backup {
		return nil
	}
	if _, err := x.engine.AllowExport(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	return nil
}
