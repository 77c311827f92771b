package vault

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
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

// ReadSecretMetadata answers what is known of a secret and its versions.
func (x *exchange) ReadSecretMetadata(ctx context.Context) *fault {
	out, err := x.engine.ReadSecretMetadata(ctx, x.call, engine.SecretInput{Path: x.secretPath()})
	if err != nil {
		return faultOf(err)
	}
	s, e := &out.Secret, &x.e
	e.open()
	e.yes("cas_required", s.MustCheck)
	e.time("created_time", s.Created)
	e.number("current_version", int64(s.Current))
	x.custom(s.Custom)
	e.text("delete_version_after", s.DeleteAfter.String())
	e.number("max_versions", int64(s.Keep))
	oldest := int64(0)
	if len(s.Versions) > 0 {
		oldest = int64(s.Versions[0].Number)
	}
	e.number("oldest_version", oldest)
	e.time("updated_time", s.Updated)
	e.name("versions")
	e.open()
	for i := range s.Versions {
		v := &s.Versions[i]
		e.key(strconv.FormatUint(uint64(v.Number), 10))
		e.open()
		e.time("created_time", v.Created)
		x.deletion(v)
		e.yes("destroyed", v.Destroyed)
		e.close()
	}
	e.close()
	e.close()
	return nil
}

// UpdateSecretMetadata changes what is known of a secret. The custom metadata are all there are afterwards.
func (x *exchange) UpdateSecretMetadata(ctx context.Context) *fault {
	changes, f := x.customMetadata()
	if f != nil {
		return f
	}
	in := engine.UpdateSecretInput{Path: x.secretPath()}
	if changes != nil {
		custom := make(map[string]string, len(changes))
		for name, value := range changes {
			if value != nil {
				custom[name] = *value
			}
		}
		in.Custom = &custom
	}
	return x.updateSecret(ctx, in)
}

// PatchSecretMetadata does the same to a secret that there is, and leaves the entries that it does not name.
func (x *exchange) PatchSecretMetadata(ctx context.Context) *fault {
	changes, f := x.customMetadata()
	if f != nil {
		return f
	}
	return x.updateSecret(ctx, engine.UpdateSecretInput{Path: x.secretPath(), Changes: changes, Known: true})
}

func (x *exchange) updateSecret(ctx context.Context, in engine.UpdateSecretInput) *fault {
	var f *fault
	if in.Keep, in.MustCheck, in.DeleteAfter, f = x.settings(); f != nil {
		return f
	}
	if _, err := x.engine.UpdateSecretMetadata(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// settings are those of a secret or of a mount that the request names.
func (x *exchange) settings() (keep *uint32, must *bool, after *time.Duration, _ *fault) {
	for _, m := range []string{"metadata_cas", "metadata_cas_required"} {
		if s, f := x.in.text(m); f != nil || s != "" && s != "0" && s != "false" {
			return nil, nil, nil, orFault(f, m+" is not supported")
		}
	}
	if x.in.has("max_versions") {
		n, f := x.in.number("max_versions")
		if f != nil || n < 0 {
			return nil, nil, nil, badField("max_versions")
		}
		many := uint32(n)
		keep = &many
	}
	if x.in.has("cas_required") {
		yes, f := x.in.yes("cas_required")
		if f != nil {
			return nil, nil, nil, f
		}
		must = &yes
	}
	if x.in.has("delete_version_after") {
		d, f := x.in.span("delete_version_after")
		if f != nil {
			return nil, nil, nil, f
		}
		d = max(d, 0).Truncate(time.Second) // a negative one stands for never
		after = &d
	}
	return keep, must, after, nil
}

// customMetadata are the entries that the request names; nil, of an entry: it is to go.
func (x *exchange) customMetadata() (map[string]*string, *fault) {
	raw := x.in.raw("custom_metadata")
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, badField("custom_metadata")
	}
	all, err := members(raw)
	if err != nil {
		return nil, badJSON(err)
	}
	changes := make(map[string]*string, len(all))
	for i := range all {
		m := &all[i]
		if m.raw[0] == 'n' {
			changes[m.text()] = nil
			continue
		}
		s, f := fields{{name: []byte("custom_metadata"), raw: m.raw}}.text("custom_metadata")
		if f != nil {
			return nil, f
		}
		changes[m.text()] = &s
	}
	return changes, nil
}

// DeleteSecretMetadata destroys a secret with all its versions.
func (x *exchange) DeleteSecretMetadata(ctx context.Context) *fault {
	_, err := x.engine.DeleteSecretMetadata(ctx, x.call, engine.SecretInput{Path: x.secretPath()})
	return x.changed(err)
}

// SecretsConfig answers what holds for the secrets of the mount that say nothing else.
func (x *exchange) SecretsConfig(ctx context.Context) *fault {
	out, err := x.engine.ReadSecretSettings(ctx, x.call, engine.SecretSettingsInput{Folder: x.place.mount})
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.e.yes("cas_required", out.Settings.MustCheck)
	x.e.text("delete_version_after", out.Settings.DeleteAfter.String())
	x.e.number("max_versions", int64(out.Settings.Keep))
	x.e.close()
	return nil
}

// ConfigureSecrets changes it.
func (x *exchange) ConfigureSecrets(ctx context.Context) *fault {
	in := engine.UpdateSecretSettingsInput{Folder: x.place.mount}
	var f *fault
	if in.Keep, in.MustCheck, in.DeleteAfter, f = x.settings(); f != nil {
		return f
	}
	if _, err := x.engine.UpdateSecretSettings(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

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
