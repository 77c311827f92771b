package native

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// leanMethods are the methods that have a short path.
var leanMethods = map[string]*leanMethod{
	keyholdv1connect.CryptoServiceEncryptProcedure: {
		fields: []leanField{fieldKey, {"plaintext", "plaintext", inData}, fieldContext, fieldAAD, fieldVersion, fieldScheme, fieldRaw}, call: leanEncrypt,
	},
	keyholdv1connect.CryptoServiceDecryptProcedure: {
		fields: []leanField{fieldKey, {"ciphertext", "ciphertext", inData}, fieldContext, fieldAAD, fieldVersion, fieldScheme, fieldRaw}, call: leanDecrypt,
	},
	keyholdv1connect.CryptoServiceGenerateDataKeyProcedure: {
		fields: []leanField{fieldKey, {"length", "length", inLength}, fieldContext, fieldAAD, {"withoutPlaintext", "without_plaintext", inWithheld}}, call: leanDataKey,
	},
	keyholdv1connect.CryptoServiceSignProcedure: {
		fields: []leanField{fieldKey, fieldMessage, fieldDigested, fieldVersion, fieldScheme}, call: leanSign,
	},
	keyholdv1connect.CryptoServiceVerifyProcedure: {
		fields: []leanField{fieldKey, fieldMessage, fieldDigested, {"signature", "signature", inProof}, fieldVersion, fieldScheme}, call: leanVerify,
	},
	keyholdv1connect.CryptoServiceGenerateMacProcedure: {
		fields: []leanField{fieldKey, fieldMessage, fieldVersion}, call: leanMAC,
	},
	keyholdv1connect.CryptoServiceVerifyMacProcedure: {
		fields: []leanField{fieldKey, fieldMessage, {"mac", "mac", inProof}, fieldVersion}, call: leanVerifyMAC,
	},
}

// Fields that several methods share.
var (
	fieldKey      = leanField{"key", "key", inKey}
	fieldContext  = leanField{"context", "context", inContext}
	fieldAAD      = leanField{"aad", "aad", inAAD}
	fieldVersion  = leanField{"version", "version", inVersion}
	fieldScheme   = leanField{"scheme", "scheme", inScheme}
	fieldRaw      = leanField{"raw", "raw", inRaw}
	fieldMessage  = leanField{"message", "message", inData}
	fieldDigested = leanField{"digested", "digested", inDigested}
)

func leanEncrypt(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	scheme, err := kms.ParseScheme(q.scheme)
	if err != nil {
		return err
	}
	q.encrypt[0] = engine.EncryptItem{Plaintext: q.data, Context: q.context, AAD: q.aad}
	out, err := e.Encrypt(ctx, c, engine.EncryptInput{Key: kms.Ref(q.key), Version: q.version, Scheme: scheme, Raw: q.raw, Items: q.encrypt[:]})
	if err != nil {
		return err
	}
	q.open().bytes("ciphertext", at(out.Items, 0).Ciphertext).id(out.Key).version32(out.Version).close()
	return nil
}

func leanDecrypt(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	scheme, err := kms.ParseScheme(q.scheme)
	if err != nil {
		return err
	}
	q.decrypt[0] = engine.DecryptItem{Ciphertext: q.data, Context: q.context, AAD: q.aad}
	out, err := e.Decrypt(ctx, c, engine.DecryptInput{Key: kms.Ref(q.key), Version: q.version, Scheme: scheme, Raw: q.raw, Items: q.decrypt[:]})
	if err != nil {
		return err
	}
	it := at(out.Items, 0)
	q.open().bytes("plaintext", it.Plaintext.Wire(release.Wire{})).id(out.Key).version32(it.Version).close()
	it.Plaintext.Zero()
	return nil
}

func leanDataKey(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	in := engine.DataKeyInput{Key: kms.Ref(q.key), Bytes: int(q.length), Count: 1, Context: q.context, AAD: q.aad, WithoutPlaintext: q.withheld}
	if in.Bytes == 0 {
		in.Bytes = defaultDataKey
	}
	out, err := e.GenerateDataKey(ctx, c, in)
	if err != nil {
		return err
	}
	it := at(out.Items, 0)
	q.open().bytes("plaintext", it.Plaintext.Wire(release.Wire{})).bytes("ciphertext", it.Ciphertext).id(out.Key).version32(out.Version).close()
	it.Plaintext.Zero()
	return nil
}

