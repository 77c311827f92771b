package faults

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/keyhold/keyhold/api/keyhold/v1" // registers the services
	"github.com/keyhold/keyhold/client"
)

// methods are those of every service of the native API, so that a new one is tested by being there.
func methods(t testing.TB) []protoreflect.MethodDescriptor {
	t.Helper()
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("keyhold.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for k := range f.Services().Get(i).Methods().Len() {
				all = append(all, f.Services().Get(i).Methods().Get(k))
			}
		}
		return true
	})
	if len(all) < 75 {
		t.Fatalf("%d methods: not all are found", len(all))
	}
	return all
}

func pathOf(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

const (
	asJSON  = "application/json"
	asProto = "application/proto"
)

// input is a request's body that no method may take.
type input struct {
	name, kind, encoding string
	body                 []byte
}

// zipped compresses.
func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // to memory
	_ = z.Close()
	return out.Bytes()
}

// inputs are wrong in ways that do not depend on the method.
func inputs() []input {
	deep := 100_000
	bomb := zipped(make([]byte, 64<<20))
	return []input{
		{"cut object", asJSON, "", []byte(`{`)},
		{"cut name", asJSON, "", []byte(`{"key`)},
		{"cut value", asJSON, "", []byte(`{"key":"a`)},
		{"array", asJSON, "", []byte(`[]`)},
		{"text", asJSON, "", []byte(`"x"`)},
		{"number", asJSON, "", []byte(`1`)},
		{"garbage", asJSON, "", []byte("\x00\x01\xfe\xff")},
		{"two objects", asJSON, "", []byte(`{}{}`)},
		{"something behind", asJSON, "", []byte(`{} x`)},
		{"unknown field", asJSON, "", []byte(`{"noSuchField":1}`)},
		{"unknown field twice", asJSON, "", []byte(`{"noSuchField":1,"noSuchField":2}`)},
		{"not UTF-8", asJSON, "", []byte("{\"\xff\xfe\":1}")},
		{"half a surrogate", asJSON, "", []byte(`{"\ud800":1}`)},
		{"byte order mark", asJSON, "", []byte("\xef\xbb\xbf{}")},
		{"UTF-16", asJSON, "", []byte("{\x00}\x00")},
		{"deep objects", asJSON, "", []byte(strings.Repeat(`{"a":`, deep))},
		{"deep arrays", asJSON, "", []byte(strings.Repeat(`[`, deep))},
		{"deep in an unknown field", asJSON, "", []byte(`{"a":` + strings.Repeat(`[`, deep) + strings.Repeat(`]`, deep) + `}`)},
		{"huge number", asJSON, "", []byte(`{"a":1e` + strings.Repeat("9", 10_000) + `}`)},
		{"huge name", asJSON, "", []byte(`{"` + strings.Repeat("a", 200_000) + `":1}`)},
		{"bad protobuf length", asProto, "", []byte("\x0a\xff\xff\xff\xff\x0f")},
		{"endless varint", asProto, "", bytes.Repeat([]byte{0xff}, 64)},
		{"cut varint", asProto, "", []byte{0x0a}},
		{"field zero", asProto, "", []byte{0x00, 0x01}},
		{"deep groups", asProto, "", bytes.Repeat([]byte{0x7b}, deep)},
		{"end of no group", asProto, "", []byte{0x0c}},
		{"not gzip", asJSON, "gzip", []byte(`{}`)},
		{"cut gzip", asJSON, "gzip", zipped([]byte(`{"a":1}`))[:12]},
		{"gzip bomb", asJSON, "gzip", bomb},
		{"gzip bomb of protobuf", asProto, "gzip", bomb},
		{"bomb in a bomb", asJSON, "gzip", zipped(bomb)},
		{"unknown encoding", asJSON, "br", []byte(`{}`)},
		{"two encodings", asJSON, "gzip, gzip", zipped(zipped([]byte(`{}`)))},
		{"no type", "", "", []byte(`{}`)},
		{"text type", "text/plain", "", []byte(`{}`)},
		{"form", "application/x-www-form-urlencoded", "", []byte(`a=b`)},
		{"another charset", "application/json; charset=utf-16", "", []byte("{\x00}\x00")},
		{"cut envelope", "application/connect+json", "", []byte{0, 0, 0}},
		{"envelope that lies", "application/connect+json", "", append([]byte{0, 0xff, 0xff, 0xff, 0xff}, '{', '}')},
		{"envelope bomb", "application/connect+json", "gzip", append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(bomb))), bomb...)}, //nolint:gosec // G115: small
	}
}

