package aws_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// sts asks STS, signed for a service.
func sts(t *testing.T, s *awstest.Server, c awstest.Client, service string, form url.Values) awstest.Answer {
	t.Helper()
	form.Set("Version", "2011-06-15")
	body := form.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if service != "" {
		c.Sign(r, service, body)
	}
	return c.Send(t, r)
}

type stsAnswer struct {
	Error   struct{ Type, Code, Message string }
	Caller  struct{ Arn, UserId, Account string } `xml:"GetCallerIdentityResult"` //nolint:revive // as AWS names it
	Assumed struct {
		AssumedRoleUser struct{ AssumedRoleId, Arn string } //nolint:revive // as AWS names it
		Credentials     struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	} `xml:"AssumeRoleResult"`
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

func read(t *testing.T, a awstest.Answer) stsAnswer {
	t.Helper()
	var out stsAnswer
	if err := xml.Unmarshal(a.Body, &out); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
	if a.Header.Get("Content-Type") != "text/xml" || a.Header.Get("X-Amzn-Requestid") == "" {
		t.Errorf("got headers %v", a.Header)
	}
	return out
}

func identity() url.Values { return url.Values{"Action": {"GetCallerIdentity"}} }

func TestGetCallerIdentityTellsWhoSigned(t *testing.T) {
	s := awstest.Open(t)
	got := read(t, sts(t, s, s.User, "sts", identity()))
	if got.Caller.Arn != "arn:aws:iam::000000000000:user/svc/orders" || got.Caller.Account != "000000000000" || !strings.HasPrefix(got.Caller.UserId, "AIDA") || len(got.Caller.UserId) != 21 || got.RequestID == "" {
		t.Errorf("got %+v", got)
	}
	stranger := s.User
	stranger.Secret = strings.Repeat("x", 40)
	unknown := s.User
	unknown.ID = "AKIAAAAAAAAAAAAAAAAA"
	for name, c := range map[string]struct {
		by      awstest.Client
		service string
		form    url.Values
		status  int
		code    string
	}{
		"another secret":    {stranger, "sts", identity(), 403, "SignatureDoesNotMatch"},
		"an unknown key":    {unknown, "sts", identity(), 403, "InvalidClientTokenId"},
		"another service":   {s.User, "kms", identity(), 400, "IncompleteSignature"},
		"not signed":        {s.User, "", identity(), 403, "MissingAuthenticationToken"},
		"unknown":           {s.User, "sts", url.Values{"Action": {"GetSessionToken"}}, 400, "InvalidAction"},
		"a parameter twice": {s.User, "sts", url.Values{"Action": {"GetCallerIdentity", "GetCallerIdentity"}}, 400, "MalformedInput"},
	} {
		a := sts(t, s, c.by, c.service, c.form)
		if e := read(t, a).Error; a.Status != c.status || e.Code != c.code || e.Type != "Sender" {
			t.Errorf("%s: got %d %+v, want %d %s", name, a.Status, e, c.status, c.code)
		}
	}
}

// A session signs with its token, has what its role has, and ends with it.
func TestASessionOfARoleWorksUntilItsRoleGoes(t *testing.T) {
	s := awstest.Open(t)
	admin := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	if _, err := s.Engine.PutRole(t.Context(), admin, engine.RoleInfo{Name: "batch", Roles: []kms.Role{kms.RoleUser}, Trust: engine.RoleTrust{Principals: []string{"svc/job"}}}); err != nil {
		t.Fatal(err)
	}
	job := s.Caller(t, "svc/job")
	assume := func(by awstest.Client, change ...func(url.Values)) awstest.Answer {
		form := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::000000000000:role/batch"}, "RoleSessionName": {"nightly"}, "DurationSeconds": {"900"}}
		for _, c := range change {
			c(form)
		}
		return sts(t, s, by, "sts", form)
	}
	got := read(t, assume(job)).Assumed
	if got.AssumedRoleUser.Arn != "arn:aws:sts::000000000000:assumed-role/batch/nightly" || !strings.HasPrefix(got.Credentials.AccessKeyId, "ASIA") || len(got.Credentials.SecretAccessKey) != 40 {
		t.Fatalf("got %+v", got)
	}
	session := job
	session.ID, session.Secret, session.Token = got.Credentials.AccessKeyId, got.Credentials.SecretAccessKey, got.Credentials.SessionToken
	if len(session.Token) > 2048 {
		t.Errorf("the token has %d characters, more than clients expect", len(session.Token))
	}
	who := read(t, sts(t, s, session, "sts", identity())).Caller
	if who.Arn != got.AssumedRoleUser.Arn || who.UserId != got.AssumedRoleUser.AssumedRoleId {
		t.Errorf("got %+v, want %+v", who, got.AssumedRoleUser)
	}
	if a := session.Ask(t, "GenerateRandom", `{"NumberOfBytes":8}`); a.Status != http.StatusOK {
		t.Errorf("a session with the role of a user: got %d %s", a.Status, a.Body)
	}
	bare := session
	bare.Token = ""
	if a := bare.Ask(t, "GenerateRandom", `{"NumberOfBytes":8}`); a.Fault() != "UnrecognizedClientException" {
		t.Errorf("without its token: got %s", a.Body)
	}
	for name, c := range map[string]struct {
		by     awstest.Client
		change func(url.Values)
		code   string
	}{
		"not trusted":      {s.User, func(url.Values) {}, "AccessDenied"},
		"another account":  {job, func(f url.Values) { f.Set("RoleArn", "arn:aws:iam::111122223333:role/batch") }, "AccessDenied"},
		"no such role":     {job, func(f url.Values) { f.Set("RoleArn", "arn:aws:iam::000000000000:role/nosuch") }, "AccessDenied"},
		"no ARN":           {job, func(f url.Values) { f.Set("RoleArn", "batch") }, "ValidationError"},
		"too long":         {job, func(f url.Values) { f.Set("DurationSeconds", "7200") }, "ValidationError"},
		"not a number":     {job, func(f url.Values) { f.Set("DurationSeconds", "-1") }, "ValidationError"},
		"a session policy": {job, func(f url.Values) { f.Set("Policy", "{}") }, "MalformedPolicyDocument"},
		"no session name":  {job, func(f url.Values) { f.Del("RoleSessionName") }, "ValidationError"},
		"from a session":   {session, func(url.Values) {}, "AccessDenied"},
	} {
		if e := read(t, assume(c.by, c.change)).Error; e.Code != c.code {
			t.Errorf("%s: got %+v want %s", name, e, c.code)
		}
	}
	if _, err := s.Engine.DeleteRole(t.Context(), admin, engine.RoleInput{Name: "batch"}); err != nil {
		t.Fatal(err)
	}
	if a := session.Ask(t, "GenerateRandom", `{"NumberOfBytes":8}`); a.Fault() != "UnrecognizedClientException" {
		t.Errorf("after its role: got %d %s", a.Status, a.Body)
	}
}
