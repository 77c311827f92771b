package vault

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// carryRoutes are how keys leave for another transit, and what holds for all of them.
var carryRoutes = []route{
	except(byVersions, route{method: "GET", pattern: "transit/byok-export/{destination}/{source}", grants: carryGrants(), run: (*exchange).Carry}),
	except(byVersions, route{method: "GET", pattern: "transit/byok-export/{destination}/{source}/{version}", grants: carryGrants(), run: (*exchange).Carry}),
	except(perNamespace, route{method: "GET", pattern: "transit/config/keys", grants: may(canRead, kms.ReadNamespace), run: (*exchange).KeysConfig}),
	except(perNamespace, route{method: "POST", pattern: "transit/config/keys", grants: may(canUpdate, kms.UpdateNamespace), run: (*exchange).SetKeysConfig}),
}

// What is missing of these routes.
var byVersions = fmt.Sprintf("at most %d versions at once; one that others have to approve is named, as each version is approved for itself; the MAC key beside a key does not leave so", maxCarried)

const perNamespace = "it holds for all mounts of a namespace"

// maxCarried is how many versions leave at once.
const maxCarried = 40

func carryGrants() []grant {
	return join(on(1, may(canRead, kms.ExportKey)), on(0, may(canRead, kms.DescribeKey)))
}

// Carry wraps versions of a key for the public key of another: what an import of the transit that has that one's private half takes.
func (x *exchange) Carry(ctx context.Context) *fault {
	hash := ""
	if x.r.URL.RawQuery != "" {
		hash = x.r.URL.Query().Get("hash")
	}
	by, f := wrappingNamed(hash)
	if f != nil {
		return f
	}
	receiver, f := x.receiver(ctx, x.place.names[0])
	if f != nil {
		return f
	}
	name := x.place.names[1]
	ref := x.place.ref(name)
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "no such source key to export")
	}
	one, f := exportVersion(x.place.names[2], &was.Key)
	if f != nil {
		return f
	}
	numbers, f := x.carried(ctx, &was, one)
	if f != nil {
		return f
	}
	wrapped := make([][]byte, len(numbers))
	for i, n := range numbers {
		out, err := x.engine.ExportKey(ctx, x.call, engine.ExportInput{Key: ref, Version: n, Transport: by, Public: receiver})
		if err != nil {
			return exportFault(err)
		}
		wrapped[i] = out.Wrapped
	}
	x.exported(name, &was.Key, func() {
		for i, n := range numbers {
			x.e.text(strconv.FormatUint(uint64(n), 10), base64.StdEncoding.EncodeToString(wrapped[i]))
		}
	})
	return nil
}

// receiver is the public key that material is wrapped for: the newest of an RSA key.
func (x *exchange) receiver(ctx context.Context, name string) ([]byte, *fault) {
	out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: x.place.ref(name)})
	if err != nil {
		return nil, noKey(faultOf(err), http.StatusBadRequest, "no such destination key to export to")
	}
	switch out.Key.Algorithm {
	case kms.RSA2048, kms.RSA3072, kms.RSA4096:
	default:
		return nil, newFault(http.StatusBadRequest, "unsupported destination key type, must be RSA: "+typeOf(&out.Key).name)
	}
	all, f := x.versions(ctx, &out)
	if f != nil {
		return nil, f
	}
	for i := range all {
		if v := &all[i]; v.Number == out.Key.Primary && alive(v) {
			return v.Public, nil
		}
	}
	return nil, newFault(http.StatusBadRequest, "the destination key has no version that could receive")
}

// carried are the versions that leave, ascending: one, or all that there are and are used.
func (x *exchange) carried(ctx context.Context, k *engine.KeyOutput, one uint32) ([]uint32, *fault) {
	if one != 0 {
		if one < k.Key.MinProcess {
			return nil, newFault(http.StatusBadRequest, "version for export is below minimum decryption version")
		}
		return []uint32{one}, nil
	}
	all, f := x.versions(ctx, k)
	if f != nil {
		return nil, f
	}
	var numbers []uint32
	for i := len(all) - 1; i >= 0; i-- {
		if v := &all[i]; alive(v) && v.Number >= k.Key.MinProcess {
			numbers = append(numbers, v.Number)
		}
	}
	switch {
	case len(numbers) == 0:
		return nil, newFault(http.StatusBadRequest, "version does not exist or cannot be found")
	case len(numbers) > maxCarried:
		return nil, newFault(http.StatusBadRequest, fmt.Sprintf("the key has %d versions, and %d leave at once at most: name one", len(numbers), maxCarried))
	}
	return numbers, nil
}

// KeysConfig answers what holds for all keys.
func (x *exchange) KeysConfig(ctx context.Context) *fault {
	out, err := x.engine.DescribeNamespace(ctx, x.call, engine.NamespaceInput{Name: x.call.Namespace})
	if err != nil {
		return faultOf(err)
	}
	return x.keysConfig(&out)
}

// SetKeysConfig changes it. What is not said is false.
func (x *exchange) SetKeysConfig(ctx context.Context) *fault {
	no, f := x.in.yes("disable_upsert")
	if f != nil {
		return f
	}
	out, err := x.engine.UpdateNamespace(ctx, x.call, engine.NamespaceInput{Name: x.call.Namespace, NoUpsert: &no})
	if err != nil {
		return faultOf(err)
	}
	return x.keysConfig(&out)
}

func (x *exchange) keysConfig(out *engine.NamespaceOutput) *fault {
	x.e.open()
	x.e.yes("disable_upsert", out.Namespace.NoUpsert)
	x.e.close()
	return nil
}
