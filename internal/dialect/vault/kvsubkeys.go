package vault

import (
	"context"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// SecretSubkeys answers the names in a version, without what they stand for.
func (x *exchange) SecretSubkeys(ctx context.Context) *fault {
	in, f := x.wanted()
	if f != nil {
		return f
	}
	depth := maxMergeDepth
	if s := x.r.URL.Query().Get("depth"); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return badField("depth")
		}
		if n > 0 {
			depth = min(depth, int(n)) //nolint:gosec // G115: 16 bits
		}
	}
	out, err := x.engine.ReadSecret(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	defer out.Value.Zero()
	e := &x.e
	e.open()
	e.name("metadata")
	x.secretVersion(&out.Version, out.Custom)
	if out.Value.Len() == 0 {
		x.status = http.StatusNotFound
		e.null("subkeys")
	} else {
		e.name("subkeys")
		if err := e.subkeys(out.Value.Wire(release.Wire{}), depth); err != nil {
			return faultOf(kms.Errorf(kms.CodeInternal, "the secret could not be read").Because(err))
		}
	}
	e.close()
	return nil
}

// subkeys writes a document with null in the place of everything that is no object, or is deeper than so many.
func (e *encoder) subkeys(value []byte, depth int) error {
	if value[0] != '{' || depth == 0 {
		e.b = append(e.b, "null"...)
		return nil
	}
	all, err := members(value)
	if err != nil {
		return err
	}
	e.open()
	for i := range all {
		e.key(all[i].text())
		if err := e.subkeys(all[i].raw, depth-1); err != nil {
			return err
		}
	}
	e.close()
	return nil
}
