package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Secrets are small documents that clients keep here, by a path and in versions. Each value is sealed under a key of its own, as key material is:
// it takes the namespace's KEK and a shred secret to open it, and to destroy it the shred secret is erased. Who may do what with a secret is decided
// before it is told whether there is one.

// The descriptors of secrets.
var (
	putSecret = change[PutSecretInput, SecretOutput]{
		name: kms.PutSecret, check: checkPutSecret, authorize: onSecret(func(in *PutSecretInput) string { return in.Path }), prepare: prepareSecret, do: doPutSecret,
	}
	readSecret = op[ReadSecretInput, ReadSecretOutput]{
		name: kms.ReadSecret, check: func(in *ReadSecretInput) error { return checkSecretPath(in.Path) },
		authorize: onSecret(func(in *ReadSecretInput) string { return in.Path }), do: doReadSecret,
		erase: func(out *ReadSecretOutput) { out.Value.Zero() },
	}
	listSecrets = op[ListSecretsInput, ListSecretsOutput]{
		name: kms.ListSecrets, check: checkListSecrets, authorize: onSecret(func(in *ListSecretsInput) string { return in.Folder + "/" }), do: doListSecrets,
	}
	deleteSecret   = secretVersions(kms.DeleteSecret, softDelete)
	undeleteSecret = secretVersions(kms.UndeleteSecret, undelete)
	destroySecret  = secretVersions(kms.DestroySecret, destroyValue)

	readSecretMetadata = op[SecretInput, SecretOutput]{
		name: kms.ReadSecretMetadata, check: func(in *SecretInput) error { return checkSecretPath(in.Path) },
		authorize: onSecret(func(in *SecretInput) string { return in.Path }),
		do: func(ctx context.Context, w *work, in *SecretInput) (SecretOutput, error) {
			s, err := w.secretAt(ctx, in.Path)
			return SecretOutput{secretInfo(&s)}, err
		},
	}
	updateSecretMetadata = change[UpdateSecretInput, SecretOutput]{
		name: kms.UpdateSecretMetadata, check: checkUpdateSecret, authorize: onSecret(func(in *UpdateSecretInput) string { return in.Path }), do: doUpdateSecret,
	}
	deleteSecretMetadata = change[SecretInput, SecretOutput]{
		name: kms.DeleteSecretMetadata, check: func(in *SecretInput) error { return checkSecretPath(in.Path) },
		authorize: onSecret(func(in *SecretInput) string { return in.Path }), do: doDeleteSecretMetadata,
	}
)

// PutSecret writes a new version of a secret. CodeConflict: another version than the caller knows is the newest.
func (e *Engine) PutSecret(ctx context.Context, c kms.Call, in PutSecretInput) (SecretOutput, error) {
	return alter(ctx, e, c, &putSecret, &in)
}

// ReadSecret gives out a version of a secret. CodeNotFound: there is no such secret, or no such version.
func (e *Engine) ReadSecret(ctx context.Context, c kms.Call, in ReadSecretInput) (ReadSecretOutput, error) {
	return use(ctx, e, c, &readSecret, &in)
}

// ListSecrets lists the names in a folder, by name.
func (e *Engine) ListSecrets(ctx context.Context, c kms.Call, in ListSecretsInput) (ListSecretsOutput, error) {
	return use(ctx, e, c, &listSecrets, &in)
}

// DeleteSecret ends the giving out of versions. They are kept, and it can be taken back.
func (e *Engine) DeleteSecret(ctx context.Context, c kms.Call, in SecretVersionsInput) (SecretOutput, error) {
	return alter(ctx, e, c, &deleteSecret, &in)
}

// UndeleteSecret takes a deletion back.
func (e *Engine) UndeleteSecret(ctx context.Context, c kms.Call, in SecretVersionsInput) (SecretOutput, error) {
	return alter(ctx, e, c, &undeleteSecret, &in)
}

