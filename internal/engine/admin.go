package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// The descriptors of namespaces and policies.
var (
	createNamespace = change[NamespaceInput, NamespaceOutput]{
		name:  kms.CreateNamespace,
		check: checkNamespace,
		prepare: func(_ context.Context, w *work, in *NamespaceInput) (err error) {
			if in.made == nil && !w.call.DryRun {
				in.made, err = makeKEK(w.o, in.Name)
			}
			return err
		},
		do: doCreateNamespace,
	}
	updateNamespace = change[NamespaceInput, NamespaceOutput]{
		name:  kms.UpdateNamespace,
		check: checkNamespace,
		do:    doUpdateNamespace,
	}
	readNamespace = op[NamespaceInput, NamespaceOutput]{
		name: kms.ReadNamespace,
		do: func(ctx context.Context, w *work, in *NamespaceInput) (NamespaceOutput, error) {
			n, err := w.o.records.Namespace(ctx, in.Name)
			if err == nil && (n.Rev == 0 || in.Name != w.call.Namespace) {
				err = kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", in.Name)
			}
			return NamespaceOutput{namespaceInfo(n)}, err
		},
	}
	listNamespaces = op[PageInput, NamespacesOutput]{
		name:  kms.ReadNamespace,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do:    doListNamespaces,
	}
	putPolicy = change[PutPolicyInput, PolicyOutput]{
		name:  kms.PutPolicy,
		check: checkPolicy,
		do:    doPutPolicy,
	}
	tryPolicy = op[PutPolicyInput, PolicyOutput]{
		name:  kms.TestPolicy,
		check: checkPolicy,
		do: func(_ context.Context, _ *work, in *PutPolicyInput) (PolicyOutput, error) {
			return PolicyOutput{PolicyInfo{ID: in.ID, Text: in.Text}}, nil
		},
	}
	getPolicy = op[PolicyInput, PolicyOutput]{
		name: kms.ReadPolicy,
		do: func(ctx context.Context, w *work, in *PolicyInput) (PolicyOutput, error) {
			p, err := w.o.records.Policy(ctx, w.call.Namespace, in.ID)
			if err == nil && p.Rev == 0 {
				err = noPolicy(in.ID)
			}
			return PolicyOutput{policyInfo(p)}, err
		},
	}
	deletePolicy = change[PolicyInput, PolicyOutput]{
		name: kms.DeletePolicy,
		do:   doDeletePolicy,
	}
	listPolicies = op[PageInput, PoliciesOutput]{
		name:  kms.ReadPolicy,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do: func(ctx context.Context, w *work, in *PageInput) (PoliciesOutput, error) {
			page, next, err := w.o.records.Policies(ctx, w.call.Namespace, in.Page, in.Limit)
			out := PoliciesOutput{Next: next}
			for _, p := range page {
				out.Policies = append(out.Policies, policyInfo(p))
			}
			return out, err
		},
	}
)

// newKEK is a namespace KEK made outside the transaction that stores it.
type newKEK struct {
	wrapped []byte
	check   []byte
	shred   records.Shred
}

func makeKEK(o *opened, ns kms.Namespace) (*newKEK, error) {
	place := seal.Place{Kind: seal.PlaceNamespace, Namespace: ns}.Bytes()
	shred := seal.NewShredSecret()
	defer shred.Zero()
	kek := seal.NewKEK()
	defer kek.Zero()
	wrapped, err := o.root.WrapKEK(kek, shred, place)
	if err != nil {
		return nil, err
	}
	row, err := o.epochs.WrapShred(shred, place)
	if err != nil {
		return nil, err
	}
	check := kek.Check()
	return &newKEK{wrapped: wrapped, check: check[:], shred: records.Shred{Row: row, Namespace: ns}}, nil
}

func checkNamespace(in *NamespaceInput) error {
	if _, err := kms.ParseNamespace(string(in.Name)); err != nil {
		return err
	}
	if in.Description != nil && len(*in.Description) > kms.MaxDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(*in.Description), kms.MaxDescription)
	}
	return nil
}

func namespaceInfo(n records.Namespace) NamespaceInfo {
	return NamespaceInfo{Name: n.Name, Description: n.Description, SeparationOfDuties: n.SeparationOfDuties, Created: n.Created, Rev: n.Rev}
}

func doCreateNamespace(_ context.Context, w *work, tx *records.Tx, in *NamespaceInput) (NamespaceOutput, error) {
	if _, there, err := tx.Namespace(in.Name); err != nil {
		return NamespaceOutput{}, err
	} else if there {
		return NamespaceOutput{}, kms.Errorf(kms.CodeExists, "the namespace %q exists already", in.Name)
	}
	n := records.Namespace{Name: in.Name, SeparationOfDuties: true, Dev: w.o.dev, Created: w.now.UTC()}
	applyNamespace(&n, in)
	w.rec.Resource = string(in.Name)
	w.rec.Detail = duties(n)
	if w.call.DryRun {
		return NamespaceOutput{namespaceInfo(n)}, nil
	}
	n.KEK, n.KEKCheck = in.made.wrapped, in.made.check
	if err := tx.PutNamespaceShred(in.Name, in.made.shred); err != nil {
		return NamespaceOutput{}, err
	}
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return NamespaceOutput{namespaceInfo(n)}, nil
}

func applyNamespace(n *records.Namespace, in *NamespaceInput) {
	if in.Description != nil {
		n.Description = *in.Description
	}
	if in.SeparationOfDuties != nil {
		n.SeparationOfDuties = *in.SeparationOfDuties
	}
}

func duties(n records.Namespace) string {
	if n.SeparationOfDuties {
		return "separation of duties on"
	}
	return "separation of duties off"
}

