package engine

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
)

// The descriptors of access keys.
var (
	createAccessKey = change[CreateAccessKeyInput, CreateAccessKeyOutput]{
		name: kms.CreateAccessKey, check: checkAccessKey, do: doCreateAccessKey, secret: true,
	}
	rotateAccessKey = change[RotateAccessKeyInput, CreateAccessKeyOutput]{
		name: kms.RotateAccessKey, check: checkRotation, do: doRotateAccessKey, secret: true,
	}
	revokeAccessKey = change[AccessKeyInput, AccessKeyOutput]{name: kms.RevokeAccessKey, do: doRevokeAccessKey}
	listAccessKeys  = op[ListAccessKeysInput, AccessKeysOutput]{
		name: kms.ReadAccessKey, check: func(in *ListAccessKeysInput) error { return checkLimit(&in.Limit) }, do: doListAccessKeys,
	}
)

// Limits of access keys.
const (
	maxAccessKeys = 8 // in force, of one principal
	maxGrace      = 30 * 24 * time.Hour
	DefaultGrace  = 24 * time.Hour // that a replaced access key goes on

	accessKeyPrefix = "AKIA"
	sessionPrefix   = "ASIA" // of temporary credentials
	accessIDBytes   = 10     // 16 characters in base 32
	accessSecret    = 30     // bytes: 40 characters in base 64
)

// CreateAccessKeyInput asks for an access key for a principal of the call's namespace.
type CreateAccessKeyInput struct {
	Principal string
	Roles     []kms.Role
	Groups    []string
	Scope     []kms.Action  // empty: everything its roles and policies permit
	TTL       time.Duration // 0: it does not end by itself; at most a year
}

// AccessKeyInfo describes an access key; it never holds the secret.
type AccessKeyInfo struct {
	ID        string
	Namespace kms.Namespace
	Principal string
	Roles     []kms.Role
	Groups    []string
	Scope     []kms.Action
	Created   time.Time
	By        string
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: it stands
	Successor string    // that replaced it
}

// CreateAccessKeyOutput shows the secret, this once.
type CreateAccessKeyOutput struct {
	Secret   secret.Released
	Info     AccessKeyInfo
	Replaced AccessKeyInfo // by a rotation
}

// RotateAccessKeyInput asks for another access key in the place of one.
type RotateAccessKeyInput struct {
	ID    string
	Grace *time.Duration // that the old one goes on; nil: DefaultGrace; 0: it ends at once; at most 30 days
	TTL   time.Duration  // of the new one; 0: as long as the old one had
}

// AccessKeyInput names an access key.
type AccessKeyInput struct{ ID string }

// AccessKeyOutput is one access key.
type AccessKeyOutput struct{ AccessKey AccessKeyInfo }

// ListAccessKeysInput asks for one page of the access keys of the call's namespace.
type ListAccessKeysInput struct {
	Principal string // empty: all principals
	Page      string
	Limit     int // 0: 100; at most 1000
}

// AccessKeysOutput is one page.
type AccessKeysOutput struct {
	AccessKeys []AccessKeyInfo
	Next       string
}

// CreateAccessKey makes an access key. Its secret is shown this once.
func (e *Engine) CreateAccessKey(ctx context.Context, c kms.Call, in CreateAccessKeyInput) (CreateAccessKeyOutput, error) {
	return alter(ctx, e, c, &createAccessKey, &in)
}

// RotateAccessKey makes another access key for the same principal with the same rights. The old one ends after the grace.
func (e *Engine) RotateAccessKey(ctx context.Context, c kms.Call, in RotateAccessKeyInput) (CreateAccessKeyOutput, error) {
	return alter(ctx, e, c, &rotateAccessKey, &in)
}

// RevokeAccessKey ends an access key at once, and the sessions that it began.
func (e *Engine) RevokeAccessKey(ctx context.Context, c kms.Call, in AccessKeyInput) (AccessKeyOutput, error) {
	return alter(ctx, e, c, &revokeAccessKey, &in)
}

