package vault

import (
	"context"
	"net/http"
	"slices"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Encrypt encrypts. A key that there is not is made, if the caller may make one.
func (x *exchange) Encrypt(ctx context.Context) *fault {
	b, f := x.batch()
	if f != nil {
		return f
	}
	b.noVersion, b.tooOld = "requested version for encryption is higher than the latest key version", "requested version for encryption is less than the minimum encryption key version"
	in := make([]engine.EncryptItem, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		in[i].Plaintext = it.blob(x, "plaintext", "missing plaintext to encrypt")
		in[i].AAD = it.optional(x, "associated_data")
		in[i].Derivation = it.derivation(x, b)
		it.version = it.number("key_version")
	}
	if f := b.contexts(); f != nil {
		return f
	}
	return b.run(x, func(n uint32, which []int) ([]*kms.Error, error) {
		ask := engine.EncryptInput{Key: b.key, Version: n, Plain: true, Items: pick(in, which)}
		out, err := x.engine.Encrypt(ctx, x.call, ask)
		if kms.CodeOf(err) == kms.CodeKeyNotFound {
			if err := x.upsert(ctx, b.derived > 0); err != nil {
				return nil, err
			}
			out, err = x.engine.Encrypt(ctx, x.call, ask)
		}
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			b.items[which[i]].made, b.items[which[i]].version, errs[i] = o.Ciphertext, out.Version, o.Err
		}
		return errs, err
	}, func(it *item) {
		x.e.versioned("ciphertext", it.version, it.made)
		x.e.number("key_version", int64(it.version))
	})
}

// upsert makes the key that an encryption is for: a derived one, if the request has a context.
func (x *exchange) upsert(ctx context.Context, derived bool) error {
	in, f := x.create(x.place.names[0], derived)
	if f != nil {
		return f
	}
	in.Upsert = true
	_, err := x.engine.CreateKey(ctx, x.call, in)
	if kms.CodeOf(err) == kms.CodeExists { // another request was faster
		return nil
	}
	return err
}

// opened reads a ciphertext and the version that its text names, to which the engine holds the one that made it.
func (it *item) opened(x *exchange) (c []byte, version uint32) {
	version, c, f := x.versioned(it.in, "ciphertext", "ciphertext")
	switch {
	case f != nil:
		it.fail(f)
	case c == nil:
		it.fail(newFault(http.StatusBadRequest, "missing ciphertext to decrypt"))
	}
	return c, version
}

// noSuchVersion is how transit says of a ciphertext that its version is not there.
const noSuchVersion = "invalid ciphertext: version is too new"

// Decrypt decrypts.
func (x *exchange) Decrypt(ctx context.Context) *fault {
	b, f := x.batch()
	if f != nil {
		return f
	}
	b.noVersion = noSuchVersion
	in := make([]engine.DecryptItem, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		in[i].Ciphertext, in[i].Version = it.opened(x)
		in[i].AAD = it.optional(x, "associated_data")
		in[i].Derivation = it.derivation(x, b)
	}
	if f := b.contexts(); f != nil {
		return f
	}
	plain := make([]secret.Released, len(b.items))
	return b.run(x, func(_ uint32, which []int) ([]*kms.Error, error) {
		out, err := x.engine.Decrypt(ctx, x.call, engine.DecryptInput{Key: b.key, Plain: true, Items: pick(in, which)})
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			plain[which[i]], errs[i] = o.Plaintext, o.Err
		}
		return errs, err
	}, func(it *item) { x.e.released("plaintext", plain[it.at]) })
}

// Rewrap encrypts what a ciphertext holds under the newest version, or the one that is named, and shows it to nobody.
func (x *exchange) Rewrap(ctx context.Context) *fault {
	b, f := x.batch()
	if f != nil {
		return f
	}
	b.noVersion = noSuchVersion
	in := make([]engine.ReEncryptItem, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		in[i].Ciphertext, in[i].Version = it.opened(x)
		in[i].FromAAD = it.optional(x, "associated_data")
		in[i].ToAAD = in[i].FromAAD
		in[i].Derivation = it.derivation(x, b)
		it.version = it.number("key_version")
	}
	if f := b.contexts(); f != nil {
		return f
	}
	return b.run(x, func(n uint32, which []int) ([]*kms.Error, error) {
		out, err := x.engine.ReEncrypt(ctx, x.call, engine.ReEncryptInput{From: b.key, To: b.key, ToVersion: n, Plain: true, Items: pick(in, which)})
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			b.items[which[i]].made, b.items[which[i]].version, errs[i] = o.Ciphertext, out.Version, o.Err
		}
		return errs, err
	}, func(it *item) {
		x.e.versioned("ciphertext", it.version, it.made)
		x.e.number("key_version", int64(it.version))
	})
}

// DataKey answers random bytes with their encryption, or that alone.
func (x *exchange) DataKey(ctx context.Context) *fault {
	kind := x.place.names[0]
	if kind != "plaintext" && kind != "wrapped" {
		return newFault(http.StatusBadRequest, "Invalid path, must be 'plaintext' or 'wrapped'")
	}
	bits, f := x.in.number("bits")
	if f != nil {
		return f
	}
	if bits == 0 {
		bits = 256
	}
	if !slices.Contains([]int{128, 256, 512}, bits) {
		return newFault(http.StatusBadRequest, "invalid bit length")
	}
	in := engine.DataKeyInput{Key: x.place.ref(x.place.names[1]), Bytes: bits / 8, Plain: true, WithoutPlaintext: kind == "wrapped"}
	if in.Version, f = x.in.version("key_version"); f != nil {
		return f
	}
	if in.AAD, f = x.blob(x.in, "associated_data"); f != nil {
		return f
	}
	if in.Derivation, f = x.blob(x.in, "context"); f != nil {
		return f
	}
	out, err := x.engine.GenerateDataKey(ctx, x.call, in)
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "encryption key not found")
	}
	d := &out.Items[0]
	x.e.open()
	x.e.versioned("ciphertext", out.Version, d.Ciphertext)
	x.e.number("key_version", int64(out.Version))
	if kind == "plaintext" {
		x.e.released("plaintext", d.Plaintext)
	}
	x.e.close()
	return nil
}

func orFault(f *fault, text string) *fault {
	if f != nil {
		return f
	}
	return newFault(http.StatusBadRequest, text)
}

// pick are the items that are meant: nearly always all of them.
func pick[T any](all []T, which []int) []T {
	if len(which) == len(all) {
		return all
	}
	some := make([]T, len(which))
	for i, at := range which {
		some[i] = all[at]
	}
	return some
}
