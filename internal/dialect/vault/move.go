package vault

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// moveRoutes are how keys come and go.
var moveRoutes = append([]route{
	{method: "GET", pattern: "transit/backup/{name}", grants: may(canRead, kms.ReleaseKey), run: (*exchange).Backup},
	except(noForce, route{method: "POST", pattern: "transit/restore", grants: may(canUpdate, kms.RestoreKey), run: (*exchange).Restore}),
	except(noForce, route{method: "POST", pattern: "transit/restore/{name}", grants: may(canUpdate, kms.RestoreKey), run: (*exchange).Restore}),
	except(ownExport, route{method: "GET", pattern: "transit/export/{type}/{name}", grants: on(1, may(canRead, kms.ReleaseKey)), run: (*exchange).Export}),
	except(ownExport, route{method: "GET", pattern: "transit/export/{type}/{name}/{version}", grants: on(1, may(canRead, kms.ReleaseKey)), run: (*exchange).Export}),
	except("at most 40 versions at once", route{method: "POST", pattern: "transit/keys/{name}/trim", grants: may(canUpdate, kms.TrimKey), run: (*exchange).Trim}),
	{method: "GET", pattern: "transit/cache-config", grants: may(canRead, kms.WhoAmI), run: (*exchange).CacheConfig},
	except("the cache has the size that the server gives it: `size` is read and not used", route{method: "POST", pattern: "transit/cache-config", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).SetCacheConfig}),
}, slices.Concat(
	importRoutes,
	carryRoutes)...)

// What is missing of several routes.
const (
	noForce   = "at most 40 versions; `force` does not replace a key that is there"
	ownExport = "as an action of its own, `ReleaseKey`, which a policy and approvals can guard; `public-key` and `certificate-chain` take no more than reading the key"
)

// Backup gives a key out in the clear, if it was made for that.
func (x *exchange) Backup(ctx context.Context) *fault {
	name := x.place.names[0]
	ref := x.place.ref(name)
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "no existing key named "+clip(name)+" could be found")
	}
	out, err := x.engine.ReleaseKey(ctx, x.call, engine.ReleaseInput{Key: ref, As: engine.AsBackup, Name: name, Deletable: was.Key.Labels[deletable] == "true"})
	if err != nil {
		f := faultOf(err)
		if kms.CodeOf(err) == kms.CodeNotExportable {
			f.status, f.texts = http.StatusBadRequest, []string{"plaintext backup is disallowed on the policy", told(kms.AsError(err))}
		}
		return f
	}
	x.e.open()
	x.e.plain("backup", out.Backup)
	x.e.close()
	return nil
}

// Restore makes a key of a backup.
func (x *exchange) Restore(ctx context.Context) *fault {
	force, f := x.in.yes("force")
	if f != nil {
		return f
	}
	b, digest, f := x.backup()
	if f != nil {
		return f
	}
	defer b.Zero()
	name := x.place.names[0]
	if name == "" {
		name = b.Name
	}
	in := engine.RestoreInput{Backup: b, Digest: digest, CreateKeyInput: engine.CreateKeyInput{Name: x.place.keyName(name)}}
	for _, t := range keyTypes {
		if t.algorithm == b.Algorithm {
			in.Usage, in.Also = t.usage, t.also
		}
	}
	if b.Deletable {
		in.Labels = map[string]string{deletable: "true"}
	}
	_, err := x.engine.RestoreKey(ctx, x.call, in)
	if kms.CodeOf(err) == kms.CodeExists {
		text := "key " + strconv.Quote(clip(name)) + " already exists"
		if force {
			text += ": it is not replaced; restore under another name, or destroy it first"
		}
		return newFault(http.StatusBadRequest, text, told(kms.AsError(err)))
	}
	if err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// backup reads the backup that was sent. It is in the body alone, which is erased, and in what this answers.
func (x *exchange) backup() (b *transit.Backup, digest [32]byte, f *fault) {
	raw := x.in.raw("backup")
	switch {
	case raw == nil || string(raw) == `""`:
		return nil, digest, newFault(http.StatusBadRequest, "'backup' must be supplied")
	case raw[0] != '"':
		return nil, digest, badField("backup")
	}
	_, f = x.unquoted(raw, func(text []byte) ([]byte, *fault) {
		digest = sha256.Sum256(text)
		var err error
		if b, err = transit.Parse(text); err != nil {
			return nil, faultOf(err)
		}
		return nil, nil
	})
	return b, digest, f
}

// exportKinds are what can be asked for. of says which keys have it, and refusal what is told of others.
var exportKinds = []struct {
	name    string
	as      engine.ReleaseAs
	of      func(*kms.Key) bool
	refusal string
}{
	{"encryption-key", engine.AsKeys, func(k *kms.Key) bool { return k.Serves(kms.EncryptDecrypt) }, "encryption not supported for the key"},
	{"signing-key", engine.AsKeys, func(k *kms.Key) bool { return k.Serves(kms.SignVerify) }, "signing not supported for the key"},
	{"hmac-key", engine.AsMACs, func(k *kms.Key) bool { return k.Transit.Mac }, "hmac not supported for the key"},
	{"public-key", 0, func(k *kms.Key) bool { return k.Algorithm.Facts().Asymmetric }, "the key has no public key"},
	{"certificate-chain", 0, func(k *kms.Key) bool { return k.Algorithm.Facts().Asymmetric }, "the key has no public key"},
}

// noChain is told of versions without certificates.
const noChain = "selected key version does not have a certificate chain imported"

// Export gives keys out in the clear, or shows public ones.
func (x *exchange) Export(ctx context.Context) *fault {
	kind, name := x.place.names[0], x.place.names[1]
	ref := x.place.ref(name)
	was, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: ref})
	if err != nil {
		return faultOf(err)
	}
	version, f := exportVersion(x.place.names[2], &was.Key)
	if f != nil {
		return f
	}
	for _, e := range exportKinds {
		if e.name != kind {
			continue
		}
		if !e.of(&was.Key) {
			return newFault(http.StatusBadRequest, e.refusal)
		}
		if e.as == 0 {
			return x.exportPublic(ctx, kind, name, &was, version)
		}
		out, err := x.engine.ReleaseKey(ctx, x.call, engine.ReleaseInput{Key: ref, As: e.as, Version: version})
		if err != nil {
			return exportFault(err)
		}
		x.exported(name, &was.Key, func() {
			for _, v := range out.Versions {
				x.e.pem(strconv.FormatUint(uint64(v.Number), 10), v.Text)
			}
		})
		return nil
	}
	return newFault(http.StatusBadRequest, "invalid export type: "+clip(kind))
}

