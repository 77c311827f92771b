package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// KeyPolicy is the policy of one key.
type KeyPolicy struct {
	Key       string    `json:"key"`
	KeyName   string    `json:"key_name"`
	Text      string    `json:"text"`
	Default   bool      `json:"default,omitempty"` // the key has none of its own
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
}

// PutKeyPolicy gives a key a policy of its own, in AWS's language; an empty text is the default policy again. With bypass it is stored also
// if the caller could not change it again.
func (c *Client) PutKeyPolicy(ctx context.Context, key, text string, bypass bool, options ...Option) (KeyPolicy, error) {
	return keyPolicyOf(invoke(ctx, c, c.keys.PutKeyPolicy, &keyholdv1.PutKeyPolicyRequest{Key: key, Text: text, BypassLockoutCheck: bypass}, changes, options))
}

// GetKeyPolicy answers the policy of a key.
func (c *Client) GetKeyPolicy(ctx context.Context, key string, options ...Option) (KeyPolicy, error) {
	return keyPolicyOf(invoke(ctx, c, c.keys.GetKeyPolicy, &keyholdv1.GetKeyPolicyRequest{Key: key}, reads, options))
}

func keyPolicyOf(res *keyholdv1.KeyPolicyResponse, err error) (KeyPolicy, error) {
	p := res.GetPolicy()
	return KeyPolicy{Key: p.GetKey(), KeyName: p.GetKeyName(), Text: p.GetText(), Default: p.GetIsDefault(), ChangedAt: timeOf(p.GetChangedAt()), ChangedBy: p.GetChangedBy()}, err
}

// Grant permits one principal some operations with one key.
type Grant struct {
	ID            string            `json:"id"`
	Key           string            `json:"key"`
	Name          string            `json:"name,omitempty"`
	Grantee       string            `json:"grantee"`
	Retiring      string            `json:"retiring,omitempty"`
	Operations    []string          `json:"operations"`
	ContextEquals map[string]string `json:"context_equals,omitempty"`
	ContextSubset map[string]string `json:"context_subset,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
	CreatedBy     string            `json:"created_by"`
	Token         string            `json:"token,omitempty"` // when it is made; it permits nothing by itself
}

// CreateGrantInput asks for a grant.
type CreateGrantInput struct {
	Key           string
	Grantee       string // a principal; sessions of a role are role/NAME
	Retiring      string // may be empty
	Operations    []string
	ContextEquals map[string]string // at most one of these two
	ContextSubset map[string]string
	Name          string // with a name, the same request answers the same grant again
}

// CreateGrant permits one principal some operations with one key.
func (c *Client) CreateGrant(ctx context.Context, in CreateGrantInput, options ...Option) (Grant, error) {
	return grantOf(invoke(ctx, c, c.keys.CreateGrant, &keyholdv1.CreateGrantRequest{Key: in.Key, Grantee: in.Grantee, Retiring: in.Retiring, Operations: in.Operations,
		ContextEquals: in.ContextEquals, ContextSubset: in.ContextSubset, Name: in.Name}, changes, options))
}

// RevokeGrant ends a grant, by who manages the key.
func (c *Client) RevokeGrant(ctx context.Context, key, grant string, options ...Option) (Grant, error) {
	return grantOf(invoke(ctx, c, c.keys.RevokeGrant, &keyholdv1.RevokeGrantRequest{Key: key, Grant: grant}, changes, options))
}

// RetireGrant ends a grant, by those whom it names.
func (c *Client) RetireGrant(ctx context.Context, key, grant string, options ...Option) (Grant, error) {
	return grantOf(invoke(ctx, c, c.keys.RetireGrant, &keyholdv1.RetireGrantRequest{Key: key, Grant: grant}, changes, options))
}

// RetireGrantByToken ends the grant that a token names.
func (c *Client) RetireGrantByToken(ctx context.Context, token string, options ...Option) (Grant, error) {
	return grantOf(invoke(ctx, c, c.keys.RetireGrant, &keyholdv1.RetireGrantRequest{Token: token}, changes, options))
}

// ListGrants goes through the grants on a key; of one principal only, unless grantee is empty.
func (c *Client) ListGrants(ctx context.Context, key, grantee string, options ...Option) iter.Seq2[Grant, error] {
	return pages(func(token string) ([]Grant, string, error) {
		res, err := invoke(ctx, c, c.keys.ListGrants, &keyholdv1.ListGrantsRequest{Key: key, Grantee: grantee, PageToken: token}, reads, options)
		return each(res.GetGrants(), toGrant), res.GetNextPageToken(), err
	})
}

// ListRetirableGrants goes through the grants that name a principal as the one who can retire them.
func (c *Client) ListRetirableGrants(ctx context.Context, retiring string, options ...Option) iter.Seq2[Grant, error] {
	return pages(func(token string) ([]Grant, string, error) {
		res, err := invoke(ctx, c, c.keys.ListRetirableGrants, &keyholdv1.ListRetirableGrantsRequest{Retiring: retiring, PageToken: token}, reads, options)
		return each(res.GetGrants(), toGrant), res.GetNextPageToken(), err
	})
}

func grantOf(res *keyholdv1.GrantResponse, err error) (Grant, error) {
	g := toGrant(res.GetGrant())
	g.Token = res.GetToken()
	return g, err
}

func toGrant(g *keyholdv1.Grant) Grant {
	return Grant{ID: g.GetId(), Key: g.GetKey(), Name: g.GetName(), Grantee: g.GetGrantee(), Retiring: g.GetRetiring(), Operations: g.GetOperations(),
		ContextEquals: g.GetContextEquals(), ContextSubset: g.GetContextSubset(), CreatedAt: timeOf(g.GetCreatedAt()), CreatedBy: g.GetCreatedBy()}
}
