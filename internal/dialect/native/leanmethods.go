package native

import (
	"context"
	"slices"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// leanMethods are the methods that have a short path.
var leanMethods = map[string]*leanMethod{
	keyholdv1connect.CryptoServiceEncryptProcedure:              {&leanEncryption, false},
	keyholdv1connect.CryptoServiceEncryptBatchProcedure:         {&leanEncryption, true},
	keyholdv1connect.CryptoServiceDecryptProcedure:              {&leanDecryption, false},
	keyholdv1connect.CryptoServiceDecryptBatchProcedure:         {&leanDecryption, true},
	keyholdv1connect.CryptoServiceGenerateDataKeyProcedure:      {&leanDataKey, false},
	keyholdv1connect.CryptoServiceGenerateDataKeyBatchProcedure: {&leanDataKey, true},
	keyholdv1connect.CryptoServiceSignProcedure:                 {&leanSigning, false},
	keyholdv1connect.CryptoServiceSignBatchProcedure:            {&leanSigning, true},
	keyholdv1connect.CryptoServiceVerifyProcedure:               {&leanVerification, false},
	keyholdv1connect.CryptoServiceVerifyBatchProcedure:          {&leanVerification, true},
	keyholdv1connect.CryptoServiceGenerateMacProcedure:          {&leanMAC, false},
	keyholdv1connect.CryptoServiceGenerateMacBatchProcedure:     {&leanMAC, true},
	keyholdv1connect.CryptoServiceVerifyMacProcedure:            {&leanMACCheck, false},
	keyholdv1connect.CryptoServiceVerifyMacBatchProcedure:       {&leanMACCheck, true},
	keyholdv1connect.KeyServiceCreateKeyProcedure:               {&leanCreation, false},
}

// leanOperation is what a method and its batch have in common.
type leanOperation struct {
	fields []leanField                                                                     // of an item
	look   func(*leanRequest, leanItem) item                                               // what is looked at before the engine does
	run    func(context.Context, *engine.Engine, kms.Call, *leanRequest, use, []int) error // fills the results of items that are one operation
	output string                                                                          // name of a result's data
	alone  func(context.Context, *engine.Engine, kms.Call, *leanRequest) error             // where set: does it all, and fills the request's out
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

// answer runs a request and fills its out.
func (m *leanMethod) answer(ctx context.Context, e *engine.Engine, q *leanRequest, c kms.Call) error {
	if m.alone != nil {
		return m.alone(ctx, e, c, q)
	}
	q.results = slices.Grow(q.results, len(q.items))[:len(q.items)]
	if !m.batch {
		if err := m.run(ctx, e, c, q, m.look(q, q.items[0]).use, []int{0}); err != nil {
			return err
		}
		q.write(m.output, &q.results[0])
		return nil
	}
	err := batch(q.items,
		func(it leanItem) item { return m.look(q, it) },
		func(u use, members []int) error { return m.run(ctx, e, c, q, u, members) },
		func(i int, why *keyholdv1.ErrorDetail) { q.results[i].failed = why })
	if err != nil {
		return err
	}
	return q.writeAll(m.output)
}

// failed is what a batch's caller learns of an item.
func failed(e *kms.Error) *keyholdv1.ErrorDetail {
	if e == nil {
		return nil
	}
	return detailOf(e)
}

var leanEncryption = leanOperation{
	fields: []leanField{fieldKey, {"plaintext", "plaintext", inData}, fieldContext, fieldAAD, fieldVersion, fieldScheme, fieldRaw}, output: "ciphertext",
	look: func(q *leanRequest, it leanItem) item {
		return item{use{key: or(it.key, q.key), version: it.version, scheme: it.scheme, raw: it.raw}, len(it.data) + len(it.aad) + contextSize(it.context)}
	},
	run: leanEncrypt,
}

func leanEncrypt(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
	scheme, err := kms.ParseScheme(u.scheme)
	if err != nil {
		return err
	}
	out, err := e.Encrypt(ctx, c, engine.EncryptInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Raw: u.raw,
		Items: pick(q.items, members, func(it leanItem) engine.EncryptItem {
			return engine.EncryptItem{Plaintext: it.data, Context: it.context, AAD: it.aad}
		})})
	if err != nil {
		return err
	}
	for j, i := range members {
		it := at(out.Items, j)
		q.results[i] = leanResult{data: it.Ciphertext, key: out.Key, version: out.Version, failed: failed(it.Err)}
	}
	return nil
}

var leanDecryption = leanOperation{
	fields: []leanField{fieldKey, {"ciphertext", "ciphertext", inData}, fieldContext, fieldAAD, fieldVersion, fieldScheme, fieldRaw},
	look: func(q *leanRequest, it leanItem) item {
		key := or(it.key, q.key)
		if len(q.items) > 1 { // else there is nothing to group, and the engine finds the key
			key = maker(key, it.data, it.raw)
		}
		return item{use{key: key, version: it.version, scheme: it.scheme, raw: it.raw}, len(it.data) + len(it.aad) + contextSize(it.context)}
	},
	run: leanDecrypt,
}

func leanDecrypt(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
	scheme, err := kms.ParseScheme(u.scheme)
	if err != nil {
		return err
	}
	out, err := e.Decrypt(ctx, c, engine.DecryptInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Raw: u.raw,
		Items: pick(q.items, members, func(it leanItem) engine.DecryptItem {
			return engine.DecryptItem{Ciphertext: it.data, Context: it.context, AAD: it.aad}
		})})
	if err != nil {
		return err
	}
	for j, i := range members {
		it := at(out.Items, j)
		q.results[i] = leanResult{plain: it.Plaintext, key: out.Key, version: it.Version, failed: failed(it.Err)}
	}
	return nil
}

