package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
)

// Encrypt encrypts items under a key.
func (e *Engine) Encrypt(ctx context.Context, c kms.Call, in EncryptInput) (EncryptOutput, error) {
	return use(ctx, e, c, &encrypt, &in)
}

// Decrypt decrypts items that one key made.
func (e *Engine) Decrypt(ctx context.Context, c kms.Call, in DecryptInput) (DecryptOutput, error) {
	return use(ctx, e, c, &decrypt, &in)
}

// ReEncrypt moves ciphertexts to another key or to the primary version, without showing the plaintext.
func (e *Engine) ReEncrypt(ctx context.Context, c kms.Call, in ReEncryptInput) (ReEncryptOutput, error) {
	return use(ctx, e, c, &reEncrypt, &in)
}

// GenerateDataKey makes data keys; whether their plaintext is answered decides which action must be allowed.
func (e *Engine) GenerateDataKey(ctx context.Context, c kms.Call, in DataKeyInput) (DataKeyOutput, error) {
	if in.WithoutPlaintext {
		return use(ctx, e, c, &dataKeyWithoutPlaintext, &in)
	}
	return use(ctx, e, c, &dataKey, &in)
}

// Sign signs messages or digests.
func (e *Engine) Sign(ctx context.Context, c kms.Call, in SignInput) (SignOutput, error) {
	return use(ctx, e, c, &sign, &in)
}

// Verify verifies signatures.
func (e *Engine) Verify(ctx context.Context, c kms.Call, in VerifyInput) (VerifyOutput, error) {
	return use(ctx, e, c, &verify, &in)
}

// GenerateMAC makes message authentication codes.
func (e *Engine) GenerateMAC(ctx context.Context, c kms.Call, in MACInput) (MACOutput, error) {
	return use(ctx, e, c, &makeMAC, &in)
}

// VerifyMAC verifies message authentication codes.
func (e *Engine) VerifyMAC(ctx context.Context, c kms.Call, in VerifyMACInput) (VerifyOutput, error) {
	return use(ctx, e, c, &verifyMAC, &in)
}

// GenerateRandom answers random bytes.
func (e *Engine) GenerateRandom(ctx context.Context, c kms.Call, in RandomInput) (RandomOutput, error) {
	return use(ctx, e, c, &random, &in)
}

// GetPublicKey answers the public half of a key's version.
func (e *Engine) GetPublicKey(ctx context.Context, c kms.Call, in PublicKeyInput) (PublicKeyOutput, error) {
	return use(ctx, e, c, &publicKey, &in)
}

// DeriveSharedSecret agrees on a secret with the holder of another key pair.
func (e *Engine) DeriveSharedSecret(ctx context.Context, c kms.Call, in DeriveInput) (SharedSecret, error) {
	return use(ctx, e, c, &derive, &in)
}

// Encapsulate makes a shared secret and its encapsulation for a key.
func (e *Engine) Encapsulate(ctx context.Context, c kms.Call, in EncapsulateInput) (EncapsulateOutput, error) {
	return use(ctx, e, c, &encapsulate, &in)
}

// Decapsulate answers the shared secret of an encapsulation.
func (e *Engine) Decapsulate(ctx context.Context, c kms.Call, in DecapsulateInput) (SharedSecret, error) {
	return use(ctx, e, c, &decapsulate, &in)
}

// WrapKey wraps key material as other systems read it.
func (e *Engine) WrapKey(ctx context.Context, c kms.Call, in WrapInput) (WrapOutput, error) {
	return use(ctx, e, c, &wrapKey, &in)
}

// UnwrapKey opens wrapped key material.
func (e *Engine) UnwrapKey(ctx context.Context, c kms.Call, in WrapInput) (UnwrapOutput, error) {
	return use(ctx, e, c, &unwrapKey, &in)
}

// EncryptFormat encrypts texts to texts of the same form.
func (e *Engine) EncryptFormat(ctx context.Context, c kms.Call, in FormatInput) (EncryptFormatOutput, error) {
	return use(ctx, e, c, &encryptFormat, &in)
}

// DecryptFormat decrypts texts whose form was kept.
func (e *Engine) DecryptFormat(ctx context.Context, c kms.Call, in FormatInput) (DecryptFormatOutput, error) {
	return use(ctx, e, c, &decryptFormat, &in)
}

