package vault

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// DeleteSecret deletes the newest version, which can be taken back. There may be none.
func (x *exchange) DeleteSecret(ctx context.Context) *fault {
	_, err := x.engine.DeleteSecret(ctx, x.call, engine.SecretVersionsInput{Path: x.secretPath()})
	return x.changed(err)
}

// changed answers a change of a secret without a body, and says nothing of one that there is not.
func (x *exchange) changed(err error) *fault {
	if err != nil && kms.CodeOf(err) != kms.CodeNotFound {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// DeleteSecretVersions deletes versions.
func (x *exchange) DeleteSecretVersions(ctx context.Context) *fault {
	return x.onVersions(ctx, x.engine.DeleteSecret)
}

// UndeleteSecret takes the deletion of versions back.
func (x *exchange) UndeleteSecret(ctx context.Context) *fault {
	return x.onVersions(ctx, x.engine.UndeleteSecret)
}

// DestroySecret erases versions for good.
func (x *exchange) DestroySecret(ctx context.Context) *fault {
	return x.onVersions(ctx, x.engine.DestroySecret)
}

func (x *exchange) onVersions(ctx context.Context, do func(context.Context, kms.Call, engine.SecretVersionsInput) (engine.SecretOutput, error)) *fault {
	in := engine.SecretVersionsInput{Path: x.secretPath()}
	var words []string
	switch raw := x.in.raw("versions"); {
	case raw == nil:
	case raw[0] == '[':
		values, f := x.j.list(raw)
		if f != nil {
			return badField("versions")
		}
		for _, v := range values {
			s, f := fields{{name: []byte("versions"), raw: v}}.text("versions")
			if f != nil {
				return f
			}
			words = append(words, s)
		}
	default: // one, or several with commas
		s, f := x.in.text("versions")
		if f != nil {
			return f
		}
		words = strings.Split(s, ",")
	}
	for _, s := range words {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
		if err != nil {
			return badField("versions")
		}
		in.Versions = append(in.Versions, uint32(n))
	}
	if len(in.Versions) == 0 {
		return newFault(http.StatusBadRequest, "No version number provided")
	}
	_, err := do(ctx, x.call, in)
	return x.changed(err)
}
