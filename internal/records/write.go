package records

import (
	"github.com/keyhold/keyhold/internal/kms"
)

// Key reads a key within the transaction.
func (tx *Tx) Key(ns kms.Namespace, id kms.ID) (Key, bool, error) {
	k, rev, ok, err := fetch[Key](tx, keyPath(ns, id))
	k.Rev = rev
	return k, ok, err
}

// PutKey writes a key's metadata.
func (tx *Tx) PutKey(k Key) error {
	k.Logical++
	tx.touched = append(tx.touched, Touch{Kind: TouchKey, Namespace: k.Namespace, ID: k.ID})
	return tx.put(keyPath(k.Namespace, k.ID), k)
}

// InsertKey writes the metadata of a key whose id is new.
func (tx *Tx) InsertKey(k Key) error {
	k.Logical = 1
	tx.touched = append(tx.touched, Touch{Kind: TouchKey, Namespace: k.Namespace, ID: k.ID})
	return tx.insert(keyPath(k.Namespace, k.ID), k)
}

// InsertVersion writes a version whose number is new, with its shred row.
func (tx *Tx) InsertVersion(v Version, s Shred) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchVersion, ID: v.Key, Version: v.Number})
	if err := tx.insert(shredPath(v.Key, v.Number), s); err != nil {
		return err
	}
	return tx.insert(versionPath(v.Key, v.Number), v)
}

// Version reads a version within the transaction.
func (tx *Tx) Version(id kms.ID, n uint32) (Version, bool, error) {
	v, rev, ok, err := fetch[Version](tx, versionPath(id, n))
	v.Rev = rev
	return v, ok, err
}

// PutVersion writes a version.
func (tx *Tx) PutVersion(v Version) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchVersion, ID: v.Key, Version: v.Number})
	return tx.put(versionPath(v.Key, v.Number), v)
}

// Name resolves a name or alias within the transaction.
func (tx *Tx) Name(ns kms.Namespace, name string) (Name, bool, error) {
	n, _, ok, err := fetch[Name](tx, tx.r.namePath(ns, name))
	return n, ok, err
}

// ClaimName makes a name or alias that leads nowhere yet lead to a key. It tells whether the name is taken; if it is found to
// be so only when the transaction is committed, that runs again.
func (tx *Tx) ClaimName(ns kms.Namespace, n Name) (taken bool, err error) {
	tx.touched = append(tx.touched, Touch{Kind: TouchName, Namespace: ns, Name: n.Name})
	return tx.claim(tx.r.namePath(ns, n.Name), n)
}

// PutName makes a name or alias lead to another key than before.
func (tx *Tx) PutName(ns kms.Namespace, n Name) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchName, Namespace: ns, Name: n.Name})
	return tx.put(tx.r.namePath(ns, n.Name), n)
}

// RemoveName frees a name or alias.
func (tx *Tx) RemoveName(ns kms.Namespace, name string) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchName, Namespace: ns, Name: name})
	return tx.remove(tx.r.namePath(ns, name))
}

// PutShred writes the shred row of a version.
func (tx *Tx) PutShred(id kms.ID, n uint32, s Shred) error { return tx.put(shredPath(id, n), s) }

// EraseShred removes the shred row of a version: what it wraps can no longer be opened.
func (tx *Tx) EraseShred(id kms.ID, n uint32) error { return tx.remove(shredPath(id, n)) }

// PutNamespaceShred writes the shred row of a namespace's KEK.
func (tx *Tx) PutNamespaceShred(ns kms.Namespace, s Shred) error {
	return tx.put(namespaceShredPath(ns), s)
}

// ReplaceShred writes a re-wrapped row if it has not changed since it was read. It tells whether it did.
func (tx *Tx) ReplaceShred(old ShredRow, s Shred) (bool, error) {
	now, _, ok, err := fetch[Shred](tx, old.path)
	if err != nil || !ok || string(now.Row) != string(old.Row) {
		return false, err
	}
	return true, tx.put(old.path, s)
}

