package kubernetes

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// Limits of a role.
const (
	maxBound    = 256
	maxPattern  = 256 // bytes
	maxAudience = 1024
)

// role is what is kept of a role. In names and namespaces * stands for any text.
type role struct {
	Names      []string `json:"bound_service_account_names"`
	Namespaces []string `json:"bound_service_account_namespaces"`
	Audience   string   `json:"audience"`
	Alias      string   `json:"alias_name_source"`
}

// What the holder of a token is called by.
const (
	byUID  = "serviceaccount_uid"
	byName = "serviceaccount_name"
)

// Role changes what is asked for of a role.
func (m *Method) Role(_ context.Context, _ string, was, asked login.Document) (login.Document, error) {
	r := role{Alias: byUID}
	if len(was.Public) > 0 {
		if err := json.Unmarshal(was.Public, &r); err != nil {
			return login.Document{}, err
		}
	}
	if len(asked.Public) > 0 {
		if err := json.Unmarshal(asked.Public, &r); err != nil {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "the role cannot be read").Because(err)
		}
	}
	switch {
	case len(r.Names) == 0:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "\"bound_service_account_names\" can not be empty")
	case len(r.Namespaces) == 0:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "\"bound_service_account_namespaces\" can not be empty")
	case r.Alias != byUID && r.Alias != byName:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "invalid alias_name_source %q: want %s or %s", login.Clip(r.Alias), byUID, byName)
	case len(r.Names) > maxBound || len(r.Namespaces) > maxBound || len(r.Audience) > maxAudience:
		return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a role binds %d names and %d namespaces at most, and an audience of %d bytes", maxBound, maxBound, maxAudience)
	}
	for _, list := range [][]string{r.Names, r.Namespaces} {
		if len(list) > 1 && slices.Contains(list, "*") {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "can not mix \"*\" with values")
		}
		for _, s := range list {
			if len(s) > maxPattern {
				return login.Document{}, kms.Errorf(kms.CodeTooLarge, "what a role binds has %d bytes at most", maxPattern)
			}
		}
	}
	b, err := json.Marshal(&r, json.Deterministic(true))
	return login.Document{Public: b}, err
}

// admits refuses an account that the role is not for.
func (r *role) admits(a *account) error {
	fits := func(all []string, s string) bool {
		return slices.ContainsFunc(all, func(p string) bool { return login.Glob(p, s) })
	}
	switch {
	case !fits(r.Names, a.name):
		return login.Refuse("the account is called %q", login.Clip(a.name))
	case !fits(r.Namespaces, a.namespace):
		return login.Refuse("the account is of the namespace %q", login.Clip(a.namespace))
	}
	return nil
}