// DestroySecret erases versions for good. No copy of the store brings them back once the epoch has rolled.
func (e *Engine) DestroySecret(ctx context.Context, c kms.Call, in SecretVersionsInput) (SecretOutput, error) {
	return alter(ctx, e, c, &destroySecret, &in)
}

// ReadSecretMetadata answers what is known of a secret beside its values.
func (e *Engine) ReadSecretMetadata(ctx context.Context, c kms.Call, in SecretInput) (SecretOutput, error) {
	return use(ctx, e, c, &readSecretMetadata, &in)
}

// UpdateSecretMetadata changes it. A secret that there is not is made, without a version.
func (e *Engine) UpdateSecretMetadata(ctx context.Context, c kms.Call, in UpdateSecretInput) (SecretOutput, error) {
	return alter(ctx, e, c, &updateSecretMetadata, &in)
}

// DeleteSecretMetadata destroys all versions of a secret, and forgets it.
func (e *Engine) DeleteSecretMetadata(ctx context.Context, c kms.Call, in SecretInput) (SecretOutput, error) {
	return alter(ctx, e, c, &deleteSecretMetadata, &in)
}

// onSecret decides on the path of a secret, which policies see in the context.
func onSecret[In any](path func(*In) string) func(*work, *In) error {
	return func(w *work, in *In) error {
		w.rec.Resource = clipTo(path(in), MaxSecretPath)
		return w.authorizeNamespace(w.rec.Action)
	}
}

