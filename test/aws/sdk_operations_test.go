package awstest

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestSDKCallsEveryOperation uses each operation of the SDK for Go as its documentation says, and wants each refusal in its own type.
func TestSDKCallsEveryOperation(t *testing.T) {
	l := newLedger()
	c := &caller{sdk(t, l.watch), l}
	parts := []struct {
		name string
		run  func(*caller, *testing.T)
	}{
		{"encryption", (*caller).encryption},
		{"data keys", (*caller).dataKeys},
		{"signatures", (*caller).signatures},
		{"MACs", (*caller).macs},
		{"secrets shared", (*caller).sharing},
		{"keys", (*caller).keys},
		{"aliases", (*caller).aliases},
		{"tags", (*caller).tags},
		{"rotation", (*caller).rotation},
		{"import", (*caller).imports},
		{"policies", (*caller).policies},
		{"grants", (*caller).grants},
		{"regions", (*caller).regions},
		{"key stores", (*caller).stores},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(c, t) })
	}
	for _, name := range operations(t) {
		if l.answered[name] == 0 && (!inapplicable[name] || len(l.refused[name]) == 0) {
			t.Errorf("%s was not called with success", name)
		}
	}
}

// caller makes the calls.
type caller struct {
	*kms.Client
	ledger *ledger
}

// key makes a key.
func (c *caller) key(t *testing.T, in kms.CreateKeyInput) *types.KeyMetadata {
	t.Helper()
	return must[*kms.CreateKeyOutput](t)(c.CreateKey(t.Context(), &in)).KeyMetadata
}

func (c *caller) encryption(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{})
	about := map[string]string{"order": "17", "Größe": "42"}
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("hello"), EncryptionContext: about}))
	if *sealed.KeyId != *key.Arn || sealed.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
		t.Errorf("encrypted by %s with %s", *sealed.KeyId, sealed.EncryptionAlgorithm)
	}
	opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: about}))
	if string(opened.Plaintext) != "hello" || *opened.KeyId != *key.Arn || *opened.KeyMaterialId != *key.CurrentKeyMaterialId {
		t.Errorf("decrypted %q by %s", opened.Plaintext, *opened.KeyId)
	}
	refusal[*types.InvalidCiphertextException](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))

	second := c.key(t, kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	moved := must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: about, DestinationKeyId: second.Arn, DestinationEncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha256,
	}))
	opened = must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, KeyId: second.KeyId, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha256}))
	if string(opened.Plaintext) != "hello" || *moved.SourceKeyId != *key.Arn {
		t.Errorf("moved from %s, decrypted %q", *moved.SourceKeyId, opened.Plaintext)
	}
	refusal[*types.IncorrectKeyException](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: about, KeyId: c.key(t, kms.CreateKeyInput{}).KeyId}))
	refusal[*types.InvalidKeyUsageException](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: second.KeyId, Plaintext: []byte("x")}))
	refusal[*types.DryRunOperationException](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), DryRun: awssdk.Bool(true)}))
	refusal[*types.NotFoundException](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: awssdk.String("alias/sdk/none"), Plaintext: []byte("x")}))
	coded(t, "ValidationException")(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: make([]byte, 4097)}))
	must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	refusal[*types.DisabledException](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: about}))
}

func (c *caller) dataKeys(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{})
	opens := func(blob []byte) []byte {
		t.Helper()
		return must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})).Plaintext
	}
	data := must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256}))
	if len(data.Plaintext) != 32 || !bytes.Equal(opens(data.CiphertextBlob), data.Plaintext) {
		t.Errorf("a data key of %d bytes", len(data.Plaintext))
	}
	blind := must[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key.KeyId, NumberOfBytes: awssdk.Int32(64)}))
	if n := len(opens(blind.CiphertextBlob)); n != 64 {
		t.Errorf("a data key of %d bytes", n)
	}
	for _, spec := range types.DataKeyPairSpec("").Values() {
		if spec == types.DataKeyPairSpecSm2 {
			continue // for regions in China
		}
		pair := must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key.KeyId, KeyPairSpec: spec}))
		if !bytes.Equal(opens(pair.PrivateKeyCiphertextBlob), pair.PrivateKeyPlaintext) || len(pair.PublicKey) == 0 {
			t.Errorf("%s: the private key's ciphertext holds another", spec)
		}
	}
	pair := must[*kms.GenerateDataKeyPairWithoutPlaintextOutput](t)(c.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256}))
	private, err := x509.ParsePKCS8PrivateKey(opens(pair.PrivateKeyCiphertextBlob))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(pair.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if !samePublic(private, public) {
		t.Error("the halves of a pair are not of one pair")
	}
	if n := len(must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: awssdk.Int32(1024)})).Plaintext); n != 1024 {
		t.Errorf("%d random bytes", n)
	}
	coded(t, "ValidationException")(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: awssdk.Int32(1025)}))
	coded(t, "ValidationException")(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId}))
	refusal[*types.DryRunOperationException](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes128, DryRun: awssdk.Bool(true)}))
}