// wrongFields are the method's own fields with values of other types, and twice.
func wrongFields(m protoreflect.MethodDescriptor) []input {
	var all []input
	fields := m.Input().Fields()
	for i := range min(fields.Len(), sized(2, 100)) {
		f := fields.Get(i)
		for _, value := range []string{`{"x":[[]]}`, `[{"x":1}]`, `-1e400`, `"\ud800"`, `tru`, `"` + "\xff" + `"`} {
			all = append(all, input{fmt.Sprintf("%s = %s", f.JSONName(), value), asJSON, "", fmt.Appendf(nil, `{%q:%s}`, f.JSONName(), value)})
		}
		all = append(all, input{f.JSONName() + " twice", asJSON, "", fmt.Appendf(nil, `{%q:null,%q:null}`, f.JSONName(), f.JSONName())},
			// A wire type that no field has, and a length beyond the end, in the field's own place.
			input{f.JSONName() + " of wire type 7", asProto, "", append(binary.AppendUvarint(nil, uint64(f.Number())<<3|7), 1)}, //nolint:gosec // G115: positive
			input{f.JSONName() + " cut", asProto, "", append(binary.AppendUvarint(nil, uint64(f.Number())<<3|2), 100, 'x')})     //nolint:gosec // G115: positive
	}
	return all
}

// leak is what an answer must not tell: the inside of the program or the machine.
var leak = regexp.MustCompile(`goroutine|panic|runtime error|\.go:\d|/tmp/|/root/|0xc0[0-9a-f]{8}|internal/|unexpected fault`)

// stable finds the code that an error answers.
var stable = regexp.MustCompile(`KH\d{4}`)

// refused judges an answer: a refusal of the client's making, with a code, without a look inside.
func refused(status int, body []byte) error {
	switch {
	case byLibrary(status, body):
		return nil
	case status < 400 || status >= 500:
		return fmt.Errorf("status %d, want 4xx", status)
	case leak.Match(body):
		return errors.New("the answer tells of the inside")
	case len(body) > 8<<10:
		return fmt.Errorf("%d bytes of error", len(body))
	case !stable.Match(body):
		return errors.New("no code")
	}
	return nil
}

// byLibrary tells the four refusals that the protocol library makes before Keyhold sees the message: docs/dialects/native.md.
func byLibrary(status int, body []byte) bool {
	says := func(text string) bool {
		return bytes.Contains(body, []byte(text)) && len(body) < 512 && !leak.Match(body)
	}
	switch status {
	case http.StatusUnsupportedMediaType:
		return len(body) == 0
	case http.StatusTooManyRequests:
		return says(`"resource_exhausted"`)
	case http.StatusNotImplemented:
		return says(`"unimplemented","message":"unknown compression`)
	case http.StatusBadRequest:
		if says(`{"error":`) { // the last message of a stream
			return says(`"resource_exhausted","message":"message size`) || says("protocol error: incomplete envelope")
		}
		return says(`"invalid_argument"`) && (says("decompress: ") || says("get decompressor: "))
	}
	return false
}

// web is an HTTP client of a server, over TLS or the local socket.
type web struct {
	http  *http.Client
	base  string
	token string
}

func (p *process) web() *web {
	p.t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots(), MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 8, DisableCompression: true}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &web{&http.Client{Transport: tr, Timeout: 60 * time.Second}, p.env["KEYHOLD_ADDR"], p.env["KEYHOLD_TOKEN"]}
}

func (p *process) local() *web {
	p.t.Helper()
	path := p.env["KEYHOLD_SOCKET"]
	var d net.Dialer
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &web{&http.Client{Transport: tr, Timeout: 60 * time.Second}, "http://localhost", ""}
}

