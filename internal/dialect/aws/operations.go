package aws

import (
	"context"
)

// works says how much of an operation there is.
type works uint8

const (
	wholly   works = iota
	partly         // how says what is missing
	notAtAll       // how says why; it answers UnsupportedOperationException
)

// operation is one row of the table.
type operation struct {
	name  string
	works works
	how   string
	run   func(context.Context, *exchange) *fault
}

// input and output are what the generated shapes have in common.
type input[In any] interface {
	*In
	decode(*decoder)
	check(*problems)
}

type output[Out any] interface {
	*Out
	encode(*encoder)
}

// op is an operation that works: its request is read and held to the model, then do does it. A nil output stands for an empty answer.
func op[In, Out any, PI input[In], PO output[Out]](name string, do func(*exchange, context.Context, PI) (PO, error)) operation {
	return operation{name: name, run: func(ctx context.Context, x *exchange) *fault {
		in := PI(new(In))
		if f := take(x, in.decode, in.check); f != nil {
			return f
		}
		out, err := do(x, ctx, in)
		switch {
		case err != nil:
			return x.fault(err)
		case out == nil:
			x.e.open()
			x.e.close()
		default:
			out.encode(&x.e)
		}
		return nil
	}}
}

// limited is an operation of which something is missing.
func limited(how string, o operation) operation {
	o.works, o.how = partly, how
	return o
}

// without is an operation that there is not. What is asked is held to the model all the same.
func without[In any, PI input[In]](name, why string) operation {
	return operation{name: name, works: notAtAll, how: why, run: func(_ context.Context, x *exchange) *fault {
		in := PI(new(In))
		if f := take(x, in.decode, in.check); f != nil {
			return f
		}
		return newFault("UnsupportedOperationException", why)
	}}
}

// take reads a request and holds it to the model.
func take(x *exchange, decode func(*decoder), check func(*problems)) *fault {
	decode(&x.d)
	if x.d.end(); x.d.err != nil {
		return x.d.err
	}
	var p problems
	check(&p)
	return p.err()
}