// Namespace reads a namespace within the transaction.
func (tx *Tx) Namespace(ns kms.Namespace) (Namespace, bool, error) {
	n, rev, ok, err := fetch[Namespace](tx, namespacePath(ns))
	n.Rev = rev
	return n, ok, err
}

// PutNamespace writes a namespace.
func (tx *Tx) PutNamespace(n Namespace) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchNamespace, Namespace: n.Name})
	return tx.put(namespacePath(n.Name), n)
}

// Policy reads a policy within the transaction.
func (tx *Tx) Policy(ns kms.Namespace, id string) (Policy, bool, error) {
	p, rev, ok, err := fetch[Policy](tx, policyPath(ns, id))
	p.Rev = rev
	return p, ok, err
}

// PutPolicy writes a policy. The caller also counts up the namespace's PolicyRev.
func (tx *Tx) PutPolicy(ns kms.Namespace, p Policy) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchPolicy, Namespace: ns, Name: p.ID})
	return tx.put(policyPath(ns, p.ID), p)
}

// RemovePolicy deletes a policy. The caller also counts up the namespace's PolicyRev.
func (tx *Tx) RemovePolicy(ns kms.Namespace, id string) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchPolicy, Namespace: ns, Name: id})
	return tx.remove(policyPath(ns, id))
}

// Token reads a token within the transaction.
func (tx *Tx) Token(id kms.ID) (Token, bool, error) {
	t, rev, ok, err := fetch[Token](tx, tokenPath(id))
	t.Rev = rev
	return t, ok, err
}

// PutToken writes a token.
func (tx *Tx) PutToken(t Token) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchToken, Namespace: t.Namespace, ID: t.ID})
	return tx.put(tokenPath(t.ID), t)
}

// RemoveToken deletes a token that ended long ago.
func (tx *Tx) RemoveToken(id kms.ID) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchToken, ID: id})
	tx.drop(tokenUsesPath(id))
	return tx.remove(tokenPath(id))
}

// Credential reads a binding within the transaction.
func (tx *Tx) Credential(subject string) (Credential, bool, error) {
	c, rev, ok, err := fetch[Credential](tx, tx.r.credentialPath(subject))
	c.Rev = rev
	return c, ok, err
}

// PutCredential writes a binding.
func (tx *Tx) PutCredential(c Credential) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchCredential, Namespace: c.Namespace, Name: c.Subject})
	return tx.put(tx.r.credentialPath(c.Subject), c)
}

// PutOutbox writes the audit record of this transaction beside its change.
func (tx *Tx) PutOutbox(o Outbox) error { return tx.insert(outboxPath(o.ID), o) }

// ClearOutbox removes rows whose records are in the log.
func (tx *Tx) ClearOutbox(ids []kms.ID) {
	for _, id := range ids {
		tx.drop(outboxPath(id))
	}
}

// Idem reads the remembered outcome of an idempotency token. parts identify it: namespace, principal, action, token.
func (tx *Tx) Idem(parts ...[]byte) (Idem, bool, error) {
	i, _, ok, err := fetch[Idem](tx, tx.r.idemPath(parts...))
	return i, ok, err
}

// PutIdem remembers an outcome.
func (tx *Tx) PutIdem(i Idem, parts ...[]byte) error { return tx.put(tx.r.idemPath(parts...), i) }

// DropPaths removes records found by a sweep.
func (tx *Tx) DropPaths(paths [][]byte) {
	for _, p := range paths {
		tx.drop(p)
	}
}

// Enrollment reads the one-time code in force.
func (tx *Tx) Enrollment() (Enrollment, bool, error) {
	e, _, ok, err := fetch[Enrollment](tx, enrollmentPath)
	return e, ok, err
}

// PutEnrollment writes the one-time code in force.
func (tx *Tx) PutEnrollment(e Enrollment) error { return tx.put(enrollmentPath, e) }

// Job reads where a job stands.
func (tx *Tx) Job(name string) (Job, bool, error) {
	j, _, ok, err := fetch[Job](tx, jobPath(name))
	return j, ok, err
}

// PutJob writes where a job stands.
func (tx *Tx) PutJob(j Job) error { return tx.put(jobPath(j.Name), j) }
