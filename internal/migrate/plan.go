package migrate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// MaxVersions is how many versions a key can have that moves: the target restores them in one transaction.
const MaxVersions = 40

// How says by which way a key moves.
type How string

// The ways.
const (
	ByBackup How = "backup"  // as the source writes it
	ByExport How = "export"  // made of what the source exports
	ByRewrap How = "re-wrap" // the key stays; its ciphertexts can be moved to another one
	Cannot   How = "cannot"
	IsThere  How = "there" // nothing is to be done
)

// Outcome says what became of a key.
type Outcome string

// The outcomes.
const (
	Planned Outcome = "planned"
	Moved   Outcome = "moved"
	There   Outcome = "already there"
	Left    Outcome = "not moved" // by the plan
	Failed  Outcome = "failed"
	Untried Outcome = "not tried" // the run ended before
)

// Key is a key of the source, in a plan and in its report.
type Key struct {
	Name     string  `json:"key"`
	Target   string  `json:"to"` // its name at the target, below the mount
	Type     string  `json:"type,omitempty"`
	Latest   uint32  `json:"latest_version,omitempty"`
	Versions uint32  `json:"versions,omitempty"` // that move
	How      How     `json:"how"`
	Outcome  Outcome `json:"outcome"`
	Verified string  `json:"verified,omitempty"` // what shows that it is the same key; empty: nothing
	Why      string  `json:"why,omitempty"`
	Next     string  `json:"next,omitempty"`
	Left     string  `json:"left_behind,omitempty"` // what of the key does not come along
}

// keyType is a type of transit's keys that can move.
type keyType struct {
	name      string
	algorithm kms.Algorithm
	encrypts  bool
	signs     bool
}

var keyTypes = []keyType{
	{"aes128-gcm96", kms.AES128GCM, true, false}, {"aes256-gcm96", kms.AES256GCM, true, false},
	{"chacha20-poly1305", kms.ChaCha20Poly1305, true, false}, {"xchacha20-poly1305", kms.XChaCha20Poly1305, true, false},
	{"ed25519", kms.Ed25519, false, true}, {"ecdsa-p256", kms.ECDSAP256, false, true}, {"ecdsa-p384", kms.ECDSAP384, false, true}, {"ecdsa-p521", kms.ECDSAP521, false, true},
	{"rsa-2048", kms.RSA2048, true, true}, {"rsa-3072", kms.RSA3072, true, true}, {"rsa-4096", kms.RSA4096, true, true},
	{"hmac", kms.HMAC, false, false},
}

func typeNamed(name string) *keyType {
	for i := range keyTypes {
		if keyTypes[i].name == name && transit.Written(keyTypes[i].algorithm) {
			return &keyTypes[i]
		}
	}
	return nil
}

// export is the kind under which the server exports the keys of a type.
func (t *keyType) export() string {
	switch {
	case t.encrypts:
		return "encryption-key"
	case t.signs:
		return "signing-key"
	}
	return "hmac-key"
}

// Plan finds the keys whose names match one of the patterns (path.Match; none: all), and how each can move. It changes nothing.
func (m *Mover) Plan(ctx context.Context, patterns []string, progress func(done, total int)) ([]Key, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, kms.Errorf(kms.CodeBadRequest, "%q is not a pattern of key names: want * ? [a-z] and letters", clip(p))
		}
	}
	names, err := m.cfg.Source.names(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var keys []Key
	for _, name := range slices.Compact(names) {
		if len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
			keys = append(keys, Key{Name: clip(name), Target: m.cfg.Prefix + clip(name), Outcome: Untried})
		}
	}
	if len(keys) == 0 && len(patterns) > 0 {
		return nil, kms.Errorf(kms.CodeNotFound, "no key of %s matches: it has %d", m.cfg.Source.cfg.What, len(names))
	}
	return keys, m.each(ctx, keys, progress, m.plan)
}