var leanDataKey = leanOperation{
	fields: []leanField{fieldKey, {"length", "length", inLength}, fieldContext, fieldAAD, {"withoutPlaintext", "without_plaintext", inWithheld}}, output: "ciphertext",
	look: func(q *leanRequest, it leanItem) item {
		u := use{key: or(it.key, q.key), version: it.length, raw: it.withheld}
		if len(q.items) > 1 {
			u.apart = contextText(it.context, it.aad)
		}
		return item{u, int(it.length) + len(it.aad) + contextSize(it.context)}
	},
	run: leanGenerate,
}

func leanGenerate(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
	first := &q.items[members[0]]
	in := engine.DataKeyInput{
		Key: kms.Ref(u.key), Bytes: int(first.length), Count: len(members), Context: first.context, AAD: first.aad, WithoutPlaintext: first.withheld,
	}
	if in.Bytes == 0 {
		in.Bytes = defaultDataKey
	}
	out, err := e.GenerateDataKey(ctx, c, in)
	if err != nil {
		return err
	}
	for j, i := range members {
		it := at(out.Items, j)
		q.results[i] = leanResult{plain: it.Plaintext, data: it.Ciphertext, key: out.Key, version: out.Version}
	}
	return nil
}

var leanSigning = leanOperation{
	fields: []leanField{fieldKey, fieldMessage, fieldDigested, fieldVersion, fieldScheme}, output: "signature",
	look: func(q *leanRequest, it leanItem) item {
		return item{use{key: or(it.key, q.key), version: it.version, scheme: it.scheme}, len(it.data)}
	},
	run: leanSign,
}

func leanSign(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
	scheme, err := kms.ParseScheme(u.scheme)
	if err != nil {
		return err
	}
	out, err := e.Sign(ctx, c, engine.SignInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme,
		Items: pick(q.items, members, func(it leanItem) engine.SignItem {
			return engine.SignItem{Message: it.data, Digested: it.digested}
		})})
	if err != nil {
		return err
	}
	for j, i := range members {
		it := at(out.Items, j)
		q.results[i] = leanResult{data: it.Signature, key: out.Key, version: out.Version, scheme: out.Scheme, failed: failed(it.Err)}
	}
	return nil
}

var leanVerification = leanOperation{
	fields: []leanField{fieldKey, fieldMessage, fieldDigested, {"signature", "signature", inProof}, fieldVersion, fieldScheme},
	look: func(q *leanRequest, it leanItem) item {
		return item{use{key: or(it.key, q.key), version: it.version, scheme: it.scheme}, len(it.data) + len(it.proof)}
	},
	run: leanVerify,
}

func leanVerify(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
	scheme, err := kms.ParseScheme(u.scheme)
	if err != nil {
		return err
	}
	out, err := e.Verify(ctx, c, engine.VerifyInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme,
		Items: pick(q.items, members, func(it leanItem) engine.VerifyItem {
			return engine.VerifyItem{Message: it.data, Digested: it.digested, Signature: it.proof}
		})})
	if err != nil {
		return err
	}
	q.verified(&out, members)
	return nil
}

var leanMAC = leanOperation{
	fields: []leanField{fieldKey, fieldMessage, fieldVersion}, output: "mac",
	look: func(q *leanRequest, it leanItem) item {
		return item{use{key: or(it.key, q.key), version: it.version}, len(it.data)}
	},
	run: func(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
		out, err := e.GenerateMAC(ctx, c, engine.MACInput{Key: kms.Ref(u.key), Version: u.version,
			Items: pick(q.items, members, func(it leanItem) engine.MACItem { return engine.MACItem{Message: it.data} })})
		if err != nil {
			return err
		}
		for j, i := range members {
			it := at(out.Items, j)
			q.results[i] = leanResult{data: it.MAC, key: out.Key, version: out.Version, scheme: out.Scheme, failed: failed(it.Err)}
		}
		return nil
	},
}

var leanMACCheck = leanOperation{
	fields: []leanField{fieldKey, fieldMessage, {"mac", "mac", inProof}, fieldVersion},
	look: func(q *leanRequest, it leanItem) item {
		return item{use{key: or(it.key, q.key), version: it.version}, len(it.data) + len(it.proof)}
	},
	run: func(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest, u use, members []int) error {
		out, err := e.VerifyMAC(ctx, c, engine.VerifyMACInput{Key: kms.Ref(u.key), Version: u.version,
			Items: pick(q.items, members, func(it leanItem) engine.VerifyMACItem {
				return engine.VerifyMACItem{Message: it.data, MAC: it.proof}
			})})
		if err != nil {
			return err
		}
		q.verified(&out, members)
		return nil
	},
}

func (q *leanRequest) verified(out *engine.VerifyOutput, members []int) {
	for j, i := range members {
		q.results[i] = leanResult{key: out.Key, version: out.Version, scheme: out.Scheme, failed: failed(at(out.Items, j).Err)}
	}
}

var leanCreation = leanOperation{
	fields: []leanField{
		{"name", "name", inKey}, {"algorithm", "algorithm", inScheme}, {"usage", "usage", inUsage}, {"description", "description", inDescription},
		{"labels", "labels", inContext}, {"aliases", "aliases", inAliases}, {"bytes", "bytes", inLength},
	},
	alone: func(ctx context.Context, e *engine.Engine, c kms.Call, q *leanRequest) error {
		it := &q.items[0]
		out, err := create(ctx, e, c, it.scheme, it.usage, engine.CreateKeyInput{
			Name: it.key, Description: it.description, Labels: it.context, Aliases: it.aliases, Bytes: int(it.length),
		})
		if err == nil {
			q.out, err = strictJSON{}.MarshalAppend(q.out[:0], keyResponse(&out))
		}
		return err
	},
}