// ListAccessKeys pages through the access keys of the call's namespace.
func (e *Engine) ListAccessKeys(ctx context.Context, c kms.Call, in ListAccessKeysInput) (AccessKeysOutput, error) {
	return use(ctx, e, c, &listAccessKeys, &in)
}

func checkAccessKey(in *CreateAccessKeyInput) error {
	if err := checkTTL(in.TTL); err != nil {
		return err
	}
	if len(in.Scope) > maxScope {
		return kms.Errorf(kms.CodeTooLarge, "the scope has more actions than there are")
	}
	return checkIdentity(in.Principal, in.Roles, in.Groups)
}

func checkTTL(ttl time.Duration) error {
	if ttl < 0 || ttl > maxTTL {
		return kms.Errorf(kms.CodeBadRequest, "an access key ends after %s at most, or does not end by itself", maxTTL)
	}
	return nil
}

func checkRotation(in *RotateAccessKeyInput) error {
	if in.Grace != nil && (*in.Grace < 0 || *in.Grace > maxGrace) {
		return kms.Errorf(kms.CodeBadRequest, "a replaced access key goes on for %s at most", maxGrace)
	}
	return checkTTL(in.TTL)
}

func accessKeyInfo(k *records.AccessKey) AccessKeyInfo {
	return AccessKeyInfo{ID: k.ID, Namespace: k.Namespace, Principal: k.Principal, Roles: k.Roles, Groups: k.Groups, Scope: k.Scope,
		Created: k.Created, By: k.By, Expires: k.Expires, Revoked: k.Revoked, Successor: k.Successor}
}

func doCreateAccessKey(_ context.Context, w *work, tx *records.Tx, in *CreateAccessKeyInput) (CreateAccessKeyOutput, error) {
	k := records.AccessKey{Namespace: w.call.Namespace, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope}
	out, err := w.newAccessKey(tx, &k, in.TTL)
	if err != nil {
		return out, err
	}
	w.rec.Resource, w.rec.Detail = k.ID, "for "+k.Principal
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		defer k.Erase()
		k.Change = leaf
		return tx.PutAccessKey(k)
	})
	return out, nil
}

// newAccessKey fills in what is new of an access key, and enters it in the index of its principal.
func (w *work) newAccessKey(tx *records.Tx, k *records.AccessKey, ttl time.Duration) (CreateAccessKeyOutput, error) {
	if w.call.Namespace == kms.SystemNamespace {
		return CreateAccessKeyOutput{}, kms.Errorf(kms.CodeBadRequest, "the system namespace has no keys and no access keys: choose another namespace")
	}
	if err := w.checkHome(k.Roles); err != nil {
		return CreateAccessKeyOutput{}, err
	}
	var text []byte
	k.ID, text = newAccessPair(accessKeyPrefix)
	k.Secret = slices.Clone(text)
	k.Created, k.By, k.Expires, k.Revoked, k.Successor = w.now.UTC(), w.call.Principal.Name, time.Time{}, time.Time{}, ""
	if ttl > 0 {
		k.Expires = k.Created.Add(ttl)
	}
	ids, err := w.liveAccessKeys(tx, k.Namespace, k.Principal)
	if err != nil {
		return CreateAccessKeyOutput{}, err
	}
	if len(ids) >= maxAccessKeys {
		return CreateAccessKeyOutput{}, kms.Errorf(kms.CodeTooLarge, "the principal has %d access keys in force, which is as many as one can have: revoke one first", len(ids))
	}
	if err := tx.PutAccessKeysOf(k.Namespace, k.Principal, append(ids, k.ID)); err != nil {
		return CreateAccessKeyOutput{}, err
	}
	return CreateAccessKeyOutput{Secret: secret.Release(text), Info: accessKeyInfo(k)}, nil
}

// newAccessPair makes the id and the secret of an access key.
func newAccessPair(prefix string) (id string, text []byte) {
	random := make([]byte, accessIDBytes+accessSecret)
	rand.Read(random) //nolint:errcheck // never fails since Go 1.24
	defer clear(random)
	id = prefix + base32.StdEncoding.EncodeToString(random[:accessIDBytes])
	return id, base64.StdEncoding.AppendEncode(nil, random[accessIDBytes:])
}