// signers are all kinds of keys that sign, with all that they can.
var signers = map[types.KeySpec][]types.SigningAlgorithmSpec{
	types.KeySpecRsa2048: {
		types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
		types.SigningAlgorithmSpecRsassaPssSha256, types.SigningAlgorithmSpecRsassaPssSha384, types.SigningAlgorithmSpecRsassaPssSha512,
	},
	types.KeySpecEccNistP256: {types.SigningAlgorithmSpecEcdsaSha256}, types.KeySpecEccNistP384: {types.SigningAlgorithmSpecEcdsaSha384},
	types.KeySpecEccNistP521: {types.SigningAlgorithmSpecEcdsaSha512}, types.KeySpecEccSecgP256k1: {types.SigningAlgorithmSpecEcdsaSha256},
	types.KeySpecEccNistEdwards25519: {types.SigningAlgorithmSpecEd25519Sha512},
	types.KeySpecMlDsa44:             {types.SigningAlgorithmSpecMlDsaShake256}, types.KeySpecMlDsa65: {types.SigningAlgorithmSpecMlDsaShake256},
	types.KeySpecMlDsa87: {types.SigningAlgorithmSpecMlDsaShake256},
}

func (c *caller) signatures(t *testing.T) {
	ctx, message := t.Context(), random(500)
	for spec, algorithms := range signers {
		key := c.key(t, kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify})
		for _, a := range algorithms {
			made := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: message, SigningAlgorithm: a}))
			checked := must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{KeyId: key.KeyId, Message: message, Signature: made.Signature, SigningAlgorithm: a}))
			if !checked.SignatureValid {
				t.Errorf("%s with %s: not valid, and no error", spec, a)
			}
			refusal[*types.KMSInvalidSignatureException](t)(c.Verify(ctx, &kms.VerifyInput{KeyId: key.KeyId, Message: message[1:], Signature: made.Signature, SigningAlgorithm: a}))
		}
	}
	key := c.key(t, kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	sum := sha256.Sum256(message)
	made := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: sum[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}))
	public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.Arn}))
	if err := verifyECDSA(public.PublicKey, sum[:], made.Signature); err != nil {
		t.Error(err)
	}
	refusal[*types.InvalidKeyUsageException](t)(c.Sign(ctx, &kms.SignInput{KeyId: c.key(t, kms.CreateKeyInput{}).KeyId, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}))
	refusal[*types.UnsupportedOperationException](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: c.key(t, kms.CreateKeyInput{}).KeyId}))
	refusal[*types.DryRunOperationException](t)(c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256, DryRun: awssdk.Bool(true)}))
}

func (c *caller) macs(t *testing.T) {
	ctx, message := t.Context(), random(4096)
	for _, size := range []int{224, 256, 384, 512} {
		key := c.key(t, kms.CreateKeyInput{KeySpec: types.KeySpec(fmt.Sprintf("HMAC_%d", size)), KeyUsage: types.KeyUsageTypeGenerateVerifyMac})
		a := types.MacAlgorithmSpec(fmt.Sprintf("HMAC_SHA_%d", size))
		made := must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: key.KeyId, Message: message, MacAlgorithm: a}))
		if len(made.Mac) != size/8 {
			t.Errorf("%s: %d bytes", a, len(made.Mac))
		}
		if !must[*kms.VerifyMacOutput](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key.KeyId, Message: message, Mac: made.Mac, MacAlgorithm: a})).MacValid {
			t.Errorf("%s: not valid, and no error", a)
		}
		made.Mac[0] ^= 1
		refusal[*types.KMSInvalidMacException](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key.KeyId, Message: message, Mac: made.Mac, MacAlgorithm: a}))
	}
}

