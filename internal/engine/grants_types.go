package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// CreateGrantInput permits one principal some operations with one key, beside all policies.
type CreateGrantInput struct {
	Key        kms.Ref
	Grantee    string       // the principal's name; that of sessions of a role is role/NAME
	Retiring   string       // the principal that can retire the grant; empty: the grantee if the grant has RetireGrant, and who may revoke it
	Operations []kms.Action // of those that a grant can permit
	Equals     kms.Context  // at most one of these: it holds for requests whose encryption context has exactly these entries …
	Subset     kms.Context  // … or these among others
	Name       string       // with a name, the same request answers the same grant again; at most 256 bytes

	crowded bool // the grantee has as many as it can have; filled by prepare
}

// GrantInfo is a grant.
type GrantInfo struct {
	ID         string // 64 hexadecimal digits
	Key        kms.ID
	Name       string
	Grantee    string
	Retiring   string
	Operations []kms.Action
	Equals     kms.Context
	Subset     kms.Context
	Created    time.Time
	By         string
}

// GrantOutput is a grant, with its token.
type GrantOutput struct {
	Grant GrantInfo
	Token string // names the grant where a protocol wants one; it gives no permission by itself
}

// GrantInput names a grant of a key.
type GrantInput struct {
	Key   kms.Ref
	Grant string // its id
}

// RetireGrantInput names a grant by its token, or by key and id.
type RetireGrantInput struct {
	Key   kms.Ref
	Grant string
	Token string // instead of both
}

// ListGrantsInput pages through the grants on a key, by id.
type ListGrantsInput struct {
	Key     kms.Ref
	Grantee string // only those of this principal; empty: all
	Grant   string // only this one; empty: all
	Page    string
	Limit   int // 0: 100; at most 1000
}

// RetirableGrantsInput pages through the grants of a namespace that name a principal as the one who can retire them.
type RetirableGrantsInput struct {
	Retiring string
	Page     string
	Limit    int // 0: 100; at most 1000
}

// GrantsOutput is one page.
type GrantsOutput struct {
	Grants []GrantInfo
	Next   string
}
