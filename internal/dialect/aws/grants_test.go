package aws_test

import (
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/kms"
)

type policyAnswer struct {
	Policy, PolicyName string
	PolicyNames        []string
	Truncated          bool
}

func TestAKeyPolicyIsKeptVerbatim(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	var got policyAnswer
	s.Admin.Do(t, "GetKeyPolicy", map[string]any{"KeyId": id}, &got)
	if !strings.Contains(got.Policy, `"Sid" : "Enable IAM User Permissions"`) || !strings.Contains(got.Policy, "arn:aws:iam::"+s.Account+":root") || got.PolicyName != "default" {
		t.Errorf("got %+v, want the default policy", got)
	}
	text := `{"Version":"2012-10-17","Id":"mine","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + s.Account + `:root"},` +
		`"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:Tenant":"a"}}},` +
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + s.Account + `:root"},"Action":["kms:Get*","kms:Put*","kms:List*","kms:DescribeKey"],"Resource":"*"}]}`
	s.Admin.Do(t, "PutKeyPolicy", map[string]any{"KeyId": id, "PolicyName": "default", "Policy": text}, nil)
	s.Admin.Do(t, "GetKeyPolicy", map[string]any{"KeyId": id, "PolicyName": "default"}, &got)
	if got.Policy != text {
		t.Errorf("got %s want %s", got.Policy, text)
	}
	s.Admin.Do(t, "ListKeyPolicies", map[string]any{"KeyId": id}, &got)
	if len(got.PolicyNames) != 1 || got.PolicyNames[0] != "default" || got.Truncated {
		t.Errorf("got %+v", got)
	}
	var sealed blobs
	s.User.Do(t, "Encrypt", map[string]any{"KeyId": id, "Plaintext": []byte("x"), "EncryptionContext": map[string]string{"tenant": "a"}}, &sealed)
	for _, c := range []struct{ operation, body, want string }{
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"eA=="}`, "AccessDeniedException"},
		{"PutKeyPolicy", `{"KeyId":"` + id + `","Policy":"{}"}`, "AccessDeniedException"},
	} {
		if got := s.User.Ask(t, c.operation, c.body); got.Fault() != c.want || got.Status != 400 {
			t.Errorf("%s: got %d %s, want %s", c.operation, got.Status, got.Fault(), c.want)
		}
	}
	for _, c := range []struct{ operation, body, want string }{
		{"PutKeyPolicy", `{"KeyId":"` + id + `","Policy":"{}"}`, "MalformedPolicyDocumentException"},
		{"PutKeyPolicy", `{"KeyId":"` + id + `","Policy":"not JSON"}`, "MalformedPolicyDocumentException"},
		{"PutKeyPolicy", `{"KeyId":"alias/k","Policy":"{}"}`, "NotFoundException"},
		{"GetKeyPolicy", `{"KeyId":"` + id + `","PolicyName":"other"}`, "NotFoundException"},
		{"ListKeyPolicies", `{"KeyId":"` + id + `","Marker":"x"}`, "InvalidMarkerException"},
	} {
		if got := s.Admin.Ask(t, c.operation, c.body); got.Fault() != c.want || got.Status != 400 {
			t.Errorf("%s %s: got %d %s, want %s", c.operation, c.body, got.Status, got.Fault(), c.want)
		}
	}
}

type grantAnswer struct {
	GrantId, GrantToken, NextMarker string
	Truncated                       bool
	Grants                          []struct {
		GrantId, GranteePrincipal, RetiringPrincipal, KeyId, Name, IssuingAccount string
		Operations                                                                []string
		Constraints                                                               struct{ EncryptionContextSubset map[string]string }
		CreationDate                                                              float64
	}
}

func TestGrantsComeAndGo(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	nobody := s.Caller(t, "svc/nobody")
	iam := "arn:aws:iam::" + s.Account + ":"
	encrypt := func() string {
		return nobody.Ask(t, "Encrypt", `{"KeyId":"`+id+`","Plaintext":"eA==","EncryptionContext":{"tenant":"a"}}`).Fault()
	}
	if got := encrypt(); got != "AccessDeniedException" {
		t.Fatalf("before the grant: got %q", got)
	}
	ask := map[string]any{"KeyId": id, "GranteePrincipal": iam + "user/svc/nobody", "RetiringPrincipal": iam + "user/svc/end", "Operations": []string{"Encrypt", "RetireGrant"},
		"Constraints": map[string]any{"EncryptionContextSubset": map[string]string{"tenant": "a"}}, "Name": "n"}
	var first, again, list grantAnswer
	s.Admin.Do(t, "CreateGrant", ask, &first)
	ask["GrantTokens"] = []string{} // another signature: what was signed once is carried out once
	s.Admin.Do(t, "CreateGrant", ask, &again)
	if len(first.GrantId) != 64 || first.GrantId != again.GrantId || first.GrantToken == "" {
		t.Errorf("got %+v and %+v, want one grant", first, again)
	}
	if got := encrypt(); got != "" {
		t.Errorf("with the grant: got %q", got)
	}
	s.Admin.Do(t, "ListGrants", map[string]any{"KeyId": id}, &list)
	if len(list.Grants) != 1 || list.Truncated {
		t.Fatalf("got %+v, want one grant", list)
	}
	g := list.Grants[0]
	if g.GranteePrincipal != iam+"user/svc/nobody" || g.RetiringPrincipal != iam+"user/svc/end" || g.Name != "n" || g.Constraints.EncryptionContextSubset["tenant"] != "a" ||
		!strings.HasSuffix(g.KeyId, ":key/"+id) || g.CreationDate == 0 || len(g.Operations) != 2 {
		t.Errorf("got %+v", g)
	}
	s.Admin.Do(t, "ListRetirableGrants", map[string]any{"RetiringPrincipal": iam + "user/svc/end"}, &list)
	if len(list.Grants) != 1 || list.Grants[0].GrantId != first.GrantId {
		t.Errorf("got %+v, want the grant", list)
	}
	if got := nobody.Ask(t, "RetireGrant", `{"GrantToken":"`+first.GrantToken+`","DryRun":true}`); got.Fault() != "DryRunOperationException" {
		t.Errorf("got %s", got.Body)
	}
	if got := nobody.Ask(t, "RetireGrant", `{"GrantToken":"`+first.GrantToken+`"}`); got.Fault() != "" {
		t.Errorf("got %s", got.Body)
	}
	if got := encrypt(); got != "AccessDeniedException" {
		t.Errorf("after the grant: got %q", got)
	}
	zero := strings.Repeat("0", 64)
	for _, c := range []struct{ operation, body, want string }{
		{"RevokeGrant", `{"KeyId":"` + id + `","GrantId":"` + zero + `"}`, "NotFoundException"},
		{"RevokeGrant", `{"KeyId":"` + id + `","GrantId":"x"}`, "InvalidGrantIdException"},
		{"RetireGrant", `{"GrantToken":"x"}`, "InvalidGrantTokenException"},
		{"RetireGrant", `{}`, "ValidationException"},
		{"CreateGrant", `{"KeyId":"` + id + `","GranteePrincipal":"` + iam + `user/a","Operations":["Fly"]}`, "ValidationException"},
		{"CreateGrant", `{"KeyId":"` + id + `","GranteePrincipal":"` + iam + `user/a","Operations":["Sign"]}`, "ValidationException"},
		{"CreateGrant", `{"KeyId":"` + id + `","GranteePrincipal":"arn:aws:iam::999999999999:user/a","Operations":["Encrypt"]}`, "InvalidArnException"},
		{"CreateGrant", `{"KeyId":"` + id + `","GranteeServicePrincipal":"rds.amazonaws.com","Operations":["Encrypt"]}`, "UnsupportedOperationException"},
		{"CreateGrant", `{"KeyId":"` + id + `","GranteePrincipal":"` + iam + `user/a","Operations":["Encrypt"],"DryRun":true}`, "DryRunOperationException"},
		{"ListGrants", `{"KeyId":"` + id + `","Marker":"!"}`, "InvalidMarkerException"},
		{"ListGrants", `{"KeyId":"` + id + `","Limit":101}`, "ValidationException"},
	} {
		if got := s.Admin.Ask(t, c.operation, c.body); got.Fault() != c.want || got.Status != 400 {
			t.Errorf("%s %s: got %d %s, want %s", c.operation, c.body, got.Status, got.Body, c.want)
		}
	}
}

// TestAPolicyPermitsAliasesAlone: to whoever may do nothing else with the key.
func TestAPolicyPermitsAliasesAlone(t *testing.T) {
	s := awstest.Open(t)
	id, other := made(t, s, "k", kms.AES256GCM), made(t, s, "other", kms.AES256GCM)
	root := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + s.Account + `:root"},"Action":"kms:*","Resource":"*"}`
	aliases := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + s.Account + `:user/bob"},"Action":["kms:CreateAlias","kms:UpdateAlias","kms:DeleteAlias"],"Resource":"*"}`
	for _, key := range []string{id, other} {
		s.Admin.Do(t, "PutKeyPolicy", map[string]any{"KeyId": key, "Policy": `{"Version":"2012-10-17","Statement":[` + root + `,` + aliases + `]}`}, nil)
	}
	bob := s.Caller(t, "bob")
	bob.Do(t, "CreateAlias", map[string]any{"AliasName": "alias/b", "TargetKeyId": id}, nil)
	bob.Do(t, "UpdateAlias", map[string]any{"AliasName": "alias/b", "TargetKeyId": other}, nil)
	bob.Do(t, "DeleteAlias", map[string]any{"AliasName": "alias/b"}, nil)
	for operation, in := range map[string]map[string]any{
		"UpdateKeyDescription": {"KeyId": id, "Description": "mine"}, "TagResource": {"KeyId": id, "Tags": []map[string]string{{"TagKey": "a", "TagValue": "b"}}},
		"DisableKey": {"KeyId": id}, "Encrypt": {"KeyId": id, "Plaintext": []byte("x")},
	} {
		if a := bob.Ask(t, operation, marshal(t, in)); a.Fault() != "AccessDeniedException" {
			t.Errorf("%s: got %s", operation, a.Body)
		}
	}
}