func (c *caller) sharing(t *testing.T) {
	ctx := t.Context()
	for spec, curve := range map[types.KeySpec]ecdh.Curve{types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521()} {
		key := c.key(t, kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeKeyAgreement})
		mine, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(mine.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		theirs := must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: key.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: spki}))
		public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId}))
		if secret, err := agree(mine, public.PublicKey); err != nil || !bytes.Equal(secret, theirs.SharedSecret) {
			t.Errorf("%s: the two sides find different secrets (%v)", spec, err)
		}
	}
	for spec, size := range map[types.KeySpec]int{types.KeySpecMlKem512: 768, types.KeySpecMlKem768: 1088, types.KeySpecMlKem1024: 1568} {
		key := c.key(t, kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeEncapsulateDecapsulate})
		made := must[*kms.EncapsulateOutput](t)(c.Encapsulate(ctx, &kms.EncapsulateInput{KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}))
		if len(made.SharedSecretCiphertextBlob) != size || len(made.SharedSecret) != 32 {
			t.Errorf("%s: %d bytes carry %d", spec, len(made.SharedSecretCiphertextBlob), len(made.SharedSecret))
		}
		found := must[*kms.DecapsulateOutput](t)(c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: made.SharedSecretCiphertextBlob}))
		if !bytes.Equal(found.SharedSecret, made.SharedSecret) {
			t.Errorf("%s: the two sides find different secrets", spec)
		}
		refusal[*types.InvalidCiphertextException](t)(c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: made.SharedSecretCiphertextBlob[1:]}))
	}
}

func (c *caller) keys(t *testing.T) {
	ctx := t.Context()
	made := map[string]bool{}
	for range 5 {
		made[*c.key(t, kms.CreateKeyInput{}).KeyId] = true
	}
	for pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: awssdk.Int32(3)}); pages.HasMorePages(); {
		page := must[*kms.ListKeysOutput](t)(pages.NextPage(ctx))
		if len(page.Keys) > 3 || page.Truncated != (page.NextMarker != nil) {
			t.Errorf("a page of %d keys, truncated %v", len(page.Keys), page.Truncated)
		}
		for _, k := range page.Keys {
			delete(made, *k.KeyId)
		}
	}
	if len(made) > 0 {
		t.Errorf("not listed: %v", made)
	}
	key := c.key(t, kms.CreateKeyInput{Description: awssdk.String("first")})
	must[*kms.UpdateKeyDescriptionOutput](t)(c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: key.KeyId, Description: awssdk.String("second")}))
	is := func(want types.KeyState) *types.KeyMetadata {
		t.Helper()
		m := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.Arn})).KeyMetadata
		if m.KeyState != want || m.Enabled != (want == types.KeyStateEnabled) || *m.Description != "second" {
			t.Errorf("state %s, enabled %v, description %q; want %s", m.KeyState, m.Enabled, *m.Description, want)
		}
		return m
	}
	is(types.KeyStateEnabled)
	must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	is(types.KeyStateDisabled)
	must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}))
	is(types.KeyStateEnabled)
	gone := must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId, PendingWindowInDays: awssdk.Int32(8)}))
	if m := is(types.KeyStatePendingDeletion); m.DeletionDate == nil || !m.DeletionDate.Equal(*gone.DeletionDate) || time.Until(gone.DeletionDate.AddDate(0, 0, -8)).Abs() > slack {
		t.Errorf("goes at %v, described as %v", gone.DeletionDate, m.DeletionDate)
	}
	refusal[*types.KMSInvalidStateException](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}))
	must[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.KeyId}))
	is(types.KeyStateDisabled)

	used := c.key(t, kms.CreateKeyInput{})
	must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: used.KeyId, Plaintext: []byte("x")}))
	last := must[*kms.GetKeyLastUsageOutput](t)(c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: used.KeyId})).KeyLastUsage
	if last == nil || last.Operation != types.KeyLastUsageTrackingOperationEncrypt || time.Since(*last.Timestamp).Abs() > slack {
		t.Errorf("last used: %+v", last)
	}
	e := refusal[*types.NotFoundException](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: awssdk.String("01234567-89ab-7cde-8f01-23456789abcd")}))
	if want := "Key 'arn:aws:kms:us-east-1:" + account + ":key/01234567-89ab-7cde-8f01-23456789abcd' does not exist"; explanation.ReplaceAllString(e.ErrorMessage(), "") != want {
		t.Errorf("got %q, want %q", e.ErrorMessage(), want)
	}
	coded(t, "ValidationException")(c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048}))
}