func (p *process) roots() *x509.CertPool {
	p.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.config().CACert) {
		p.t.Fatal("no CA certificate")
	}
	return pool
}

// send sends a request and answers status and body; a method that streams says how it ended in its last message.
func (w *web) send(t testing.TB, method, path string, in input, headers ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.base+path, bytes.NewReader(in.body))
	if err != nil {
		t.Fatal(err)
	}
	if in.kind != "" {
		req.Header.Set("Content-Type", in.kind)
	}
	if in.encoding != "" {
		req.Header.Set("Content-Encoding", in.encoding)
		req.Header.Set("Connect-Content-Encoding", in.encoding)
	}
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		t.Errorf("%s %s (%s): %v", method, path, in.name, err)
		return 0, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		t.Errorf("%s %s (%s): %v", method, path, in.name, err)
	}
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/connect+") && bytes.Contains(body, []byte(`"error"`)) {
		return http.StatusBadRequest, body
	}
	return resp.StatusCode, body
}

// TestNoInputBreaksAnEndpoint sends what is wrong in every way to every method, over TLS and over the local socket.
func TestNoInputBreaksAnEndpoint(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	c := p.client()
	common := inputs()
	before := p.memory()
	sent := 0
	for name, w := range map[string]*web{"TLS": p.web(), "local socket": p.local()} {
		for i, m := range methods(t) {
			path := pathOf(m)
			for k, in := range append(wrongFields(m), common...) {
				if name != "TLS" && !long && (i+k)%8 != 0 { // the same code answers: a sample
					continue
				}
				sent++
				if status, body := w.send(t, http.MethodPost, path, in); refused(status, body) != nil {
					t.Errorf("%s, %s, %s: %v: %.300q", name, path, in.name, refused(status, body), body)
				}
			}
			for _, verb := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodHead, "BREW"} {
				sent++
				if status, body := w.send(t, verb, path, input{name: verb}); status < 400 || status >= 500 || leak.Match(body) {
					t.Errorf("%s, %s %s: %d %.300q", name, verb, path, status, body)
				}
			}
		}
		for _, path := range []string{"/", "/nowhere", "/keyhold.v1.", "/keyhold.v1.KeyService/", "/keyhold.v1.KeyService/Nothing", "/keyhold.v1.NoService/CreateKey", "/keyhold.v1.KeyService/CreateKey/",
			"/keyhold.v1.KeyService//CreateKey", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/\x00", "/" + strings.Repeat("a", 8000), "/health/", "/health/nothing", "/metrics/", "/debug/pprof/", "//"} {
			for _, verb := range []string{http.MethodGet, http.MethodPost, "BREW"} {
				sent++
				req := strings.ReplaceAll(path, "\x00", "%00")
				if status, body := w.send(t, verb, req, input{name: "path", kind: asJSON, body: []byte("{}")}); (status < 300 || status >= 500) || leak.Match(bytes.ReplaceAll(body, []byte(path), nil)) {
					t.Errorf("%s, %s %.60s: %d %.300q", name, verb, path, status, body)
				}
			}
		}
		for _, path := range []string{"/health", "/health/live", "/metrics"} {
			for _, verb := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "BREW"} {
				sent++
				if status, body := w.send(t, verb, path, common[0]); status != http.StatusMethodNotAllowed || leak.Match(body) {
					t.Errorf("%s, %s %s: %d %.300q", name, verb, path, status, body)
				}
			}
		}
	}
	if _, err := c.WhoAmI(t.Context()); err != nil {
		t.Errorf("the server does not serve any more: %v", err)
	}
	p.bounded(before, 256<<20)
	p.wholesome()
	t.Logf("%d requests to %d methods; resident memory went from %d MiB to %d MiB", sent, len(methods(t)), before>>20, p.memory()>>20)
}

// open lists the methods that ask a stranger for no credential: docs/dialects/native.md, "Before unsealing".
var open = map[string]string{
	"GetStatus":      "anyone",
	"Unseal":         "a share is the credential",
	"Enroll":         "the code is the credential",
	"Init":           "local socket only",
	"MintEnrollment": "local socket only",
}

