package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

const (
	accessKey  = "AKIAQWERTYUIOPASDFGH"
	sessionKey = "ASIAQWERTYUIOPASDFGH"
	secretKey  = "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" // of this test alone
	token      = "c2Vzc2lvbg+/token=="
)

// known is the one access key, and the one session, that there is.
type known struct{}

func (known) identity(id string) (authn.Identity, error) {
	return authn.Identity{Principal: kms.Principal{Name: "svc", Namespace: kms.DefaultNamespace, Method: kms.AuthSignature, Credential: id}, Secret: secret.Copy([]byte(secretKey)), Rev: 1}, nil
}

func (known) none() (authn.Identity, error) {
	return authn.Identity{}, kms.Errorf(kms.CodeUnauthenticated, "there is no such credential")
}

func (k known) Token(context.Context, kms.ID) (authn.Identity, error) { return k.none() }

func (known) UseToken(context.Context, kms.ID) error { return nil }

func (k known) Certificate(context.Context, string) (authn.Identity, error) { return k.none() }

func (k known) AccessKey(_ context.Context, id string) (authn.Identity, error) {
	if id != accessKey {
		return k.none()
	}
	return k.identity(id)
}

func (k known) Session(_ context.Context, text string) (authn.Identity, error) {
	if text != token {
		return k.none()
	}
	return k.identity(sessionKey)
}

// serve verifies requests as they come over the wire: with what net/http does to headers.
func serve(t *testing.T, h2 bool) (*httptest.Server, *http.Client) {
	t.Helper()
	a := authn.New(authn.Config{Identities: known{}, Failures: authn.Rate{PerSecond: 1e9, Burst: 1 << 30}, LockOut: authn.LockOut{Failures: 1 << 30}})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if _, err := a.SigV4(r.Context(), r, body, netip.MustParseAddrPort(r.RemoteAddr)); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, s.Client()
}

func ask(t *testing.T, c *http.Client, r *http.Request) (status int, why string) {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func rounds() int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return 20_000
	}
	return 400
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func text(r *rand.Rand, alphabet string, most int) string {
	b := make([]byte, 1+r.IntN(most))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	any7  = plain + " -._~!@#$%^&*()[]{}|:;'\"<>,?/+="
)

// made is a request that the SDK signed, and its body.
type made struct {
	*http.Request
	body []byte
}

// again is the same request to be sent once more, with a body.
func (m made) again(ctx context.Context, body []byte) *http.Request {
	r := m.Clone(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return r
}

func makeOne(t *testing.T, r *rand.Rand, at string) made {
	t.Helper()
	body := []byte(text(r, any7+"\n\t\x00", 4096))
	query := ""
	if r.IntN(3) == 0 {
		q := url.Values{}
		for range 1 + r.IntN(5) {
			q.Add(text(r, plain, 8), text(r, any7, 20))
		}
		query = "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/"+query, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	service := pick(r, "kms", "kms", "sts")
	req.Header.Set("Content-Type", pick(r, "application/x-amz-json-1.1", "application/x-www-form-urlencoded; charset=utf-8"))
	if service == "kms" || r.IntN(2) == 0 {
		req.Header.Set("X-Amz-Target", "TrentService."+text(r, plain, 20))
	}
	for n := range r.IntN(6) {
		name := pick(r, "X-Extra-", "Amz-Sdk-", "x-lower-", "Zz-") + text(r, plain, 5) + fmt.Sprint(n)
		for range 1 + r.IntN(2) {
			req.Header.Add(name, pick(r, "", " ", "  ")+text(r, any7, 30)+pick(r, "", "   x", " "))
		}
	}
	req.Header.Set("User-Agent", text(r, plain, 9)) // is not signed
	if r.IntN(2) == 0 {
		req.Host = text(r, plain, 12) + ".example:8443"
	}
	sum := sha256.Sum256(body)
	if r.IntN(3) == 0 {
		req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	}
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	if r.IntN(3) == 0 {
		creds.AccessKeyID, creds.SessionToken = sessionKey, token
	}
	when := time.Now().Add(time.Duration(r.IntN(480)-240) * time.Second)
	region := pick(r, "us-east-1", "eu-central-1", "us-gov-west-1", text(r, "abc-0", 9))
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), service, region, when); err != nil {
		t.Fatal(err)
	}
	return made{req, body}
}