func leanSign(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	scheme, err := kms.ParseScheme(q.scheme)
	if err != nil {
		return err
	}
	q.sign[0] = engine.SignItem{Message: q.data, Digested: q.digested}
	out, err := e.Sign(ctx, c, engine.SignInput{Key: kms.Ref(q.key), Version: q.version, Scheme: scheme, Items: q.sign[:]})
	if err != nil {
		return err
	}
	q.open().bytes("signature", at(out.Items, 0).Signature).id(out.Key).version32(out.Version).schemed(out.Scheme).close()
	return nil
}

func leanVerify(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	scheme, err := kms.ParseScheme(q.scheme)
	if err != nil {
		return err
	}
	q.verify[0] = engine.VerifyItem{Message: q.data, Digested: q.digested, Signature: q.proof}
	out, err := e.Verify(ctx, c, engine.VerifyInput{Key: kms.Ref(q.key), Version: q.version, Scheme: scheme, Items: q.verify[:]})
	if err != nil {
		return err
	}
	q.open().id(out.Key).version32(out.Version).schemed(out.Scheme).close()
	return nil
}

func leanMAC(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	q.mac[0] = engine.MACItem{Message: q.data}
	out, err := e.GenerateMAC(ctx, c, engine.MACInput{Key: kms.Ref(q.key), Version: q.version, Items: q.mac[:]})
	if err != nil {
		return err
	}
	q.open().bytes("mac", at(out.Items, 0).MAC).id(out.Key).version32(out.Version).schemed(out.Scheme).close()
	return nil
}

func leanVerifyMAC(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	q.check[0] = engine.VerifyMACItem{Message: q.data, MAC: q.proof}
	out, err := e.VerifyMAC(ctx, c, engine.VerifyMACInput{Key: kms.Ref(q.key), Version: q.version, Items: q.check[:]})
	if err != nil {
		return err
	}
	q.open().id(out.Key).version32(out.Version).schemed(out.Scheme).close()
	return nil
}

// The answer is written as the codec writes it: fields that are empty or 0 are left out. Nothing that is written needs
// escaping: base64, ids and names of schemes.

func (q *leanRequest) open() *leanRequest {
	q.out = append(q.out[:0], '{')
	return q
}

func (q *leanRequest) name(n string) {
	if len(q.out) > 1 {
		q.out = append(q.out, ',')
	}
	q.out = append(q.out, '"')
	q.out = append(q.out, n...)
	q.out = append(q.out, '"', ':')
}

func (q *leanRequest) bytes(name string, b []byte) *leanRequest {
	if len(b) == 0 {
		return q
	}
	q.name(name)
	q.room(base64.StdEncoding.EncodedLen(len(b)) + 128)
	q.out = append(q.out, '"')
	q.out = base64.StdEncoding.AppendEncode(q.out, b)
	q.out = append(q.out, '"')
	return q
}

// room grows the answer by itself, so that what append would leave behind is erased.
func (q *leanRequest) room(n int) {
	if cap(q.out)-len(q.out) >= n {
		return
	}
	grown := make([]byte, len(q.out), 2*len(q.out)+n)
	copy(grown, q.out)
	clear(q.out)
	q.out = grown
}

func (q *leanRequest) schemed(used kms.Scheme) *leanRequest {
	s := schemeText(used)
	if s == "" {
		return q
	}
	q.name("scheme")
	q.out = append(q.out, '"')
	q.out = append(q.out, s...)
	q.out = append(q.out, '"')
	return q
}

// id writes a key's id as kms.ID.String does, without a string of its own.
func (q *leanRequest) id(id kms.ID) *leanRequest {
	if id.IsZero() {
		return q
	}
	q.name("keyId")
	q.out = append(q.out, '"')
	q.out = hex.AppendEncode(q.out, id[:4])
	for _, part := range [...][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		q.out = hex.AppendEncode(append(q.out, '-'), part)
	}
	q.out = append(q.out, '"')
	return q
}

func (q *leanRequest) version32(n uint32) *leanRequest {
	if n == 0 {
		return q
	}
	q.name("version")
	q.out = strconv.AppendUint(q.out, uint64(n), 10)
	return q
}

func (q *leanRequest) close() { q.out = append(q.out, '}') }
