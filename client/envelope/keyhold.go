package envelope

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/keyhold/keyhold/client"
)

// Keys is what this package needs of a Keyhold server. *client.Client is it.
type Keys interface {
	GenerateDataKey(context.Context, client.GenerateDataKeyInput, ...client.Option) (client.GenerateDataKeyOutput, error)
	Decrypt(context.Context, client.DecryptInput, ...client.Option) (client.DecryptOutput, error)
}

// KeyholdKey is a key of a Keyhold server, as a recipient and as an identity. Encrypting needs the right to generate data
// keys with it, decrypting the right to decrypt.
//
// The server is asked for a data key with the file's encryption context and one entry more, "keyhold:file", which binds the
// data key to the file; a policy sees both.
type KeyholdKey struct {
	Client Keys
	Key    string // id, name or alias/NAME. To decrypt: empty, or the only key that is accepted
	// Cache, instead of Client, lets files share data keys for a while, within its limits.
	Cache *Cache
	// Options of each call to the server.
	Options []client.Option
}

// bindingName is the entry of the encryption context that binds a data key to its file.
const bindingName = "keyhold:file"

// Limits of a stanza, in bytes.
const (
	maxKeyName = 255
	maxKeyID   = 64
	maxBlob    = 1024 // an RSA-OAEP blob has 22 + 512
)

const dataKeySize = 32

const flagShared = 1

// keyholdBody is the body of a stanza:
//
//	flags u8 (1: the data key may serve several files) ‖ version u32 ‖ key id ‖ key name ‖ blob ‖ box 60
//
// where key id, key name and blob have a length u16 before them. The blob is the data key, encrypted by the server.
type keyholdBody struct {
	shared   bool
	version  uint32
	id, name string
	blob     []byte
}

func (b *keyholdBody) encode() []byte {
	var flags byte
	if b.shared {
		flags = flagShared
	}
	out := binary.BigEndian.AppendUint32([]byte{flags}, b.version)
	return appendBytes(appendBytes(appendBytes(out, []byte(b.id)), []byte(b.name)), b.blob)
}

func parseKeyhold(body []byte) (keyholdBody, error) {
	p := &parts{b: body}
	flags := p.u8()
	b := keyholdBody{shared: flags == flagShared, version: p.u32(), id: string(p.bytes()), name: string(p.bytes()), blob: p.bytes()}
	p.take(boxSize)
	if p.bad || len(p.b) != 0 || flags > flagShared || len(b.id) > maxKeyID || len(b.name) > maxKeyName || len(b.blob) > maxBlob {
		return b, formatf("a recipient of it, a Keyhold key, cannot be read")
	}
	return b, nil
}

// serverContext is what the server binds the data key to.
func serverContext(f *file, shared bool) client.Context {
	if shared {
		return f.context
	}
	c := maps.Clone(f.context)
	if c == nil {
		c = client.Context{}
	}
	c[bindingName] = base64.RawURLEncoding.EncodeToString(f.binding)
	return c
}

func (k KeyholdKey) keys() (Keys, error) {
	switch {
	case k.Client == nil && k.Cache == nil:
		return nil, optionsf("a Keyhold key needs a client")
	case k.Client != nil && k.Cache != nil:
		return nil, optionsf("a Keyhold key takes a client or a cache, not both: a cache has its client")
	case k.Cache != nil:
		return k.Cache.keys, nil
	}
	return k.Client, nil
}

func (k KeyholdKey) check() error {
	if _, err := k.keys(); err != nil {
		return err
	}
	if k.Key == "" || len(k.Key) > maxKeyName {
		return optionsf("the name of a Keyhold key has %d bytes: want 1 to %d", len(k.Key), maxKeyName)
	}
	return nil
}

func (k KeyholdKey) wrap(ctx context.Context, f *file, fileKey []byte) (stanza, func(int64), error) {
	return k.wrapAs(ctx, f, fileKey, k.Key)
}

// wrapAs wraps and notes another name of the key than the one that the server is asked for.
func (k KeyholdKey) wrapAs(ctx context.Context, f *file, fileKey []byte, name string) (stanza, func(int64), error) {
	keys, err := k.keys()
	if err != nil {
		return stanza{}, nil, err
	}
	in := client.GenerateDataKeyInput{Key: k.Key, Length: dataKeySize, Context: serverContext(f, k.Cache != nil)}
	var used func(int64)
	var out client.GenerateDataKeyOutput
	if k.Cache != nil {
		out, used, err = k.Cache.generate(ctx, in, k.Options)
	} else {
		out, err = keys.GenerateDataKey(ctx, in, k.Options...)
	}
	if err != nil {
		return stanza{}, nil, fmt.Errorf("get a data key: %w", err)
	}
	defer clear(out.Plaintext)
	if len(out.Plaintext) != dataKeySize || len(out.Ciphertext) > maxBlob || len(out.KeyID) > maxKeyID {
		return stanza{}, nil, fmt.Errorf("get a data key: the server answered one of %d bytes, encrypted in %d", len(out.Plaintext), len(out.Ciphertext))
	}
	b := keyholdBody{shared: k.Cache != nil, version: out.Version, id: out.KeyID, name: name, blob: out.Ciphertext}
	s, err := box(b.encode(), out.Plaintext, KindKeyhold, f, fileKey)
	return s, used, err
}

func (k KeyholdKey) opens(r RecipientInfo) bool { return r.Kind == KindKeyhold }

func (k KeyholdKey) unwrap(ctx context.Context, f *file, s stanza) ([]byte, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	b, err := parseKeyhold(s.body)
	if err != nil {
		return nil, err
	}
	in := client.DecryptInput{Key: k.Key, Ciphertext: b.blob, Context: serverContext(f, b.shared)}
	var out client.DecryptOutput
	if k.Cache != nil && b.shared {
		out, err = k.Cache.decrypt(ctx, in, k.Options)
	} else {
		out, err = keys.Decrypt(ctx, in, k.Options...)
	}
	switch client.CodeOf(err) {
	case "":
	case client.CodeDecryptFailed, codeNotCiphertext:
		return nil, fmt.Errorf("%w (%w)", ErrCorrupt, err)
	default:
		return nil, fmt.Errorf("open the data key of key %q (%s): %w", b.name, b.id, err)
	}
	defer clear(out.Plaintext)
	if len(out.Plaintext) != dataKeySize || out.KeyID != b.id || out.Version != b.version {
		return nil, ErrCorrupt
	}
	return unbox(s, out.Plaintext, f)
}

// codeNotCiphertext is the server's code for what is not a ciphertext at all.
const codeNotCiphertext = "KH1007"