// flipped changes one character, or one byte of something that is not text.
func flipped(r *rand.Rand, s string) string {
	b := []byte(s)
	for range 100 {
		i := r.IntN(len(b))
		if strings.IndexByte(plain, b[i]) < 0 {
			continue
		}
		was := b[i]
		for b[i] == was {
			b[i] = plain[r.IntN(len(plain))]
		}
		return string(b)
	}
	return s + "x"
}

// change changes one signed thing of a request by one character, and says what.
func change(t *testing.T, r *rand.Rand, m made) (*http.Request, string) {
	t.Helper()
	req := m.again(t.Context(), m.body)
	_, rest, _ := strings.Cut(req.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ := strings.Cut(rest, ",")
	switch r.IntN(5) {
	case 0:
		body := []byte(flipped(r, string(m.body)))
		return m.again(t.Context(), body), "the body"
	case 1:
		req.Header.Set("Authorization", flipped(r, req.Header.Get("Authorization")))
		return req, "the Authorization header"
	case 2:
		req.Host = flipped(r, pick(r, req.Host, req.URL.Host))
		return req, "the host"
	case 3:
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&" + text(r, plain, 3) + "=" + text(r, plain, 3)
			return req, "the query"
		}
		fallthrough
	default:
		names := slices.DeleteFunc(strings.Split(signed, ";"), func(n string) bool { return n == "host" || n == "content-length" })
		name := pick(r, names...)
		values := slices.Clone(req.Header.Values(name))
		i := r.IntN(len(values))
		values[i] = flipped(r, values[i])
		req.Header[http.CanonicalHeaderKey(name)] = values
		return req, "the header " + name
	}
}

func TestWhatTheSDKSignsVerifiesAndNothingElse(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			s, c := serve(t, h2)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // G404: a test
			for range rounds() {
				m := makeOne(t, r, s.URL)
				if status, why := ask(t, c, m.again(t.Context(), m.body)); status != http.StatusOK {
					t.Fatalf("what the SDK signed does not verify: %d %s\n%v", status, why, m.Header)
				}
				bad, what := change(t, r, m)
				if status, _ := ask(t, c, bad); status == http.StatusOK {
					t.Fatalf("a request verifies although %s was changed\n%v\n%v", what, m.Header, bad.Header)
				}
			}
		})
	}
}

func TestWhatTheSDKPresignsVerifies(t *testing.T) {
	s, c := serve(t, false)
	r := rand.New(rand.NewPCG(rand.Uint64(), 2)) //nolint:gosec // G404: a test
	empty := sha256.Sum256(nil)
	for range rounds() / 4 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			s.URL+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires="+pick(r, "60", "900", "604800")+"&"+url.Values{text(r, plain, 6): {text(r, any7, 20)}}.Encode(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
		if r.IntN(2) == 0 {
			creds.AccessKeyID, creds.SessionToken = sessionKey, token
		}
		at, headers, err := v4.NewSigner().PresignHTTP(t.Context(), creds, req, hex.EncodeToString(empty[:]), "sts", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		again := func(at string) *http.Request {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range headers {
				if name != "Host" {
					q.Header[name] = values
				}
			}
			return q
		}
		if status, why := ask(t, c, again(at)); status != http.StatusOK {
			t.Fatalf("%d %s: %s", status, why, at)
		}
		base, query, _ := strings.Cut(at, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, 0, len(values))
		for name := range values {
			names = append(names, name)
		}
		slices.Sort(names)
		name := pick(r, names...)
		values.Set(name, flipped(r, values.Get(name)))
		if status, _ := ask(t, c, again(base+"?"+values.Encode())); status == http.StatusOK {
			t.Fatalf("a presigned request verifies although %s was changed: %s", name, at)
		}
	}
}

// BenchmarkSDKSigner is what re-signing a request with the SDK would cost, beside BenchmarkSigV4 of internal/authn.
func BenchmarkSDKSigner(b *testing.B) {
	body := []byte(`{"KeyId":"alias/orders","Plaintext":"` + strings.Repeat("QUJD", 40) + `"}`)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://kms.example.org/", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	creds, signer, now := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, v4.NewSigner(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(body)
		if err := signer.SignHTTP(b.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", "us-east-1", now); err != nil {
			b.Fatal(err)
		}
	}
}
