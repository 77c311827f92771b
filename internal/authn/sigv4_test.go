package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

const (
	keyID     = "AKIAQWERTYUIOPASDFGH"
	keySecret = "abcdefghijklmnopqrstuvwxyz0123456789ABCD"
	sessionID = "ASIAQWERTYUIOPASDFGH"
)

func copyOf(s *secret.Bytes) *secret.Bytes {
	if s == nil {
		return nil
	}
	return secret.Copy(s.Reveal(reveal.Key{}))
}

// sign adds an access key to the records.
func (r *records) sign(at, id string, change ...func(*Identity)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev++
	rec := Identity{
		Principal: kms.Principal{Name: "svc/aws", Namespace: kms.DefaultNamespace, Method: kms.AuthSignature, Credential: id},
		Secret:    secret.Copy([]byte(keySecret)), Rev: r.rev,
	}
	for _, c := range change {
		c(&rec)
	}
	r.keys[at] = rec
}

// request is a KMS request as an SDK makes it, not signed yet.
func request(body string, now time.Time) *http.Request {
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://kms.example.org:7443/", http.NoBody)
	r.RequestURI, r.ContentLength = "/", int64(len(body))
	r.Header = http.Header{
		"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"TrentService.Encrypt"}, "X-Amz-Date": {now.UTC().Format(stampForm)},
		"Amz-Sdk-Invocation-Id": {"6ab8e1a2-8a4d-4c4e-a5d2-2a6b4c8a1f00"}, "Amz-Sdk-Request": {"attempt=1; max=3"},
	}
	return r
}

const usualHeaders = "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-date;x-amz-target"

// signs writes the Authorization header of a request: an implementation of its own, after AWS's description, for what the SDK's signer will not do wrong. What it
// does right is compared with the SDK's in test/aws.
func signs(r *http.Request, body, id, with, headers, scope string) {
	stamp := r.Header.Get("X-Amz-Date")
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", id, scope, headers,
		signature(r, body, with, headers, scope, stamp)))
}

func signature(r *http.Request, body, with, headers, scope, stamp string) string {
	var lines []string
	for _, h := range strings.Split(headers, ";") {
		v := strings.Join(r.Header.Values(h), ",")
		switch h {
		case "host":
			v = r.Host
		case "content-length":
			v = fmt.Sprint(len(body))
		}
		lines = append(lines, h+":"+strings.TrimSpace(v)+"\n")
	}
	q := r.URL.Query()
	q.Del("X-Amz-Signature")
	sum := sha256.Sum256([]byte(body))
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), strings.ReplaceAll(q.Encode(), "+", "%20"), strings.Join(lines, ""), headers,
		hex.EncodeToString(sum[:])}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	k := []byte("AWS4" + with)
	for _, part := range append(strings.SplitN(scope, "/", 4), text) {
		m := hmac.New(sha256.New, k)
		m.Write([]byte(part))
		k = m.Sum(nil)
	}
	return hex.EncodeToString(k)
}

func scopeOf(now time.Time) string {
	return now.UTC().Format("20060102") + "/us-east-1/kms/aws4_request"
}

// signed is a good request.
func signed(body string, now time.Time) *http.Request {
	r := request(body, now)
	signs(r, body, keyID, keySecret, usualHeaders, scopeOf(now))
	return r
}

func verify(a *Authenticator, r *http.Request, body string) (Signature, error) {
	return a.SigV4(context.Background(), r, []byte(body), here)
}

func newSigned(t *testing.T, c Config) (*Authenticator, *records, *clock) {
	t.Helper()
	r, k := newRecords(), newClock()
	r.sign(keyID, keyID)
	c.Identities, c.Now = r, k.now
	return New(c), r, k
}

