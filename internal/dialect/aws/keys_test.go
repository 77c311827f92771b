package aws_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/kms"
)

// metadata is what a description of a key says.
type metadata struct {
	AWSAccountId, Arn, KeyId, KeyManager, KeySpec, CustomerMasterKeySpec, KeyUsage, KeyState, Origin, Description, ExpirationModel, CurrentKeyMaterialId string
	Enabled, MultiRegion                                                                                                                                 bool
	CreationDate, DeletionDate, ValidTo                                                                                                                  float64
	PendingDeletionWindowInDays                                                                                                                          int
	EncryptionAlgorithms, SigningAlgorithms, MacAlgorithms, KeyAgreementAlgorithms, EncapsulationAlgorithms                                              []string
	MultiRegionConfiguration                                                                                                                             *struct {
		MultiRegionKeyType string
		PrimaryKey         struct{ Arn, Region string }
		ReplicaKeys        []struct{ Arn, Region string }
	}
}

type m = map[string]any

func create(t testing.TB, c awstest.Client, in m) metadata {
	t.Helper()
	var out struct{ KeyMetadata metadata }
	c.Do(t, "CreateKey", in, &out)
	return out.KeyMetadata
}

func describe(t testing.TB, c awstest.Client, id string) metadata {
	t.Helper()
	var out struct{ KeyMetadata metadata }
	c.Do(t, "DescribeKey", m{"KeyId": id}, &out)
	return out.KeyMetadata
}

// wantFault wants an operation to be refused, in words of AWS.
func wantFault(t testing.TB, c awstest.Client, operation string, in m, code, words string) {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Ask(t, operation, string(b))
	if a.Fault() != code || !strings.Contains(a.Message(), words) || a.Status != 400 {
		t.Errorf("%s %s: got %d %s\nwant %s %s", operation, b, a.Status, a.Body, code, words)
	}
}