// GenerateDataKeyPair makes a key pair; whether its private half is answered decides which action must be allowed.
func (e *Engine) GenerateDataKeyPair(ctx context.Context, c kms.Call, in DataKeyPairInput) (DataKeyPairOutput, error) {
	if in.WithoutPlaintext {
		return use(ctx, e, c, &dataKeyPairWithoutPlaintext, &in)
	}
	return use(ctx, e, c, &dataKeyPair, &in)
}

// DescribeKey answers a key's metadata and its newest versions.
func (e *Engine) DescribeKey(ctx context.Context, c kms.Call, in KeyInput) (KeyOutput, error) {
	return use(ctx, e, c, &describeKey, &in)
}

// ListVersions pages through a key's versions.
func (e *Engine) ListVersions(ctx context.Context, c kms.Call, in VersionsInput) (VersionsOutput, error) {
	return use(ctx, e, c, &listVersions, &in)
}

// ListKeys pages through the keys of the call's namespace.
func (e *Engine) ListKeys(ctx context.Context, c kms.Call, in ListKeysInput) (ListKeysOutput, error) {
	return use(ctx, e, c, &listKeys, &in)
}

// CreateKey makes a key with its first version.
func (e *Engine) CreateKey(ctx context.Context, c kms.Call, in CreateKeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &createKey, &in)
}

// UpdateKey changes name, description, labels and aliases.
func (e *Engine) UpdateKey(ctx context.Context, c kms.Call, in UpdateKeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &updateKey, &in)
}

// RotateKey makes a new primary version; the old one goes on processing.
func (e *Engine) RotateKey(ctx context.Context, c kms.Call, in RotateKeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &rotateKey, &in)
}

// EnableKey lets a disabled key work again.
func (e *Engine) EnableKey(ctx context.Context, c kms.Call, in KeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &enableKey, &in)
}

// DisableKey stops every use of a key, reversibly.
func (e *Engine) DisableKey(ctx context.Context, c kms.Call, in KeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &disableKey, &in)
}

// SuspendKey lets a key process only.
func (e *Engine) SuspendKey(ctx context.Context, c kms.Call, in KeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &suspendKey, &in)
}

// ResumeKey ends a suspension.
func (e *Engine) ResumeKey(ctx context.Context, c kms.Call, in KeyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &resumeKey, &in)
}

// ScheduleKeyDestruction starts the window at whose end a key is destroyed. Until then it does nothing and can be saved.
func (e *Engine) ScheduleKeyDestruction(ctx context.Context, c kms.Call, in DestroyInput) (KeyOutput, error) {
	return alter(ctx, e, c, &scheduleDestruction, &in)
}

// CancelKeyDestruction saves a key that is pending destruction.
func (e *Engine) CancelKeyDestruction(ctx context.Context, c kms.Call, in CancelInput) (KeyOutput, error) {
	return alter(ctx, e, c, &cancelDestruction, &in)
}

// CreateNamespace makes a tenant.
func (e *Engine) CreateNamespace(ctx context.Context, c kms.Call, in NamespaceInput) (NamespaceOutput, error) {
	return alter(ctx, e, c, &createNamespace, &in)
}

// UpdateNamespace changes the call's namespace.
func (e *Engine) UpdateNamespace(ctx context.Context, c kms.Call, in NamespaceInput) (NamespaceOutput, error) {
	return alter(ctx, e, c, &updateNamespace, &in)
}

// DescribeNamespace answers the call's namespace.
func (e *Engine) DescribeNamespace(ctx context.Context, c kms.Call, in NamespaceInput) (NamespaceOutput, error) {
	return use(ctx, e, c, &readNamespace, &in)
}

// ListNamespaces pages through the namespaces: operators see all, others their own.
func (e *Engine) ListNamespaces(ctx context.Context, c kms.Call, in PageInput) (NamespacesOutput, error) {
	return use(ctx, e, c, &listNamespaces, &in)
}

// PutPolicy stores a policy after strict validation.
func (e *Engine) PutPolicy(ctx context.Context, c kms.Call, in PutPolicyInput) (PolicyOutput, error) {
	return alter(ctx, e, c, &putPolicy, &in)
}

// CheckPolicy validates a policy and stores nothing.
func (e *Engine) CheckPolicy(ctx context.Context, c kms.Call, in PutPolicyInput) (PolicyOutput, error) {
	return use(ctx, e, c, &tryPolicy, &in)
}

// GetPolicy answers a policy.
func (e *Engine) GetPolicy(ctx context.Context, c kms.Call, in PolicyInput) (PolicyOutput, error) {
	return use(ctx, e, c, &getPolicy, &in)
}

