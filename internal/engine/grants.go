package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/policy/iam"
	"github.com/keyhold/keyhold/internal/records"
)

// maxGrantName limits the name of a grant, in bytes.
const maxGrantName = 256

// The descriptors of grants. They live on the key, whose record is counted up with each: nobody decides by older ones.
var (
	createGrant = change[CreateGrantInput, GrantOutput]{
		name: kms.CreateGrant,
		roles: []role[CreateGrantInput]{{action: kms.CreateGrant, need: lifecycle.Protect,
			key: func(in *CreateGrantInput) (kms.Ref, error) { return in.Key, nil }}},
		check:   checkGrant,
		prepare: prepareNewGrant,
		do:      doCreateGrant,
	}
	revokeGrant = change[GrantInput, GrantOutput]{
		name: kms.RevokeGrant,
		roles: []role[GrantInput]{{action: kms.RevokeGrant, need: lifecycle.Read,
			key: func(in *GrantInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *GrantInput) error { _, err := grantID(in.Grant); return err },
		do: func(_ context.Context, w *work, tx *records.Tx, in *GrantInput) (GrantOutput, error) {
			id, err := grantID(in.Grant)
			if err != nil {
				return GrantOutput{}, err
			}
			return w.endGrant(tx, id, "revoked", func(*records.Grant) error { return nil })
		},
	}
	retireGrant = change[RetireGrantInput, GrantOutput]{
		name: kms.RetireGrant,
		roles: []role[RetireGrantInput]{{action: kms.RetireGrant, need: lifecycle.Read,
			key: func(in *RetireGrantInput) (kms.Ref, error) { ref, _, err := in.names(); return ref, err }}},
		check: func(in *RetireGrantInput) error { _, _, err := in.names(); return err },
		do:    doRetireGrant,
	}
	listGrants = op[ListGrantsInput, GrantsOutput]{
		name: kms.ListGrants,
		roles: []role[ListGrantsInput]{{action: kms.ListGrants, need: lifecycle.Read,
			key: func(in *ListGrantsInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *ListGrantsInput) error { return checkLimit(&in.Limit) },
		do:    doListGrants,
	}
	listRetirable = op[RetirableGrantsInput, GrantsOutput]{
		name:  kms.ListRetirableGrants,
		check: func(in *RetirableGrantsInput) error { return checkLimit(&in.Limit) },
		do:    doListRetirable,
	}
)

// CreateGrant permits a principal some operations with a key.
func (e *Engine) CreateGrant(ctx context.Context, c kms.Call, in CreateGrantInput) (GrantOutput, error) {
	return alter(ctx, e, c, &createGrant, &in)
}

// RevokeGrant ends a grant, by who manages the key.
func (e *Engine) RevokeGrant(ctx context.Context, c kms.Call, in GrantInput) (GrantOutput, error) {
	return alter(ctx, e, c, &revokeGrant, &in)
}

// RetireGrant ends a grant, by those whom it names, and by who may revoke it.
func (e *Engine) RetireGrant(ctx context.Context, c kms.Call, in RetireGrantInput) (GrantOutput, error) {
	return alter(ctx, e, c, &retireGrant, &in)
}

// ListGrants pages through the grants on a key.
func (e *Engine) ListGrants(ctx context.Context, c kms.Call, in ListGrantsInput) (GrantsOutput, error) {
	return use(ctx, e, c, &listGrants, &in)
}

// ListRetirableGrants pages through the grants that a principal can retire because they name it for that.
func (e *Engine) ListRetirableGrants(ctx context.Context, c kms.Call, in RetirableGrantsInput) (GrantsOutput, error) {
	return use(ctx, e, c, &listRetirable, &in)
}

func grantID(s string) (records.GrantID, error) {
	id, ok := records.ParseGrantID(s)
	if !ok {
		return id, kms.Errorf(kms.CodeBadRequest, "%q is not the id of a grant: want 64 hexadecimal digits in lower case", clipTo(s, 64))
	}
	return id, nil
}

func noGrant(id records.GrantID) error {
	return kms.Errorf(kms.CodeNotFound, "there is no grant %s on this key", id)
}

func checkGrant(in *CreateGrantInput) error {
	switch {
	case in.Grantee == "" || len(in.Grantee) > kms.MaxName:
		return kms.Errorf(kms.CodeBadRequest, "a grant names a principal of 1 to %d bytes", kms.MaxName)
	case len(in.Retiring) > kms.MaxName:
		return kms.Errorf(kms.CodeTooLarge, "the retiring principal has %d bytes, the limit is %d", len(in.Retiring), kms.MaxName)
	case len(in.Name) > maxGrantName:
		return kms.Errorf(kms.CodeTooLarge, "the name of the grant has %d bytes, the limit is %d", len(in.Name), maxGrantName)
	case len(in.Operations) == 0:
		return kms.Errorf(kms.CodeBadRequest, "a grant permits at least one operation")
	case len(in.Equals) > 0 && len(in.Subset) > 0:
		return kms.Errorf(kms.CodeBadRequest, "a grant wants an encryption context equal to one, or one with some entries, not both")
	}
	known := iam.Operations()
	for i, a := range in.Operations {
		if known[a.String()] != a || a == 0 {
			return kms.Errorf(kms.CodeBadRequest, "%s cannot be granted: want of %s", a, slices.Sorted(maps.Keys(known)))
		}
		if slices.Contains(in.Operations[:i], a) {
			return kms.Errorf(kms.CodeBadRequest, "%s is there twice", a)
		}
	}
	if err := in.Equals.Check(); err != nil {
		return err
	}
	return in.Subset.Check()
}

// prepareNewGrant looks at what is there already. All that it reads counts the key up: if something comes between, the transaction finds out.
func prepareNewGrant(ctx context.Context, w *work, in *CreateGrantInput) error {
	k := &w.keys[0].Key.Key
	for _, a := range in.Operations {
		if err := operationFits(k, a); err != nil {
			return err
		}
	}
	if k.Grants > 0 {
		n, err := w.o.records.CountGrantsOf(ctx, k.ID, in.Grantee, maxGrantsOf)
		if err != nil {
			return err
		}
		if in.crowded = n >= maxGrantsOf; in.crowded && in.Name == "" {
			return tooManyGrants(in.Grantee)
		}
	}
	return w.mayHandOn(ctx, k, in)
}

func tooManyGrants(grantee string) error {
	e := kms.Errorf(kms.CodeTooMany, "%s holds %d grants on this key, which is the limit", grantee, maxGrantsOf)
	e.Next = "retire those that are not needed, or permit it in the key's policy"
	return e
}

// operationFits refuses what the key could never do (AWS KMS API, CreateGrant: "The operation must be supported on the KMS key").
func operationFits(k *kms.Key, a kms.Action) error {
	usages := map[kms.Action]kms.Usage{
		kms.Encrypt: kms.EncryptDecrypt, kms.Decrypt: kms.EncryptDecrypt, kms.ReEncryptFrom: kms.EncryptDecrypt, kms.ReEncryptTo: kms.EncryptDecrypt,
		kms.GenerateDataKey: kms.EncryptDecrypt, kms.GenerateDataKeyWithoutPlaintext: kms.EncryptDecrypt,
		kms.GenerateDataKeyPair: kms.EncryptDecrypt, kms.GenerateDataKeyPairWithoutPlaintext: kms.EncryptDecrypt,
		kms.Sign: kms.SignVerify, kms.Verify: kms.SignVerify, kms.GenerateMAC: kms.MAC, kms.VerifyMAC: kms.MAC,
		kms.DeriveSharedSecret: kms.KeyAgreement, kms.Encapsulate: kms.Encapsulation, kms.Decapsulate: kms.Encapsulation,
	}
	if want, some := usages[a]; some && !k.Serves(want) || a == kms.GetPublicKey && !k.Algorithm.Facts().Asymmetric {
		return kms.Errorf(kms.CodeUsage, "%s cannot be granted on this key, which is for %s with %s", a, k.Usage, k.Algorithm)
	}
	return nil
}

// mayHandOn decides whether the caller may make this grant. Who may make grants by a policy may make any; who may by a grant alone hands on what is in
// that grant, as narrow or narrower (AWS KMS Developer Guide, "Granting CreateGrant permission").
func (w *work) mayHandOn(ctx context.Context, k *kms.Key, in *CreateGrantInput) error {
	if k.Grants == 0 {
		return nil
	}
	p, err := w.o.keyPolicy(ctx, k)
	if err != nil {
		return err
	}
	if w.decide(policy.PrepareKey(k).With(p, nil), kms.CreateGrant, nil).Allowed {
		return nil
	}
	held, err := w.o.records.GrantsOf(ctx, k.ID, w.call.Principal.Name, maxGrantsOf)
	if err != nil {
		return err
	}
	for i := range held {
		if covers(&held[i], in) {
			return nil
		}
	}
	e := kms.Errorf(kms.CodeDenied, "%s may make grants by a grant alone, and that does not permit all of this", w.call.Principal.Name)
	e.Next = "ask for no operation that your grant does not have, with the same encryption context or a narrower one"
	return e
}

// covers tells whether a grant may be handed on as another.
func covers(g *records.Grant, in *CreateGrantInput) bool {
	if !slices.Contains(g.Operations, kms.CreateGrant) {
		return false
	}
	for _, a := range in.Operations {
		if !slices.Contains(g.Operations, a) {
			return false
		}
	}
	switch {
	case len(g.Equals) > 0:
		return maps.Equal(g.Equals, in.Equals)
	case len(g.Subset) > 0:
		for name, value := range g.Subset {
			if got, ok := in.Equals[name]; ok && got == value {
				continue
			}
			if got, ok := in.Subset[name]; !ok || got != value {
				return false
			}
		}
	}
	return true
}

func doCreateGrant(_ context.Context, w *work, tx *records.Tx, in *CreateGrantInput) (GrantOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return GrantOutput{}, err
	}
	g := records.Grant{Key: k.ID, Name: in.Name, Grantee: in.Grantee, Retiring: in.Retiring, Operations: slices.Clone(in.Operations),
		Equals: in.Equals, Subset: in.Subset, Created: w.now.UTC(), By: w.call.Principal.Name}
	slices.Sort(g.Operations)
	if in.Name != "" {
		asked := *in
		asked.Key, asked.Operations = kms.RefTo(k.ID), g.Operations
		if g.Request, err = digestOf(kms.CreateGrant, &asked); err != nil {
			return GrantOutput{}, err
		}
		if was, there, err := tx.GrantByRequest(k.ID, g.Request); err != nil || there {
			w.rec.Detail = "nothing to do"
			return grantOutput(&was), err
		}
	}
	switch {
	case in.crowded:
		return GrantOutput{}, tooManyGrants(in.Grantee)
	case k.Grants >= maxGrants:
		return GrantOutput{}, kms.Errorf(kms.CodeTooMany, "there are %d grants on this key, which is the limit", k.Grants)
	}
	rand.Read(g.ID[:]) //nolint:errcheck // never fails since Go 1.24
	if w.call.DryRun {
		g.ID = records.GrantID{} // there is none
	}
	k.Grants++
	w.rec.Detail = clipTo(fmt.Sprintf("grant %s to %s: %s", g.ID, g.Grantee, g.Operations), 1024)
	if err := tx.PutGrant(k.Namespace, g); err != nil {
		return GrantOutput{}, err
	}
	w.putKey(tx, &k)
	return grantOutput(&g), nil
}

// endGrant takes a grant away, if may agrees.
func (w *work) endGrant(tx *records.Tx, id records.GrantID, how string, may func(*records.Grant) error) (GrantOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return GrantOutput{}, err
	}
	g, there, err := tx.Grant(k.ID, id)
	if err != nil {
		return GrantOutput{}, err
	}
	if err := may(&g); err != nil {
		return GrantOutput{}, err
	}
	if !there {
		return GrantOutput{}, noGrant(id)
	}
	k.Grants -= min(k.Grants, 1)
	w.rec.Detail = clipTo(fmt.Sprintf("%s grant %s to %s", how, g.ID, g.Grantee), 1024)
	if err := tx.RemoveGrant(k.Namespace, g); err != nil {
		return GrantOutput{}, err
	}
	w.putKey(tx, &k)
	return grantOutput(&g), nil
}

// names reads which grant is meant.
func (in *RetireGrantInput) names() (kms.Ref, records.GrantID, error) {
	if in.Token == "" {
		id, err := grantID(in.Grant)
		return in.Key, id, err
	}
	key, id, ok := parseGrantToken(in.Token)
	switch {
	case in.Key != "" || in.Grant != "":
		return "", id, kms.Errorf(kms.CodeBadRequest, "a grant is named by its token, or by key and id: not by both")
	case !ok:
		return "", id, CheckGrantToken(in.Token)
	}
	return kms.RefTo(key), id, nil
}

// doRetireGrant: everybody may ask, and the grant says who may. Nobody else learns whether there is such a grant.
func doRetireGrant(ctx context.Context, w *work, tx *records.Tx, in *RetireGrantInput) (GrantOutput, error) {
	_, id, err := in.names()
	if err != nil {
		return GrantOutput{}, err
	}
	return w.endGrant(tx, id, "retired", func(g *records.Grant) error {
		who := w.call.Principal.Name
		if g.ID == id && (g.Retiring == who || g.Grantee == who && slices.Contains(g.Operations, kms.RetireGrant)) || w.may(ctx, &w.keys[0], kms.RevokeGrant) {
			return nil
		}
		return denied(w.call, kms.RetireGrant)
	})
}

func doListGrants(ctx context.Context, w *work, in *ListGrantsInput) (out GrantsOutput, err error) {
	k := &w.keys[0].Key.Key
	if in.Grant != "" {
		return w.oneGrant(ctx, k.ID, in)
	}
	if in.Grantee != "" {
		return w.grantsOf(ctx, k.ID, in)
	}
	var after records.GrantID
	if in.Page != "" {
		b, err := pageBytes(in.Page)
		if err != nil || len(b) != len(after) {
			return out, badPage()
		}
		after = records.GrantID(b)
	}
	page, more, err := w.o.records.Grants(ctx, k.ID, after, in.Limit+1) // one more tells whether there is another page
	if err != nil {
		return out, err
	}
	page = page[:min(len(page), in.Limit)]
	if more {
		out.Next = bytesPage(page[len(page)-1].ID[:])
	}
	for i := range page {
		out.Grants = append(out.Grants, grantInfo(&page[i]))
	}
	return out, nil
}

func (w *work) oneGrant(ctx context.Context, key kms.ID, in *ListGrantsInput) (out GrantsOutput, err error) {
	id, err := grantID(in.Grant)
	if err != nil {
		return out, err
	}
	g, err := w.o.records.Grant(ctx, key, id)
	if err != nil {
		return out, err
	}
	if g.Rev == 0 {
		return out, noGrant(id)
	}
	if in.Grantee == "" || in.Grantee == g.Grantee {
		out.Grants = []GrantInfo{grantInfo(&g)}
	}
	return out, nil
}

// grantsOf pages through the few grants of one principal, which are read together.
func (w *work) grantsOf(ctx context.Context, key kms.ID, in *ListGrantsInput) (out GrantsOutput, err error) {
	after, err := pageBytes(in.Page)
	if err != nil {
		return out, err
	}
	all, err := w.o.records.GrantsOf(ctx, key, in.Grantee, maxGrantsOf)
	for i := range all {
		switch {
		case string(all[i].ID[:]) <= string(after):
		case len(out.Grants) == in.Limit:
			last, _ := records.ParseGrantID(out.Grants[in.Limit-1].ID)
			out.Next = bytesPage(last[:])
			return out, nil
		default:
			out.Grants = append(out.Grants, grantInfo(&all[i]))
		}
	}
	return out, err
}

func doListRetirable(ctx context.Context, w *work, in *RetirableGrantsInput) (out GrantsOutput, err error) {
	after, err := pageBytes(in.Page)
	if err != nil || len(after) > 0 && len(after) != len(kms.ID{})+len(records.GrantID{}) {
		return out, badPage()
	}
	page, next, err := w.o.records.Retirable(ctx, w.call.Namespace, in.Retiring, after, in.Limit+1) // one more tells whether there is another page
	if err != nil {
		return out, err
	}
	if len(page) > in.Limit {
		page = page[:in.Limit]
		last := &page[in.Limit-1]
		next = append(last.Key[:], last.ID[:]...)
	}
	for i := range page {
		out.Grants = append(out.Grants, grantInfo(&page[i]))
	}
	if next != nil {
		out.Next = bytesPage(next)
	}
	return out, nil
}

func grantInfo(g *records.Grant) GrantInfo {
	return GrantInfo{ID: g.ID.String(), Key: g.Key, Name: g.Name, Grantee: g.Grantee, Retiring: g.Retiring, Operations: g.Operations,
		Equals: g.Equals, Subset: g.Subset, Created: g.Created, By: g.By}
}

func grantOutput(g *records.Grant) GrantOutput {
	return GrantOutput{Grant: grantInfo(g), Token: grantToken(g.Key, g.ID)}
}
