package engine

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits of secret ids.
const (
	maxSecretID    = 512  // bytes
	maxSecretIDs   = 4096 // of one role
	maxSecretIDTTL = 10 * 366 * 24 * time.Hour
	maxSecretMeta  = maxMeta - 1 // the token has the role's name beside them
)

// The descriptors of secret ids.
var (
	createSecretID = change[CreateSecretIDInput, CreateSecretIDOutput]{
		name: kms.CreateSecretID, check: checkSecretID, prepare: prepareSecretID, do: doCreateSecretID, secret: true,
	}
	readSecretID  = op[SecretIDInput, SecretIDOutput]{name: kms.ReadSecretID, check: checkSecretIDInput, do: doReadSecretID}
	listSecretIDs = op[ListSecretIDsInput, SecretIDsOutput]{
		name: kms.ReadSecretID, check: func(in *ListSecretIDsInput) error { return checkLimit(&in.Limit) }, do: doListSecretIDs,
	}
	destroySecretID = change[SecretIDInput, SecretIDOutput]{name: kms.DestroySecretID, check: checkSecretIDInput, do: doDestroySecretID}
)

// CreateSecretIDInput is a new secret id of a role.
type CreateSecretIDInput struct {
	Mount, Role string
	Value       *secret.Bytes // 1 to 512 bytes of the caller's choice, who erases it; nil: a random one
	Digest      [32]byte      // of the value: given, not told
	Meta        map[string]string
	Bound       []netip.Prefix // from where it logs in, within those of the role; none: those of the role
	Token       []netip.Prefix // from where tokens are used that it gives, within those of the role; none: those of the role
	Uses        *uint32        // nil: as many as the role says
	TTL         *time.Duration // nil: as long as the role says

	role records.LoginRole
}

// SecretIDInput names a secret id of a role, by itself or by its accessor.
type SecretIDInput struct {
	Mount, Role string
	Value       *secret.Bytes // the caller erases it
	Digest      [32]byte      // of the value: given, not told
	Accessor    kms.ID
}

// ListSecretIDsInput asks for a page of the secret ids of a role.
type ListSecretIDsInput struct {
	Mount, Role string
	Page        string
	Limit       int
}

// SecretIDInfo is a secret id; it never holds the secret id itself.
type SecretIDInfo struct {
	Accessor kms.ID
	Meta     map[string]string
	Bound    []netip.Prefix
	Token    []netip.Prefix
	Uses     uint32        // that are left; 0: as many as one likes
	TTL      time.Duration // that it was made with; 0: for ever
	Created  time.Time
	Changed  time.Time
	Expires  time.Time // zero: never
}

// CreateSecretIDOutput shows a secret id, this once.
type CreateSecretIDOutput struct {
	Value secret.Released
	Info  SecretIDInfo
}

// SecretIDOutput is one secret id.
type SecretIDOutput struct{ Info SecretIDInfo }

// SecretIDsOutput is one page.
type SecretIDsOutput struct {
	SecretIDs []SecretIDInfo
	Next      string
}

// CreateSecretID makes a secret id, by which a role of AppRole logs in.
func (e *Engine) CreateSecretID(ctx context.Context, c kms.Call, in CreateSecretIDInput) (CreateSecretIDOutput, error) {
	return alter(ctx, e, c, &createSecretID, &in)
}

// SecretID tells of a secret id. CodeNotFound: the role has no such one.
func (e *Engine) SecretID(ctx context.Context, c kms.Call, in SecretIDInput) (SecretIDOutput, error) {
	return use(ctx, e, c, &readSecretID, &in)
}

// ListSecretIDs pages through the secret ids of a role, the oldest first.
func (e *Engine) ListSecretIDs(ctx context.Context, c kms.Call, in ListSecretIDsInput) (SecretIDsOutput, error) {
	return use(ctx, e, c, &listSecretIDs, &in)
}

// DestroySecretID takes a secret id away. Tokens that it gave live on until their end.
func (e *Engine) DestroySecretID(ctx context.Context, c kms.Call, in SecretIDInput) (SecretIDOutput, error) {
	return alter(ctx, e, c, &destroySecretID, &in)
}

func noSecretID() error { return kms.Errorf(kms.CodeNotFound, "the role has no such secret id") }