func (c *caller) aliases(t *testing.T) {
	ctx, one, two := t.Context(), c.key(t, kms.CreateKeyInput{}), c.key(t, kms.CreateKeyInput{})
	name := func(i int) *string { return awssdk.String(fmt.Sprintf("alias/sdk/%s/%d", *one.KeyId, i)) }
	for i := range 5 {
		must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: name(i), TargetKeyId: one.KeyId}))
	}
	refusal[*types.AlreadyExistsException](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: name(0), TargetKeyId: two.KeyId}))
	must[*kms.UpdateAliasOutput](t)(c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: name(0), TargetKeyId: two.KeyId}))
	must[*kms.DeleteAliasOutput](t)(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name(1)}))
	refusal[*types.NotFoundException](t)(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name(1)}))
	var found []string
	for pages := kms.NewListAliasesPaginator(c, &kms.ListAliasesInput{KeyId: one.KeyId, Limit: awssdk.Int32(1)}); pages.HasMorePages(); {
		for _, a := range must[*kms.ListAliasesOutput](t)(pages.NextPage(ctx)).Aliases {
			found = append(found, *a.AliasName)
		}
	}
	if len(found) != 3 {
		t.Errorf("aliases %v, want three", found)
	}
	if got := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name(0)})).KeyMetadata.KeyId; *got != *two.KeyId {
		t.Errorf("the alias that was moved names %s, want %s", *got, *two.KeyId)
	}
}

func (c *caller) tags(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{Tags: []types.Tag{{TagKey: awssdk.String("a"), TagValue: awssdk.String("1")}}})
	must[*kms.TagResourceOutput](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []types.Tag{{TagKey: awssdk.String("b"), TagValue: awssdk.String("2")}, {TagKey: awssdk.String("a"), TagValue: awssdk.String("3")}}}))
	must[*kms.UntagResourceOutput](t)(c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key.KeyId, TagKeys: []string{"b"}}))
	got := map[string]string{}
	for pages := kms.NewListResourceTagsPaginator(c, &kms.ListResourceTagsInput{KeyId: key.KeyId, Limit: awssdk.Int32(1)}); pages.HasMorePages(); {
		for _, tag := range must[*kms.ListResourceTagsOutput](t)(pages.NextPage(ctx)).Tags {
			got[*tag.TagKey] = *tag.TagValue
		}
	}
	if len(got) != 1 || got["a"] != "3" {
		t.Errorf("tags %v, want a=3", got)
	}
	refusal[*types.TagException](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []types.Tag{{TagKey: awssdk.String("aws:x"), TagValue: awssdk.String("")}}}))
}

func (c *caller) rotation(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{})
	must[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key.KeyId, RotationPeriodInDays: awssdk.Int32(180)}))
	status := must[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key.KeyId}))
	if !status.KeyRotationEnabled || *status.RotationPeriodInDays != 180 || time.Until(status.NextRotationDate.AddDate(0, 0, -180)).Abs() > slack {
		t.Errorf("rotation: %+v", status)
	}
	must[*kms.DisableKeyRotationOutput](t)(c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: key.KeyId}))
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("old")}))
	for range 3 {
		must[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId}))
	}
	count := 0
	for pages := kms.NewListKeyRotationsPaginator(c, &kms.ListKeyRotationsInput{KeyId: key.KeyId, Limit: awssdk.Int32(2)}); pages.HasMorePages(); {
		for _, r := range must[*kms.ListKeyRotationsOutput](t)(pages.NextPage(ctx)).Rotations {
			count++
			if r.RotationType != types.RotationTypeOnDemand || time.Since(*r.RotationDate).Abs() > slack {
				t.Errorf("rotation %+v", r)
			}
		}
	}
	if count != 3 {
		t.Errorf("%d rotations, want 3", count)
	}
	if got := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})); string(got.Plaintext) != "old" || *got.KeyMaterialId != *key.CurrentKeyMaterialId {
		t.Errorf("after rotations: %q under %s", got.Plaintext, *got.KeyMaterialId)
	}
	signer := c.key(t, kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	refusal[*types.UnsupportedOperationException](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: signer.KeyId}))
}