// splitSecret is the folder and the name that a path leads to.
func splitSecret(path string) (folder, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func noSecret(path string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no secret %q in this namespace", path)
}

// secretAt reads the secret of a path.
func (w *work) secretAt(ctx context.Context, path string) (records.Secret, error) {
	folder, name := splitSecret(path)
	entry, err := w.o.records.SecretEntry(ctx, w.call.Namespace, folder, name)
	if err != nil {
		return records.Secret{}, err
	}
	if entry.Secret.IsZero() {
		return records.Secret{}, noSecret(path)
	}
	s, err := w.o.records.Secret(ctx, entry.Secret)
	if err == nil && s.Rev == 0 { // forgotten in between
		err = noSecret(path)
	}
	return s, err
}

// secretIn reads it as a transaction sees it; a zero id: there is none.
func (w *work) secretIn(tx *records.Tx, path string) (records.Secret, error) {
	folder, name := splitSecret(path)
	entry, _, err := tx.SecretEntry(w.call.Namespace, folder, name)
	if err != nil || entry.Secret.IsZero() {
		return records.Secret{}, err
	}
	s, there, err := tx.Secret(entry.Secret)
	if err == nil && !there {
		err = kms.Errorf(kms.CodeRecordDamaged, "the record of the secret %q is missing", path)
	}
	return s, err
}

// newSecret makes a secret without a version, and the folders that lead to it.
func (w *work) newSecret(tx *records.Tx, path string) (records.Secret, error) {
	s := records.Secret{ID: w.e.orderedID(w.now), Namespace: w.call.Namespace, Path: path, Created: w.now.UTC(), Updated: w.now.UTC()}
	folder, name := splitSecret(path)
	entry, there, err := tx.SecretEntry(s.Namespace, folder, name)
	if err != nil {
		return s, err
	}
	entry.Name, entry.Secret = name, s.ID
	if err := tx.PutSecretEntry(s.Namespace, folder, entry); err != nil {
		return s, err
	}
	for !there && folder != "" {
		folder, name = splitSecret(folder)
		if entry, there, err = tx.SecretEntry(s.Namespace, folder, name); err != nil {
			return s, err
		}
		if entry.Children >= MaxSecretsInFolder {
			return s, kms.Errorf(kms.CodeTooMany, "the folder %q has the %d entries that a folder can have", strings.TrimPrefix(folder+"/"+name, "/"), MaxSecretsInFolder)
		}
		entry.Name = name
		entry.Children++
		if err := tx.PutSecretEntry(s.Namespace, folder, entry); err != nil {
			return s, err
		}
	}
	return s, nil
}

// leave takes the entry of a secret away, and the folders that nothing is in any more.
func (w *work) leave(tx *records.Tx, path string) error {
	folder, name := splitSecret(path)
	entry, _, err := tx.SecretEntry(w.call.Namespace, folder, name)
	if err != nil {
		return err
	}
	entry.Secret = kms.ID{}
	for {
		if err := tx.PutSecretEntry(w.call.Namespace, folder, entry); err != nil {
			return err
		}
		if entry.Children > 0 || folder == "" {
			return nil
		}
		folder, name = splitSecret(folder)
		if entry, _, err = tx.SecretEntry(w.call.Namespace, folder, name); err != nil {
			return err
		}
		if entry.Children == 0 {
			return kms.Errorf(kms.CodeRecordDamaged, "a folder of the secret %q does not know of it", path)
		}
		if entry.Children--; !entry.Secret.IsZero() { // a secret of the folder's name keeps it
			return tx.PutSecretEntry(w.call.Namespace, folder, entry)
		}
	}
}

// putSecret writes a secret with its change.
func (w *work) putSecret(tx *records.Tx, s records.Secret) SecretOutput {
	w.onCommit(s.Change, func(leaf [32]byte) error {
		s.Change = leaf
		return tx.PutSecret(s)
	})
	return SecretOutput{secretInfo(&s)}
}

func secretInfo(s *records.Secret) SecretInfo {
	out := SecretInfo{
		Path: s.Path, Created: s.Created, Updated: s.Updated, Current: s.Current, Keep: s.Keep, MustCheck: s.MustCheck,
		DeleteAfter: time.Duration(s.DeleteAfter) * time.Second, Custom: maps.Clone(s.Custom),
	}
	for i := range s.Versions {
		out.Versions = append(out.Versions, secretVersion(&s.Versions[i]))
	}
	return out
}

func secretVersion(v *records.SecretVersion) SecretVersion {
	return SecretVersion{Number: v.Number, Bytes: v.Bytes, Created: v.Created, By: v.By, Deleted: v.Deleted, Destroyed: v.Destroyed}
}

// versionOf finds a version of a secret; nil: there is none of that number, or none any more.
func versionOf(s *records.Secret, n uint32) *records.SecretVersion {
	i, ok := slices.BinarySearchFunc(s.Versions, n, func(v records.SecretVersion, n uint32) int { return int(v.Number) - int(n) })
	if !ok {
		return nil
	}
	return &s.Versions[i]
}

func checkListSecrets(in *ListSecretsInput) error {
	if in.Limit < 0 {
		return kms.Errorf(kms.CodeBadRequest, "a page of %d was asked for", in.Limit)
	}
	if in.Limit == 0 || in.Limit > 2*MaxSecretsInFolder {
		in.Limit = 2 * MaxSecretsInFolder
	}
	return checkFolder(in.Folder)
}

// doListSecrets reads the whole folder, which is bounded, since names are no part of where their records are.
func doListSecrets(ctx context.Context, w *work, in *ListSecretsInput) (out ListSecretsOutput, err error) {
	for after := []byte(nil); ; {
		page, next, err := w.o.records.SecretEntries(ctx, w.call.Namespace, in.Folder, after, 500)
		if err != nil {
			return out, err
		}
		for i := range page {
			if !page[i].Secret.IsZero() && page[i].Name > in.After {
				out.Names = append(out.Names, page[i].Name)
			}
			if name := page[i].Name + "/"; page[i].Children > 0 && name > in.After {
				out.Names = append(out.Names, name)
			}
		}
		if after = next; next == nil {
			break
		}
	}
	slices.Sort(out.Names)
	if out.More = len(out.Names) > in.Limit; out.More {
		out.Names = out.Names[:in.Limit]
	}
	return out, nil
}
