package aws

import (
	"context"
	"regexp"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// Sizes of pages of grants.
const (
	grantsPage = 50
	grantsMost = 100
)

var grantIDForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// principal is the name of the principal that an ARN means.
func (x *exchange) principal(arn string) (string, error) {
	if arn == "" {
		return "", nil
	}
	name, err := engine.PrincipalOf(arn, x.account)
	if err != nil {
		return "", newFault("InvalidArnException", "ARN does not refer to a valid principal: "+kms.AsError(err).What)
	}
	return name, nil
}

// noService refuses grants to services of AWS: none of them ever calls.
func noService(names ...string) error {
	for _, n := range names {
		if n != "" {
			return newFault("UnsupportedOperationException", "No AWS service calls this server: name a user or a role.")
		}
	}
	return nil
}

// CreateGrant permits a principal some operations.
func (x *exchange) CreateGrant(ctx context.Context, in *CreateGrantInput) (*CreateGrantOutput, error) {
	ask, err := x.newGrant(in)
	if err != nil {
		return nil, err
	}
	x.rehearse(in.DryRun)
	out, err := x.engine.CreateGrant(ctx, x.call, ask)
	if kms.CodeOf(err) == kms.CodeTooMany {
		return nil, newFault("LimitExceededException", kms.AsError(err).What)
	}
	if kms.CodeOf(err) == kms.CodeUsage { // "The operation must be supported on the KMS key", AWS KMS API, CreateGrant
		return nil, newFault(validation, kms.AsError(err).What)
	}
	if err == nil {
		err = x.done()
	}
	if err != nil {
		return nil, err
	}
	return &CreateGrantOutput{GrantId: out.Grant.ID, GrantToken: out.Token}, nil
}

func (x *exchange) newGrant(in *CreateGrantInput) (ask engine.CreateGrantInput, err error) {
	if ask.Key, err = x.keyOnly(in.KeyId); err != nil {
		return ask, err
	}
	if err = noService(in.GranteeServicePrincipal, in.RetiringServicePrincipal); err != nil {
		return ask, err
	}
	if in.GranteePrincipal == "" {
		return ask, newFault("ValidationException", "GranteePrincipal is required.")
	}
	if ask.Grantee, err = x.principal(in.GranteePrincipal); err != nil {
		return ask, err
	}
	if ask.Retiring, err = x.principal(in.RetiringPrincipal); err != nil {
		return ask, err
	}
	ask.Name = in.Name
	seen := map[string]bool{}
	for _, name := range in.Operations {
		a, err := kms.ParseAction(name)
		if err != nil {
			return ask, newFault("ValidationException", "Unknown grant operation "+clip(name))
		}
		if !seen[name] { // AWS takes a repeated one as one
			ask.Operations = append(ask.Operations, a)
		}
		seen[name] = true
	}
	if c := in.Constraints; c != nil {
		if c.SourceArn != "" {
			return ask, noService(c.SourceArn)
		}
		ask.Equals, ask.Subset = c.EncryptionContextEquals, c.EncryptionContextSubset
	}
	return ask, nil
}

// RevokeGrant ends a grant.
func (x *exchange) RevokeGrant(ctx context.Context, in *RevokeGrantInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if !grantIDForm.MatchString(in.GrantId) {
		return nil, newFault("InvalidGrantIdException", "Invalid grant ID")
	}
	x.rehearse(in.DryRun)
	if _, err = x.engine.RevokeGrant(ctx, x.call, engine.GrantInput{Key: key, Grant: in.GrantId}); err == nil {
		err = x.done()
	}
	return nil, grantFault(err)
}

// RetireGrant ends a grant that the caller was given, or may retire.
func (x *exchange) RetireGrant(ctx context.Context, in *RetireGrantInput) (*nothing, error) {
	ask := engine.RetireGrantInput{Grant: in.GrantId, Token: in.GrantToken}
	switch {
	case in.GrantToken != "" && (in.KeyId != "" || in.GrantId != ""):
		return nil, newFault("ValidationException", "Must provide either GrantToken or both KeyId and GrantId.")
	case in.GrantToken != "":
		if err := engine.CheckGrantToken(in.GrantToken); err != nil {
			return nil, newFault("InvalidGrantTokenException", "Invalid grant token")
		}
	case in.KeyId == "" || in.GrantId == "":
		return nil, newFault("ValidationException", "Must provide either GrantToken or both KeyId and GrantId.")
	case !grantIDForm.MatchString(in.GrantId):
		return nil, newFault("InvalidGrantIdException", "Invalid grant ID")
	default:
		var err error
		if ask.Key, err = x.keyOnly(in.KeyId); err != nil {
			return nil, err
		}
	}
	x.rehearse(in.DryRun)
	_, err := x.engine.RetireGrant(ctx, x.call, ask)
	if err == nil {
		err = x.done()
	}
	return nil, grantFault(err)
}

func grantFault(err error) error {
	if kms.CodeOf(err) == kms.CodeNotFound {
		return newFault("NotFoundException", "Grant ID not found")
	}
	return err
}

// grantsLimit is how many grants a page has.
func grantsLimit(limit Int) (int, error) {
	switch {
	case !limit.Set:
		return grantsPage, nil
	case limit.Value > grantsMost:
		return 0, newFault("ValidationException", "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100")
	}
	return int(limit.Value), nil
}

// ListGrants pages through the grants on a key.
func (x *exchange) ListGrants(ctx context.Context, in *ListGrantsInput) (*ListGrantsOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	limit, err := grantsLimit(in.Limit)
	if err != nil {
		return nil, err
	}
	if err := noService(in.GranteeServicePrincipal); err != nil {
		return nil, err
	}
	if in.GrantId != "" && !grantIDForm.MatchString(in.GrantId) {
		return nil, newFault("InvalidGrantIdException", "Invalid grant ID")
	}
	grantee, err := x.principal(in.GranteePrincipal)
	if err != nil {
		return nil, err
	}
	out, err := x.engine.ListGrants(ctx, x.call, engine.ListGrantsInput{Key: key, Grantee: grantee, Grant: in.GrantId, Page: in.Marker, Limit: limit})
	return x.grants(out, err)
}

// ListRetirableGrants pages through the grants that a principal can retire.
func (x *exchange) ListRetirableGrants(ctx context.Context, in *ListRetirableGrantsInput) (*ListGrantsOutput, error) {
	limit, err := grantsLimit(in.Limit)
	if err != nil {
		return nil, err
	}
	if err := noService(in.RetiringServicePrincipal); err != nil {
		return nil, err
	}
	if in.RetiringPrincipal == "" {
		return nil, newFault("ValidationException", "RetiringPrincipal is required.")
	}
	retiring, err := x.principal(in.RetiringPrincipal)
	if err != nil {
		return nil, err
	}
	out, err := x.engine.ListRetirableGrants(ctx, x.call, engine.RetirableGrantsInput{Retiring: retiring, Page: in.Marker, Limit: limit})
	return x.grants(out, err)
}

func (x *exchange) grants(out engine.GrantsOutput, err error) (*ListGrantsOutput, error) {
	switch kms.CodeOf(err) {
	case 0:
	case kms.CodeBadToken:
		return nil, newFault("InvalidMarkerException", "The marker is not one that this operation gave.")
	default:
		return nil, grantFault(err)
	}
	answer := &ListGrantsOutput{Grants: make([]GrantListEntry, len(out.Grants)), NextMarker: out.Next, Truncated: out.Next != ""}
	for i := range out.Grants {
		g := &out.Grants[i]
		one := GrantListEntry{CreationDate: g.Created, GrantId: g.ID, GranteePrincipal: engine.PrincipalARN(g.Grantee, x.account),
			IssuingAccount: "arn:aws:iam::" + x.account + ":root", KeyId: x.keyARN(g.Key), Name: g.Name}
		if g.Retiring != "" {
			one.RetiringPrincipal = engine.PrincipalARN(g.Retiring, x.account)
		}
		for _, a := range g.Operations {
			one.Operations = append(one.Operations, a.String())
		}
		if len(g.Equals)+len(g.Subset) > 0 {
			one.Constraints = &GrantConstraints{EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset}
		}
		answer.Grants[i] = one
	}
	return answer, nil
}
