package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// ReleaseAs says in which form material leaves in the clear.
type ReleaseAs uint8

// The forms.
const (
	AsBackup ReleaseAs = iota + 1 // the whole key, for a restore
	AsKeys                        // each version's key
	AsMACs                        // the MAC key beside each version
)

var releaseWords = map[ReleaseAs]string{AsBackup: "a backup", AsKeys: "its keys", AsMACs: "its MAC keys"}

// ReleaseInput asks for material in the clear. Only keys of the Vault dialect give it, which were made so.
type ReleaseInput struct {
	Key     kms.Ref
	As      ReleaseAs
	Version uint32 // 0: all that are used. Not of a backup, which has all

	Name      string // what a backup calls the key
	Deletable bool   // what a backup says of its deletion
}

// ReleaseOutput is material in the clear, in the words of transit.
type ReleaseOutput struct {
	Key      kms.Key
	Backup   secret.Released
	Versions []ReleasedVersion
}

// ReleasedVersion is the key, or MAC key, of a version: base64 or PEM.
type ReleasedVersion struct {
	Number uint32
	Text   secret.Released
}

// An action of its own, beside ExportKey: who may have material wrapped for a receiver that is named need not be who may have it in the clear.
var releaseKey = op[ReleaseInput, ReleaseOutput]{
	name: kms.ReleaseKey,
	roles: []role[ReleaseInput]{{action: kms.ReleaseKey, need: lifecycle.Process,
		key: func(in *ReleaseInput) (kms.Ref, error) { return in.Key, nil }}},
	check: func(in *ReleaseInput) error {
		if releaseWords[in.As] == "" || in.As == AsBackup && in.Version != 0 {
			return kms.Errorf(kms.CodeBadRequest, "a key is released as a backup of all versions, as keys, or as MAC keys")
		}
		return nil
	},
	do: doRelease,
}

// ReleaseKey gives material out in the clear. CodeNotExportable: the key was not made for that.
func (e *Engine) ReleaseKey(ctx context.Context, c kms.Call, in ReleaseInput) (ReleaseOutput, error) {
	return alter(ctx, e, c, ruled(&releaseKey), &in)
}

func doRelease(ctx context.Context, w *work, in *ReleaseInput) (out ReleaseOutput, err error) {
	k := w.keys[0]
	w.rec.Detail = "in the clear: " + releaseWords[in.As]
	if err := mayRelease(&k.Key.Key, in.As); err != nil {
		return out, err
	}
	versions, err := w.releasable(ctx, in)
	if err != nil {
		return out, err
	}
	b := backupOf(&k.Key.Key, in)
	defer b.Zero()
	for _, v := range versions {
		m, err := w.o.ring.Export(ctx, k.Key, v.Number, provider.Receiver{Clear: true})
		if err != nil {
			return out, err
		}
		b.Versions = append(b.Versions, transit.Version{Number: v.Number, Created: v.Created, Public: v.Public, Chain: v.Chain, Material: m.Clear, MAC: m.MAC})
	}
	w.rec.Detail += fmt.Sprintf(", %d versions", len(versions))
	out.Key = k.Key.Key
	if in.As == AsBackup {
		out.Backup, err = b.Write(w.now)
		w.rec.Bytes = uint64(out.Backup.Len()) //nolint:gosec // G115: a length
		return out, err
	}
	for i := range b.Versions {
		v := &b.Versions[i]
		r := ReleasedVersion{Number: v.Number}
		if in.As == AsMACs {
			r.Text = v.MACText()
		} else if r.Text, err = v.Text(k.Algorithm); err != nil {
			return out, err
		}
		w.rec.Bytes += uint64(r.Text.Len()) //nolint:gosec // G115: a length
		out.Versions = append(out.Versions, r)
	}
	return out, nil
}

func mayRelease(k *kms.Key, as ReleaseAs) error {
	switch {
	case !k.Transit.Mac:
		return kms.Errorf(kms.CodeNotExportable, "key %q is not one of the Vault dialect: its material never leaves in the clear", k.Name)
	case !k.Exportable:
		return kms.Errorf(kms.CodeNotExportable, "key %q is not exportable", k.Name)
	case as == AsBackup && !k.Transit.Backup:
		return kms.Errorf(kms.CodeNotExportable, "key %q does not allow a backup in plaintext", k.Name)
	case as == AsBackup && !transit.Written(k.Algorithm):
		return kms.Errorf(kms.CodeAlgorithm, "there is no form of backup for %s keys", k.Algorithm)
	}
	return nil
}

// releasable are the versions that leave, ascending. A backup has all from the oldest that there still is, and says nothing of states: none may be other than
// active. Of the others those leave that may be used.
func (w *work) releasable(ctx context.Context, in *ReleaseInput) ([]kms.Version, error) {
	k := w.keys[0]
	first, last := max(k.MinProcess, 1), k.Latest
	if in.As == AsBackup {
		first = max(k.MinKept, 1)
	}
	if in.Version != 0 {
		if in.Version < first {
			return nil, kms.Errorf(kms.CodeTooOld, "version %d of key %q is below the least that is used, %d", in.Version, k.Name, first)
		}
		first, last = in.Version, in.Version
	}
	if last-first >= transit.MaxVersions {
		return nil, kms.Errorf(kms.CodeTooLarge, "key %q has %d versions, and %d leave at once at most: name one, or trim the key", k.Name, last-first+1, transit.MaxVersions)
	}
	var all []kms.Version
	for n := first; n <= last; n++ {
		v, err := w.o.records.Version(ctx, k.ID, n)
		if err != nil {
			return nil, err
		}
		there := v.Number != 0
		if there {
			settleVersion(&v.Version, w.now)
		}
		switch {
		case there && v.State == kms.Active && !v.Lacking:
			all = append(all, v.Version)
		case in.Version != 0 && !there:
			return nil, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
		case in.Version != 0 || there && in.As == AsBackup && !gone(&v.Version):
			return nil, kms.Errorf(kms.CodeVersionState, "version %d of key %q is %s: only active ones leave", n, k.Name, v.State)
		case in.As == AsBackup && len(all) > 0:
			return nil, kms.Errorf(kms.CodeVersionState, "version %d of key %q is destroyed, between others: no backup could say that", n, k.Name)
		}
	}
	return all, nil
}

func gone(v *kms.Version) bool {
	return v.State == kms.Destroyed || v.State == kms.DestroyedCompromised
}

// backupOf is what a backup says of a key, without its versions.
func backupOf(k *kms.Key, in *ReleaseInput) *transit.Backup {
	return &transit.Backup{
		Name: in.Name, Algorithm: k.Algorithm, Bytes: k.Bytes, Derived: k.Transit.Derived, Convergent: k.Transit.Convergent, Exportable: k.Exportable, Plaintext: k.Transit.Backup,
		Deletable: in.Deletable, Imported: k.Origin == kms.Imported, Rotates: k.Transit.Rotates,
		MinProcess: k.MinProcess, MinProtect: k.MinProtect, MinKept: k.MinKept, Latest: k.Latest, Every: k.Period.Every.Duration(),
	}
}
