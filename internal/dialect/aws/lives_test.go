package aws_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

func keyInput(ref string) engine.KeyInput { return engine.KeyInput{Key: kms.Ref(ref)} }

func TestAKeyIsDisabledDeletedAndSaved(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{})
	id := m{"KeyId": k.KeyId}
	encrypt := m{"KeyId": k.KeyId, "Plaintext": []byte("x")}
	s.Admin.Do(t, "DisableKey", id, nil)
	wantFault(t, s.User, "Encrypt", encrypt, "DisabledException", k.Arn+" is disabled.")
	if got := describe(t, s.Admin, k.KeyId); got.KeyState != "Disabled" || got.Enabled {
		t.Errorf("got %+v", got)
	}
	s.Admin.Do(t, "EnableKey", id, nil)
	s.User.Do(t, "Encrypt", encrypt, nil)
	for window, bad := range map[int]bool{6: true, 31: true} {
		wantFault(t, s.Admin, "ScheduleKeyDeletion", m{"KeyId": k.KeyId, "PendingWindowInDays": window}, "ValidationException",
			fmt.Sprintf("1 validation error detected: Value '%d' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value", window))
		_ = bad
	}
	wantFault(t, s.Admin, "CancelKeyDeletion", id, "KMSInvalidStateException", k.Arn+" is not pending deletion.")
	for in, want := range map[int]int{0: 30, 7: 7, 30: 30} {
		var out struct {
			KeyId, KeyState     string
			DeletionDate        float64
			PendingWindowInDays int
		}
		ask := m{"KeyId": k.KeyId}
		if in != 0 {
			ask["PendingWindowInDays"] = in
		}
		s.Admin.Do(t, "ScheduleKeyDeletion", ask, &out)
		end := describe(t, s.Admin, k.KeyId)
		if out.KeyId != k.Arn || out.KeyState != "PendingDeletion" || out.PendingWindowInDays != want || out.DeletionDate != end.DeletionDate || end.KeyState != "PendingDeletion" ||
			end.DeletionDate-end.CreationDate < float64(want*86400) || end.DeletionDate-end.CreationDate > float64(want*86400+3600) {
			t.Errorf("%d days: got %+v, described %+v", in, out, end)
		}
		wantFault(t, s.Admin, "ScheduleKeyDeletion", ask, "KMSInvalidStateException", k.Arn+" is pending deletion.")
		wantFault(t, s.User, "Encrypt", encrypt, "KMSInvalidStateException", k.Arn+" is pending deletion.")
		s.Admin.Do(t, "CancelKeyDeletion", id, &out)
		if got := describe(t, s.Admin, k.KeyId); got.KeyState != "Disabled" || got.DeletionDate != 0 || out.KeyId != k.Arn {
			t.Errorf("saved: %+v", got)
		}
	}
	wantFault(t, s.User, "ScheduleKeyDeletion", id, "AccessDeniedException", "")
	// A key that only processes, which AWS does not know, shows as disabled, and comes back when it is enabled.
	s.Admin.Do(t, "EnableKey", id, nil)
	if _, err := s.Engine.SuspendKey(t.Context(), native("alice", kms.RoleAdmin), keyInput("aws/"+k.KeyId)); err != nil {
		t.Fatal(err)
	}
	if got := describe(t, s.Admin, k.KeyId); got.KeyState != "Disabled" {
		t.Errorf("suspended: %+v", got)
	}
	s.Admin.Do(t, "EnableKey", id, nil)
	s.User.Do(t, "Encrypt", encrypt, nil)
}

