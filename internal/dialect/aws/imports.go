package aws

import (
	"bytes"
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// wrappingAlgorithms are how material is wrapped on its way here.
var wrappingAlgorithms = []word[kms.Transport]{
	{"RSAES_OAEP_SHA_256", kms.OAEPSHA256}, {"RSAES_OAEP_SHA_1", kms.OAEPSHA1},
	{"RSA_AES_KEY_WRAP_SHA_256", kms.RSAAESSHA256}, {"RSA_AES_KEY_WRAP_SHA_1", kms.RSAAESSHA1},
}

// wrappingKeys are the key pairs it is wrapped for.
var wrappingKeys = []word[kms.Algorithm]{{"RSA_2048", kms.RSA2048}, {"RSA_3072", kms.RSA3072}, {"RSA_4096", kms.RSA4096}}

// tokenV1 begins an import token; the id of ours follows, which says nothing to anybody else and works for one key, once, for 24 hours.
const tokenV1 = 1

const tokenLife = 24 * time.Hour

// GetParametersForImport makes the key pair that material is wrapped for.
func (x *exchange) GetParametersForImport(ctx context.Context, in *GetParametersForImportInput) (*GetParametersForImportOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	transport, ok := ours(wrappingAlgorithms, in.WrappingAlgorithm)
	by, is := ours(wrappingKeys, in.WrappingKeySpec)
	if !ok || !is {
		return nil, newFault(notSupported, "This server takes no material that is wrapped with "+in.WrappingAlgorithm+" for "+in.WrappingKeySpec+".")
	}
	k := x.admit(originIs(kms.Imported), primaryOnly)
	out, err := x.engine.CreateImportToken(ctx, x.call, engine.ImportTokenInput{Key: key, Transport: transport, By: by, Lifetime: tokenLife, Open: true})
	if err != nil {
		return nil, k.or(err, instead{kms.CodeTooLarge, limitExceeded, "Too many import tokens are open."},
			instead{kms.CodeAlgorithm, notSupported, "Keys of this KeySpec are not imported with " + in.WrappingAlgorithm + "."})
	}
	return &GetParametersForImportOutput{
		KeyId: x.keyARN(out.Key), ImportToken: append([]byte{tokenV1}, out.ID[:]...), ParametersValidTo: out.Expires, PublicKey: secret.Release(bytes.Clone(out.Public)),
	}, nil
}

// importToken reads an import token. One whose time is over is told from one that never was by the time that its id says.
func importToken(b []byte, now time.Time) (id kms.ID, err error) {
	if len(b) != 1+len(id) || b[0] != tokenV1 {
		return id, newFault("InvalidImportTokenException", "The import token is not one that this server gave.")
	}
	copy(id[:], b[1:])
	if made := id.Time(); now.Sub(made) > tokenLife {
		return id, newFault("ExpiredImportTokenException", "The import token was good for 24 hours.")
	}
	return id, nil
}

// ImportKeyMaterial takes material: the first of a key, material that it had before, or new material that waits to be rotated to.
func (x *exchange) ImportKeyMaterial(ctx context.Context, in *ImportKeyMaterialInput) (*ImportKeyMaterialOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	token, err := importToken(in.ImportToken, time.Now())
	if err != nil {
		return nil, err
	}
	if err := validity(in); err != nil {
		return nil, err
	}
	as, _ := ours(importTypes, in.ImportType)
	ask := engine.ImportMaterialInput{Key: key, Token: token, Material: in.EncryptedKeyMaterial, Expires: in.ValidTo, As: as, Note: in.KeyMaterialDescription, Waiting: true}
	if in.KeyMaterialId != "" {
		if as == engine.ImportNew {
			return nil, newFault(validation, "KeyMaterialId can not be specified with ImportType NEW_KEY_MATERIAL.")
		}
		if ask.Version, err = x.materialVersion(ctx, key, in.KeyMaterialId); err != nil {
			return nil, err
		}
		ask.As = engine.ImportAgain
	}
	k := x.admit(originIs(kms.Imported), primaryOnly, importRules(in))
	out, err := x.engine.ImportKeyMaterial(ctx, x.call, ask)
	if err != nil {
		return nil, k.or(err,
			instead{kms.CodeCheckValue, "IncorrectKeyMaterialException", "The key material is not that which was imported into the key before."},
			instead{kms.CodeExists, "IncorrectKeyMaterialException", "The key material is that of the key already."},
			instead{kms.CodeKeyFile, "IncorrectKeyMaterialException", "The key material does not fit the key."},
			instead{kms.CodeDecryptFailed, "InvalidCiphertextException", "The key material can not be unwrapped with the key pair of the import token."})
	}
	answer := &ImportKeyMaterialOutput{KeyId: x.keyARN(out.Key.ID)}
	if k.spec.symmetric() {
		answer.KeyMaterialId = materialID(out.Key.ID, out.Versions[0].Number)
	}
	return answer, nil
}

var importTypes = []word[engine.ImportAs]{{"NEW_KEY_MATERIAL", engine.ImportNew}, {"EXISTING_KEY_MATERIAL", engine.ImportAgain}}

// mostValidity is how far ahead material may expire.
const mostValidity = 365 * day

// validity holds ValidTo to the expiration model, which is to expire where nothing is said.
func validity(in *ImportKeyMaterialInput) error {
	now := time.Now()
	switch {
	case in.ExpirationModel == neverExpires && !in.ValidTo.IsZero():
		return newFault(validation, "A validTo date can not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
	case in.ExpirationModel == neverExpires:
		return nil
	case in.ValidTo.IsZero():
		return newFault(validation, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case !in.ValidTo.After(now) || in.ValidTo.After(now.Add(mostValidity)):
		return newFault(validation, "The validTo date must be in the future, and at most 365 days ahead.")
	}
	return nil
}

// importRules are those of AWS on new material: keys of other kinds than symmetric ones that encrypt get theirs once, and one material waits at a time.
func importRules(in *ImportKeyMaterialInput) rule {
	return func(x *exchange, k *seen) *fault {
		isNew := in.ImportType == "NEW_KEY_MATERIAL"
		switch {
		case !k.spec.symmetric() && (in.ImportType != "" || in.KeyMaterialId != "" || in.KeyMaterialDescription != ""):
			return newFault(notSupported, x.keyARN(k.ID)+" key spec is "+k.spec.spec+": ImportType, KeyMaterialId and KeyMaterialDescription are for symmetric encryption keys.")
		case isNew && k.Next != 0:
			return newFault(invalidState, "New key material (id: "+materialID(k.ID, k.Latest+1)+") cannot be imported into KMS key "+x.keyARN(k.ID)+
				", because another key material (id: "+materialID(k.ID, k.Next)+") is pending rotation.")
		}
		return nil
	}
}

// materialVersion finds the version that a material id names. The caller must be allowed to describe the key.
func (x *exchange) materialVersion(ctx context.Context, key kms.Ref, id string) (uint32, error) {
	k := x.admit()
	for before := uint32(0); ; {
		out, err := x.engine.ListVersions(ctx, x.call, engine.VersionsInput{Key: key, Before: before, Limit: versionsPage})
		if err != nil {
			return 0, k.or(err)
		}
		for i := range out.Versions {
			if n := out.Versions[i].Number; materialID(k.ID, n) == id {
				return n, nil
			}
		}
		if before = out.Next; before == 0 {
			return 0, newFault("NotFoundException", "The key has no key material with id "+id+".")
		}
	}
}

// DeleteImportedKeyMaterial forgets imported material at once. The key does nothing until it is back. Material that only waits for its rotation is given up.
func (x *exchange) DeleteImportedKeyMaterial(ctx context.Context, in *DeleteImportedKeyMaterialInput) (*DeleteImportedKeyMaterialOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	ask := engine.ExpireInput{Key: key, Now: true}
	if in.KeyMaterialId != "" {
		if ask.Version, err = x.materialVersion(ctx, key, in.KeyMaterialId); err != nil {
			return nil, err
		}
	}
	k := x.admit(originIs(kms.Imported), primaryOnly)
	_, err = x.engine.ExpireKeyMaterial(ctx, x.call, ask)
	switch kms.CodeOf(err) {
	case kms.CodeMaterialExpired, kms.CodeVersionNotFound: // it is gone, or never was: nothing changes
		err = nil
	}
	if err != nil {
		return nil, k.or(err)
	}
	answer := &DeleteImportedKeyMaterialOutput{KeyId: x.keyARN(k.ID)}
	n := ask.Version
	if n == 0 {
		n = k.Primary
	}
	if k.spec.symmetric() && n != 0 {
		answer.KeyMaterialId = materialID(k.ID, n)
	}
	return answer, nil
}