func TestEveryKindOfKeyIsMadeAndDescribed(t *testing.T) {
	s := awstest.Open(t)
	type lists struct{ encrypt, sign, mac, agree, encapsulate string }
	const rsaSign = "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"
	const oaep = "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"
	for _, c := range []struct {
		spec, usage string
		does        lists
	}{
		{"", "", lists{encrypt: "SYMMETRIC_DEFAULT"}}, {"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", lists{encrypt: "SYMMETRIC_DEFAULT"}},
		{"RSA_2048", "SIGN_VERIFY", lists{sign: rsaSign}}, {"RSA_2048", "ENCRYPT_DECRYPT", lists{encrypt: oaep}},
		{"ECC_NIST_P256", "SIGN_VERIFY", lists{sign: "ECDSA_SHA_256"}}, {"ECC_NIST_P384", "SIGN_VERIFY", lists{sign: "ECDSA_SHA_384"}},
		{"ECC_NIST_P521", "SIGN_VERIFY", lists{sign: "ECDSA_SHA_512"}}, {"ECC_NIST_P256", "KEY_AGREEMENT", lists{agree: "ECDH"}},
		{"ECC_NIST_P384", "KEY_AGREEMENT", lists{agree: "ECDH"}}, {"ECC_NIST_P521", "KEY_AGREEMENT", lists{agree: "ECDH"}},
		{"ECC_SECG_P256K1", "SIGN_VERIFY", lists{sign: "ECDSA_SHA_256"}}, {"ECC_NIST_EDWARDS25519", "SIGN_VERIFY", lists{sign: "ED25519_PH_SHA_512 ED25519_SHA_512"}},
		{"HMAC_224", "GENERATE_VERIFY_MAC", lists{mac: "HMAC_SHA_224"}}, {"HMAC_256", "GENERATE_VERIFY_MAC", lists{mac: "HMAC_SHA_256"}},
		{"HMAC_384", "GENERATE_VERIFY_MAC", lists{mac: "HMAC_SHA_384"}}, {"HMAC_512", "GENERATE_VERIFY_MAC", lists{mac: "HMAC_SHA_512"}},
		{"ML_DSA_44", "SIGN_VERIFY", lists{sign: "ML_DSA_SHAKE_256"}}, {"ML_DSA_65", "SIGN_VERIFY", lists{sign: "ML_DSA_SHAKE_256"}}, {"ML_DSA_87", "SIGN_VERIFY", lists{sign: "ML_DSA_SHAKE_256"}},
		{"ML_KEM_512", "ENCAPSULATE_DECAPSULATE", lists{encapsulate: "ML_KEM"}}, {"ML_KEM_768", "ENCAPSULATE_DECAPSULATE", lists{encapsulate: "ML_KEM"}}, {"ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", lists{encapsulate: "ML_KEM"}},
	} {
		for _, member := range []string{"KeySpec", "CustomerMasterKeySpec"} {
			if member != "KeySpec" && (strings.HasPrefix(c.spec, "ML_") || strings.Contains(c.spec, "EDWARDS") || c.spec == "") {
				continue // which are newer than that member
			}
			in := m{"Description": "é"}
			if c.spec != "" {
				in[member], in["KeyUsage"] = c.spec, c.usage
			}
			k := create(t, s.Admin, in)
			if again := describe(t, s.Admin, k.Arn); fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", k) {
				t.Errorf("%s: described as %+v, made as %+v", c.spec, again, k)
			}
			if c.spec == "" {
				c.spec, c.usage = "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"
			}
			join := func(l []string) string { return strings.Join(l, " ") }
			got := lists{join(k.EncryptionAlgorithms), join(k.SigningAlgorithms), join(k.MacAlgorithms), join(k.KeyAgreementAlgorithms), join(k.EncapsulationAlgorithms)}
			if got != c.does || k.KeySpec != c.spec || k.CustomerMasterKeySpec != c.spec || k.KeyUsage != c.usage || k.KeyState != "Enabled" || !k.Enabled || k.Origin != "AWS_KMS" ||
				k.KeyManager != "CUSTOMER" || k.AWSAccountId != s.Account || k.Arn != "arn:aws:kms:us-east-1:"+s.Account+":key/"+k.KeyId || k.CreationDate < 1e9 || k.Description != "é" ||
				(k.CurrentKeyMaterialId != "") != (c.spec == "SYMMETRIC_DEFAULT") || k.MultiRegion || k.MultiRegionConfiguration != nil || k.ExpirationModel != "" {
				t.Errorf("%s for %s: got %+v", c.spec, c.usage, k)
			}
			// It is the same key in every other dialect, by its id and by its name.
			other, err := s.Engine.DescribeKey(t.Context(), native("alice", kms.RoleAdmin), keyInput("aws/"+k.KeyId))
			if err != nil || other.Key.ID.String() != k.KeyId {
				t.Errorf("%s: %+v, %v", c.spec, other.Key, err)
			}
		}
	}
}

