package vault

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// deletable is the label of a key that may be deleted by this dialect: what it calls deletion_allowed.
const deletable = "vault.deletion-allowed"

// Limits of listings.
const (
	maxVersions = 10_000 // of one key
	pageSize    = 1000
)

// create reads what a new key is to be. derived says that it is a derived one whatever the request names.
func (x *exchange) create(name string, derived bool) (in engine.CreateKeyInput, _ *fault) {
	kind, f := x.in.text("type")
	if f != nil {
		return in, f
	}
	set, f := x.in.text("parameter_set")
	if f != nil {
		return in, f
	}
	t, f := typeNamed(kind, set)
	if f != nil {
		return in, f
	}
	size, f := x.in.number("key_size")
	if f != nil {
		return in, f
	}
	switch {
	case t.name != "hmac" && size != 0:
		return in, newFault(http.StatusBadRequest, "key_size is not valid for key type "+t.name)
	case t.name == "hmac" && size != 0 && (size < 32 || size > 512):
		return in, newFault(http.StatusBadRequest, "invalid key size "+strconv.Itoa(size)+", must be between 32 and 512")
	}
	in = engine.CreateKeyInput{Name: x.place.keyName(name), Algorithm: t.algorithm, Usage: t.usage, Also: t.also, Bytes: size}
	if in.Exportable, f = x.in.yes("exportable"); f != nil {
		return in, f
	}
	if in.Transit, f = x.transit(t, derived); f != nil {
		return in, f
	}
	in.Period, f = x.rotation()
	return in, f
}

// transit reads what only keys of this dialect have. Each of them has a MAC key beside it, so that hmac works on every type.
func (x *exchange) transit(t *keyType, derived bool) (to kms.Transit, f *fault) {
	to.Mac = true
	for _, m := range []struct {
		name string
		to   *bool
	}{{"derived", &to.Derived}, {"convergent_encryption", &to.Convergent}, {"allow_plaintext_backup", &to.Backup}} {
		if *m.to, f = x.in.yes(m.name); f != nil {
			return to, f
		}
	}
	to.Derived = to.Derived || derived
	switch encrypts := t.algorithm.Layout(false) != kms.NoScheme; {
	case encrypts && to.Convergent && !to.Derived:
		return to, newFault(http.StatusBadRequest, "convergent encryption requires derivation to be enabled")
	case encrypts || !to.Derived && !to.Convergent:
		return to, nil
	case t.algorithm != kms.Ed25519:
		return to, newFault(http.StatusBadRequest, "key derivation and convergent encryption not supported for keys of type "+t.name)
	case to.Convergent:
		return to, newFault(http.StatusBadRequest, "convergent encryption not supported for keys of type "+t.name)
	}
	return to, nil
}

// rotation is the period that auto_rotate_period means; nil: none.
func (x *exchange) rotation() (*kms.Period, *fault) {
	every, f := x.in.span("auto_rotate_period")
	switch {
	case f != nil:
		return nil, f
	case every == 0:
		return nil, nil
	case every < time.Hour:
		return nil, newFault(http.StatusBadRequest, "auto rotate period must be 0 to disable or at least an hour")
	}
	return &kms.Period{Every: kms.Seconds(every / time.Second)}, nil
}

// CreateKey makes a key. One that is there already stays as it is.
func (x *exchange) CreateKey(ctx context.Context) *fault {
	name := x.place.names[0]
	in, f := x.create(name, false)
	if f != nil {
		return f
	}
	_, err := x.engine.CreateKey(ctx, x.call, in)
	if kms.CodeOf(err) == kms.CodeExists {
		x.warnings = append(x.warnings, fmt.Sprintf("key %s already existed", name))
		err = nil
	}
	if err != nil {
		return faultOf(err)
	}
	return x.showKey(ctx, name)
}

// ReadKey answers a key's metadata.
func (x *exchange) ReadKey(ctx context.Context) *fault { return x.showKey(ctx, x.place.names[0]) }

// RotateKey makes a new version.
func (x *exchange) RotateKey(ctx context.Context) *fault {
	if _, err := x.engine.RotateKey(ctx, x.call, engine.RotateKeyInput{Key: x.place.ref(x.place.names[0])}); err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "key not found")
	}
	return x.showKey(ctx, x.place.names[0])
}

