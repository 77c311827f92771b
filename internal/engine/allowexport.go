package engine

import (
	"context"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// AllowExportInput lets a key of the Vault dialect leave. What is false stays as it is: neither is ever taken back, as nobody knows who has the
// material by then.
type AllowExportInput struct {
	Key        kms.Ref
	Exportable bool // its material may leave, wrapped
	Backup     bool // and in the clear, by a backup
}

// An action of its own, so that a policy or an approval can guard it apart from other changes of the key.
var allowExport = change[AllowExportInput, KeyOutput]{
	name: kms.AllowExport,
	roles: []role[AllowExportInput]{{action: kms.AllowExport, need: lifecycle.Manage,
		key: func(in *AllowExportInput) (kms.Ref, error) { return in.Key, nil }}},
	do: doAllowExport,
}

// AllowExport lets a key leave that was not made so. CodeNotExportable: only keys of the Vault dialect can become so later.
func (e *Engine) AllowExport(ctx context.Context, c kms.Call, in AllowExportInput) (KeyOutput, error) {
	return alter(ctx, e, c, &allowExport, &in)
}

func doAllowExport(_ context.Context, w *work, tx *records.Tx, in *AllowExportInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if !k.Transit.Mac {
		return KeyOutput{}, kms.Errorf(kms.CodeNotExportable, "key %q was made to stay for ever: only keys of the Vault dialect can be let go later", k.Name)
	}
	said := preset(&k.Exportable, leave(in.Exportable), "exportable")
	said = append(said, preset(&k.Transit.Backup, leave(in.Backup), "plaintext backup")...)
	if len(said) == 0 {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	k.Transit = k.Settled()
	w.rec.Detail = strings.Join(said, ", ")
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}

// leave is a wish that can only be true, or none.
func leave(yes bool) *bool {
	if !yes {
		return nil
	}
	return &yes
}
