package engine

import (
	"context"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of tokens, certificate bindings and the caller's own identity.
var (
	createToken = change[CreateTokenInput, CreateTokenOutput]{
		name:   kms.CreateToken,
		check:  checkToken,
		do:     doCreateToken,
		secret: true,
	}
	revokeToken = change[IDInput, TokenOutput]{name: kms.RevokeToken, do: doRevokeToken}
	listTokens  = op[PageInput, TokensOutput]{
		name:  kms.ReadToken,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do:    doListTokens,
	}
	createCredential = change[CreateCredentialInput, CredentialOutput]{
		name:  kms.CreateCredential,
		check: checkCredential,
		do:    doCreateCredential,
	}
	revokeCredential = change[SubjectInput, CredentialOutput]{name: kms.RevokeCredential, do: doRevokeCredential}
	listCredentials  = op[PageInput, CredentialsOutput]{
		name:  kms.ReadCredential,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do:    doListCredentials,
	}
	whoAmI = op[struct{}, WhoAmIOutput]{
		name: kms.WhoAmI,
		do: func(_ context.Context, w *work, _ *struct{}) (WhoAmIOutput, error) {
			return WhoAmIOutput{Principal: w.call.Principal, Namespace: w.call.Namespace}, nil
		},
	}
)

// Limits of credentials.
const (
	defaultTTL = 24 * time.Hour
	maxTTL     = 366 * 24 * time.Hour
	maxGroups  = 32
	maxScope   = kms.ActionCount
)

// checkIdentity checks what tokens and bindings have in common.
func checkIdentity(principal string, roles []kms.Role, groups []string) error {
	if err := kms.CheckName(principal); err != nil {
		return kms.Errorf(kms.CodeBadName, "%q is not a principal's name: it has the form of a key's name", principal)
	}
	return checkRights(roles, groups)
}

// checkRights checks roles and groups.
func checkRights(roles []kms.Role, groups []string) error {
	for _, r := range roles {
		if !known(r) {
			return kms.Errorf(kms.CodeBadRequest, "%q is not a role: want admin, user, auditor, or operator in the system namespace", r)
		}
	}
	if len(groups) > maxGroups || len(roles) > len(kms.AllRoles()) {
		return kms.Errorf(kms.CodeTooLarge, "a principal has at most %d groups, and each role once", maxGroups)
	}
	for _, g := range groups {
		if err := kms.CheckName(g); err != nil {
			return err
		}
	}
	return nil
}

func known(r kms.Role) bool {
	for _, k := range kms.AllRoles() {
		if k == r {
			return true
		}
	}
	return false
}

// checkHome refuses roles that do not belong to the call's namespace: operators live in the system namespace, and only
// operators do.
func (w *work) checkHome(roles []kms.Role) error {
	system := w.call.Namespace == kms.SystemNamespace
	for _, r := range roles {
		if system == (r == kms.RoleOperator) || system && r == kms.RoleAuditor {
			continue
		}
		if system {
			return kms.Errorf(kms.CodeBadRequest, "role %s has no meaning in the system namespace: choose another namespace", r)
		}
		return kms.Errorf(kms.CodeBadRequest, "role operator is given in the system namespace only")
	}
	return nil
}

func checkToken(in *CreateTokenInput) error {
	if in.TTL < 0 || in.TTL > maxTTL {
		return kms.Errorf(kms.CodeBadRequest, "a token lives for %s at most", maxTTL)
	}
	if len(in.Scope) > maxScope {
		return kms.Errorf(kms.CodeTooLarge, "the scope has more actions than there are")
	}
	if err := checkLife(in); err != nil {
		return err
	}
	return checkIdentity(in.Principal, in.Roles, in.Groups)
}

func tokenInfo(t records.Token) TokenInfo {
	return TokenInfo{ID: t.ID, Namespace: t.Namespace, Principal: t.Principal, Roles: t.Roles, Groups: t.Groups, Scope: t.Scope,
		Created: t.Created, By: t.By, Expires: t.Expires, Revoked: t.Revoked,
		Renewable: t.Renewable, TTL: t.TTL.Duration(), Period: t.Period.Duration(), Most: t.Limit.Duration(), Renewed: t.Renewed, Line: t.Line, Path: t.Path, Meta: t.Meta,
		Uses: t.Uses, Left: t.Uses, Bound: t.Bound, Role: t.Login.Role}
}

func doCreateToken(_ context.Context, w *work, tx *records.Tx, in *CreateTokenInput) (CreateTokenOutput, error) {
	return w.makeToken(tx, in, records.TokenLogin{})
}

// makeToken makes a token, by a role for tokens or by none.
func (w *work) makeToken(tx *records.Tx, in *CreateTokenInput, by records.TokenLogin) (CreateTokenOutput, error) {
	if err := w.checkHome(in.Roles); err != nil {
		return CreateTokenOutput{}, err
	}
	t := records.Token{Namespace: w.call.Namespace, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope, Path: in.Path, Meta: in.Meta, Uses: in.Uses, Bound: in.Bound, Login: by}
	ttl, err := w.lifeOf(tx, &t, in)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	return w.putToken(tx, t, ttl)
}

func doRevokeToken(_ context.Context, w *work, tx *records.Tx, in *IDInput) (TokenOutput, error) {
	t, there, err := tx.Token(in.ID)
	if err != nil {
		return TokenOutput{}, err
	}
	if !there || t.Namespace != w.call.Namespace {
		return TokenOutput{}, noTokenHere(in.ID)
	}
	return w.endToken(tx, t)
}

// endToken revokes a token. What comes from it ends with it: see Identities.Token.
func (w *work) endToken(tx *records.Tx, t records.Token) (TokenOutput, error) {
	w.rec.Resource = t.ID.String()
	if !t.Revoked.IsZero() {
		w.rec.Detail = "nothing to do"
		return TokenOutput{tokenInfo(t)}, nil
	}
	t.Revoked = w.now.UTC()
	w.rec.Detail = "of " + t.Principal
	w.onCommit(t.Change, func(leaf [32]byte) error {
		t.Change = leaf
		return tx.PutToken(t)
	})
	return TokenOutput{tokenInfo(t)}, nil
}

func doListTokens(ctx context.Context, w *work, in *PageInput) (TokensOutput, error) {
	var after kms.ID
	if in.Page != "" {
		var ok bool
		if after, ok = pageID(in.Page); !ok {
			return TokensOutput{}, badPage()
		}
	}
	var out TokensOutput
	for scanned := 0; scanned < scannedAtMost; {
		page, next, err := w.o.records.Tokens(ctx, after, 500)
		if err != nil {
			return out, err
		}
		scanned += len(page)
		for _, t := range page {
			after = t.ID
			if t.Namespace != w.call.Namespace {
				continue
			}
			info := tokenInfo(t)
			if info.Left, err = w.o.usesOf(ctx, &t); err != nil {
				return out, err
			}
			out.Tokens = append(out.Tokens, info)
			if len(out.Tokens) == in.Limit {
				out.Next = pageOf(after)
				return out, nil
			}
		}
		if next.IsZero() {
			return out, nil
		}
	}
	out.Next = pageOf(after)
	return out, nil
}

func checkCredential(in *CreateCredentialInput) error {
	spiffe, fingerprint := strings.HasPrefix(in.Subject, "spiffe://"), strings.HasPrefix(in.Subject, "sha256:")
	if !spiffe && !fingerprint || len(in.Subject) > 2048 || fingerprint && len(in.Subject) != len("sha256:")+64 {
		return kms.Errorf(kms.CodeBadRequest, "a subject is spiffe://TRUST-DOMAIN/PATH, or sha256: and the certificate's fingerprint in 64 hexadecimal digits")
	}
	return checkIdentity(in.Principal, in.Roles, in.Groups)
}

func credentialInfo(c records.Credential) CredentialInfo {
	return CredentialInfo{Subject: c.Subject, Namespace: c.Namespace, Principal: c.Principal, Roles: c.Roles, Groups: c.Groups,
		Created: c.Created, By: c.By, Revoked: c.Revoked}
}

func doCreateCredential(_ context.Context, w *work, tx *records.Tx, in *CreateCredentialInput) (CredentialOutput, error) {
	if err := w.checkHome(in.Roles); err != nil {
		return CredentialOutput{}, err
	}
	was, there, err := tx.Credential(in.Subject)
	if err != nil {
		return CredentialOutput{}, err
	}
	if there && was.Revoked.IsZero() {
		if home, _, err := tx.Namespace(was.Namespace); err != nil {
			return CredentialOutput{}, err
		} else if home.Destroyed.IsZero() {
			return CredentialOutput{}, kms.Errorf(kms.CodeExists, "the subject is bound to a principal already")
		}
	}
	c := records.Credential{Subject: in.Subject, Namespace: w.call.Namespace, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups,
		Created: w.now.UTC(), By: w.call.Principal.Name}
	w.rec.Resource = clipTo(in.Subject, 255)
	w.rec.Detail = "for " + in.Principal
	w.onCommit(was.Change, func(leaf [32]byte) error {
		c.Change = leaf
		return tx.PutCredential(c)
	})
	return CredentialOutput{credentialInfo(c)}, nil
}

func doRevokeCredential(_ context.Context, w *work, tx *records.Tx, in *SubjectInput) (CredentialOutput, error) {
	c, there, err := tx.Credential(in.Subject)
	if err != nil {
		return CredentialOutput{}, err
	}
	if !there || c.Namespace != w.call.Namespace {
		return CredentialOutput{}, kms.Errorf(kms.CodeNotFound, "there is no such subject in this namespace")
	}
	w.rec.Resource = clipTo(in.Subject, 255)
	if !c.Revoked.IsZero() {
		w.rec.Detail = "nothing to do"
		return CredentialOutput{credentialInfo(c)}, nil
	}
	c.Revoked = w.now.UTC()
	w.onCommit(c.Change, func(leaf [32]byte) error {
		c.Change = leaf
		return tx.PutCredential(c)
	})
	return CredentialOutput{credentialInfo(c)}, nil
}

func doListCredentials(ctx context.Context, w *work, in *PageInput) (CredentialsOutput, error) {
	after, err := pageBytes(in.Page)
	if err != nil {
		return CredentialsOutput{}, err
	}
	var out CredentialsOutput
	page, next, err := w.o.records.Credentials(ctx, after, in.Limit)
	for _, c := range page {
		if c.Namespace == w.call.Namespace {
			out.Credentials = append(out.Credentials, credentialInfo(c))
		}
	}
	out.Next = bytesPage(next)
	return out, err
}

func clipTo(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