// wellFormed are requests of the methods that look at their request before they ask whether the caller is allowed it.
var wellFormed = map[string]string{
	"CanI":                         `{"action":"Encrypt","key":"k","principal":"svc/other"}`,
	"CheckPolicy":                  `{"id":"p","text":"forbid (principal, action, resource);"}`,
	"CreateAccessKey":              `{"principal":"svc/x","roles":["user"]}`,
	"CreateCredential":             `{"subject":"sha256:` + strings.Repeat("a", 64) + `","principal":"p"}`,
	"CreateKey":                    `{"name":"x","algorithm":"aes-256-gcm"}`,
	"CreateNamespace":              `{"name":"third"}`,
	"CreateToken":                  `{"principal":"svc/x","roles":["user"]}`,
	"Decapsulate":                  `{"key":"k","ciphertext":"AAAA"}`,
	"DecryptBatch":                 `{"items":[{"key":"k","ciphertext":"AAAA"}]}`,
	"DeriveSharedSecret":           `{"key":"k","peerPublicKey":"AAAA"}`,
	"DescribeNamespace":            `{"name":"default"}`,
	"GenerateDataKeyPair":          `{"key":"k","algorithm":"ed25519"}`,
	"GenerateRandom":               `{"length":16}`,
	"PutRole":                      `{"role":{"name":"r"}}`,
	"GetRole":                      `{"name":"r"}`,
	"DeleteRole":                   `{"name":"r"}`,
	"ProveConsistency":             `{"from":{"origin":"keyhold.x/n1/1","size":"1"}}`,
	"PutPolicy":                    `{"id":"p","text":"forbid (principal, action, resource);"}`,
	"ReEncrypt":                    `{"toKey":"k","ciphertext":"CIPHERTEXT"}`,
	"ReEncryptBatch":               `{"toKey":"k","items":[{"ciphertext":"CIPHERTEXT"}]}`,
	"GetToken":                     `{"id":"01234567-89ab-7def-8123-456789abcdef"}`,
	"RevokeToken":                  `{"id":"01234567-89ab-7def-8123-456789abcdef"}`,
	"UpdateNamespace":              `{"name":"default","description":"mine"}`,
	"CancelNamespaceDestruction":   `{"name":"default"}`,
	"CompromiseVersion":            `{"key":"k","versions":[1]}`,
	"DeleteTemplate":               `{"name":"t"}`,
	"DescribeApproval":             `{"id":"01234567-89ab-7def-8123-456789abcdef"}`,
	"ExportKey":                    `{"key":"k","wrappingKey":"k"}`,
	"GetTemplate":                  `{"name":"t"}`,
	"GiveApproval":                 `{"id":"01234567-89ab-7def-8123-456789abcdef"}`,
	"ImportKeyMaterial":            `{"key":"k","tokenId":"01234567-89ab-7def-8123-456789abcdef","wrappedMaterial":"AAAA"}`,
	"PutTemplate":                  `{"template":{"name":"t"}}`,
	"CreateGrant":                  `{"key":"k","grantee":"svc/g","operations":["Encrypt"]}`,
	"ListRetirableGrants":          `{"retiring":"svc/g"}`,
	"RevokeGrant":                  `{"key":"k","grant":"` + strings.Repeat("0", 64) + `"}`,
	"RetireGrant":                  `{"key":"k","grant":"` + strings.Repeat("0", 64) + `"}`,
	"ScheduleNamespaceDestruction": `{"name":"default"}`,
	"WithdrawApproval":             `{"id":"01234567-89ab-7def-8123-456789abcdef"}`,
}