func TestKeysThatAWSWouldNotMake(t *testing.T) {
	s := awstest.Open(t)
	many := make([]m, 51)
	for i := range many {
		many[i] = m{"TagKey": fmt.Sprint(i), "TagValue": ""}
	}
	for _, c := range []struct {
		in          m
		code, words string
	}{
		{m{"KeySpec": "RSA_2048", "CustomerMasterKeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, "ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request."},
		{m{"KeySpec": "RSA_2048"}, "ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		{m{"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"}, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"},
		{m{"KeySpec": "HMAC_256", "KeyUsage": "ENCRYPT_DECRYPT"}, "ValidationException", "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec HMAC_256"},
		{m{"KeyUsage": "SIGN_VERIFY"}, "ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"},
		{m{"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, "ValidationException", "Member must satisfy enum value set"},
		{m{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-1"}, "UnsupportedOperationException", "no custom key stores"},
		{m{"Origin": "EXTERNAL_KEY_STORE", "XksKeyId": "x"}, "UnsupportedOperationException", "no custom key stores"},
		{m{"Tags": many}, "TagException", "Too many tags"},
		{m{"Tags": []m{{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}}}, "TagException", "Duplicate tag keys"},
		{m{"Tags": []m{{"TagKey": "aws:a", "TagValue": "1"}}}, "TagException", "Tags beginning with aws: are reserved"},
		{m{"Tags": []m{{"TagKey": "a", "TagValue": strings.Repeat("x", 257)}}}, "ValidationException", "'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{m{"Description": strings.Repeat("x", 8193)}, "ValidationException", "Member must have length less than or equal to 8192"},
		{m{"Description": strings.Repeat("é", 8192)}, "ValidationException", "16384 bytes, the limit is 8192"},
	} {
		wantFault(t, s.Admin, "CreateKey", c.in, c.code, c.words)
	}
	wantFault(t, s.User, "CreateKey", m{}, "AccessDeniedException", "")
	if k := create(t, s.Admin, m{"Description": strings.Repeat("x", 8192), "Tags": many[:50]}); len(k.Description) != 8192 {
		t.Errorf("%+v", k)
	}
}

// walk reads a list to its end, one entry at a time, and wants its last page to say so.
func walk[E any](t testing.TB, c awstest.Client, operation, entries string, in m) (all []E) {
	t.Helper()
	in = maps.Clone(in)
	in["Limit"] = 1
	for range 1000 {
		var page map[string]json.RawMessage
		c.Do(t, operation, in, &page)
		var got []E
		if err := json.Unmarshal(page[entries], &got); err != nil || len(got) > 1 {
			t.Fatalf("%s: %s", operation, page)
		}
		all = append(all, got...)
		if string(page["Truncated"]) != "true" {
			if _, more := page["NextMarker"]; more || string(page["Truncated"]) != "false" {
				t.Errorf("%s: the last page is %s", operation, page)
			}
			return all
		}
		var next string
		if err := json.Unmarshal(page["NextMarker"], &next); err != nil || next == "" || len(got) != 1 {
			t.Fatalf("%s: %s", operation, page)
		}
		in["Marker"] = next
	}
	t.Fatalf("%s: no end", operation)
	return nil
}

func TestListsArePagedToTheirEnd(t *testing.T) {
	s := awstest.Open(t)
	var ids, aliases []string
	for i := range 3 {
		k := create(t, s.Admin, m{"Tags": []m{{"TagKey": "b", "TagValue": "2"}, {"TagKey": "a", "TagValue": "1"}, {"TagKey": "c:é", "TagValue": ""}}})
		ids = append(ids, k.KeyId)
		for _, n := range []string{"z", "a:b"}[:i] {
			name := fmt.Sprintf("alias/%d/%s", i, n)
			s.Admin.Do(t, "CreateAlias", m{"AliasName": name, "TargetKeyId": k.KeyId}, nil)
			aliases = append(aliases, name)
		}
	}
	made(t, s, "format", kms.AES256FF1) // of a kind that AWS does not have
	type key struct{ KeyId, KeyArn string }
	keys := walk[key](t, s.Admin, "ListKeys", "Keys", m{})
	if len(keys) != 3 {
		t.Fatalf("got %+v, want %v", keys, ids)
	}
	for i, k := range keys {
		if k.KeyId != ids[i] || k.KeyArn != "arn:aws:kms:us-east-1:"+s.Account+":key/"+ids[i] {
			t.Errorf("got %+v, want %s", k, ids[i])
		}
	}
	type alias struct{ AliasName, AliasArn, TargetKeyId string }
	var names []string
	for _, a := range walk[alias](t, s.Admin, "ListAliases", "Aliases", m{}) {
		names = append(names, a.AliasName)
		if a.AliasArn != "arn:aws:kms:us-east-1:"+s.Account+":"+a.AliasName || a.TargetKeyId != ids[a.AliasName[6]-'0'] {
			t.Errorf("got %+v", a)
		}
	}
	slices.Sort(names)
	slices.Sort(aliases)
	if !slices.Equal(names, aliases) {
		t.Errorf("got %v, want %v", names, aliases)
	}
	if got := walk[alias](t, s.Admin, "ListAliases", "Aliases", m{"KeyId": ids[2]}); len(got) != 2 {
		t.Errorf("of one key: %+v", got)
	}
	type tag struct{ TagKey, TagValue string }
	if got := walk[tag](t, s.Admin, "ListResourceTags", "Tags", m{"KeyId": ids[0]}); !slices.Equal(got, []tag{{"a", "1"}, {"b", "2"}, {"c:é", ""}}) {
		t.Errorf("got %+v", got)
	}
	// A marker is good for its own list only, and what was made up for none.
	var page struct{ NextMarker string }
	s.Admin.Do(t, "ListKeys", m{"Limit": 1}, &page)
	for _, marker := range []string{page.NextMarker, "x", "****", "a", strings.Repeat("a", 1024)} {
		for op, in := range map[string]m{"ListAliases": {}, "ListResourceTags": {"KeyId": ids[0]}, "ListKeyRotations": {"KeyId": ids[0]}} {
			in["Marker"] = marker
			wantFault(t, s.Admin, op, in, "InvalidMarkerException", "")
		}
	}
	wantFault(t, s.Admin, "ListKeys", m{"Marker": "x"}, "InvalidMarkerException", "")
	for op, most := range map[string]int{"ListKeys": 1000, "ListAliases": 100, "ListResourceTags": 50} {
		for limit, bad := range map[int]bool{0: true, 1: false, most: false, most + 1: true} {
			in := m{"Limit": limit}
			if op == "ListResourceTags" {
				in["KeyId"] = ids[0]
			}
			b, _ := json.Marshal(in)
			if a := s.Admin.Ask(t, op, string(b)); (a.Fault() == "ValidationException") != bad || !bad && a.Status != 200 {
				t.Errorf("%s with Limit %d: %d %s", op, limit, a.Status, a.Body)
			}
		}
	}
}

func TestAliasesLeadToKeys(t *testing.T) {
	s := awstest.Open(t)
	a, b, rsa := create(t, s.Admin, m{}), create(t, s.Admin, m{}), create(t, s.Admin, m{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"})
	arn := "arn:aws:kms:us-east-1:" + s.Account + ":alias/Ops:db_1/x-y"
	s.Admin.Do(t, "CreateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": a.Arn}, nil)
	leads := func(to metadata) {
		t.Helper()
		for _, ref := range []string{"alias/Ops:db_1/x-y", arn} {
			if k := describe(t, s.Admin, ref); k.KeyId != to.KeyId {
				t.Errorf("%s leads to %s, want %s", ref, k.KeyId, to.KeyId)
			}
		}
	}
	leads(a)
	s.Admin.Do(t, "UpdateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": b.KeyId}, nil)
	leads(b)
	s.Admin.Do(t, "UpdateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": b.KeyId}, nil)
	leads(b)
	none := "00000000-0000-7000-8000-000000000000"
	for _, c := range []struct {
		op          string
		in          m
		code, words string
	}{
		{"CreateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": a.KeyId}, "AlreadyExistsException", "An alias with the name " + arn + " already exists"},
		{"CreateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": b.KeyId}, "AlreadyExistsException", "An alias with the name " + arn + " already exists"},
		{"CreateAlias", m{"AliasName": "x", "TargetKeyId": a.KeyId}, "ValidationException", `Alias must start with the prefix "alias/". Please see`},
		{"CreateAlias", m{"AliasName": "alias/aws/x", "TargetKeyId": a.KeyId}, "NotAuthorizedException", ""},
		{"CreateAlias", m{"AliasName": "alias/_x", "TargetKeyId": a.KeyId}, "InvalidAliasNameException", "letter or digit"},
		{"CreateAlias", m{"AliasName": "alias/" + none, "TargetKeyId": a.KeyId}, "InvalidAliasNameException", ""},
		{"CreateAlias", m{"AliasName": "alias/", "TargetKeyId": a.KeyId}, "InvalidAliasNameException", ""},
		{"CreateAlias", m{"AliasName": "alias/a.b", "TargetKeyId": a.KeyId}, "ValidationException", "Member must satisfy regular expression pattern"},
		{"CreateAlias", m{"AliasName": "alias/y", "TargetKeyId": arn}, "ValidationException", "Aliases must refer to keys. Not aliases"},
		{"CreateAlias", m{"AliasName": "alias/y", "TargetKeyId": none}, "NotFoundException", "Key 'arn:aws:kms:us-east-1:" + s.Account + ":key/" + none + "' does not exist"},
		{"UpdateAlias", m{"AliasName": "alias/none", "TargetKeyId": a.KeyId}, "NotFoundException", "Alias arn:aws:kms:us-east-1:" + s.Account + ":alias/none is not found."},
		{"UpdateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": none}, "NotFoundException", "Key 'arn:aws:kms:us-east-1:" + s.Account + ":key/" + none + "' does not exist"},
		{"UpdateAlias", m{"AliasName": "alias/Ops:db_1/x-y", "TargetKeyId": rsa.KeyId}, "ValidationException", "of the same type and KeyUsage"},
		{"DeleteAlias", m{"AliasName": "alias/none"}, "NotFoundException", "Alias arn:aws:kms:us-east-1:" + s.Account + ":alias/none is not found."},
		{"DescribeKey", m{"KeyId": "alias/none"}, "NotFoundException", "Alias arn:aws:kms:us-east-1:" + s.Account + ":alias/none is not found."},
		{"EnableKey", m{"KeyId": "alias/Ops:db_1/x-y"}, "NotFoundException", "Invalid keyId"},
	} {
		wantFault(t, s.Admin, c.op, c.in, c.code, c.words)
	}
	wantFault(t, s.User, "DeleteAlias", m{"AliasName": "alias/Ops:db_1/x-y"}, "AccessDeniedException", "")
	s.Admin.Do(t, "ScheduleKeyDeletion", m{"KeyId": b.KeyId}, nil)
	s.Admin.Do(t, "DeleteAlias", m{"AliasName": "alias/Ops:db_1/x-y"}, nil)
	wantFault(t, s.Admin, "DeleteAlias", m{"AliasName": "alias/Ops:db_1/x-y"}, "NotFoundException", "")
	for i := range 51 {
		in := m{"AliasName": fmt.Sprintf("alias/n%d", i), "TargetKeyId": a.KeyId}
		if i < 50 {
			s.Admin.Do(t, "CreateAlias", in, nil)
			continue
		}
		wantFault(t, s.Admin, "CreateAlias", in, "LimitExceededException", "")
	}
}

func TestTags(t *testing.T) {
	s := awstest.Open(t)
	k := create(t, s.Admin, m{"Tags": []m{{"TagKey": "a", "TagValue": "1"}}})
	tag := func(pairs ...string) m {
		tags := []m{}
		for i := 0; i < len(pairs); i += 2 {
			tags = append(tags, m{"TagKey": pairs[i], "TagValue": pairs[i+1]})
		}
		return m{"KeyId": k.KeyId, "Tags": tags}
	}
	s.Admin.Do(t, "TagResource", tag("a", "2", "b", ""), nil)
	s.Admin.Do(t, "UntagResource", m{"KeyId": k.Arn, "TagKeys": []string{"b", "none"}}, nil)
	var out struct {
		Tags []struct{ TagKey, TagValue string }
	}
	s.Admin.Do(t, "ListResourceTags", m{"KeyId": k.KeyId}, &out)
	if len(out.Tags) != 1 || out.Tags[0].TagValue != "2" {
		t.Errorf("got %+v", out)
	}
	wantFault(t, s.Admin, "TagResource", tag("x", "1", "x", "2"), "TagException", "Duplicate tag keys")
	wantFault(t, s.Admin, "TagResource", tag("AWS:x", "1"), "TagException", "Tags beginning with aws: are reserved")
	wantFault(t, s.Admin, "UntagResource", m{"KeyId": k.KeyId, "TagKeys": []string{"aws:x"}}, "TagException", "Tags beginning with aws: are reserved")
	var fill []string
	for i := range 49 {
		fill = append(fill, fmt.Sprintf("k%d", i), "v")
	}
	s.Admin.Do(t, "TagResource", tag(fill...), nil)
	s.Admin.Do(t, "TagResource", tag("a", "3"), nil)
	wantFault(t, s.Admin, "TagResource", tag("one", "more"), "TagException", "Too many tags")
	wantFault(t, s.User, "TagResource", tag("a", "4"), "AccessDeniedException", "")
}