// liveAccessKeys are the access keys of a principal that are in force.
func (w *work) liveAccessKeys(tx *records.Tx, ns kms.Namespace, principal string) ([]string, error) {
	ids, err := tx.AccessKeysOf(ns, principal)
	if err != nil {
		return nil, err
	}
	live := make([]string, 0, len(ids)+1)
	for _, id := range ids {
		k, there, err := tx.AccessKey(id)
		if err != nil {
			return nil, err
		}
		if k.Erase(); there && k.Ended(w.now).IsZero() {
			live = append(live, id)
		}
	}
	return live, nil
}

// accessKey finds an access key of the call's namespace that a change is about.
func (w *work) accessKey(tx *records.Tx, id string) (records.AccessKey, error) {
	if len(id) > maxAccessID {
		return records.AccessKey{}, noAccessKey(id)
	}
	k, there, err := tx.AccessKey(id)
	if err == nil && (!there || k.Namespace != w.call.Namespace) {
		err = noAccessKey(id)
	}
	w.rec.Resource = clipTo(id, maxAccessID)
	return k, err
}

// maxAccessID is longer than the id of any access key.
const maxAccessID = 32

func noAccessKey(id string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no access key %q in this namespace", clipTo(id, maxAccessID))
}

func doRotateAccessKey(_ context.Context, w *work, tx *records.Tx, in *RotateAccessKeyInput) (CreateAccessKeyOutput, error) {
	old, err := w.accessKey(tx, in.ID)
	if err != nil {
		return CreateAccessKeyOutput{}, err
	}
	switch {
	case !old.Ended(w.now).IsZero():
		return CreateAccessKeyOutput{}, kms.Errorf(kms.CodeConflict, "the access key %s has ended: make a new one", old.ID)
	case old.Successor != "":
		return CreateAccessKeyOutput{}, kms.Errorf(kms.CodeConflict, "the access key %s was replaced by %s already", old.ID, old.Successor)
	}
	ttl := in.TTL
	if ttl == 0 && !old.Expires.IsZero() {
		ttl = old.Expires.Sub(old.Created)
	}
	k := old
	k.Secret = nil
	out, err := w.newAccessKey(tx, &k, ttl)
	if err != nil {
		return out, err
	}
	grace := DefaultGrace
	if in.Grace != nil {
		grace = *in.Grace
	}
	if end := w.now.Add(grace).UTC(); old.Expires.IsZero() || end.Before(old.Expires) {
		old.Expires = end
	}
	if old.Successor = k.ID; grace == 0 {
		old.Revoked, old.Expires = w.now.UTC(), k.Expires
		old.Erase()
	}
	w.rec.Detail = "replaced by " + k.ID + " of " + k.Principal
	out.Replaced = accessKeyInfo(&old)
	w.onCommit(old.Change, func(leaf [32]byte) error {
		defer old.Erase()
		defer k.Erase()
		old.Change, k.Change = leaf, leaf
		if err := tx.PutAccessKey(old); err != nil {
			return err
		}
		return tx.PutAccessKey(k)
	})
	return out, nil
}

func doRevokeAccessKey(_ context.Context, w *work, tx *records.Tx, in *AccessKeyInput) (AccessKeyOutput, error) {
	k, err := w.accessKey(tx, in.ID)
	if err != nil {
		return AccessKeyOutput{}, err
	}
	k.Erase()
	if !k.Revoked.IsZero() {
		w.rec.Detail = "nothing to do"
		return AccessKeyOutput{accessKeyInfo(&k)}, nil
	}
	k.Revoked = w.now.UTC()
	w.rec.Detail = "of " + k.Principal
	ids, err := tx.AccessKeysOf(k.Namespace, k.Principal)
	if err != nil {
		return AccessKeyOutput{}, err
	}
	if err := tx.PutAccessKeysOf(k.Namespace, k.Principal, slices.DeleteFunc(ids, func(id string) bool { return id == k.ID })); err != nil {
		return AccessKeyOutput{}, err
	}
	w.onCommit(k.Change, func(leaf [32]byte) error {
		k.Change = leaf
		return tx.PutAccessKey(k)
	})
	return AccessKeyOutput{accessKeyInfo(&k)}, nil
}

