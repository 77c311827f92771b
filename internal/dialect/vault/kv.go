package vault

import (
	"context"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// kvGroup is the first segment of the patterns of secrets' routes.
const kvGroup = "secret"

// kvRoutes are those of a KV mount, version 2.
var kvRoutes = flat(
	[]route{
		{method: "GET", pattern: "secret/data/{path}", grants: may(canRead, kms.ReadSecret), run: (*exchange).ReadSecret},
		{method: "POST", pattern: "secret/data/{path}", grants: join(may(canCreate, kms.PutSecret), may(canUpdate, kms.PutSecret)), run: (*exchange).PutSecret},
		{method: "PATCH", pattern: "secret/data/{path}", grants: may(canPatch, kms.PutSecret), run: (*exchange).PatchSecret},
		{method: "DELETE", pattern: "secret/data/{path}", grants: may(canDelete, kms.DeleteSecret), run: (*exchange).DeleteSecret},
		{method: "POST", pattern: "secret/delete/{path}", grants: may(canUpdate, kms.DeleteSecret), run: (*exchange).DeleteSecretVersions},
		{method: "POST", pattern: "secret/undelete/{path}", grants: may(canUpdate, kms.UndeleteSecret), run: (*exchange).UndeleteSecret},
		{method: "POST", pattern: "secret/destroy/{path}", grants: may(canUpdate, kms.DestroySecret), run: (*exchange).DestroySecret},
		{method: "LIST", pattern: "secret/metadata/{path}", whole: true, grants: may(canList, kms.ListSecrets), run: (*exchange).ListSecrets},
		{method: "GET", pattern: "secret/metadata/{path}", grants: may(canRead, kms.ReadSecretMetadata), run: (*exchange).ReadSecretMetadata},
		except(ownMetadata, route{method: "POST", pattern: "secret/metadata/{path}",
			grants: join(may(canCreate, kms.UpdateSecretMetadata), may(canUpdate, kms.UpdateSecretMetadata)), run: (*exchange).UpdateSecretMetadata}),
		{method: "DELETE", pattern: "secret/metadata/{path}", grants: may(canDelete, kms.DeleteSecretMetadata), run: (*exchange).DeleteSecretMetadata},
		except(ownMetadata, route{method: "PATCH", pattern: "secret/metadata/{path}", grants: may(canPatch, kms.UpdateSecretMetadata), run: (*exchange).PatchSecretMetadata}),
		{method: "GET", pattern: "secret/subkeys/{path}", grants: may(canRead, kms.ReadSecret), run: (*exchange).SecretSubkeys},
		{method: "GET", pattern: "secret/config", grants: may(canRead, kms.ReadSecretMetadata), run: (*exchange).SecretsConfig},
		except("at most 64 versions; without `metadata_cas_required`", route{method: "POST", pattern: "secret/config", grants: may(canUpdate, kms.UpdateSecretMetadata), run: (*exchange).ConfigureSecrets}),
	},
	absent("LIST", "list `metadata`", "secret/detailed-metadata/{path}"),
)

// ownMetadata is what is missing of the metadata.
const ownMetadata = "at most 64 versions and 64 entries of custom metadata; without `metadata_cas`"

// secret is the path of a secret of the mount.
func (p *place) secret(name string) string {
	if name == "" {
		return p.mount
	}
	return p.mount + "/" + name
}

// secretPath is the path of the secret that the request is about.
func (x *exchange) secretPath() string { return x.place.secret(x.place.names[0]) }

// ReadSecret answers a version. One that is deleted or destroyed is not found, and its metadata tell why.
func (x *exchange) ReadSecret(ctx context.Context) *fault {
	in, f := x.wanted()
	if f != nil {
		return f
	}
	out, err := x.engine.ReadSecret(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	e := &x.e
	e.open()
	if out.Value.Len() == 0 { // JSON is never empty
		x.status = http.StatusNotFound
		e.null("data")
	} else {
		e.document("data", out.Value)
	}
	e.name("metadata")
	x.secretVersion(&out.Version, out.Custom)
	e.close()
	return nil
}

// wanted is the version that is asked for.
func (x *exchange) wanted() (in engine.ReadSecretInput, _ *fault) {
	in.Path = x.secretPath()
	if s := x.r.URL.Query().Get("version"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return in, badField("version")
		}
		in.Version = uint32(n)
	}
	return in, nil
}

// secretVersion writes what is known of a version beside its value.
func (x *exchange) secretVersion(v *engine.SecretVersion, custom map[string]string) {
	e := &x.e
	e.open()
	e.time("created_time", v.Created)
	x.custom(custom)
	x.deletion(v)
	e.yes("destroyed", v.Destroyed)
	e.number("version", int64(v.Number))
	e.close()
}

// deletion writes when a version was deleted, or will be; the empty text: it was not.
func (x *exchange) deletion(v *engine.SecretVersion) {
	if v.Deleted.IsZero() {
		x.e.text("deletion_time", "")
		return
	}
	x.e.time("deletion_time", v.Deleted)
}

func (x *exchange) custom(all map[string]string) {
	if len(all) == 0 {
		x.e.null("custom_metadata")
		return
	}
	x.e.name("custom_metadata")
	x.e.open()
	for _, name := range sorted(all) {
		x.e.key(name)
		x.e.quote(all[name])
	}
	x.e.close()
}

// PutSecret writes a new version.
func (x *exchange) PutSecret(ctx context.Context) *fault {
	document, f := x.document()
	if f != nil {
		return f
	}
	cas, f := x.cas()
	if f != nil {
		return f
	}
	return x.putSecret(ctx, document, cas)
}

// document is the member "data" of the request, an object.
func (x *exchange) document() ([]byte, *fault) {
	raw := x.in.raw("data")
	switch {
	case raw == nil:
		return nil, newFault(http.StatusBadRequest, "no data provided")
	case raw[0] != '{':
		return nil, badField("data")
	}
	return raw, nil
}

// cas is the version that the writer says it replaces; nil: it says nothing.
func (x *exchange) cas() (*uint32, *fault) {
	raw := x.in.raw("options")
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, badField("options")
	}
	options, f := x.j.object(raw, nil)
	if f != nil || !options.has("cas") {
		return nil, f
	}
	n, f := options.number("cas")
	if f != nil || n < 0 {
		return nil, badField("cas")
	}
	cas := uint32(n)
	return &cas, nil
}