// The published examples: the signing key and the request of the documentation, and cases of the test suite for Signature Version 4.
func TestThePublishedExamples(t *testing.T) {
	const example = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	key := derive(secret.Copy([]byte(example)), &claim{date: "20150830", region: "us-east-1", service: "iam"})
	if got, want := hex.EncodeToString(key[:]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"; got != want {
		t.Errorf("got signing key %s want %s", got, want)
	}
	for _, c := range []struct {
		name, method, url, service, headers, body, want string
		more                                            http.Header
	}{
		{"ListUsers", "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "iam", "content-type;host;x-amz-date", "",
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}},
		{"get-vanilla", "GET", "https://example.amazonaws.com/", "service", "host;x-amz-date", "",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", nil},
		{"get-vanilla-query-order-key-case", "GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", "service", "host;x-amz-date", "",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", nil},
		{"get-header-value-trim", "GET", "https://example.amazonaws.com/", "service", "host;my-header1;my-header2;x-amz-date", "",
			"acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", http.Header{"My-Header1": {" value1"}, "My-Header2": {` "a   b   c"`}}},
		{"post-vanilla", "POST", "https://example.amazonaws.com/", "service", "host;x-amz-date", "",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.more {
				r.Header[k] = v
			}
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			cl := claim{date: "20150830", region: "us-east-1", service: c.service, scope: "20150830/us-east-1/" + c.service + "/aws4_request",
				stamp: "20150830T123600Z", at: at, signed: c.headers}
			text, bad := cl.toSign(r, []byte(c.body))
			if bad != nil {
				t.Fatal(bad)
			}
			if _, err := hex.Decode(cl.signature[:], []byte(c.want)); err != nil {
				t.Fatal(err)
			}
			s := signing{secret: secret.Copy([]byte(example))}
			if ok, _ := s.verify(&cl, text); !ok {
				t.Errorf("the published signature does not verify; string to sign:\n%s", text)
			}
		})
	}
}