// valueDigest bounds a secret id that was given, and notes its digest.
func valueDigest(v *secret.Bytes, digest *[32]byte) error {
	if v == nil {
		return nil
	}
	if n := v.Len(); n == 0 || n > maxSecretID {
		return kms.Errorf(kms.CodeBadRequest, "a secret id has 1 to %d bytes", maxSecretID)
	}
	*digest = sha256.Sum256(v.Reveal(reveal.Key{}))
	return nil
}

func checkSecretID(in *CreateSecretIDInput) error {
	switch {
	case len(in.Bound) > maxBound || len(in.Token) > maxBound:
		return kms.Errorf(kms.CodeTooLarge, "a secret id is used from %d networks at most", maxBound)
	case deref(in.TTL) < 0 || deref(in.TTL) > maxSecretIDTTL:
		return kms.Errorf(kms.CodeBadRequest, "a secret id lives for %s at most, or for ever", maxSecretIDTTL)
	case len(in.Meta) > maxSecretMeta:
		return kms.Errorf(kms.CodeTooLarge, "there are %d metadata, at most %d", len(in.Meta), maxSecretMeta)
	}
	if err := checkMeta(in.Meta); err != nil {
		return err
	}
	return valueDigest(in.Value, &in.Digest)
}

func checkSecretIDInput(in *SecretIDInput) error {
	if in.Value == nil && in.Accessor.IsZero() {
		return kms.Errorf(kms.CodeBadRequest, "a secret id is named by itself, or by its accessor")
	}
	return valueDigest(in.Value, &in.Digest)
}

// appRoleNow reads a role of AppRole.
func (w *work) appRoleNow(ctx context.Context, mount, name string) (records.LoginRole, error) {
	m, r, err := w.roleNow(ctx, mount, name)
	switch {
	case err != nil:
		return r, err
	case login.Type(m.Type) != login.AppRole:
		return r, kms.Errorf(kms.CodeBadRequest, "the mount is of type %s: secret ids are those of roles of AppRole", m.Type)
	case r.Rev == 0:
		return r, noAuthRole(name)
	}
	return r, nil
}

// prepareSecretID looks at the role. Some secret ids that are made at the same moment may all pass: the bound is against piling up.
func prepareSecretID(ctx context.Context, w *work, in *CreateSecretIDInput) (err error) {
	if in.role, err = w.appRoleNow(ctx, in.Mount, in.Role); err != nil {
		return err
	}
	n, err := w.o.records.CountSecretIDs(ctx, in.role.ID, maxSecretIDs)
	if err == nil && n >= maxSecretIDs {
		err = kms.Errorf(kms.CodeTooMany, "the role has %d secret ids, as many as there can be", n)
	}
	return err
}

func doCreateSecretID(_ context.Context, w *work, tx *records.Tx, in *CreateSecretIDInput) (CreateSecretIDOutput, error) {
	r, there, err := tx.LoginRole(in.role.Mount, in.role.Name)
	if err != nil {
		return CreateSecretIDOutput{}, err
	}
	if !there || r.Rev != in.role.Rev {
		return CreateSecretIDOutput{}, errStale
	}
	by, err := ReadAppRole(r.Config)
	if err != nil {
		return CreateSecretIDOutput{}, err
	}
	s := records.SecretID{Mount: r.Mount, Role: r.ID, RoleName: r.Name, Uses: by.Uses, TTL: by.TTL, Bound: in.Bound, Token: in.Token, Meta: in.Meta,
		Created: w.now.UTC(), Changed: w.now.UTC(), By: w.call.Principal.Name}
	if in.Uses != nil {
		s.Uses = *in.Uses
	}
	if in.TTL != nil {
		s.TTL = wholeSeconds(*in.TTL)
	}
	switch {
	case !by.Bind:
		return CreateSecretIDOutput{}, kms.Errorf(kms.CodeBadRequest, "bind_secret_id is not set on the role: it logs in without a secret id")
	case by.Uses > 0 && (s.Uses == 0 || s.Uses > by.Uses):
		return CreateSecretIDOutput{}, kms.Errorf(kms.CodeBadRequest, "num_uses cannot be unlimited or higher than the role's secret_id_num_uses, %d", by.Uses)
	case by.TTL > 0 && (s.TTL == 0 || s.TTL > by.TTL):
		return CreateSecretIDOutput{}, kms.Errorf(kms.CodeBadRequest, "ttl cannot be unlimited or longer than the role's secret_id_ttl, %s", by.TTL.Duration())
	case !covered(s.Bound, by.Bound):
		return CreateSecretIDOutput{}, kms.Errorf(kms.CodeBadRequest, "cidr_list reaches beyond the role's secret_id_bound_cidrs")
	case !covered(s.Token, r.Terms.Bound):
		return CreateSecretIDOutput{}, kms.Errorf(kms.CodeBadRequest, "token_bound_cidrs reaches beyond that of the role")
	}
	if s.TTL > 0 {
		s.Expires = w.now.Add(s.TTL.Duration()).UTC()
	}
	s.Accessor = w.e.orderedID(w.now)
	w.rec.Detail = "accessor " + s.Accessor.String()
	if w.call.DryRun {
		return CreateSecretIDOutput{Info: secretIDInfo(&s)}, nil
	}
	var value []byte
	if in.Value != nil {
		value = append([]byte(nil), in.Value.Reveal(reveal.Key{})...)
	} else {
		value = []byte(newUUID())
	}
	s.Hash = w.o.records.HashSecretID(r.ID, value)
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		s.Change = leaf
		taken, err := tx.InsertSecretID(s)
		if taken {
			err = kms.Errorf(kms.CodeExists, "SecretID is already registered")
		}
		return err
	})
	return CreateSecretIDOutput{Value: secret.Release(value), Info: secretIDInfo(&s)}, nil
}