// DeleteKey schedules a key's destruction. Until the window ends it does nothing, and can be saved.
func (x *exchange) DeleteKey(ctx context.Context) *fault {
	name := x.place.names[0]
	ref := x.place.ref(name)
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "error deleting policy "+name+": could not delete key; not found")
	}
	if was.Key.Labels[deletable] != "true" {
		return newFault(http.StatusBadRequest, "error deleting policy "+name+": deletion is not allowed for this key")
	}
	return x.destroy(ctx, ref)
}

// SoftDelete schedules a key's destruction, whether or not its deletion is allowed: it can be taken back.
func (x *exchange) SoftDelete(ctx context.Context) *fault {
	return x.destroy(ctx, x.place.ref(x.place.names[0]))
}

// destroy schedules a destruction. Where the namespace asks that somebody looks first at what it would reach, that is done and recorded in the caller's
// name: this API has no step of its own for it.
func (x *exchange) destroy(ctx context.Context, ref kms.Ref) *fault {
	_, err := x.engine.ScheduleKeyDestruction(ctx, x.call, engine.DestroyInput{Key: ref})
	if kms.CodeOf(err) == kms.CodeAssessment {
		if _, err = x.engine.AssessKey(ctx, x.call, engine.AssessInput{Key: ref}); err == nil {
			_, err = x.engine.ScheduleKeyDestruction(ctx, x.call, engine.DestroyInput{Key: ref})
		}
	}
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "could not delete key; not found")
	}
	x.status = http.StatusNoContent
	return nil
}

// SoftDeleteRestore saves a key whose destruction is scheduled.
func (x *exchange) SoftDeleteRestore(ctx context.Context) *fault {
	if _, err := x.engine.CancelKeyDestruction(ctx, x.call, engine.CancelInput{Key: x.place.ref(x.place.names[0])}); err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "key not found")
	}
	x.status = http.StatusNoContent
	return nil
}

// ConfigureKey changes what can be changed of a key.
func (x *exchange) ConfigureKey(ctx context.Context) *fault {
	name := x.place.names[0]
	ref := x.place.ref(name)
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "no existing key named "+clip(name)+" could be found")
	}
	if f := x.minima(ctx, ref); f != nil {
		return f
	}
	if f := x.letGo(ctx, ref, &was.Key); f != nil {
		return f
	}
	if x.in.has("deletion_allowed") {
		yes, f := x.in.yes("deletion_allowed")
		if f != nil {
			return f
		}
		if _, err := x.engine.UpdateKey(ctx, x.call, engine.UpdateKeyInput{Key: ref, SetLabels: map[string]string{deletable: strconv.FormatBool(yes)}}); err != nil {
			return faultOf(err)
		}
	}
	if x.in.has("auto_rotate_period") {
		p, f := x.rotation()
		if f != nil {
			return f
		}
		if f := x.schedule(ctx, ref, p); f != nil {
			return f
		}
	}
	return x.showKey(ctx, name)
}

// showKey writes a key's metadata.
func (x *exchange) showKey(ctx context.Context, name string) *fault {
	out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: x.place.ref(name)})
	if err != nil {
		return faultOf(err)
	}
	k := &out.Key
	if !k.Destroyed.IsZero() {
		return missing()
	}
	versions, f := x.versions(ctx, &out)
	if f != nil {
		return f
	}
	if k.Transit.Derived && k.Algorithm.Facts().Asymmetric {
		if versions, f = x.derivedPairs(ctx, k, versions); f != nil {
			return f
		}
	}
	x.writeKey(name, k, versions)
	return nil
}

// versions are all of a key's, newest first.
func (x *exchange) versions(ctx context.Context, of *engine.KeyOutput) ([]kms.Version, *fault) {
	versions := of.Versions
	for len(versions) > 0 && len(versions) < maxVersions && versions[len(versions)-1].Number > 1 {
		page, err := x.engine.ListVersions(ctx, x.call, engine.VersionsInput{Key: kms.RefTo(of.Key.ID), Before: versions[len(versions)-1].Number, Limit: pageSize})
		if err != nil {
			return nil, faultOf(err)
		}
		if len(page.Versions) == 0 {
			break
		}
		versions = append(versions[:len(versions):len(versions)], page.Versions...)
	}
	return versions, nil
}