// plan finds out how one key can move.
func (m *Mover) plan(ctx context.Context, k *Key) error {
	if !pathSafe(k.Name) {
		k.cannot("no key of transit has such a name", "")
		return nil
	}
	if kms.CheckName(k.Target) != nil || !pathSafe(k.Target) {
		k.cannot(fmt.Sprintf("%q is no name for a key here", k.Target), "give the keys a --prefix that makes names of them: letters, digits, '.', '_' and '-'")
		return nil
	}
	d, err := m.cfg.Source.describe(ctx, k.Name)
	if err != nil {
		return k.unread(err)
	}
	k.Type, k.Latest = quoted(d.Type), d.latest()
	k.choose(d)
	if k.Outcome == Planned {
		k.permit(d, m.cfg.Source.mayRead(ctx, k.Name, typeNamed(d.Type)))
	}
	there, err := m.cfg.Target.describe(ctx, k.Target)
	switch {
	case absent(err):
		return nil
	case err != nil:
		return k.unread(err)
	}
	switch v, said := m.prove(ctx, k, d, there, false); v {
	case same:
		k.How, k.Outcome, k.Verified, k.Why, k.Next, k.Left = IsThere, There, said, "", "", ""
	case another:
		k.cannot("the target has another key of that name: "+said, "move it under another name (--prefix), or destroy the one that is there")
	case unknown:
		k.cannot("the target has a key of that name, and it could not be told whether it is the same: "+said, "let the tokens use the keys (see --verify-token-file), or compare them by hand")
	}
	return nil
}

// cannot says why a key stays where it is.
func (k *Key) cannot(why, next string) {
	k.How, k.Outcome, k.Why, k.Next = Cannot, Left, why, next
}

// unread is for a key that one of the servers does not show. Other errors end the run: they would be those of every key.
func (k *Key) unread(err error) error {
	var r *refusal
	if !errors.As(err, &r) || r.status == 0 {
		return err
	}
	k.cannot(r.err.What, r.err.Next)
	return nil
}

// choose finds the way, from what the source says of the key.
func (k *Key) choose(d *described) {
	t := typeNamed(d.Type)
	first := d.first()
	if d.Exportable && d.Plaintext {
		first = d.kept()
	}
	k.Versions = d.latest() - first + 1
	config := "if it may leave, set exportable=true in its config there"
	switch {
	case t == nil:
		k.cannot("keys of type "+k.Type+" have no form in which they move", "make a new key, and keep this one until nothing needs it any more")
	case d.Deleted:
		k.cannot("it is softly deleted at the source", "restore it there first, or leave it")
	case d.Derived && d.KDF != "" && d.KDF != "hkdf_sha256":
		k.stays(t, "it derives keys by "+quoted(d.KDF)+", and only hkdf_sha256 is known", "")
	case d.Convergent && d.Form > 0 && d.Form < 3:
		k.stays(t, fmt.Sprintf("it encrypts convergently by version %d, and only version 3 is known", d.Form), "")
	case !d.Exportable:
		k.stays(t, "it is not exportable", config)
	case k.Versions > MaxVersions:
		k.stays(t, fmt.Sprintf("it has %d versions, and keys move with %d at most", k.Versions, MaxVersions), "if nothing needs the old ones: raise min_decryption_version, and trim the key")
	case d.Plaintext:
		k.How, k.Outcome = ByBackup, Planned
	default:
		k.export(d)
	}
}

// permit takes the way that the token may go.
func (k *Key) permit(d *described, may func(How) bool) {
	switch {
	case may(k.How):
	case k.How == ByBackup && d.latest()-d.first() < MaxVersions && may(ByExport):
		k.export(d)
	default:
		k.cannot("the source's token may not read its "+string(k.How), "use a token whose policies allow to read backup/"+k.Name+", or export/*/"+k.Name)
	}
}

// export is the way of keys that no backup is made of.
func (k *Key) export(d *described) {
	k.How, k.Outcome, k.Versions = ByExport, Planned, d.latest()-d.first()+1
	if d.first() > d.kept() {
		k.Left = fmt.Sprintf("versions %d to %d, which are below min_decryption_version", d.kept(), d.first()-1)
	}
}

// stays is for a key that cannot move, but may be used to move what it has encrypted.
func (k *Key) stays(t *keyType, why, next string) {
	k.cannot(why, next)
	if t.encrypts {
		k.How = ByRewrap
		k.Next = join(next, "or move what it encrypted: --rewrap FILE --key "+k.Name)
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// quoted makes a stranger's word fit for a report.
func quoted(s string) string {
	if pathSafe(s) {
		return clip(s)
	}
	return fmt.Sprintf("%q", clip(s))
}