// TestEveryEndpointWantsACredential asks every method as a stranger, with credentials that are wrong, and as a principal of another namespace.
func TestEveryEndpointWantsACredential(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "KEYHOLD_LOCK_OUT_FAILURES=1048576", "KEYHOLD_LOCK_OUT_FAILURE_RATE=1048576")
	c := p.client()
	revoked, err := c.CreateToken(t.Context(), client.CreateTokenInput{Principal: "svc/gone", Roles: []string{"admin", "user", "auditor"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RevokeToken(t.Context(), revoked.Token.ID); err != nil {
		t.Fatal(err)
	}
	foreign, _, err := p.foreigner()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	sealed, err := c.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	const unauthenticated, denied = "KH11", "KH12"
	w := p.web()
	for _, m := range methods(t) {
		kind, body := asJSON, []byte(`{}`)
		if m.IsStreamingServer() {
			kind, body = "application/connect+json", []byte("\x00\x00\x00\x00\x02{}")
		}
		if special, ok := wellFormed[string(m.Name())]; ok {
			body = []byte(strings.ReplaceAll(special, "CIPHERTEXT", base64.StdEncoding.EncodeToString(sealed.Ciphertext)))
		} else if f := m.Input().Fields().ByName("key"); f != nil && f.Kind() == protoreflect.StringKind {
			body = []byte(`{"key":"k"}`)
			if m.Input().Fields().ByName("items") != nil {
				body = []byte(`{"key":"k","items":[{}]}`)
			}
		}
		for _, tc := range []struct{ name, token, want string }{
			{"no token", "", unauthenticated},
			{"garbage", "x", unauthenticated},
			{"a token nobody made", "kh_" + strings.Repeat("a", 26) + "_" + strings.Repeat("A", 43), unauthenticated},
			{"a longer one", strings.Repeat("kh_", 1000), unauthenticated},
			{"another's secret", revoked.Secret[:30] + p.env["KEYHOLD_TOKEN"][30:], unauthenticated},
			{"a revoked token", revoked.Secret, unauthenticated},
			{"a token of another namespace", foreign.Secret, denied},
		} {
			as := &web{w.http, w.base, tc.token}
			status, answer := as.send(t, http.MethodPost, pathOf(m), input{name: tc.name, kind: kind, body: body}, "Keyhold-Namespace", "default")
			code := string(stable.Find(answer))
			if _, ok := open[string(m.Name())]; ok {
				if leak.Match(answer) || status >= 500 {
					t.Errorf("%s, %s: %d %.300q", pathOf(m), tc.name, status, answer)
				}
				continue
			}
			if status == http.StatusOK && strings.HasSuffix(string(m.Name()), "Batch") && !bytes.Contains(answer, []byte(`"ok"`)) {
				status = http.StatusForbidden // every item was refused by itself
			}
			if status < 400 || status >= 500 || !strings.HasPrefix(code, tc.want) || leak.Match(answer) {
				t.Errorf("%s, %s: %d %s, want %s: %.300q", pathOf(m), tc.name, status, code, tc.want, answer)
			}
		}
	}
	p.wholesome()
}

// foreigner makes a namespace of another tenant, as an operator whom two custodians admitted, and a token that can do everything there.
func (p *process) foreigner() (foreign client.NewToken, operator string, err error) {
	ctx := p.t.Context()
	local := p.client(func(cfg *client.Config) { *cfg = client.Config{Address: "unix://" + p.env["KEYHOLD_SOCKET"]} })
	var shares []string
	for _, name := range []string{"share-1.txt", "share-3.txt"} {
		text, err := os.ReadFile(filepath.Join(p.dir, "shares", name))
		if err != nil {
			return foreign, "", err
		}
		shares = append(shares, strings.TrimSpace(string(text)))
	}
	minted, err := local.MintEnrollment(ctx, shares)
	if err != nil {
		return foreign, "", err
	}
	enrolled, err := local.Enroll(ctx, minted.Code, "operator")
	if err != nil {
		return foreign, "", err
	}
	as := p.as(enrolled.Secret, "")
	off := false
	if _, err := as.CreateNamespace(ctx, client.NamespaceInput{Name: "other", SeparationOfDuties: &off}); err != nil {
		return foreign, "", err
	}
	foreign, err = as.CreateToken(ctx, client.CreateTokenInput{Principal: "svc/foreign", Roles: []string{"admin", "user", "auditor"}}, client.Namespace("other"))
	return foreign, enrolled.Secret, err
}

// as is a client with another token.
func (p *process) as(token, namespace string) *client.Client {
	p.t.Helper()
	return p.client(func(cfg *client.Config) { cfg.Token, cfg.Namespace = token, namespace })
}