func TestASignatureNamesItsPrincipal(t *testing.T) {
	a, recs, k := newSigned(t, Config{})
	got, err := verify(a, signed(`{"KeyId":"a"}`, k.now()), `{"KeyId":"a"}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Principal.Name != "svc/aws" || got.AccessKey != keyID || got.Region != "us-east-1" || got.Service != "kms" || got.Presigned || !got.Time.Equal(k.now()) {
		t.Errorf("got %+v", got)
	}
	again, err := verify(a, signed("{}", k.now()), "{}")
	if err != nil || again.Principal != got.Principal || recs.asked.Load() != 1 {
		t.Errorf("got %v, %d look-ups: want the same principal and one look-up", err, recs.asked.Load())
	}
}

// What is wrong with a request, and what is said of it.
func TestEveryFaultOfASignatureIsRefused(t *testing.T) {
	const body = `{"KeyId":"a"}`
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	auth := func(old, want string) func(*http.Request) {
		return func(r *http.Request) {
			was := r.Header.Get("Authorization")
			if !strings.Contains(was, old) {
				panic(old)
			}
			r.Header.Set("Authorization", strings.Replace(was, old, want, 1))
		}
	}
	again := func(id, with, headers, scope string) func(*http.Request) {
		return func(r *http.Request) { signs(r, body, id, with, headers, scope) }
	}
	at := newClock().now()
	scope := scopeOf(at)
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   kms.Code
		says   string
	}{
		"not signed":             {func(r *http.Request) { r.Header.Del("Authorization") }, kms.CodeUnauthenticated, ""},
		"a bearer token":         {header("Authorization", "Bearer x"), kms.CodeSignatureIncomplete, ""},
		"two headers":            {func(r *http.Request) { r.Header.Add("Authorization", "x") }, kms.CodeSignatureIncomplete, "2 times"},
		"two dates":              {func(r *http.Request) { r.Header.Add("X-Amz-Date", "x") }, kms.CodeSignatureIncomplete, "2 times"},
		"two targets":            {func(r *http.Request) { r.Header.Add("X-Amz-Target", "x") }, kms.CodeSignatureIncomplete, "2 times"},
		"no signature":           {header("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host"), kms.CodeSignatureIncomplete, "'Signature'"},
		"no signed headers":      {header("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=00"), kms.CodeSignatureIncomplete, "'SignedHeaders'"},
		"a part twice":           {auth("SignedHeaders=", "Credential=x, SignedHeaders="), kms.CodeSignatureIncomplete, ""},
		"an unknown part":        {auth("SignedHeaders=", "Foo=x, SignedHeaders="), kms.CodeSignatureIncomplete, ""},
		"a short signature":      {auth("Signature=", "Signature=0"), kms.CodeSignatureIncomplete, "lower-case"},
		"four parts of a scope":  {auth("/us-east-1", ""), kms.CodeSignatureIncomplete, "5 slash-delimited"},
		"another algorithm":      {auth("SHA256", "SHA512"), kms.CodeSignatureIncomplete, ""},
		"no date":                {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, kms.CodeSignatureIncomplete, "'X-Amz-Date'"},
		"a date of no form":      {header("X-Amz-Date", "2026-01-01T00:00:00Z"), kms.CodeSignatureIncomplete, "ISO-8601"},
		"unsorted headers":       {again(keyID, keySecret, "x-amz-target;x-amz-date;host", scope), kms.CodeSignatureIncomplete, "sorted"},
		"a header named twice":   {again(keyID, keySecret, "host;host;x-amz-date;x-amz-target", scope), kms.CodeSignatureIncomplete, "sorted"},
		"host unsigned":          {again(keyID, keySecret, "x-amz-date;x-amz-target", scope), kms.CodeSignatureIncomplete, "'Host'"},
		"date unsigned":          {again(keyID, keySecret, "host;x-amz-target", scope), kms.CodeSignatureIncomplete, "'X-Amz-Date'"},
		"target unsigned":        {again(keyID, keySecret, "host;x-amz-date", scope), kms.CodeSignatureIncomplete, "'X-Amz-Target'"},
		"target unsigned at STS": {again(keyID, keySecret, "host;x-amz-date", strings.Replace(scope, "kms", "sts", 1)), kms.CodeSignatureIncomplete, "'X-Amz-Target'"},
		"token unsigned": {func(r *http.Request) {
			r.Header.Set("X-Amz-Security-Token", "x")
		}, kms.CodeSignatureIncomplete, "'X-Amz-Security-Token'"},
		"a terminator":     {again(keyID, keySecret, usualHeaders, strings.Replace(scope, "aws4", "aws5", 1)), kms.CodeSignature, "terminator"},
		"a service":        {again(keyID, keySecret, usualHeaders, strings.Replace(scope, "kms", "s3", 1)), kms.CodeSignature, "correct service"},
		"a region":         {again(keyID, keySecret, usualHeaders, strings.Replace(scope, "us-east-1", "US East", 1)), kms.CodeSignature, "region"},
		"another day":      {again(keyID, keySecret, usualHeaders, strings.Replace(scope, "20260101", "20260102", 1)), kms.CodeSignature, "does not match YYYYMMDD"},
		"another secret":   {again(keyID, keySecret[1:]+"x", usualHeaders, scope), kms.CodeSignature, "we calculated"},
		"another target":   {header("X-Amz-Target", "TrentService.Decrypt"), kms.CodeSignature, "we calculated"},
		"another host":     {func(r *http.Request) { r.Host = "example.org" }, kms.CodeSignature, "we calculated"},
		"another method":   {func(r *http.Request) { r.Method = "PUT" }, kms.CodeSignature, "we calculated"},
		"another path":     {func(r *http.Request) { r.URL.Path = "/x" }, kms.CodeSignature, "we calculated"},
		"a query":          {func(r *http.Request) { r.URL.RawQuery = "a=b" }, kms.CodeSignature, "we calculated"},
		"an unknown key":   {again("AKIAQWERTYUIOPASDFGA", keySecret, usualHeaders, scope), kms.CodeCredentialUnknown, "token included in the request is invalid"},
		"no form of a key": {again("x", keySecret, usualHeaders, scope), kms.CodeCredentialUnknown, "invalid"},
		"an unsigned body": {header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), kms.CodeSignature, "x-amz-content-sha256"},
		"a session's key":  {again(sessionID, keySecret, usualHeaders, scope), kms.CodeCredentialUnknown, ""},
		"both forms":       {func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=00" }, kms.CodeSignatureIncomplete, "another one"},
	} {
		t.Run(name, func(t *testing.T) {
			a, _, _ := newSigned(t, Config{})
			r := signed(body, at)
			c.change(r)
			_, err := verify(a, r, body)
			if e := wantCode(t, err, c.want); !strings.Contains(e.What, c.says) {
				t.Errorf("got %q, want %q in it", e.What, c.says)
			}
		})
	}
	a, _, _ := newSigned(t, Config{})
	_, err := verify(a, signed(body, at), body+" ")
	wantCode(t, err, kms.CodeSignature)
}

func TestTheClockMayBeOffByTheSkew(t *testing.T) {
	a, _, k := newSigned(t, Config{Skew: 5 * time.Minute})
	for off, want := range map[time.Duration]string{-5 * time.Minute: "", 5 * time.Minute: "", -5*time.Minute - time.Second: "Signature expired: 20251231T235459Z is now earlier than 20251231T235500Z (20260101T000000Z - 5 min.)",
		5*time.Minute + time.Second: "Signature not yet current: 20260101T000501Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)"} {
		_, err := verify(a, signed("{}", k.now().Add(off)), "{}")
		if want == "" && err != nil || want != "" && (kms.CodeOf(err) != kms.CodeSignatureTime || kms.AsError(err).What != want) {
			t.Errorf("off by %s: got %v want %q", off, err, want)
		}
	}
}

func TestASessionNeedsItsToken(t *testing.T) {
	a, recs, k := newSigned(t, Config{})
	recs.sign("the-token", sessionID, func(i *Identity) { i.Parent = keyID; i.Role = idOf(7) })
	with := func(id, token string) *http.Request {
		r := request("{}", k.now())
		r.Header.Set("X-Amz-Security-Token", token)
		signs(r, "{}", id, keySecret, "host;x-amz-date;x-amz-security-token;x-amz-target", scopeOf(k.now()))
		return r
	}
	got, err := verify(a, with(sessionID, "the-token"), "{}")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*http.Request{"another token": with(sessionID, "a-token"), "another session": with("ASIAQWERTYUIOPASDFGA", "the-token"),
		"a lasting key": with(keyID, "the-token"), "a long token": with(sessionID, strings.Repeat("x", maxSessionToken+1))} {
		if _, err := verify(a, r, "{}"); kms.CodeOf(err) != kms.CodeCredentialUnknown {
			t.Errorf("%s: got %v", name, err)
		}
	}
	a.ForgetAccessKey(keyID)
	if got.Principal.Standing.Stands() {
		t.Error("the session stands although the key that began it was withdrawn")
	}
	got, err = verify(a, with(sessionID, "the-token"), "{}")
	if err != nil {
		t.Fatal(err)
	}
	a.ForgetRole(idOf(7))
	if got.Principal.Standing.Stands() {
		t.Error("the session stands although its role changed")
	}
}

func TestARevokedAccessKeyEndsAtOnce(t *testing.T) {
	a, recs, k := newSigned(t, Config{})
	got, err := verify(a, signed("{}", k.now()), "{}")
	if err != nil {
		t.Fatal(err)
	}
	recs.sign(keyID, keyID, func(i *Identity) { i.Revoked = true })
	a.ForgetAccessKey(keyID)
	if got.Principal.Standing.Stands() {
		t.Error("it stands")
	}
	_, err = verify(a, signed("{}", k.now()), "{}")
	wantCode(t, err, kms.CodeCredentialUnknown)

	recs.sign(keyID, keyID, func(i *Identity) { i.Principal.Expires = k.now().Add(-time.Second) })
	_, err = verify(a, signed("{}", k.now()), "{}")
	wantCode(t, err, kms.CodeExpired)
}

func TestWrongSignaturesLockTheKeyOutThere(t *testing.T) {
	var locks []Lock
	a, _, k := newSigned(t, Config{LockOut: LockOut{Failures: 3}, Locked: func(l Lock) { locks = append(locks, l) }})
	bad := signed("{}", k.now())
	for range 3 {
		_, err := verify(a, bad, "{x")
		wantCode(t, err, kms.CodeSignature)
	}
	_, err := verify(a, signed("{}", k.now()), "{}")
	wantCode(t, err, kms.CodeLockedOut)
	if len(locks) != 1 || locks[0].Credential != keyID || locks[0].Method != kms.AuthSignature || locks[0].Principal == nil {
		t.Errorf("got %+v", locks)
	}
	if _, err := a.SigV4(context.Background(), signed("{}", k.now()), []byte("{}"), there); err != nil {
		t.Errorf("its owner is locked out elsewhere: %v", err)
	}
}

func TestUnknownAccessKeysDoNotStormTheRecords(t *testing.T) {
	a, recs, k := newSigned(t, Config{Failures: Rate{PerSecond: 2, Burst: 10}})
	for n := range 500 {
		id := "AKIA" + strings.Repeat(string(rune('A'+n%26)), 15) + string(rune('A'+n/26%26))
		r := request("{}", k.now())
		signs(r, "{}", id, keySecret, usualHeaders, scopeOf(k.now()))
		if _, err := verify(a, r, "{}"); err == nil {
			t.Fatal("admitted")
		}
	}
	if got := recs.asked.Load(); got > 11 {
		t.Errorf("the records were asked %d times", got)
	}
}

// Strangers who sign wrong cannot crowd out the signing keys of others.
func TestOnlyWhatVerifiesIsKept(t *testing.T) {
	a, _, k := newSigned(t, Config{Failures: Rate{1e9, 1 << 30}, LockOut: LockOut{Failures: 1 << 20}})
	if _, err := verify(a, signed("{}", k.now()), "{}"); err != nil {
		t.Fatal(err)
	}
	e, _ := a.accessKeys.get(keyID)
	for n := range 50 {
		region := fmt.Sprintf("r-%d", n)
		r := request("{}", k.now())
		signs(r, "{}", keyID, "wrong", usualHeaders, strings.Replace(scopeOf(k.now()), "us-east-1", region, 1))
		_, err := verify(a, r, "{}")
		wantCode(t, err, kms.CodeSignature)
	}
	if got := len(*e.signing.keys.Load()); got != 1 || e.signing.known(scopeOf(k.now())) == nil {
		t.Errorf("%d signing keys are kept, want the good one", got)
	}
	for n := range 50 {
		r := request("{}", k.now())
		signs(r, "{}", keyID, keySecret, usualHeaders, strings.Replace(scopeOf(k.now()), "us-east-1", fmt.Sprintf("r-%d", n), 1))
		if _, err := verify(a, r, "{}"); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(*e.signing.keys.Load()); got != maxSigners {
		t.Errorf("%d signing keys are kept, want %d", got, maxSigners)
	}
}

// presigned signs a request in its query string.
func presigned(now time.Time, expires string, change func(url.Values)) *http.Request {
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://sts.example.org/", http.NoBody)
	scope := strings.Replace(scopeOf(now), "kms", "sts", 1)
	q := url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}, "X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {keyID + "/" + scope},
		"X-Amz-Date": {now.UTC().Format(stampForm)}, "X-Amz-Expires": {expires}, "X-Amz-SignedHeaders": {"host"}}
	if change != nil {
		change(q)
	}
	r.URL.RawQuery = q.Encode()
	q.Set("X-Amz-Signature", signature(r, "", keySecret, "host", scope, q.Get("X-Amz-Date")))
	r.URL.RawQuery = q.Encode()
	return r
}

func TestAPresignedRequestIsGoodUntilItEnds(t *testing.T) {
	a, _, k := newSigned(t, Config{})
	r := presigned(k.now(), "900", nil)
	got, err := verify(a, r, "")
	if err != nil || !got.Presigned || got.Service != "sts" {
		t.Fatalf("got %+v, %v", got, err)
	}
	k.advance(15 * time.Minute)
	if _, err := verify(a, r, ""); err != nil {
		t.Error(err)
	}
	k.advance(time.Second)
	_, err = verify(a, r, "")
	wantCode(t, err, kms.CodeSignatureTime)
	for name, c := range map[string]struct {
		expires string
		change  func(url.Values)
		want    kms.Code
	}{
		"for ever":        {"604801", nil, kms.CodeSignatureIncomplete},
		"for no time":     {"0", nil, kms.CodeSignatureIncomplete},
		"for a minus":     {"-5", nil, kms.CodeSignatureIncomplete},
		"without a date":  {"900", func(q url.Values) { q.Del("X-Amz-Date") }, kms.CodeSignatureIncomplete},
		"a part twice":    {"900", func(q url.Values) { q.Add("X-Amz-Expires", "901") }, kms.CodeSignatureIncomplete},
		"host unsigned":   {"900", func(q url.Values) { q.Set("X-Amz-SignedHeaders", "x-amz-date") }, kms.CodeSignatureIncomplete},
		"another token":   {"900", func(q url.Values) { q.Set("X-Amz-Security-Token", "x") }, kms.CodeCredentialUnknown},
		"in a KMS scope":  {"900", func(q url.Values) { q.Set("X-Amz-Credential", keyID+"/"+scopeOf(k.now())) }, kms.CodeSignatureIncomplete},
		"other algorithm": {"900", func(q url.Values) { q.Set("X-Amz-Algorithm", "AWS4") }, kms.CodeSignatureIncomplete},
	} {
		if _, err := verify(a, presigned(k.now(), c.expires, c.change), ""); kms.CodeOf(err) != c.want {
			t.Errorf("%s: got %v want %v", name, err, c.want)
		}
	}
	r = presigned(k.now(), "900", nil)
	r.URL.RawQuery += "&Extra=1"
	_, err = verify(a, r, "")
	wantCode(t, err, kms.CodeSignature)
	_, err = verify(a, presigned(k.now(), "900", nil), "a body")
	wantCode(t, err, kms.CodeSignature)
}

func TestAReplayIsSeenAsLongAsItIsGood(t *testing.T) {
	a, _, k := newSigned(t, Config{})
	r := signed("{}", k.now())
	first, err := verify(a, r, "{}")
	if err != nil {
		t.Fatal(err)
	}
	second, err := verify(a, r, "{}")
	if err != nil {
		t.Fatal(err)
	}
	if a.Replayed(&first) || !a.Replayed(&second) {
		t.Error("the first must be new and the second a replay")
	}
	other, err := verify(a, signed("{} ", k.now()), "{} ")
	if err != nil || a.Replayed(&other) {
		t.Errorf("another request is taken for a replay: %v", err)
	}
	var s seen
	s.init(100)
	for n := range 1000 {
		if s.again([32]byte{byte(n), byte(n >> 8), 1}, k.now().Add(time.Minute), k.now()) {
			t.Fatal("a new one is taken for a replay")
		}
	}
	if len(s.until) != 100 || len(s.order) != 100 || !s.again([32]byte{231, 3, 1}, k.now(), k.now()) {
		t.Errorf("%d and %d are remembered, want the newest 100", len(s.until), len(s.order))
	}
}

// A key that is withdrawn while it verifies is looked up anew: nobody is refused for another's timing.
func TestWithdrawalsWhileSigning(t *testing.T) {
	a, _, k := newSigned(t, Config{})
	r := signed("{}", k.now())
	stop := make(chan struct{})
	var forgetting sync.WaitGroup
	forgetting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				a.ForgetAccessKey(keyID)
			}
		}
	})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if _, err := verify(a, r, "{}"); err != nil && kms.CodeOf(err) != kms.CodeBusy {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	forgetting.Wait()
}

func TestAnErrorOfTheRecordsIsPassedOn(t *testing.T) {
	a, recs, k := newSigned(t, Config{})
	recs.fault = errors.Join(kms.Errorf(kms.CodeSealed, "sealed"))
	_, err := verify(a, signed("{}", k.now()), "{}")
	wantCode(t, err, kms.CodeSealed)
}

func BenchmarkSigV4(b *testing.B) {
	recs, k := newRecords(), newClock()
	recs.sign(keyID, keyID)
	a := New(Config{Identities: recs, Now: k.now})
	body := []byte(`{"KeyId":"alias/orders","Plaintext":"` + strings.Repeat("QUJD", 40) + `"}`)
	r := signed(string(body), k.now())
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.SigV4(ctx, r, body, here); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	k := newClock()
	f.Add(signed("{}", k.now()).Header.Get("Authorization"), "x-amz-date", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=host,Signature=00", "", presigned(k.now(), "900", nil).URL.RawQuery)
	f.Add("AWS4-HMAC-SHA256 ", "", "a=%zz&X-Amz-Signature=")
	recs := newRecords()
	recs.sign(keyID, keyID)
	f.Fuzz(func(t *testing.T, authorization, name, query string) {
		a := New(Config{Identities: recs, Now: k.now, Entries: 1})
		r := request("{}", k.now())
		r.URL.RawQuery = query
		r.Header.Set("Authorization", authorization)
		if name != "" {
			r.Header.Add(name, " x  y\t")
		}
		got, err := verify(a, r, "{}")
		if (err == nil) != (got.Principal != nil) {
			t.Fatalf("got %+v, %v", got, err)
		}
		if err != nil && kms.CodeOf(err) == kms.CodeInternal {
			t.Fatal(err)
		}
	})
}

// The canonical form of a value is the same however it was spaced, and has no line end: a value cannot pretend to be another header.
func FuzzCanonicalHeader(f *testing.F) {
	f.Add("a   b", " c ")
	f.Fuzz(func(t *testing.T, v, w string) {
		r := &http.Request{Header: http.Header{"X-Test": {v, w}}}
		got := string(appendHeader(nil, r, "x-test"))
		if strings.Contains(strings.ReplaceAll(got, ",", ""), "  ") {
			t.Fatalf("%q has two spaces together", got)
		}
		if again := string(appendTrimmed(nil, string(appendTrimmed(nil, v)))); again != string(appendTrimmed(nil, v)) {
			t.Fatalf("%q and then %q", appendTrimmed(nil, v), again)
		}
		q, err := appendQuery(nil, "a="+url.QueryEscape(v)+"&b="+url.QueryEscape(w))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := url.ParseQuery(string(q)); err != nil || back.Get("a") != v || back.Get("b") != w {
			t.Fatalf("%q became %q", []string{v, w}, q)
		}
	})
}