func (c *caller) imports(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{Origin: types.OriginTypeExternal})
	refusal[*types.KMSInvalidStateException](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	// A token is for one import.
	with := func(material []byte) *kms.ImportKeyMaterialInput {
		t.Helper()
		p := must[*kms.GetParametersForImportOutput](t)(c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: key.KeyId, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa3072}))
		b, err := wrapForImport("RSAES_OAEP_SHA_256", p.PublicKey, material)
		if err != nil {
			t.Fatal(err)
		}
		return &kms.ImportKeyMaterialInput{KeyId: key.KeyId, ImportToken: p.ImportToken, EncryptedKeyMaterial: b, ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
	}
	material := random(32)
	must[*kms.ImportKeyMaterialOutput](t)(c.ImportKeyMaterial(ctx, with(material)))
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: key.KeyId}))
	refusal[*types.KMSInvalidStateException](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))
	refusal[*types.IncorrectKeyMaterialException](t)(c.ImportKeyMaterial(ctx, with(random(32))))
	bent := with(material)
	bent.ImportToken[len(bent.ImportToken)/2] ^= 1
	refusal[*types.InvalidImportTokenException](t)(c.ImportKeyMaterial(ctx, bent))
	must[*kms.ImportKeyMaterialOutput](t)(c.ImportKeyMaterial(ctx, with(material)))
	must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))
}

