package records

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
)

// Key reads a key's metadata; a zero Rev means there is none.
func (r *Records) Key(ctx context.Context, ns kms.Namespace, id kms.ID) (Key, error) {
	k, rev, err := load[Key](ctx, r, keyPath(ns, id))
	k.Rev = rev
	return k, err
}

// Version reads a version; a zero Rev means there is none.
func (r *Records) Version(ctx context.Context, id kms.ID, n uint32) (Version, error) {
	v, rev, err := load[Version](ctx, r, versionPath(id, n))
	v.Rev = rev
	return v, err
}

// VersionWithShred reads a version and its shred row from one snapshot.
func (r *Records) VersionWithShred(ctx context.Context, id kms.ID, n uint32) (Version, Shred, error) {
	recs, _, err := r.store.Get(ctx, versionPath(id, n), shredPath(id, n))
	if err != nil {
		return Version{}, Shred{}, storeError(err)
	}
	v, err := decode[Version](r, recs[0])
	if err != nil {
		return Version{}, Shred{}, err
	}
	v.Rev = recs[0].Rev
	s, err := decode[Shred](r, recs[1])
	return v, s, err
}

// Versions reads up to n versions of a key with numbers below before (0: from the newest), newest first.
// latest is the key's highest number.
func (r *Records) Versions(ctx context.Context, id kms.ID, latest, before uint32, n int) ([]kms.Version, uint32, error) {
	if before == 0 || before > latest {
		before = latest + 1
	}
	var out []kms.Version
	for len(out) < n && before > 1 {
		step := min(uint32(n-len(out)), before-1, 64) //nolint:gosec // G115: n is at most a page
		paths := make([][]byte, 0, step)
		for i := range step {
			paths = append(paths, versionPath(id, before-1-i))
		}
		recs, _, err := r.store.Get(ctx, paths...)
		if err != nil {
			return nil, 0, storeError(err)
		}
		for _, rec := range recs {
			v, err := decode[Version](r, rec)
			if err != nil {
				return nil, 0, err
			}
			if rec.Rev != 0 {
				v.Rev = rec.Rev
				out = append(out, v.Version)
			}
		}
		before -= step
	}
	if before <= 1 {
		before = 0
	}
	return out, before, nil
}

// Name resolves a name or alias.
func (r *Records) Name(ctx context.Context, ns kms.Namespace, name string) (Name, kms.Rev, error) {
	return load[Name](ctx, r, r.namePath(ns, name))
}

// Keys reads a page of a namespace's keys in order of creation.
func (r *Records) Keys(ctx context.Context, ns kms.Namespace, after kms.ID, n int) (keys []kms.Key, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = keyPath(ns, after)
	}
	more, err := scan(ctx, r, keyPrefix(ns), from, n, func(_ []byte, k Key, rev kms.Rev) {
		k.Rev = rev
		keys = append(keys, k.Key)
	})
	if err == nil && more != nil {
		next = keys[len(keys)-1].ID
	}
	return keys, next, err
}

// KeysOf reads keys by their ids, at most store.MaxOps together, in that order. One that there is not is left out.
func (r *Records) KeysOf(ctx context.Context, ns kms.Namespace, ids []kms.ID) ([]kms.Key, error) {
	paths := make([][]byte, len(ids))
	for i, id := range ids {
		paths[i] = keyPath(ns, id)
	}
	recs, _, err := r.store.Get(ctx, paths...)
	if err != nil {
		return nil, storeError(err)
	}
	keys := make([]kms.Key, 0, len(recs))
	for _, rec := range recs {
		if rec.Rev == 0 {
			continue
		}
		k, err := decode[Key](r, rec)
		if err != nil {
			return nil, err
		}
		k.Rev = rec.Rev
		keys = append(keys, k.Key)
	}
	return keys, nil
}

// Namespace reads a namespace; a zero Rev means there is none.
func (r *Records) Namespace(ctx context.Context, ns kms.Namespace) (Namespace, error) {
	n, rev, err := load[Namespace](ctx, r, namespacePath(ns))
	n.Rev = rev
	return n, err
}

// NamespaceShred reads the shred row of a namespace's KEK.
func (r *Records) NamespaceShred(ctx context.Context, ns kms.Namespace) (Shred, error) {
	s, _, err := load[Shred](ctx, r, namespaceShredPath(ns))
	return s, err
}

