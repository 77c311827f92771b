package iam

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

const account = "111122223333"

// TestThePageNamesEverythingThatIsUnderstood: condition keys and actions.
func TestThePageNamesEverythingThatIsUnderstood(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/aws-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(string(raw))
	c := &compiler{account: account}
	for key := range c.subjects() {
		if !strings.Contains(page, "`"+key+"`") {
			t.Errorf("the page does not have the condition key %s", key)
		}
	}
	for _, a := range table() {
		if !strings.Contains(page, strings.ToLower(a.name)) {
			t.Errorf("the page does not have the action %s", a.name)
		}
	}
}

// TestEveryOperationOfTheModelIsAnAction: each has a row, or is an action of this server.
func TestEveryOperationOfTheModelIsAnAction(t *testing.T) {
	raw, err := os.ReadFile("../../dialect/aws/testdata/model/model.json")
	if err != nil {
		t.Fatal(err)
	}
	var model struct {
		Operations map[string]json.RawMessage `json:"operations"`
	}
	if err := json.Unmarshal(raw, &model); err != nil || len(model.Operations) < 50 {
		t.Fatalf("%d operations, %v", len(model.Operations), err)
	}
	all := actions()
	for name := range model.Operations {
		if !slices.ContainsFunc(all, func(a action) bool { return a.name == name }) {
			t.Errorf("kms:%s is not an action that a policy can name", name)
		}
	}
	// Every action on keys can be named, and nothing but such actions is done.
	for _, a := range kms.AllActions() {
		named := slices.ContainsFunc(all, func(x action) bool { return slices.Contains(x.does, a) })
		want := a.OnKey() && a.Group() != kms.OperatorGroup && a != kms.ReEncrypt || slices.Contains(elsewhere, a)
		if named != want {
			t.Errorf("%s can be named: got %v want %v", a, named, want)
		}
	}
}

// TestWhatCannotBeDecidedIsRefused, with its place and reason.
func TestWhatCannotBeDecidedIsRefused(t *testing.T) {
	key := func(parts string) string {
		return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"` + parts + `}}`
	}
	when := func(c string) string { return key(`, "Condition": {` + c + `}`) }
	for _, c := range []struct{ text, want string }{
		{``, "this is not JSON"},
		{`{`, "this is not JSON"},
		{`[]`, "a policy is a JSON object"},
		{`{} x`, "something follows"},
		{"{\"Statement\": \"\xff\"}", "not UTF-8"},
		{`{"Statement": []}`, "0 statements"},
		{`{"Version": "2013", "Statement": []}`, "no such version"},
		{`{"statement": []}`, "write Statement"},
		{`{"Statement": {"Effect": "Allow", "Effect": "Deny"}}`, "there twice"},
		{key(`, "Sid": 1`), "Sid is text"},
		{key(`, "Extra": 1`), `no "Extra"`},
		{`{"Statement": {"Effect": "Maybe", "Principal": "*", "Action": "kms:*"}}`, "has an Effect"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:Decyrpt"}}`, "no such action"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "Decrypt"}}`, "SERVICE:NAME"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": []}}`, "empty"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "NotAction": "kms:*"}}`, "not both"},
		{`{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "kms:*"}}`, "not this namespace's"},
		{`{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}, "Action": "kms:*"}}`, "no wildcards"},
		{`{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:group/g"}, "Action": "kms:*"}}`, "a group is not a principal"},
		{`{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/r/s"}, "Action": "kms:*"}}`, "name the role"},
		{`{"Statement": {"Effect": "Allow", "Principal": {"Federated": "x"}, "Action": "kms:*"}}`, "of the kind Federated"},
		{`{"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "111122223333"}, "Action": "kms:*"}}`, "NotPrincipal with Allow"},
		{`{"Statement": {"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/a"}, "Action": "kms:*"}}`, "without the account"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "arn:aws:kms:us-east-1:111122223333:alias/x"}}`, "aliases are not resources"},
		{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "arn:aws:kms:us-east-1:111122223333:key/0189*"}}`, "pattern of key ids"},
		{when(`"StringEquals": {"kms:Nosuch": "a"}`), "no condition key"},
		{when(`"StringEquals": {"aws:PrincipalOrgID": "o-1"}`), "no organizations"},
		{when(`"StringMatches": {"kms:KeySpec": "a"}`), "not a condition operator"},
		{when(`"Bool": {"kms:KeySpec": "true"}`), "does not compare a text"},
		{when(`"StringEquals": {"kms:EncryptionContextKeys": "a"}`), "ForAnyValue:StringEquals"},
		{when(`"StringLike": {"kms:EncryptionContext:a": "x?"}`), "wildcard ?"},
		{when(`"StringEqualsIgnoreCase": {"kms:EncryptionContext:a": "x"}`), "regard to case"},
		{when(`"ForAnyValue:StringLike": {"kms:EncryptionContextKeys": "x*"}`), "each of a set"},
		{when(`"StringEquals": {"kms:EncryptionContext:a": "${aws:PrincipalTag/x}"}`), "policy variable"},
		{when(`"StringEquals": {"kms:EncryptionContext:a": "x-${aws:username}"}`), "put together"},
		{when(`"NumericEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": "7.5"}`), "whole number"},
		{when(`"DateLessThan": {"aws:CurrentTime": "soon"}`), "a time"},
		{when(`"IpAddress": {"aws:SourceIp": "here"}`), "an address"},
		{when(`"Null": {"kms:KeySpec": "maybe"}`), "Null is"},
		{when(`"StringEquals": {"kms:KeySpec": []}`), "empty"},
		{strings.Repeat("[", 40), "nested deeper"},
		{strings.Repeat(" ", MaxBytes+1), "bytes"},
	} {
		_, err := Compile(KeyPolicy, account, []byte(c.text))
		var found Findings
		if !errors.As(err, &found) || !strings.Contains(err.Error(), c.want) || found[0].Line < 1 || found[0].Column < 1 {
			t.Errorf("%.120s: got %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := Compile(KeyPolicy, account, []byte("{\n \"Statement\": {\"Effect\": \"Allow\",\n  \"Principal\": \"*\", \"Action\": \"kms:Fly\"}}")); err == nil ||
		!strings.Contains(err.Error(), "line 3, column 31") {
		t.Errorf("got %v, want line 3, column 31", err)
	}
}

// TestTheOlderVersionHasNoVariables (IAM User Guide, "Version").
func TestTheOlderVersionHasNoVariables(t *testing.T) {
	for version, want := range map[string]bool{Version2008: true, Version2012: false} {
		_, err := Compile(KeyPolicy, account, []byte(`{"Version": "`+version+`", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*",
			"Condition": {"StringEquals": {"kms:EncryptionContext:a": "${aws:nothing}"}}}}`))
		if (err == nil) != want {
			t.Errorf("%s: got %v", version, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:En*"],"Resource":"*","Condition":{"StringLike":{"kms:KeySpec":"RSA_?*"}}}]}`))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotAction":"kms:TagResource","NotResource":["arn:aws:kms:*:*:key/mrk-*"],"Condition":{"ForAllValues:StringNotLikeIfExists":{"aws:TagKeys":["*"]}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []Kind{KeyPolicy, IdentityPolicy} {
			all, err := Compile(kind, account, b)
			var found Findings
			if err != nil && (!errors.As(err, &found) || len(found) == 0 || len(found) > MaxFindings || all != nil) {
				t.Fatalf("%d statements and %v", len(all), err)
			}
		}
	})
}