func (c *caller) policies(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{})
	policy := `{"Version":"2012-10-17","Id":"sdk","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
	must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: &policy}))
	if got := must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId})); *got.Policy != policy || *got.PolicyName != "default" {
		t.Errorf("kept %s", *got.Policy)
	}
	var names []string
	for pages := kms.NewListKeyPoliciesPaginator(c, &kms.ListKeyPoliciesInput{KeyId: key.KeyId}); pages.HasMorePages(); {
		names = append(names, must[*kms.ListKeyPoliciesOutput](t)(pages.NextPage(ctx)).PolicyNames...)
	}
	if len(names) != 1 || names[0] != "default" {
		t.Errorf("policies %v", names)
	}
	refusal[*types.MalformedPolicyDocumentException](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: awssdk.String("{}")}))
}

func (c *caller) grants(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{})
	grantee := &caller{sdk(t, c.ledger.watch, func(o *kms.Options) {
		o.Credentials = awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return dev.accessKey(t, "sdk-grantee"), nil })
	}), c.ledger}
	arn := func(user string) *string { return awssdk.String("arn:aws:iam::" + account + ":user/" + user) }
	coded(t, "AccessDeniedException")(grantee.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	grant := func(operations ...types.GrantOperation) *kms.CreateGrantOutput {
		t.Helper()
		return must[*kms.CreateGrantOutput](t)(c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: arn("sdk-grantee"), RetiringPrincipal: arn("sdk-grantee"), Operations: operations}))
	}
	one := grant(types.GrantOperationEncrypt)
	must[*kms.EncryptOutput](t)(grantee.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), GrantTokens: []string{*one.GrantToken}}))
	two := grant(types.GrantOperationDecrypt, types.GrantOperationDescribeKey)
	ids := map[string]bool{}
	for pages := kms.NewListGrantsPaginator(c, &kms.ListGrantsInput{KeyId: key.KeyId, Limit: awssdk.Int32(1)}); pages.HasMorePages(); {
		for _, g := range must[*kms.ListGrantsOutput](t)(pages.NextPage(ctx)).Grants {
			ids[*g.GrantId] = true
		}
	}
	if len(ids) != 2 || !ids[*one.GrantId] || !ids[*two.GrantId] {
		t.Errorf("grants %v", ids)
	}
	retirable := 0
	for pages := kms.NewListRetirableGrantsPaginator(c, &kms.ListRetirableGrantsInput{RetiringPrincipal: arn("sdk-grantee"), Limit: awssdk.Int32(1)}); pages.HasMorePages(); {
		retirable += len(must[*kms.ListRetirableGrantsOutput](t)(pages.NextPage(ctx)).Grants)
	}
	if retirable != 2 {
		t.Errorf("%d retirable grants, want 2", retirable)
	}
	must[*kms.RetireGrantOutput](t)(grantee.RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: one.GrantToken}))
	must[*kms.RevokeGrantOutput](t)(c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key.KeyId, GrantId: two.GrantId}))
	coded(t, "AccessDeniedException")(grantee.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	refusal[*types.DryRunOperationException](t)(c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: arn("sdk-grantee"), Operations: []types.GrantOperation{types.GrantOperationDecrypt}, DryRun: awssdk.Bool(true)}))
}

func (c *caller) regions(t *testing.T) {
	ctx, key := t.Context(), c.key(t, kms.CreateKeyInput{MultiRegion: awssdk.Bool(true)})
	europe := &caller{sdk(t, func(o *kms.Options) { o.Region = "eu-west-1" }), c.ledger}
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	refusal[*types.NotFoundException](t)(europe.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId}))
	replica := must[*kms.ReplicateKeyOutput](t)(c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key.KeyId, ReplicaRegion: awssdk.String("eu-west-1")})).ReplicaKeyMetadata
	if got := must[*kms.DecryptOutput](t)(europe.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})); string(got.Plaintext) != "x" || *got.KeyId != *replica.Arn {
		t.Errorf("%q by %s, want it by %s", got.Plaintext, *got.KeyId, *replica.Arn)
	}
	must[*kms.UpdatePrimaryRegionOutput](t)(c.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: key.KeyId, PrimaryRegion: awssdk.String("eu-west-1")}))
	m := must[*kms.DescribeKeyOutput](t)(europe.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId})).KeyMetadata.MultiRegionConfiguration
	if m.MultiRegionKeyType != types.MultiRegionKeyTypePrimary || *m.PrimaryKey.Region != "eu-west-1" {
		t.Errorf("after the move: %+v", m)
	}
	refusal[*types.UnsupportedOperationException](t)(c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key.KeyId, ReplicaRegion: awssdk.String("ap-south-1")}))
	// Keys of one region are in no other.
	single := c.key(t, kms.CreateKeyInput{})
	refusal[*types.NotFoundException](t)(europe.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: single.KeyId}))
}

func (c *caller) stores(t *testing.T) {
	ctx, id := t.Context(), awssdk.String("cks-1234567890abcdef0")
	if got := must[*kms.DescribeCustomKeyStoresOutput](t)(c.DescribeCustomKeyStores(ctx, &kms.DescribeCustomKeyStoresInput{})); len(got.CustomKeyStores) != 0 || got.Truncated {
		t.Errorf("key stores: %+v", got)
	}
	refusal[*types.UnsupportedOperationException](t)(c.CreateCustomKeyStore(ctx, &kms.CreateCustomKeyStoreInput{CustomKeyStoreName: awssdk.String("mine")}))
	refusal[*types.UnsupportedOperationException](t)(c.ConnectCustomKeyStore(ctx, &kms.ConnectCustomKeyStoreInput{CustomKeyStoreId: id}))
	refusal[*types.UnsupportedOperationException](t)(c.DisconnectCustomKeyStore(ctx, &kms.DisconnectCustomKeyStoreInput{CustomKeyStoreId: id}))
	refusal[*types.UnsupportedOperationException](t)(c.UpdateCustomKeyStore(ctx, &kms.UpdateCustomKeyStoreInput{CustomKeyStoreId: id}))
	refusal[*types.UnsupportedOperationException](t)(c.DeleteCustomKeyStore(ctx, &kms.DeleteCustomKeyStoreInput{CustomKeyStoreId: id}))
}