// exportVersion reads which version is meant; 0: all.
func exportVersion(s string, k *kms.Key) (uint32, *fault) {
	switch s {
	case "":
		return 0, nil
	case "latest":
		return k.Primary, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, newFault(http.StatusBadRequest, "invalid key version")
	}
	return uint32(n), nil
}

func exportFault(err error) *fault {
	f := faultOf(err)
	switch kms.CodeOf(err) {
	case kms.CodeNotExportable:
		f.status, f.texts = http.StatusBadRequest, []string{"private key material is not exportable", told(kms.AsError(err))}
	case kms.CodeTooOld:
		f.status, f.texts = http.StatusBadRequest, []string{"version for export is below minimum decryption version"}
	case kms.CodeVersionNotFound:
		f.status, f.texts = http.StatusBadRequest, []string{"version does not exist or cannot be found"}
	}
	return f
}

// exportPublic shows public keys, or their certificates, which takes no more than to read the key.
func (x *exchange) exportPublic(ctx context.Context, kind, name string, k *engine.KeyOutput, version uint32) *fault {
	all, f := x.versions(ctx, k)
	if f != nil {
		return f
	}
	t, found, none := typeOf(&k.Key), false, "version does not exist or cannot be found"
	show := func(v *kms.Version) string { return publicKey(t, v.Public) }
	if kind == "certificate-chain" {
		show, none = func(v *kms.Version) string { return certificates(v.Chain) }, noChain
	}
	x.exported(name, &k.Key, func() {
		for i := len(all) - 1; i >= 0; i-- {
			v := &all[i]
			if version != v.Number && (version != 0 || v.Number < k.Key.MinProcess) || !alive(v) {
				continue
			}
			if text := show(v); text != "" {
				found = true
				x.e.text(strconv.FormatUint(uint64(v.Number), 10), text)
			}
		}
	})
	if !found {
		return newFault(http.StatusBadRequest, none)
	}
	return nil
}

func (x *exchange) exported(name string, k *kms.Key, keys func()) {
	x.e.open()
	x.e.name("keys")
	x.e.open()
	keys()
	x.e.close()
	x.e.text("name", name)
	x.e.text("type", typeOf(k).name)
	x.e.close()
}

// Trim destroys the versions below one.
func (x *exchange) Trim(ctx context.Context) *fault {
	name := x.place.names[0]
	n, f := x.in.number("min_available_version")
	switch {
	case f != nil:
		return f
	case !x.in.has("min_available_version"):
		return newFault(http.StatusBadRequest, "missing min_available_version")
	case n < 0:
		return newFault(http.StatusBadRequest, "min available version cannot be negative")
	case n == 0:
		return newFault(http.StatusBadRequest, "min available version must be positive")
	}
	if _, err := x.engine.TrimKey(ctx, x.call, engine.TrimInput{Key: x.place.ref(name), Kept: uint32(n)}); err != nil { //nolint:gosec // G115: from 32 bits, positive
		return noKey(faultOf(err), http.StatusBadRequest, "invalid key")
	}
	return x.showKey(ctx, name)
}

// CacheConfig tells the size of the cache: 0 stands for one without a limit that a mount could set.
func (x *exchange) CacheConfig(context.Context) *fault {
	x.e.open()
	x.e.number("size", 0)
	x.e.close()
	return nil
}

// SetCacheConfig reads a size.
func (x *exchange) SetCacheConfig(context.Context) *fault {
	n, f := x.in.number("size")
	if f != nil {
		return f
	}
	const least = 10
	if n != 0 && n < least {
		return newFault(http.StatusBadRequest, "size must be 0 or a value greater or equal to 10")
	}
	x.status = http.StatusNoContent
	return nil
}