func (x *exchange) writeKey(name string, k *kms.Key, versions []kms.Version) {
	e, t := &x.e, typeOf(k)
	encrypts, signs := k.Serves(kms.EncryptDecrypt), k.Serves(kms.SignVerify)
	first := k.Latest
	for i := range versions {
		if alive(&versions[i]) {
			first = min(first, versions[i].Number)
		}
	}
	e.open()
	e.yes("allow_plaintext_backup", k.Transit.Backup)
	e.number("auto_rotate_period", int64(k.Period.Every))
	if k.Transit.Derived {
		e.yes("convergent_encryption", k.Transit.Convergent)
		if k.Transit.Convergent {
			e.number("convergent_encryption_version", -1) // each version of the key has its own, and ours have the newest
		}
	}
	e.yes("deletion_allowed", k.Labels[deletable] == "true")
	e.yes("derived", k.Transit.Derived)
	e.yes("exportable", k.Exportable)
	e.yes("imported_key", k.Origin == kms.Imported)
	if k.Origin == kms.Imported {
		e.yes("imported_key_allow_rotation", k.Transit.Rotates)
	}
	if k.Transit.Derived {
		e.text("kdf", "hkdf_sha256")
	}
	if t.name == "hmac" {
		size := k.Bytes
		if size == 0 {
			size = k.Algorithm.Facts().Bits / 8
		}
		e.number("key_size", int64(size))
	}
	e.name("keys")
	e.open()
	for i := len(versions) - 1; i >= 0; i-- {
		if v := &versions[i]; alive(v) && v.Number >= k.MinProcess { // transit puts the others away
			e.name(strconv.FormatUint(uint64(v.Number), 10))
			writeVersion(e, t, v)
		}
	}
	e.close()
	e.number("latest_version", int64(k.Primary))
	e.number("min_available_version", trimmed(max(first, k.MinKept)))
	e.number("min_decryption_version", int64(max(first, k.MinProcess, 1)))
	e.number("min_encryption_version", int64(k.MinProtect))
	e.text("name", name)
	if t.set != "" {
		e.text("parameter_set", t.set)
	}
	e.yes("soft_deleted", k.Switch == kms.PendingDestruction)
	e.yes("supports_decryption", encrypts)
	e.yes("supports_derivation", k.Algorithm.Layout(false) != kms.NoScheme || k.Algorithm == kms.Ed25519)
	e.yes("supports_encryption", encrypts)
	e.yes("supports_signing", signs)
	e.text("type", t.name)
	e.close()
}

// trimmed is min_available_version: 0 where nothing was trimmed.
func trimmed(first uint32) int64 {
	if first <= 1 {
		return 0
	}
	return int64(first)
}

func alive(v *kms.Version) bool {
	return v.State != kms.Destroyed && v.State != kms.DestroyedCompromised
}

// writeVersion writes a version: when it was made, in seconds since 1970, or its public key.
func writeVersion(e *encoder, t keyType, v *kms.Version) {
	if !v.Algorithm.Facts().Asymmetric {
		e.b = strconv.AppendInt(e.b, v.Created.Unix(), 10)
		return
	}
	e.open()
	e.text("certificate_chain", certificates(v.Chain))
	e.time("creation_time", v.Created)
	e.text("name", t.curve)
	e.text("public_key", publicKey(t, v.Public))
	e.close()
}

// publicKey is a public key as transit shows it: PEM, or the 32 bytes of an Ed25519 key in base64. None is the empty text.
func publicKey(t keyType, der []byte) string {
	if len(der) == 0 {
		return ""
	}
	const raw = 32 // RFC 8032 §5.1.5
	if t.algorithm == kms.Ed25519 && len(der) >= raw {
		if _, err := x509.ParsePKIXPublicKey(der); err == nil {
			return base64.StdEncoding.EncodeToString(der[len(der)-raw:]) // RFC 8410 §4: the last part of the structure
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// schedule says when a key is rotated by itself; nil: by hand only. Its other limits stay.
func (x *exchange) schedule(ctx context.Context, ref kms.Ref, p *kms.Period) *fault {
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return faultOf(err)
	}
	to := was.Key.Period
	to.Every, to.Jitter, to.Calendar = 0, 0, ""
	if p != nil {
		to.Every = p.Every
	}
	if _, err := x.engine.ScheduleRotation(ctx, x.call, engine.ScheduleRotationInput{Key: ref, Period: to}); err != nil {
		return faultOf(err)
	}
	return nil
}
