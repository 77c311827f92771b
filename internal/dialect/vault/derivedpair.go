package vault

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// maxDerivedPairs are the newest versions of a key whose derived public keys one request is shown.
const maxDerivedPairs = 100

// derivedPairs are the versions of a derived key with the public keys of what is derived from them for the context that the request names. Without one
// there is none to show: the key that was made signs nothing.
func (x *exchange) derivedPairs(ctx context.Context, k *kms.Key, versions []kms.Version) ([]kms.Version, *fault) {
	derivation, f := x.derivation()
	if f != nil {
		return nil, f
	}
	all := slices.Clone(versions) // those are shared
	shown := 0
	for i := range all {
		v := &all[i]
		v.Public = nil
		if len(derivation) == 0 || !alive(v) || v.Number < k.MinProcess || shown == maxDerivedPairs {
			continue
		}
		out, err := x.engine.GetPublicKey(ctx, x.call, engine.PublicKeyInput{Key: kms.RefTo(k.ID), Version: v.Number, Derivation: derivation})
		if err != nil {
			return nil, faultOf(err)
		}
		v.Public = out.DER
		shown++
	}
	return all, nil
}

// derivation reads the context of a request that shows a key: of its body, or of its query.
func (x *exchange) derivation() ([]byte, *fault) {
	text, f := x.in.text("context")
	if f != nil {
		return nil, f
	}
	if x.r.Method == http.MethodGet {
		text = x.r.URL.Query().Get("context")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, newFault(http.StatusBadRequest, "failed to base64-decode context")
	}
	return b, nil
}