func secretIDInfo(s *records.SecretID) SecretIDInfo {
	return SecretIDInfo{Accessor: s.Accessor, Meta: s.Meta, Bound: s.Bound, Token: s.Token, Uses: s.Uses, TTL: s.TTL.Duration(), Created: s.Created,
		Changed: s.Changed, Expires: s.Expires}
}

// findSecretID finds a secret id that a request names.
func (w *work) findSecretID(ctx context.Context, in *SecretIDInput) (records.SecretID, error) {
	r, err := w.appRoleNow(ctx, in.Mount, in.Role)
	if err != nil {
		return records.SecretID{}, err
	}
	accessor := in.Accessor
	var hash [16]byte
	if in.Value != nil {
		hash = w.o.records.HashSecretID(r.ID, in.Value.Reveal(reveal.Key{}))
		if accessor, err = w.o.records.AccessorOf(ctx, r.ID, hash); err != nil {
			return records.SecretID{}, err
		}
	}
	s, err := w.o.records.SecretID(ctx, r.ID, accessor)
	if err == nil && (s.Rev == 0 || in.Value != nil && s.Hash != hash || over(&s, w.now)) {
		err = noSecretID()
	}
	if err == nil {
		w.rec.Detail = "accessor " + s.Accessor.String()
	}
	return s, err
}

func doReadSecretID(ctx context.Context, w *work, in *SecretIDInput) (SecretIDOutput, error) {
	s, err := w.findSecretID(ctx, in)
	if err != nil {
		return SecretIDOutput{}, err
	}
	return SecretIDOutput{secretIDInfo(&s)}, nil
}

func doListSecretIDs(ctx context.Context, w *work, in *ListSecretIDsInput) (SecretIDsOutput, error) {
	after, err := pageBytes(in.Page)
	if err != nil {
		return SecretIDsOutput{}, err
	}
	r, err := w.appRoleNow(ctx, in.Mount, in.Role)
	if err != nil {
		return SecretIDsOutput{}, err
	}
	page, next, err := w.o.records.SecretIDs(ctx, r.ID, after, in.Limit)
	out := SecretIDsOutput{Next: bytesPage(next)}
	for i := range page {
		if !over(&page[i], w.now) {
			out.SecretIDs = append(out.SecretIDs, secretIDInfo(&page[i]))
		}
	}
	return out, err
}

func doDestroySecretID(ctx context.Context, w *work, tx *records.Tx, in *SecretIDInput) (SecretIDOutput, error) {
	found, err := w.findSecretID(ctx, in)
	if err != nil {
		return SecretIDOutput{}, err
	}
	s, there, err := tx.SecretID(found.Role, found.Accessor)
	if err == nil && !there {
		err = noSecretID()
	}
	if err != nil {
		return SecretIDOutput{}, err
	}
	w.onCommit(s.Change, func([32]byte) error { return tx.RemoveSecretID(s) })
	return SecretIDOutput{secretIDInfo(&s)}, nil
}