// Namespaces reads a page of namespaces by name.
func (r *Records) Namespaces(ctx context.Context, after kms.Namespace, n int) (all []Namespace, next kms.Namespace, err error) {
	var from []byte
	if after != "" {
		from = namespacePath(after)
	}
	more, err := scan(ctx, r, []byte{byte(kindNamespace)}, from, n, func(_ []byte, v Namespace, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].Name
	}
	return all, next, err
}

// Policy reads a policy; a zero Rev means there is none.
func (r *Records) Policy(ctx context.Context, ns kms.Namespace, id string) (Policy, error) {
	p, rev, err := load[Policy](ctx, r, policyPath(ns, id))
	p.Rev = rev
	return p, err
}

// Policies reads a page of a namespace's policies by id.
func (r *Records) Policies(ctx context.Context, ns kms.Namespace, after string, n int) (all []Policy, next string, err error) {
	var from []byte
	if after != "" {
		from = policyPath(ns, after)
	}
	more, err := scan(ctx, r, policyPrefix(ns), from, n, func(_ []byte, v Policy, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// Token reads a token by its public id; a zero Rev means there is none.
func (r *Records) Token(ctx context.Context, id kms.ID) (Token, error) {
	t, rev, err := load[Token](ctx, r, tokenPath(id))
	t.Rev = rev
	return t, err
}

// Tokens reads a page of tokens of all namespaces in order of creation.
func (r *Records) Tokens(ctx context.Context, after kms.ID, n int) (all []Token, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = tokenPath(after)
	}
	more, err := scan(ctx, r, []byte{byte(kindToken)}, from, n, func(_ []byte, v Token, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// Credential reads a binding by its subject; a zero Rev means there is none.
func (r *Records) Credential(ctx context.Context, subject string) (Credential, error) {
	c, rev, err := load[Credential](ctx, r, r.credentialPath(subject))
	c.Rev = rev
	return c, err
}

// Credentials reads a page of bindings of all namespaces, in no meaningful order. after is the previous answer's next.
func (r *Records) Credentials(ctx context.Context, after []byte, n int) (all []Credential, next []byte, err error) {
	next, err = scan(ctx, r, []byte{byte(kindCredential)}, after, n, func(_ []byte, v Credential, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	return all, next, err
}

// OutboxRows reads a page of the outbox.
func (r *Records) OutboxRows(ctx context.Context, after kms.ID, n int) (all []Outbox, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = outboxPath(after)
	}
	more, err := scan(ctx, r, []byte{byte(kindOutbox)}, from, n, func(_ []byte, v Outbox, _ kms.Rev) { all = append(all, v) })
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// Enrollment reads the one-time code in force.
func (r *Records) Enrollment(ctx context.Context) (Enrollment, kms.Rev, error) {
	return load[Enrollment](ctx, r, enrollmentPath)
}

// Job reads where a job stands; a zero revision means it never ran.
func (r *Records) Job(ctx context.Context, name string) (Job, kms.Rev, error) {
	return load[Job](ctx, r, jobPath(name))
}

// ShredRow is a shred row with what it belongs to: a key's version, a sealed value, or a namespace's KEK or archive KEK (then Key is zero).
type ShredRow struct {
	Shred
	Key     kms.ID // or the id of a sealed value
	Version uint32
	Archive bool
	Secret  bool
	path    []byte
}

// ShredRows reads a page of all shred rows. after is the previous answer's next.
func (r *Records) ShredRows(ctx context.Context, after []byte, n int) (all []ShredRow, next []byte, err error) {
	next, err = scan(ctx, r, []byte{byte(kindShred)}, after, n, func(path []byte, v Shred, _ kms.Rev) {
		row := ShredRow{Shred: v, path: path}
		if len(path) == versionPathLen && path[1] != 0 {
			row.Key, row.Version = splitVersion(path)
		}
		if row.Secret = len(path) == secretShredPathLen && path[1] == 0xff; row.Secret {
			row.Key = kms.ID(path[2:])
		}
		row.Archive = len(path) > 2 && path[1] == 0 && path[2] == 0
		all = append(all, row)
	})
	return all, next, err
}

// ExpiredIdem reads a page of remembered outcomes and gives each to drop, which tells whether to forget it.
func (r *Records) ExpiredIdem(ctx context.Context, after []byte, n int, drop func(Idem) bool) (paths [][]byte, next []byte, err error) {
	next, err = scan(ctx, r, []byte{byte(kindIdem)}, after, n, func(path []byte, v Idem, _ kms.Rev) {
		if drop(v) {
			paths = append(paths, path)
		}
	})
	return paths, next, err
}
