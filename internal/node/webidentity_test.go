package node_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/authn/oidc/oidctest"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/node"
)

// From the token of a workload's issuer to a session of a role, over the wire and with nothing but the configuration's word for the issuer.
func TestAWorkloadAssumesARoleWithItsIdentityToken(t *testing.T) {
	issuer := oidctest.Start(t)
	ca := filepath.Join(t.TempDir(), "issuer.pem")
	if err := os.WriteFile(ca, issuer.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), node.Options{Dev: true}, config.Override{Name: "oidc.issuers", Value: issuer.URL, Flag: "test"}, config.Override{Name: "oidc.ca_file", Value: ca, Flag: "test"})
	env := r.env()
	c := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	role := client.Role{Name: "ci", Roles: []string{"user"}, Trust: client.RoleTrust{Web: []client.WebTrust{{Issuer: issuer.URL, Audiences: []string{"keyhold"}, Claims: map[string]string{"sub": "repo:shop"}}}}}
	if _, err := c.PutRole(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.file("tls/ca.pem"))
	wire := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(wire.CloseIdleConnections)
	type answer struct {
		Status int
		Error  struct{ Code, Message string }
		Caller struct{ Arn string } `xml:"GetCallerIdentityResult"`
		Result struct {
			SubjectFromWebIdentityToken string
			AssumedRoleUser             struct{ Arn string }
			Credentials                 struct{ AccessKeyId, SecretAccessKey, SessionToken string } //nolint:revive // as AWS names it
		} `xml:"AssumeRoleWithWebIdentityResult"`
	}
	ask := func(form url.Values, by *awstest.Client) (out answer) {
		t.Helper()
		form.Set("Version", "2011-06-15")
		body := form.Encode()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env["AWS_ENDPOINT_URL_STS"]+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if by != nil {
			by.Sign(req, "sts", body)
		}
		res, err := wire.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		out.Status = res.StatusCode
		return out
	}
	assume := func(token, arn string) answer {
		return ask(url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {arn}, "RoleSessionName": {"build-7"}, "WebIdentityToken": {token}}, nil)
	}
	const arn = "arn:aws:iam::000000000000:role/ci"
	got := assume(issuer.Token(t, time.Now(), oidctest.Claims{"sub": "repo:shop"}), arn)
	if got.Status != http.StatusOK || got.Result.SubjectFromWebIdentityToken != "repo:shop" || got.Result.AssumedRoleUser.Arn != "arn:aws:sts::000000000000:assumed-role/ci/build-7" {
		t.Fatalf("got %+v", got)
	}
	k := got.Result.Credentials
	session := &awstest.Client{ID: k.AccessKeyId, Secret: k.SecretAccessKey, Token: k.SessionToken, Region: "us-east-1"}
	if who := ask(url.Values{"Action": {"GetCallerIdentity"}}, session); who.Caller.Arn != got.Result.AssumedRoleUser.Arn {
		t.Errorf("got %+v", who)
	}
	for name, c := range map[string]struct{ token, arn, code string }{
		"another subject": {issuer.Token(t, time.Now(), nil), arn, "InvalidIdentityToken"},
		"an old token":    {issuer.Token(t, time.Now().Add(-time.Hour), oidctest.Claims{"sub": "repo:shop"}), arn, "ExpiredToken"},
		"no token":        {"", arn, "InvalidIdentityToken"},
		"no such role":    {issuer.Token(t, time.Now(), nil), "arn:aws:iam::000000000000:role/nosuch", "InvalidIdentityToken"},
		"no such account": {issuer.Token(t, time.Now(), nil), "arn:aws:iam::111122223333:role/ci", "AccessDenied"},
	} {
		if got := assume(c.token, c.arn); got.Error.Code != c.code {
			t.Errorf("%s: got %d %+v want %s", name, got.Status, got.Error, c.code)
		}
	}
	role.Trust.Web[0].Claims["sub"] = "repo:other"
	if _, err := c.PutRole(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	if who := ask(url.Values{"Action": {"GetCallerIdentity"}}, session); who.Error.Code != "InvalidClientTokenId" {
		t.Errorf("after the role trusts others: got %+v", who)
	}
}