func (x *exchange) putSecret(ctx context.Context, document []byte, cas *uint32) *fault {
	value := secret.Copy(document)
	defer value.Zero()
	out, err := x.engine.PutSecret(ctx, x.call, engine.PutSecretInput{Path: x.secretPath(), Value: value, Replaces: cas, Under: x.place.mount})
	switch code := kms.CodeOf(err); {
	case err == nil:
	case code == kms.CodeConflict && cas != nil:
		return newFault(http.StatusBadRequest, casMismatch, told(kms.AsError(err)))
	case code == kms.CodeBadRequest && cas == nil:
		return newFault(http.StatusBadRequest, "check-and-set parameter required for this call", told(kms.AsError(err)))
	default:
		return faultOf(err)
	}
	s := &out.Secret
	x.secretVersion(&s.Versions[len(s.Versions)-1], s.Custom)
	return nil
}

// casMismatch is compared by clients.
const casMismatch = "check-and-set parameter did not match the current version"

// patchTries bounds how often a patch is made anew because somebody else wrote in between.
const patchTries = 4

// PatchSecret merges a document into the newest version (RFC 7396), which it reads: whoever patches has to be allowed that.
func (x *exchange) PatchSecret(ctx context.Context) *fault {
	patch, f := x.document()
	if f != nil {
		return f
	}
	if len(patch) > engine.MaxSecretValue {
		return faultOf(kms.Errorf(kms.CodeTooLarge, "the patch has %d bytes, more than the %d of a value", len(patch), engine.MaxSecretValue))
	}
	cas, f := x.cas()
	if f != nil {
		return f
	}
	for try := 1; ; try++ {
		was, err := x.engine.ReadSecret(ctx, x.call, engine.ReadSecretInput{Path: x.secretPath()})
		if err != nil {
			return faultOf(err)
		}
		if was.Value.Len() == 0 {
			return missing()
		}
		merged, err := merge(was.Value, patch)
		was.Value.Zero()
		if err != nil {
			return badJSON(err)
		}
		based := was.Version.Number
		if cas != nil && *cas != based {
			clear(merged)
			return newFault(http.StatusBadRequest, casMismatch)
		}
		f := x.putSecret(ctx, merged, &based)
		clear(merged)
		if f == nil || cas != nil || try == patchTries || f.texts == nil || f.texts[0] != casMismatch {
			return f
		}
	}
}

// ListSecrets lists a folder, or the mount.
func (x *exchange) ListSecrets(ctx context.Context) *fault {
	in := engine.ListSecretsInput{Folder: x.secretPath(), After: x.r.URL.Query().Get("after")}
	if s := x.r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return badField("limit")
		}
		in.Limit = int(max(n, 0)) // a negative one stands for none
	}
	out, err := x.engine.ListSecrets(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	if len(out.Names) == 0 {
		return missing()
	}
	x.e.open()
	x.e.name("keys")
	x.e.texts(out.Names)
	x.e.close()
	return nil
}
