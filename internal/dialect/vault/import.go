package vault

import (
	"context"
	"encoding/pem"
	"net/http"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// importRoutes are how material comes in that its owner wrapped.
var importRoutes = []route{
	{method: "GET", pattern: "transit/wrapping_key", grants: may(canRead, kms.ReadWrappingKey), run: (*exchange).WrappingKey},
	except(noPublicOnly, route{method: "POST", pattern: "transit/keys/{name}/import", grants: may(canUpdate, kms.RestoreKey), run: (*exchange).Import}),
	except(noPublicOnly, route{method: "POST", pattern: "transit/keys/{name}/import_version", grants: may(canUpdate, kms.ImportKeyMaterial), run: (*exchange).ImportVersion}),
}

// noPublicOnly is what is missing of both imports.
const noPublicOnly = "private and symmetric keys, not `public_key` alone: every version here has its material; what Vault answers with 500 because of the request is 400"

// wrappings are the hashes that OAEP may have, by the names that clients give them.
var wrappings = []struct {
	name string
	by   kms.Transport
}{
	{"SHA256", kms.RSAAESSHA256}, {"SHA1", kms.RSAAESSHA1}, {"SHA224", kms.RSAAESSHA224}, {"SHA384", kms.RSAAESSHA384}, {"SHA512", kms.RSAAESSHA512},
}

// wrappingNamed is that of a hash; no name stands for the first.
func wrappingNamed(hash string) (kms.Transport, *fault) {
	for _, w := range wrappings {
		if hash == "" || strings.EqualFold(hash, w.name) {
			return w.by, nil
		}
	}
	return 0, newFault(http.StatusBadRequest, "unknown hash function: "+clip(hash))
}

// WrappingKey answers the public key that material is wrapped for.
func (x *exchange) WrappingKey(ctx context.Context) *fault {
	out, err := x.engine.ReadWrappingKey(ctx, x.call, engine.WrappingKeyInput{})
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.e.text("public_key", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: out.Public})))
	x.e.close()
	return nil
}

// parcel reads what was wrapped, and how.
func (x *exchange) parcel() ([]byte, kms.Transport, *fault) {
	hash, f := x.in.text("hash_function")
	if f != nil {
		return nil, 0, f
	}
	by, f := wrappingNamed(hash)
	if f != nil {
		return nil, 0, f
	}
	material, f := x.blob(x.in, "ciphertext")
	switch {
	case f != nil:
		return nil, 0, f
	case len(material) > 0: // then public_key is passed over
		return material, by, nil
	case x.in.has("public_key"):
		return nil, 0, newFault(http.StatusBadRequest, "a public key alone is not imported: every version of a key here has its private half; verify and encrypt with the public key where it is")
	}
	return nil, 0, newFault(http.StatusBadRequest, "one of the following fields, `ciphertext` and `public_key`, must be set")
}

// Import makes a key of what was wrapped.
func (x *exchange) Import(ctx context.Context) *fault {
	in, f := x.create(x.place.names[0], false)
	if f != nil {
		return f
	}
	in.Bytes, in.Transit.Convergent = 0, false // those are no members of this request
	if in.Transit.Rotates, f = x.in.yes("allow_rotation"); f != nil {
		return f
	}
	if in.Period != nil && !in.Transit.Rotates {
		return newFault(http.StatusBadRequest, "allow_rotation must be set to true if auto-rotation is enabled")
	}
	material, by, f := x.parcel()
	if f != nil {
		return f
	}
	_, err := x.engine.BringKey(ctx, x.call, engine.BringInput{Material: material, Transport: by, CreateKeyInput: in})
	return x.came(err)
}

// ImportVersion makes the next version of an imported key of what was wrapped.
func (x *exchange) ImportVersion(ctx context.Context) *fault {
	n, f := x.in.version("version")
	switch {
	case f != nil:
		return f
	case n != 0: // it completes a version that has a public key alone, of which there is none
		return newFault(http.StatusBadRequest, "private key imported, key version cannot be updated")
	}
	material, by, f := x.parcel()
	if f != nil {
		return f
	}
	name := x.place.names[0]
	_, err := x.engine.BringVersion(ctx, x.call, engine.BringVersionInput{Key: x.place.ref(name), Material: material, Transport: by})
	switch kms.CodeOf(err) {
	case kms.CodeKeyNotFound:
		return newFault(http.StatusBadRequest, "no key found with name "+clip(name)+"; to import a new key, use the import/ endpoint", told(kms.AsError(err)))
	case kms.CodeImportToken:
		return newFault(http.StatusBadRequest, "the import_version endpoint can only be used with an imported key", told(kms.AsError(err)))
	case kms.CodeExists:
		return newFault(http.StatusBadRequest, told(kms.AsError(err)))
	}
	return x.came(err)
}

// came answers an import.
func (x *exchange) came(err error) *fault {
	switch kms.CodeOf(err) {
	case kms.CodeExists:
		return newFault(http.StatusBadRequest, "the import path cannot be used with an existing key; use import-version to rotate an existing imported key", told(kms.AsError(err)))
	case kms.CodeDecryptFailed:
		return newFault(http.StatusBadRequest, "the wrapped key does not open: it was wrapped for another key or with another hash function, or was changed", told(kms.AsError(err)))
	}
	if err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}
