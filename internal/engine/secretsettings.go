package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of what holds for the secrets below a folder. Who may see or change the metadata of the folder, whose path ends in a slash, may see or
// change that.
var (
	readSecretSettings = op[SecretSettingsInput, SecretSettingsOutput]{
		name: kms.ReadSecretMetadata, check: func(in *SecretSettingsInput) error { return checkFolder(in.Folder) },
		authorize: onSecret(func(in *SecretSettingsInput) string { return in.Folder + "/" }),
		do: func(ctx context.Context, w *work, in *SecretSettingsInput) (SecretSettingsOutput, error) {
			s, err := w.o.records.SecretSettings(ctx, w.call.Namespace, in.Folder)
			return SecretSettingsOutput{secretSettings(&s)}, err
		},
	}
	updateSecretSettings = change[UpdateSecretSettingsInput, SecretSettingsOutput]{
		name: kms.UpdateSecretMetadata,
		check: func(in *UpdateSecretSettingsInput) error {
			if err := checkSettings(in.Keep, in.DeleteAfter); err != nil {
				return err
			}
			return checkFolder(in.Folder)
		},
		authorize: onSecret(func(in *UpdateSecretSettingsInput) string { return in.Folder + "/" }),
		do:        doUpdateSecretSettings,
	}
)

// ReadSecretSettings answers what holds for the secrets below a folder.
func (e *Engine) ReadSecretSettings(ctx context.Context, c kms.Call, in SecretSettingsInput) (SecretSettingsOutput, error) {
	return use(ctx, e, c, &readSecretSettings, &in)
}

// UpdateSecretSettings changes it. It holds for what is written from then on.
func (e *Engine) UpdateSecretSettings(ctx context.Context, c kms.Call, in UpdateSecretSettingsInput) (SecretSettingsOutput, error) {
	return alter(ctx, e, c, &updateSecretSettings, &in)
}

func secretSettings(s *records.SecretSettings) SecretSettings {
	return SecretSettings{Keep: s.Keep, MustCheck: s.MustCheck, DeleteAfter: time.Duration(s.DeleteAfter) * time.Second}
}

// settingsOf is what holds for a secret: what it says itself, else what its folder says, else what is usual.
func (w *work) settingsOf(tx *records.Tx, s *records.Secret, folder string) (held SecretSettings, err error) {
	if folder != "" {
		below, err := tx.SecretSettings(w.call.Namespace, folder)
		if err != nil {
			return held, err
		}
		held = secretSettings(&below)
	}
	if s.Keep > 0 {
		held.Keep = s.Keep
	}
	if held.Keep == 0 {
		held.Keep = SecretVersions
	}
	held.MustCheck = held.MustCheck || s.MustCheck
	if own := time.Duration(s.DeleteAfter) * time.Second; own > 0 && (held.DeleteAfter == 0 || own < held.DeleteAfter) {
		held.DeleteAfter = own
	}
	return held, nil
}

func doUpdateSecretSettings(_ context.Context, w *work, tx *records.Tx, in *UpdateSecretSettingsInput) (SecretSettingsOutput, error) {
	s, err := tx.SecretSettings(w.call.Namespace, in.Folder)
	if err != nil {
		return SecretSettingsOutput{}, err
	}
	s.Folder = in.Folder
	if in.Keep != nil {
		s.Keep = *in.Keep
	}
	if in.MustCheck != nil {
		s.MustCheck = *in.MustCheck
	}
	if in.DeleteAfter != nil {
		s.DeleteAfter = int64(*in.DeleteAfter / time.Second)
	}
	w.onCommit(s.Change, func(leaf [32]byte) error {
		s.Change = leaf
		return tx.PutSecretSettings(w.call.Namespace, s)
	})
	return SecretSettingsOutput{secretSettings(&s)}, nil
}