func doListAccessKeys(ctx context.Context, w *work, in *ListAccessKeysInput) (AccessKeysOutput, error) {
	var out AccessKeysOutput
	if in.Principal != "" {
		return out, w.accessKeysOf(ctx, in.Principal, &out)
	}
	after, err := pageBytes(in.Page)
	if err != nil {
		return out, err
	}
	for scanned := 0; scanned < scannedAtMost; {
		page, next, err := w.o.records.AccessKeys(ctx, after, min(in.Limit, 500))
		if err != nil {
			return out, err
		}
		scanned += len(page)
		for i := range page {
			if page[i].Namespace == w.call.Namespace {
				out.AccessKeys = append(out.AccessKeys, accessKeyInfo(&page[i]))
			}
		}
		if after = next; next == nil || len(out.AccessKeys) > 0 {
			break
		}
	}
	out.Next = bytesPage(after)
	return out, nil
}

// accessKeysOf lists the access keys of one principal: those in its index, which are few.
func (w *work) accessKeysOf(ctx context.Context, principal string, out *AccessKeysOutput) error {
	ids, err := w.o.records.AccessKeysOf(ctx, w.call.Namespace, principal)
	for _, id := range ids {
		k, err := w.o.records.AccessKey(ctx, id)
		if err != nil {
			return err
		}
		if k.Erase(); k.Rev != 0 {
			out.AccessKeys = append(out.AccessKeys, accessKeyInfo(&k))
		}
	}
	return err
}

// AccessKey finds the identity of an access key, with its secret, which the receiver erases. CodeUnauthenticated: there is none.
func (i Identities) AccessKey(ctx context.Context, id string) (Identity, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer o.release()
	k, err := o.records.AccessKey(ctx, id)
	if err != nil {
		return Identity{}, err
	}
	defer k.Erase()
	if k.Rev == 0 || !k.Revoked.IsZero() || k.Created.After(i.e.now().Add(clock.Tolerance)) {
		return Identity{}, unknownCredential()
	}
	if err := o.standing(ctx, k.Namespace); err != nil {
		return Identity{}, err
	}
	p := kms.Principal{Name: k.Principal, Namespace: k.Namespace, Roles: k.Roles, Groups: k.Groups, Method: kms.AuthSignature,
		Credential: k.ID, Expires: k.Expires, Scope: k.Scope}
	o.identify(&p)
	return Identity{Principal: p, Rev: k.Rev, Secret: secret.Copy(k.Secret)}, nil
}

// dropAccessKeys removes access keys that ended before a time, or whose namespace is no more.
func (e *Engine) dropAccessKeys(ctx context.Context, o *opened, ended time.Time) error {
	for after := []byte(nil); ; {
		page, next, err := o.records.AccessKeys(ctx, after, 500)
		if err != nil {
			return err
		}
		for i := range page {
			k := &page[i]
			n, err := o.records.Namespace(ctx, k.Namespace)
			if err != nil {
				return err
			}
			if end := k.Ended(ended); end.IsZero() && n.Destroyed.IsZero() || end.After(ended) {
				continue
			}
			_, touched, err := o.records.Update(ctx, func(tx *records.Tx) error {
				ids, err := tx.AccessKeysOf(k.Namespace, k.Principal)
				if err != nil {
					return err
				}
				if left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == k.ID }); len(left) != len(ids) {
					if err := tx.PutAccessKeysOf(k.Namespace, k.Principal, left); err != nil {
						return err
					}
				}
				return tx.RemoveAccessKey(k.Namespace, k.ID)
			})
			if err != nil {
				return err
			}
			e.tell(touched)
		}
		if after = next; next == nil {
			return nil
		}
	}
}
