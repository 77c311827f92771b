package migrate

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// parcel is a backup on its way: the JSON text of a string.
type parcel = secret.Bytes

// backup gets a key's backup as the server writes it.
func (s *Server) backup(ctx context.Context, name string) (*parcel, error) {
	a, err := s.call(ctx, http.MethodGet, s.transit("backup", name), nil)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	var b struct {
		Backup jsontext.Value `json:"backup"`
	}
	if err := into(a, &b); err != nil {
		return nil, err
	}
	if b.Backup.Kind() != '"' || len(b.Backup) > transit.MaxBackup+2 {
		clear(b.Backup)
		return nil, a.stays("is not of its form: data/backup is no text of at most %d bytes", transit.MaxBackup)
	}
	return secret.Take(b.Backup), nil
}

// exported makes a backup of what the server exports.
func (s *Server) exported(ctx context.Context, name string, d *described, t *keyType, now time.Time) (*parcel, error) {
	b := &transit.Backup{
		Name: name, Algorithm: t.algorithm, Derived: d.Derived, Convergent: d.Convergent, Exportable: true, Deletable: d.Deletable, Imported: d.Imported, Rotates: d.Rotates,
		MinProcess: d.first(), MinProtect: uint32(d.MinEncryption), Latest: d.latest(), Every: d.every, //nolint:gosec // G115: checked
	}
	defer b.Zero()
	if b.MinKept = d.first(); b.MinKept == 1 {
		b.MinKept = uint32(d.MinAvailable) //nolint:gosec // G115: 0 or 1
	}
	keys, err := s.export(ctx, t.export(), name)
	if err != nil {
		return nil, err
	}
	defer keys.erase()
	macs := keys
	if t.algorithm != kms.HMAC {
		if macs, err = s.export(ctx, "hmac-key", name); err != nil {
			return nil, err
		}
		defer macs.erase()
	}
	for n := d.first(); n <= d.latest(); n++ {
		v := transit.Version{Number: n, Created: d.versions[n].created, Chain: d.versions[n].chain}
		if v.Created.IsZero() {
			v.Created = now
		}
		if keys[n] == nil || macs[n] == nil {
			return nil, s.trouble("export the key again: if it was rotated meanwhile, that is all", "%s does not export version %d of key %s, or its MAC key", s.cfg.What, n, name)
		}
		b.Versions = append(b.Versions, v)
		at := &b.Versions[len(b.Versions)-1]
		if at.Material, err = transit.ReadText(t.algorithm, keys[n]); err != nil {
			return nil, err
		}
		if t.algorithm == kms.HMAC {
			continue
		}
		if at.MAC, err = transit.ReadMAC(macs[n]); err != nil {
			return nil, err
		}
	}
	out, err := b.Write(now)
	if err != nil {
		return nil, err
	}
	defer out.Zero()
	text := out.Wire(release.Wire{})
	return secret.Take(slices.Concat([]byte{'"'}, text, []byte{'"'})), nil
}

// material is the text of each version.
type material map[uint32][]byte

func (m material) erase() {
	for _, text := range m {
		clear(text)
	}
}

// export gets the keys of one kind.
func (s *Server) export(ctx context.Context, kind, name string) (material, error) {
	a, err := s.call(ctx, http.MethodGet, s.transit("export", kind, name), nil)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	var e struct {
		Keys map[string]jsontext.Value `json:"keys"`
	}
	defer func() {
		for _, raw := range e.Keys {
			clear(raw)
		}
	}()
	if err := into(a, &e); err != nil {
		return nil, err
	}
	if len(e.Keys) > transit.MaxVersions {
		return nil, a.stays("has more than %d versions", transit.MaxVersions)
	}
	m := material{}
	for number, raw := range e.Keys {
		n, err := strconv.ParseUint(number, 10, 31)
		if err == nil && len(raw) <= 2*transit.MaxText { // escapes take room
			var text []byte
			if text, err = jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw); err == nil {
				m[uint32(n)] = text
				continue
			}
			clear(text)
		}
		m.erase()
		return nil, a.stays("is not of its form: data/keys holds no texts by version")
	}
	return m, nil
}

// restore makes a key of a backup.
func (s *Server) restore(ctx context.Context, name string, p *parcel) error {
	body := slices.Concat([]byte(`{"backup":`), p.Reveal(reveal.Key{}), []byte{'}'})
	defer clear(body)
	a, err := s.call(ctx, http.MethodPost, s.transit("restore", name), body)
	if err != nil {
		return err
	}
	defer a.erase()
	if a.status != http.StatusOK && a.status != http.StatusNoContent {
		return a.refusal()
	}
	return nil
}
