package vault

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
)

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