// DeletePolicy removes a policy.
func (e *Engine) DeletePolicy(ctx context.Context, c kms.Call, in PolicyInput) (PolicyOutput, error) {
	return alter(ctx, e, c, &deletePolicy, &in)
}

// ListPolicies pages through the policies of the call's namespace.
func (e *Engine) ListPolicies(ctx context.Context, c kms.Call, in PageInput) (PoliciesOutput, error) {
	return use(ctx, e, c, &listPolicies, &in)
}

// CanI asks whether something would be allowed.
func (e *Engine) CanI(ctx context.Context, c kms.Call, in CanIInput) (ExplainOutput, error) {
	return use(ctx, e, c, &canI, &in)
}

// Explain says why a decision was made and what would be needed.
func (e *Engine) Explain(ctx context.Context, c kms.Call, in ExplainInput) (ExplainOutput, error) {
	return use(ctx, e, c, &explain, &in)
}

// CreateToken makes a bearer token. It is shown this once.
func (e *Engine) CreateToken(ctx context.Context, c kms.Call, in CreateTokenInput) (CreateTokenOutput, error) {
	return alter(ctx, e, c, &createToken, &in)
}

// ListTokens pages through the tokens of the call's namespace.
func (e *Engine) ListTokens(ctx context.Context, c kms.Call, in PageInput) (TokensOutput, error) {
	return use(ctx, e, c, &listTokens, &in)
}

// RevokeToken ends a token at once.
func (e *Engine) RevokeToken(ctx context.Context, c kms.Call, in IDInput) (TokenOutput, error) {
	return alter(ctx, e, c, &revokeToken, &in)
}

// CreateCredential binds a certificate's subject to a principal.
func (e *Engine) CreateCredential(ctx context.Context, c kms.Call, in CreateCredentialInput) (CredentialOutput, error) {
	return alter(ctx, e, c, &createCredential, &in)
}

// ListCredentials pages through the bindings of the call's namespace.
func (e *Engine) ListCredentials(ctx context.Context, c kms.Call, in PageInput) (CredentialsOutput, error) {
	return use(ctx, e, c, &listCredentials, &in)
}

// RevokeCredential ends a binding at once.
func (e *Engine) RevokeCredential(ctx context.Context, c kms.Call, in SubjectInput) (CredentialOutput, error) {
	return alter(ctx, e, c, &revokeCredential, &in)
}

// Token tells of a token of the call's namespace.
func (e *Engine) Token(ctx context.Context, c kms.Call, in IDInput) (TokenOutput, error) {
	return use(ctx, e, c, &readToken, &in)
}

// OwnToken tells the caller of the token that the call came with. CodeNotFound: it came with none.
func (e *Engine) OwnToken(ctx context.Context, c kms.Call) (TokenOutput, error) {
	return use(ctx, e, c, &ownToken, &struct{}{})
}

// RenewToken lets a token live longer. CodeExpired: it ended. CodeBadRequest: it was not made to be renewed.
func (e *Engine) RenewToken(ctx context.Context, c kms.Call, in RenewTokenInput) (RenewTokenOutput, error) {
	return alter(ctx, e, c, &renewToken, &in)
}

// RenewOwnToken lets the token that the call came with live longer.
func (e *Engine) RenewOwnToken(ctx context.Context, c kms.Call, in RenewTokenInput) (RenewTokenOutput, error) {
	return alter(ctx, e, c, &renewOwnToken, &in)
}

// RevokeOwnToken ends the token that the call came with.
func (e *Engine) RevokeOwnToken(ctx context.Context, c kms.Call) (TokenOutput, error) {
	return alter(ctx, e, c, &revokeOwnToken, &struct{}{})
}

// WhoAmI tells the caller who the server takes it for.
func (e *Engine) WhoAmI(ctx context.Context, c kms.Call) (WhoAmIOutput, error) {
	return use(ctx, e, c, &whoAmI, &struct{}{})
}

// ListAudit pages through the trail.
func (e *Engine) ListAudit(ctx context.Context, c kms.Call, in AuditListInput) (AuditListOutput, error) {
	return use(ctx, e, c, &listAudit, &in)
}

// ProveRecord answers a proof that a record is in the log, to be checked offline.
func (e *Engine) ProveRecord(ctx context.Context, c kms.Call, in ProveInput) (ProveOutput, error) {
	return use(ctx, e, c, &proveRecord, &in)
}

// Checkpoint answers the newest signed checkpoint.
func (e *Engine) Checkpoint(ctx context.Context, c kms.Call) (CheckpointOutput, error) {
	return use(ctx, e, c, &checkpoint, &struct{}{})
}