// A namespace's rule that others have to approve a destruction holds for clients of AWS, and the refusal says how.
func TestADeletionTakesTheApprovalsOfTheNamespace(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{})
	operator := native("root", kms.RoleOperator)
	operator.Principal.Namespace = kms.SystemNamespace
	if _, err := s.Engine.UpdateNamespace(t.Context(), operator, engine.NamespaceInput{Name: kms.DefaultNamespace, Approvals: []engine.ApprovalRule{{Action: kms.ScheduleKeyDestruction, Approvers: 1}}}); err != nil {
		t.Fatal(err)
	}
	wantFault(t, s.Admin, "ScheduleKeyDeletion", m{"KeyId": k.KeyId}, "AccessDeniedException", "KH1208")
	if got := describe(t, s.Admin, k.KeyId); got.KeyState != "Enabled" {
		t.Errorf("%+v", got)
	}
}

type rotation struct {
	KeyId, KeyMaterialId, KeyMaterialState, RotationType, ImportState, ExpirationModel, KeyMaterialDescription string
	RotationDate, ValidTo                                                                                      float64
}

func TestRotation(t *testing.T) {
	s := awstest.Open(t)
	k, rsa := create(t, s.Admin, m{}), create(t, s.Admin, m{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"})
	type status struct {
		KeyId                string
		KeyRotationEnabled   bool
		NextRotationDate     float64
		RotationPeriodInDays int
	}
	look := func() (got status) {
		s.Admin.Do(t, "GetKeyRotationStatus", m{"KeyId": k.Arn}, &got)
		return got
	}
	if got := look(); got.KeyRotationEnabled || got.KeyId != k.KeyId || got.RotationPeriodInDays != 0 {
		t.Errorf("got %+v", got)
	}
	s.Admin.Do(t, "EnableKeyRotation", m{"KeyId": k.KeyId}, nil)
	if got := look(); !got.KeyRotationEnabled || got.RotationPeriodInDays != 365 || got.NextRotationDate-k.CreationDate < 364*86400 || got.NextRotationDate-k.CreationDate > 366*86400 {
		t.Errorf("got %+v", got)
	}
	for days, bad := range map[int]bool{89: true, 90: false, 2560: false, 2561: true} {
		in := m{"KeyId": k.KeyId, "RotationPeriodInDays": days}
		if bad {
			wantFault(t, s.Admin, "EnableKeyRotation", in, "ValidationException", "'rotationPeriodInDays' failed to satisfy constraint")
			continue
		}
		s.Admin.Do(t, "EnableKeyRotation", in, nil)
		if got := look(); got.RotationPeriodInDays != days {
			t.Errorf("got %+v, want %d days", got, days)
		}
	}
	s.Admin.Do(t, "DisableKeyRotation", m{"KeyId": k.KeyId}, nil)
	if got := look(); got.KeyRotationEnabled || got.NextRotationDate != 0 {
		t.Errorf("got %+v", got)
	}
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus", "RotateKeyOnDemand", "ListKeyRotations"} {
		wantFault(t, s.Admin, op, m{"KeyId": rsa.KeyId}, "UnsupportedOperationException", rsa.Arn)
	}

	var sealed blobs
	s.User.Do(t, "Encrypt", m{"KeyId": k.KeyId, "Plaintext": []byte("x")}, &sealed)
	var out struct{ KeyId string }
	for range 25 {
		s.Admin.Do(t, "RotateKeyOnDemand", m{"KeyId": k.KeyId}, &out)
	}
	wantFault(t, s.Admin, "RotateKeyOnDemand", m{"KeyId": k.KeyId}, "LimitExceededException", "The on-demand rotations limit has been reached for the given keyId.")
	var opened blobs
	s.User.Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, &opened)
	now := describe(t, s.Admin, k.KeyId)
	if out.KeyId != k.Arn || opened.KeyMaterialId != k.CurrentKeyMaterialId || now.CurrentKeyMaterialId == k.CurrentKeyMaterialId {
		t.Errorf("%+v, %+v", opened, now)
	}
	all := walk[rotation](t, s.Admin, "ListKeyRotations", "Rotations", m{"KeyId": k.KeyId})
	if len(all) != 25 || all[0].KeyMaterialId != now.CurrentKeyMaterialId || all[0].KeyMaterialState != "CURRENT" || all[24].KeyMaterialState != "NON_CURRENT" ||
		all[0].RotationType != "ON_DEMAND" || all[0].RotationDate < k.CreationDate || all[0].KeyId != k.KeyId || all[0].ImportState != "" {
		t.Errorf("%d rotations: %+v", len(all), all[0])
	}
	all = walk[rotation](t, s.Admin, "ListKeyRotations", "Rotations", m{"KeyId": k.KeyId, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
	if first := all[len(all)-1]; len(all) != 26 || first.KeyMaterialId != k.CurrentKeyMaterialId || first.RotationDate != 0 || first.RotationType != "" {
		t.Errorf("%d materials, first %+v", len(all), first)
	}
}

// materialOf is material of a test, which only has to look random.
func materialOf(n int) []byte {
	b := sha256.Sum256([]byte{byte(n)})
	return b[:]
}

// parameters are those of an import.
type parameters struct {
	KeyId                  string
	ImportToken, PublicKey []byte
	ParametersValidTo      float64
}

func parametersFor(t testing.TB, c awstest.Client, key string) (p parameters) {
	t.Helper()
	c.Do(t, "GetParametersForImport", m{"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, &p)
	return p
}

// importing is the request that brings material.
func importing(t testing.TB, p parameters, key string, material []byte, more m) m {
	t.Helper()
	public, err := transport.ParsePublic(p.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	parcel, err := transport.Seal(kms.OAEPSHA256, public.Key, nil, secret.Copy(material))
	if err != nil {
		t.Fatal(err)
	}
	in := m{"KeyId": key, "ImportToken": p.ImportToken, "EncryptedKeyMaterial": parcel, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
	for name, v := range more {
		if in[name] = v; v == nil {
			delete(in, name)
		}
	}
	return in
}

func TestMaterialIsImportedRotatedAndDeleted(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{"Origin": "EXTERNAL"})
	if k.KeyState != "PendingImport" || k.Origin != "EXTERNAL" || k.Enabled || k.CurrentKeyMaterialId != "" || k.ExpirationModel != "" {
		t.Errorf("made: %+v", k)
	}
	encrypt := m{"KeyId": k.KeyId, "Plaintext": []byte("x")}
	wantFault(t, s.User, "Encrypt", encrypt, "KMSInvalidStateException", k.Arn+" is pending import.")
	bring := func(material []byte, more m) string {
		t.Helper()
		var out struct{ KeyId, KeyMaterialId string }
		s.Admin.Do(t, "ImportKeyMaterial", importing(t, parametersFor(t, s.Admin, k.KeyId), k.KeyId, material, more), &out)
		if out.KeyId != k.Arn || len(out.KeyMaterialId) != 64 {
			t.Errorf("got %+v", out)
		}
		return out.KeyMaterialId
	}
	refuse := func(material []byte, more m, code, words string) {
		t.Helper()
		wantFault(t, s.Admin, "ImportKeyMaterial", importing(t, parametersFor(t, s.Admin, k.KeyId), k.KeyId, material, more), code, words)
	}
	soon := float64(time.Now().Add(time.Hour).Unix())
	refuse(materialOf(1), m{"ExpirationModel": nil}, "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	refuse(materialOf(1), m{"ValidTo": soon}, "ValidationException", "can not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
	first := bring(materialOf(1), m{"ExpirationModel": nil, "ValidTo": soon, "KeyMaterialDescription": "first"})
	if got := describe(t, s.Admin, k.KeyId); got.KeyState != "Enabled" || got.ExpirationModel != "KEY_MATERIAL_EXPIRES" || got.ValidTo != soon || got.CurrentKeyMaterialId != first {
		t.Errorf("got %+v", got)
	}
	if again := bring(materialOf(1), nil); again != first {
		t.Errorf("the same material is called %s and %s", first, again)
	}
	if got := describe(t, s.Admin, k.KeyId); got.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" || got.ValidTo != 0 {
		t.Errorf("got %+v", got)
	}
	var sealed blobs
	s.User.Do(t, "Encrypt", encrypt, &sealed)
	refuse(materialOf(2), nil, "IncorrectKeyMaterialException", "")
	refuse(materialOf(1), m{"ImportType": "NEW_KEY_MATERIAL"}, "IncorrectKeyMaterialException", "")
	wantFault(t, s.Admin, "RotateKeyOnDemand", m{"KeyId": k.KeyId}, "KMSInvalidStateException", "No available key material pending rotation for the key: "+k.Arn+".")
	wantFault(t, s.Admin, "EnableKeyRotation", m{"KeyId": k.KeyId}, "UnsupportedOperationException", k.Arn+" origin is EXTERNAL which is not valid for this operation.")

	second := bring(materialOf(2), m{"ImportType": "NEW_KEY_MATERIAL"})
	refuse(materialOf(3), m{"ImportType": "NEW_KEY_MATERIAL"}, "KMSInvalidStateException", ") cannot be imported into KMS key "+k.Arn+", because another key material (id: "+second+") is pending rotation.")
	list := func() []rotation {
		return walk[rotation](t, s.Admin, "ListKeyRotations", "Rotations", m{"KeyId": k.KeyId, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
	}
	if all := list(); len(all) != 2 || all[0].KeyMaterialState != "PENDING_ROTATION" || all[0].KeyMaterialId != second || all[0].RotationDate != 0 ||
		all[1].KeyMaterialState != "CURRENT" || all[1].ImportState != "IMPORTED" || all[1].ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" || all[1].KeyMaterialDescription != "first" {
		t.Errorf("got %+v", all)
	}
	if rotations := walk[rotation](t, s.Admin, "ListKeyRotations", "Rotations", m{"KeyId": k.KeyId}); len(rotations) != 0 {
		t.Errorf("got %+v", rotations)
	}
	if got := describe(t, s.Admin, k.KeyId); got.CurrentKeyMaterialId != first {
		t.Errorf("got %+v", got)
	}
	s.Admin.Do(t, "RotateKeyOnDemand", m{"KeyId": k.KeyId}, nil)
	if all := list(); len(all) != 2 || all[0].KeyMaterialState != "CURRENT" || all[0].RotationType != "ON_DEMAND" || all[0].RotationDate == 0 || all[1].KeyMaterialState != "NON_CURRENT" {
		t.Errorf("got %+v", all)
	}

	// Whichever material goes takes the key along until that material is back.
	var gone struct{ KeyId, KeyMaterialId string }
	s.Admin.Do(t, "DeleteImportedKeyMaterial", m{"KeyId": k.KeyId, "KeyMaterialId": first}, &gone)
	if gone.KeyMaterialId != first || gone.KeyId != k.Arn {
		t.Errorf("got %+v", gone)
	}
	s.Admin.Do(t, "DeleteImportedKeyMaterial", m{"KeyId": k.KeyId}, &gone)
	if gone.KeyMaterialId != second {
		t.Errorf("got %+v", gone)
	}
	s.Admin.Do(t, "DeleteImportedKeyMaterial", m{"KeyId": k.KeyId}, nil)
	wantFault(t, s.User, "Encrypt", encrypt, "KMSInvalidStateException", k.Arn+" is pending import.")
	if all := list(); all[0].ImportState != "PENDING_IMPORT" || all[1].ImportState != "PENDING_IMPORT" {
		t.Errorf("got %+v", all)
	}
	refuse(materialOf(2), m{"KeyMaterialId": first}, "IncorrectKeyMaterialException", "")
	bring(materialOf(2), m{"KeyMaterialId": second})
	wantFault(t, s.User, "Encrypt", encrypt, "KMSInvalidStateException", k.Arn+" is pending import.")
	bring(materialOf(1), nil)
	s.User.Do(t, "Encrypt", encrypt, nil)
	s.User.Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, nil)
}

func TestImportsThatAWSRefuses(t *testing.T) {
	s := awstest.Open(t)
	k, other, ours := create(t, s.Admin, m{"Origin": "EXTERNAL"}), create(t, s.Admin, m{"Origin": "EXTERNAL"}), create(t, s.Admin, m{})
	mac := create(t, s.Admin, m{"Origin": "EXTERNAL", "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	p := parametersFor(t, s.Admin, k.KeyId)
	if p.KeyId != k.Arn || p.ParametersValidTo-k.CreationDate < 86000 || p.ParametersValidTo-k.CreationDate > 90000 || len(p.ImportToken) != 17 {
		t.Errorf("got %+v", p)
	}
	wantFault(t, s.Admin, "GetParametersForImport", m{"KeyId": ours.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
		"UnsupportedOperationException", ours.Arn+" origin is AWS_KMS which is not valid for this operation.")
	wantFault(t, s.Admin, "GetParametersForImport", m{"KeyId": k.KeyId, "WrappingAlgorithm": "RSAES_PKCS1_V1_5", "WrappingKeySpec": "RSA_2048"}, "UnsupportedOperationException", "RSAES_PKCS1_V1_5")
	wantFault(t, s.Admin, "DeleteImportedKeyMaterial", m{"KeyId": ours.KeyId}, "UnsupportedOperationException", "origin is AWS_KMS")
	s.Admin.Do(t, "DeleteImportedKeyMaterial", m{"KeyId": k.KeyId}, nil) // there is none: nothing changes

	in := importing(t, p, other.KeyId, materialOf(1), nil)
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "InvalidImportTokenException", "")
	in = importing(t, p, k.KeyId, materialOf(1), m{"ImportToken": []byte("no token")})
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "InvalidImportTokenException", "")
	old := kms.NewID(time.Now().Add(-25*time.Hour), [10]byte{1})
	in["ImportToken"] = append([]byte{1}, old[:]...)
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "ExpiredImportTokenException", "")
	in = importing(t, p, k.KeyId, materialOf(1)[:16], nil)
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "IncorrectKeyMaterialException", "")
	in = importing(t, p, k.KeyId, materialOf(1), m{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(time.Now().Add(366 * 24 * time.Hour).Unix())})
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "ValidationException", "365 days")
	in = importing(t, p, k.KeyId, materialOf(1), nil)
	in["EncryptedKeyMaterial"] = append([]byte{1}, in["EncryptedKeyMaterial"].([]byte)[1:]...)
	wantFault(t, s.Admin, "ImportKeyMaterial", in, "InvalidCiphertextException", "")
	wantFault(t, s.User, "ImportKeyMaterial", in, "AccessDeniedException", "")
	s.Admin.Do(t, "ImportKeyMaterial", importing(t, p, k.KeyId, materialOf(1), nil), nil)
	wantFault(t, s.Admin, "ImportKeyMaterial", importing(t, p, k.KeyId, materialOf(1), nil), "InvalidImportTokenException", "") // it is used up

	wantFault(t, s.Admin, "ImportKeyMaterial", importing(t, parametersFor(t, s.Admin, mac.KeyId), mac.KeyId, materialOf(1), m{"ImportType": "NEW_KEY_MATERIAL"}), "UnsupportedOperationException", "HMAC_256")
	s.Admin.Do(t, "ImportKeyMaterial", importing(t, parametersFor(t, s.Admin, mac.KeyId), mac.KeyId, materialOf(1), nil), nil)
	wantFault(t, s.Admin, "ImportKeyMaterial", importing(t, parametersFor(t, s.Admin, mac.KeyId), mac.KeyId, materialOf(2), nil), "IncorrectKeyMaterialException", "")
	for range 8 {
		parametersFor(t, s.Admin, other.KeyId)
	}
	wantFault(t, s.Admin, "GetParametersForImport", m{"KeyId": other.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, "LimitExceededException", "")
}

func TestAKeyIsInSeveralRegions(t *testing.T) {
	s := awstest.Open(t)
	us, eu := s.Admin, s.Admin.In("eu-west-1")
	k, single := create(t, us, m{"MultiRegion": true}), create(t, us, m{})
	if !strings.HasPrefix(k.KeyId, "mrk-") || len(k.KeyId) != 36 || !k.MultiRegion || k.MultiRegionConfiguration.MultiRegionKeyType != "PRIMARY" || len(k.MultiRegionConfiguration.ReplicaKeys) != 0 {
		t.Fatalf("got %+v", k)
	}
	there := strings.Replace(k.Arn, "us-east-1", "eu-west-1", 1)
	wantFault(t, eu, "DescribeKey", m{"KeyId": k.KeyId}, "NotFoundException", "Key '"+there+"' does not exist")
	wantFault(t, eu, "DescribeKey", m{"KeyId": k.Arn}, "NotFoundException", "Invalid arn us-east-1")
	wantFault(t, us, "ReplicateKey", m{"KeyId": single.KeyId, "ReplicaRegion": "eu-west-1"}, "UnsupportedOperationException", single.Arn+" is not a multi-region primary key.")
	var out struct {
		ReplicaKeyMetadata metadata
		ReplicaTags        []struct{ TagKey, TagValue string }
	}
	us.Do(t, "ReplicateKey", m{"KeyId": k.KeyId, "ReplicaRegion": "eu-west-1", "Description": "there", "Tags": []m{{"TagKey": "a", "TagValue": "b"}}}, &out)
	r := out.ReplicaKeyMetadata
	if r.Arn != there || r.KeyId != k.KeyId || r.Description != "there" || r.MultiRegionConfiguration.MultiRegionKeyType != "REPLICA" || r.MultiRegionConfiguration.PrimaryKey.Arn != k.Arn ||
		len(r.MultiRegionConfiguration.ReplicaKeys) != 1 || r.MultiRegionConfiguration.ReplicaKeys[0].Arn != there || len(out.ReplicaTags) != 1 || r.CurrentKeyMaterialId != k.CurrentKeyMaterialId {
		t.Errorf("got %+v", out)
	}
	if got := describe(t, eu, there); got.Arn != there || got.KeyState != "Enabled" || got.Description != "there" {
		t.Errorf("got %+v", got)
	}
	wantFault(t, us, "ReplicateKey", m{"KeyId": k.KeyId, "ReplicaRegion": "eu-west-1"}, "AlreadyExistsException", "")
	for op, in := range map[string]m{"ReplicateKey": {"ReplicaRegion": "ap-south-1"}, "UpdatePrimaryRegion": {"PrimaryRegion": "eu-west-1"}, "EnableKeyRotation": {}, "DisableKeyRotation": {}, "RotateKeyOnDemand": {}} {
		in["KeyId"] = k.KeyId
		wantFault(t, eu, op, in, "UnsupportedOperationException", there+" is not a multi-region primary key.")
	}
	var sealed, opened blobs
	s.User.Do(t, "Encrypt", m{"KeyId": k.KeyId, "Plaintext": []byte("x")}, &sealed)
	s.User.In("eu-west-1").Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, &opened)
	if opened.KeyId != there || string(opened.Plaintext) != "x" {
		t.Errorf("got %+v", opened)
	}
	wantFault(t, s.User.In("ap-south-1"), "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, "InvalidCiphertextException", "")

	eu.Do(t, "DisableKey", m{"KeyId": k.KeyId}, nil)
	wantFault(t, s.User.In("eu-west-1"), "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, "DisabledException", there+" is disabled.")
	s.User.Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, nil)
	wantFault(t, us, "UpdatePrimaryRegion", m{"KeyId": k.KeyId, "PrimaryRegion": "eu-west-1"}, "DisabledException", "")
	eu.Do(t, "EnableKey", m{"KeyId": k.KeyId}, nil)

	var end struct {
		KeyState            string
		DeletionDate        float64
		PendingWindowInDays int
	}
	us.Do(t, "ScheduleKeyDeletion", m{"KeyId": k.KeyId, "PendingWindowInDays": 8}, &end)
	if got := describe(t, us, k.KeyId); end.KeyState != "PendingReplicaDeletion" || end.DeletionDate != 0 || end.PendingWindowInDays != 8 ||
		got.KeyState != "PendingReplicaDeletion" || got.PendingDeletionWindowInDays != 8 || got.DeletionDate != 0 {
		t.Errorf("got %+v, described %+v", end, got)
	}
	s.User.In("eu-west-1").Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, nil)
	eu.Do(t, "ScheduleKeyDeletion", m{"KeyId": k.KeyId, "PendingWindowInDays": 7}, &end)
	if got := describe(t, eu, k.KeyId); end.KeyState != "PendingDeletion" || end.DeletionDate == 0 || got.DeletionDate != end.DeletionDate {
		t.Errorf("got %+v, described %+v", end, got)
	}
	eu.Do(t, "CancelKeyDeletion", m{"KeyId": k.KeyId}, nil)
	us.Do(t, "CancelKeyDeletion", m{"KeyId": k.KeyId}, nil)
	us.Do(t, "EnableKey", m{"KeyId": k.KeyId}, nil)
	eu.Do(t, "EnableKey", m{"KeyId": k.KeyId}, nil)
	us.Do(t, "UpdatePrimaryRegion", m{"KeyId": k.KeyId, "PrimaryRegion": "eu-west-1"}, nil)
	a, b := describe(t, us, k.KeyId), describe(t, eu, k.KeyId)
	if a.MultiRegionConfiguration.MultiRegionKeyType != "REPLICA" || b.MultiRegionConfiguration.MultiRegionKeyType != "PRIMARY" || b.Description != "there" || a.Arn != k.Arn {
		t.Errorf("after the move: %+v, %+v", a, b)
	}
	wantFault(t, eu, "UpdatePrimaryRegion", m{"KeyId": k.KeyId, "PrimaryRegion": "ap-south-1"}, "NotFoundException", "")
	if keys := walk[struct{ KeyId, KeyArn string }](t, eu, "ListKeys", "Keys", m{}); len(keys) != 1 || keys[0].KeyArn != there {
		t.Errorf("in eu-west-1: %+v", keys)
	}
}

func TestTheLastUseOfAKey(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{})
	type usage struct {
		KeyId                              string
		KeyCreationDate, TrackingStartDate float64
		KeyLastUsage                       struct {
			Operation string
			Timestamp float64
		}
	}
	look := func() (got usage) {
		s.Admin.Do(t, "GetKeyLastUsage", m{"KeyId": k.KeyId}, &got)
		return got
	}
	if got := look(); got.KeyId != k.Arn || got.KeyCreationDate != k.CreationDate || got.TrackingStartDate != k.CreationDate || got.KeyLastUsage.Operation != "" {
		t.Errorf("got %+v", got)
	}
	var sealed blobs
	s.User.Do(t, "Encrypt", m{"KeyId": k.KeyId, "Plaintext": []byte("x")}, &sealed)
	if got := look(); got.KeyLastUsage.Operation != "Encrypt" || got.KeyLastUsage.Timestamp < k.CreationDate {
		t.Errorf("got %+v", got)
	}
	s.Admin.Do(t, "RotateKeyOnDemand", m{"KeyId": k.KeyId}, nil)
	s.User.Do(t, "Decrypt", m{"CiphertextBlob": sealed.CiphertextBlob}, nil)
	s.Admin.Do(t, "DisableKey", m{"KeyId": k.KeyId}, nil)
	wantFault(t, s.User, "Encrypt", m{"KeyId": k.KeyId, "Plaintext": []byte("x")}, "DisabledException", "")
	if got := look(); got.KeyLastUsage.Operation != "Decrypt" {
		t.Errorf("got %+v", got)
	}
}

func TestPublicKeys(t *testing.T) {
	s := awstest.Open(t)
	k, sym := create(t, s.Admin, m{"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}), create(t, s.Admin, m{})
	var out struct {
		KeyId, KeySpec, CustomerMasterKeySpec, KeyUsage string
		KeyAgreementAlgorithms                          []string
		PublicKey                                       []byte
	}
	s.User.Do(t, "GetPublicKey", m{"KeyId": k.KeyId}, &out)
	if out.KeyId != k.Arn || out.KeySpec != "ECC_NIST_P256" || out.CustomerMasterKeySpec != out.KeySpec || out.KeyUsage != "KEY_AGREEMENT" || len(out.KeyAgreementAlgorithms) != 1 || len(out.PublicKey) != 91 {
		t.Errorf("got %+v", out)
	}
	wantFault(t, s.User, "GetPublicKey", m{"KeyId": sym.KeyId}, "UnsupportedOperationException", sym.Arn)
	wantFault(t, s.User, "GetPublicKey", m{"KeyId": "alias/none"}, "NotFoundException", "")
}

func TestThereAreNoCustomKeyStores(t *testing.T) {
	s := awstest.Open(t)
	if a := s.Admin.Ask(t, "DescribeCustomKeyStores", `{}`); string(a.Body) != `{"CustomKeyStores":[],"Truncated":false}` {
		t.Errorf("got %s", a.Body)
	}
	wantFault(t, s.Admin, "DescribeCustomKeyStores", m{"CustomKeyStoreName": "x"}, "CustomKeyStoreNotFoundException", "")
	for op, in := range map[string]m{"CreateCustomKeyStore": {"CustomKeyStoreName": "x"}, "ConnectCustomKeyStore": {"CustomKeyStoreId": "x"}, "DisconnectCustomKeyStore": {"CustomKeyStoreId": "x"},
		"UpdateCustomKeyStore": {"CustomKeyStoreId": "x"}, "DeleteCustomKeyStore": {"CustomKeyStoreId": "x"}} {
		wantFault(t, s.Admin, op, in, "UnsupportedOperationException", "custom key stores")
	}
}

// Key pairs are imported as PKCS #8, in an envelope that is large enough, and are then the keys that they were.
func TestAKeyPairIsImported(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{"Origin": "EXTERNAL", "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	var p parameters
	s.Admin.Do(t, "GetParametersForImport", m{"KeyId": k.KeyId, "WrappingAlgorithm": "RSA_AES_KEY_WRAP_SHA_256", "WrappingKeySpec": "RSA_2048"}, &p)
	public, err := transport.ParsePublic(p.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	parcel, err := transport.Seal(kms.RSAAESSHA256, public.Key, nil, secret.Copy(der))
	if err != nil {
		t.Fatal(err)
	}
	s.Admin.Do(t, "ImportKeyMaterial", m{"KeyId": k.KeyId, "ImportToken": p.ImportToken, "EncryptedKeyMaterial": parcel, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}, nil)
	var signed blobs
	s.User.Do(t, "Sign", m{"KeyId": k.KeyId, "Message": []byte("x"), "SigningAlgorithm": "ECDSA_SHA_256"}, &signed)
	digest := sha256.Sum256([]byte("x"))
	if !ecdsa.VerifyASN1(&pair.PublicKey, digest[:], signed.Signature) {
		t.Error("the signature is not one of the key that was imported")
	}
	rsa := create(t, s.Admin, m{"Origin": "EXTERNAL", "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"})
	wantFault(t, s.Admin, "GetParametersForImport", m{"KeyId": rsa.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, "UnsupportedOperationException", "")
	s.Admin.Do(t, "GetParametersForImport", m{"KeyId": rsa.KeyId, "WrappingAlgorithm": "RSA_AES_KEY_WRAP_SHA_1", "WrappingKeySpec": "RSA_4096"}, &p)
}
