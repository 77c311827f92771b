package awstest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// jsonType is the media type of AWS's JSON protocol 1.1.
const jsonType = "application/x-amz-json-1.1"

// home is the region that requests are signed for unless they say another.
const home = "us-east-1"

// request is one request as it goes over the wire.
type request struct {
	target  string // X-Amz-Target; empty: no such header
	body    string
	region  string
	service string        // that it is signed for
	skew    time.Duration // of the client's clock
	key     awssdk.Credentials
	header  http.Header // more headers; they replace those that a request has, and are signed with it
	raw     bool        // not signed
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// roots are the authorities of a server.
func (s *server) roots(t testing.TB) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(s.env["AWS_CA_BUNDLE"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("AWS_CA_BUNDLE has no certificate")
	}
	return pool
}

// web is an HTTP client that trusts the server's authority and no other.
func (s *server) web(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots(t), MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// credentials are those of dev.env.
func (s *server) credentials() awssdk.Credentials {
	return awssdk.Credentials{AccessKeyID: s.env["AWS_ACCESS_KEY_ID"], SecretAccessKey: s.env["AWS_SECRET_ACCESS_KEY"]}
}

// accessKey gives a principal without any role a key; the same one when it is asked for again.
func (s *server) accessKey(t testing.TB, principal string) awssdk.Credentials {
	t.Helper()
	if key, ok := s.keys[principal]; ok {
		return key
	}
	lines := parseEnv(s.keyhold(t, "credential", "access-key", "create", principal))
	s.keys[principal] = awssdk.Credentials{AccessKeyID: lines["AWS_ACCESS_KEY_ID"], SecretAccessKey: lines["AWS_SECRET_ACCESS_KEY"]}
	return s.keys[principal]
}

// send signs a request as the SDK for Go does and sends it.
func (s *server) send(t testing.TB, web *http.Client, r request) answer {
	t.Helper()
	return post(t, web, s.request(t, r), r.body)
}

// request makes a request, signed unless it says otherwise.
func (s *server) request(t testing.TB, r request) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.env["AWS_ENDPOINT_URL_KMS"]+"/", strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", jsonType)
	if r.target != "" {
		req.Header.Set("X-Amz-Target", r.target)
	}
	// As SDKs do, so that the same request twice in a second is two.
	req.Header.Set("Amz-Sdk-Invocation-Id", rand.Text())
	for name, values := range r.header {
		req.Header[name] = values
	}
	if !r.raw {
		sum := sha256.Sum256([]byte(r.body))
		if err := v4.NewSigner().SignHTTP(t.Context(), r.key, req, hex.EncodeToString(sum[:]), r.service, r.region, time.Now().Add(r.skew)); err != nil {
			t.Fatal(err)
		}
	}
	return req
}

// post sends a request with a body, and may be called again with the same.
func post(t testing.TB, web *http.Client, req *http.Request, body string) answer {
	t.Helper()
	req.Body = io.NopCloser(strings.NewReader(body))
	res, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, bytes.TrimSpace(b)}
}

// TestAChangeIsCarriedOutOnce sends what an eavesdropper could: the same signed request again. What changes nothing is answered again, as AWS does.
func TestAChangeIsCarriedOutOnce(t *testing.T) {
	web := dev.web(t)
	ask := func(operation, body string) (first, second answer) {
		t.Helper()
		r := request{target: "TrentService." + operation, body: body, region: home, service: "kms", key: dev.credentials()}
		req := dev.request(t, r)
		return post(t, web, req, body), post(t, web, req, body)
	}
	first, second := ask("CreateKey", `{"Description":"once"}`)
	if first.status != http.StatusOK || second.status != http.StatusBadRequest {
		t.Errorf("a change: got %d %s, then %d %s", first.status, first.body, second.status, second.body)
	}
	first, second = ask("GenerateRandom", `{"NumberOfBytes":8}`)
	if first.status != http.StatusOK || second.status != http.StatusOK || bytes.Equal(first.body, second.body) {
		t.Errorf("no change: got %d %s, then %d %s", first.status, first.body, second.status, second.body)
	}
}