func doUpdateNamespace(_ context.Context, w *work, tx *records.Tx, in *NamespaceInput) (NamespaceOutput, error) {
	n, there, err := tx.Namespace(in.Name)
	if err != nil {
		return NamespaceOutput{}, err
	}
	if !there || in.Name != w.call.Namespace {
		return NamespaceOutput{}, kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", in.Name)
	}
	before := namespaceInfo(n)
	applyNamespace(&n, in)
	if namespaceInfo(n) == before {
		w.rec.Detail = "nothing to do"
		return NamespaceOutput{before}, nil
	}
	w.rec.Resource, w.rec.Detail = string(in.Name), duties(n)
	w.onCommit(n.Change, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return NamespaceOutput{namespaceInfo(n)}, nil
}

func doListNamespaces(ctx context.Context, w *work, in *PageInput) (NamespacesOutput, error) {
	if !w.call.Principal.Has(kms.RoleOperator) || w.call.Principal.Namespace != kms.SystemNamespace {
		n, err := w.o.records.Namespace(ctx, w.call.Namespace)
		return NamespacesOutput{Namespaces: []NamespaceInfo{namespaceInfo(n)}}, err
	}
	page, next, err := w.o.records.Namespaces(ctx, kms.Namespace(in.Page), in.Limit)
	out := NamespacesOutput{Next: string(next)}
	for _, n := range page {
		out.Namespaces = append(out.Namespaces, namespaceInfo(n))
	}
	return out, err
}

func checkPolicy(in *PutPolicyInput) error {
	if _, err := kms.ParseNamespace(in.ID); err != nil {
		return kms.Errorf(kms.CodeBadName, "a policy id has the form of a namespace's name: 1 to 63 of a-z, 0-9 and '-'")
	}
	_, err := policy.Check(in.ID, []byte(in.Text))
	return err
}

func noPolicy(id string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no policy %q in this namespace", id)
}

func policyInfo(p records.Policy) PolicyInfo {
	return PolicyInfo{ID: p.ID, Text: p.Text, Changed: p.Changed, By: p.By, Rev: p.Rev}
}

func doPutPolicy(_ context.Context, w *work, tx *records.Tx, in *PutPolicyInput) (PolicyOutput, error) {
	was, there, err := tx.Policy(w.call.Namespace, in.ID)
	if err != nil {
		return PolicyOutput{}, err
	}
	w.rec.Resource = in.ID
	if there && was.Text == in.Text {
		w.rec.Detail = "nothing to do"
		return PolicyOutput{policyInfo(was)}, nil
	}
	p := records.Policy{ID: in.ID, Text: in.Text, Changed: w.now.UTC(), By: w.call.Principal.Name}
	return PolicyOutput{policyInfo(p)}, w.putRules(tx, was.Change, func(leaf [32]byte) error {
		p.Change = leaf
		return tx.PutPolicy(w.call.Namespace, p)
	})
}

func doDeletePolicy(_ context.Context, w *work, tx *records.Tx, in *PolicyInput) (PolicyOutput, error) {
	was, there, err := tx.Policy(w.call.Namespace, in.ID)
	if err != nil {
		return PolicyOutput{}, err
	}
	w.rec.Resource = in.ID
	if !there {
		return PolicyOutput{}, noPolicy(in.ID)
	}
	return PolicyOutput{policyInfo(was)}, w.putRules(tx, was.Change, func([32]byte) error {
		return tx.RemovePolicy(w.call.Namespace, in.ID)
	})
}

// putRules changes a policy and counts up the namespace's policy revision with it, so that rules are always one snapshot.
func (w *work) putRules(tx *records.Tx, previous [32]byte, write func([32]byte) error) error {
	n, there, err := tx.Namespace(w.call.Namespace)
	if err != nil {
		return err
	}
	if !there {
		return kms.Errorf(kms.CodeNotFound, "there is no namespace %q", w.call.Namespace)
	}
	n.PolicyRev++
	w.rec.Detail = fmt.Sprintf("policy revision %d", n.PolicyRev)
	w.onCommit(previous, func(leaf [32]byte) error {
		if err := tx.PutNamespace(n); err != nil {
			return err
		}
		return write(leaf)
	})
	return nil
}

// The descriptors of tokens and certificate bindings.
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
	return checkIdentity(in.Principal, in.Roles, in.Groups)
}

func tokenInfo(t records.Token) TokenInfo {
	return TokenInfo{ID: t.ID, Namespace: t.Namespace, Principal: t.Principal, Roles: t.Roles, Groups: t.Groups, Scope: t.Scope,
		Created: t.Created, By: t.By, Expires: t.Expires, Revoked: t.Revoked}
}

func doCreateToken(_ context.Context, w *work, tx *records.Tx, in *CreateTokenInput) (CreateTokenOutput, error) {
	if err := w.checkHome(in.Roles); err != nil {
		return CreateTokenOutput{}, err
	}
	t := records.Token{Namespace: w.call.Namespace, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope}
	return w.putToken(tx, t, in.TTL)
}

func doRevokeToken(_ context.Context, w *work, tx *records.Tx, in *IDInput) (TokenOutput, error) {
	t, there, err := tx.Token(in.ID)
	if err != nil {
		return TokenOutput{}, err
	}
	if !there || t.Namespace != w.call.Namespace {
		return TokenOutput{}, kms.Errorf(kms.CodeNotFound, "there is no token %s in this namespace", in.ID)
	}
	w.rec.Resource = in.ID.String()
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
			out.Tokens = append(out.Tokens, tokenInfo(t))
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
		return CredentialOutput{}, kms.Errorf(kms.CodeExists, "the subject is bound to a principal already")
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