// operations is the table, by families as AWS's reference has them.
var operations = []operation{
	op("Encrypt", (*exchange).Encrypt),
	op("Decrypt", (*exchange).Decrypt),
	op("ReEncrypt", (*exchange).ReEncrypt),
	op("GenerateDataKey", (*exchange).GenerateDataKey),
	op("GenerateDataKeyWithoutPlaintext", (*exchange).GenerateDataKeyWithoutPlaintext),
	op("GenerateDataKeyPair", (*exchange).GenerateDataKeyPair),
	op("GenerateDataKeyPairWithoutPlaintext", (*exchange).GenerateDataKeyPairWithoutPlaintext),
	op("GenerateRandom", (*exchange).GenerateRandom),
	op("Sign", (*exchange).Sign),
	op("Verify", (*exchange).Verify),
	op("GenerateMac", (*exchange).GenerateMac),
	op("VerifyMac", (*exchange).VerifyMac),
	op("DeriveSharedSecret", (*exchange).DeriveSharedSecret),
	op("Encapsulate", (*exchange).Encapsulate),
	op("Decapsulate", (*exchange).Decapsulate),
	limited("a policy that says what cannot be decided on is refused", op("PutKeyPolicy", (*exchange).PutKeyPolicy)),
	op("GetKeyPolicy", (*exchange).GetKeyPolicy),
	op("ListKeyPolicies", (*exchange).ListKeyPolicies),
	limited("not to AWS services; a principal holds at most 250 grants on one key", op("CreateGrant", (*exchange).CreateGrant)),
	op("ListGrants", (*exchange).ListGrants),
	op("RevokeGrant", (*exchange).RevokeGrant),
	op("RetireGrant", (*exchange).RetireGrant),
	op("ListRetirableGrants", (*exchange).ListRetirableGrants),
	limited("CustomKeyStoreId and XksKeyId are refused; the description has at most 8,192 bytes", op("CreateKey", (*exchange).CreateKey)),
	op("DescribeKey", (*exchange).DescribeKey),
	limited("keys of kinds that AWS does not have are left out", op("ListKeys", (*exchange).ListKeys)),
	op("UpdateKeyDescription", (*exchange).UpdateKeyDescription),
	op("GetPublicKey", (*exchange).GetPublicKey),
	limited("without ids of CloudTrail events and requests; the audit log has them", op("GetKeyLastUsage", (*exchange).GetKeyLastUsage)),
	limited("an alias is one name in all regions of an account, and begins with a letter or digit; a key has at most 50", op("CreateAlias", (*exchange).CreateAlias)),
	op("UpdateAlias", (*exchange).UpdateAlias),
	op("DeleteAlias", (*exchange).DeleteAlias),
	limited("without the dates of aliases, and without aliases of AWS's own", op("ListAliases", (*exchange).ListAliases)),
	op("TagResource", (*exchange).TagResource),
	op("UntagResource", (*exchange).UntagResource),
	op("ListResourceTags", (*exchange).ListResourceTags),
	op("EnableKey", (*exchange).EnableKey),
	op("DisableKey", (*exchange).DisableKey),
	limited("the caller needs the right to assess the key too: what its destruction reaches is recorded first", op("ScheduleKeyDeletion", (*exchange).ScheduleKeyDeletion)),
	op("CancelKeyDeletion", (*exchange).CancelKeyDeletion),
	op("EnableKeyRotation", (*exchange).EnableKeyRotation),
	op("DisableKeyRotation", (*exchange).DisableKeyRotation),
	op("GetKeyRotationStatus", (*exchange).GetKeyRotationStatus),
	limited("done at once; the next automatic rotation counts from it", op("RotateKeyOnDemand", (*exchange).RotateKeyOnDemand)),
	op("ListKeyRotations", (*exchange).ListKeyRotations),
	limited("the import token is used up by the import; RSAES_PKCS1_V1_5 is refused", op("GetParametersForImport", (*exchange).GetParametersForImport)),
	limited("into the primary of a multi-Region key only: its replicas share the material", op("ImportKeyMaterial", (*exchange).ImportKeyMaterial)),
	op("DeleteImportedKeyMaterial", (*exchange).DeleteImportedKeyMaterial),
	limited("Policy is refused: a replica has the key's; it has the key's material at once, also where that was imported", op("ReplicateKey", (*exchange).ReplicateKey)),
	op("UpdatePrimaryRegion", (*exchange).UpdatePrimaryRegion),
	limited("there are none", op("DescribeCustomKeyStores", (*exchange).DescribeCustomKeyStores)),
	without[CreateCustomKeyStoreInput]("CreateCustomKeyStore", noKeyStores),
	without[ConnectCustomKeyStoreInput]("ConnectCustomKeyStore", noKeyStores),
	without[DisconnectCustomKeyStoreInput]("DisconnectCustomKeyStore", noKeyStores),
	without[UpdateCustomKeyStoreInput]("UpdateCustomKeyStore", noKeyStores),
	without[DeleteCustomKeyStoreInput]("DeleteCustomKeyStore", noKeyStores),
}

// changing are the operations that change something: what was signed once is carried out once. Cryptographic use may be repeated, and so may looking.
var changing = set("CreateKey", "ReplicateKey", "UpdatePrimaryRegion", "UpdateKeyDescription", "EnableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion",
	"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "GetParametersForImport", "ImportKeyMaterial", "DeleteImportedKeyMaterial",
	"CreateAlias", "UpdateAlias", "DeleteAlias", "TagResource", "UntagResource", "PutKeyPolicy", "CreateGrant", "RetireGrant", "RevokeGrant",
	"CreateCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore", "ConnectCustomKeyStore", "DisconnectCustomKeyStore")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

var byName = func() map[string]*operation {
	m := make(map[string]*operation, len(operations))
	for i := range operations {
		m[operations[i].name] = &operations[i]
	}
	return m
}()

// nothing is an answer without members.
type nothing struct{}

func (*nothing) encode(e *encoder) {
	e.open()
	e.close()
}
