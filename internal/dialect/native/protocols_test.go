package native_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/kms"
)

// bearer adds a token to every request.
func bearer(token string) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			r.Header().Set("Authorization", "Bearer "+token)
			return next(ctx, r)
		}
	})
}

// Each protocol encrypts, decrypts and is refused with the same detail.
func TestEveryProtocolSpeaksTheSame(t *testing.T) {
	s := nativetest.Open(t)
	if status, _, body := ask(t, s, "KeyService/CreateKey", s.Admin, `{"name":"orders","algorithm":"aes-256-gcm"}`); status != 200 {
		t.Fatal(body)
	}
	for _, p := range []struct {
		name    string
		options []connect.ClientOption
	}{
		{"connect", nil}, {"connect, gzip", []connect.ClientOption{connect.WithSendGzip()}}, {"json", []connect.ClientOption{connect.WithProtoJSON()}},
		{"grpc", []connect.ClientOption{connect.WithGRPC()}}, {"grpc, gzip", []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
		{"grpc-web", []connect.ClientOption{connect.WithGRPCWeb()}},
		{"grpc, json", []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
	} {
		t.Run(p.name, func(t *testing.T) {
			c := keyholdv1connect.NewCryptoServiceClient(s.HTTP.Client(), s.URL, append(p.options, connect.WithInterceptors(bearer(s.User)))...)
			sealed, err := c.Encrypt(t.Context(), connect.NewRequest(&keyholdv1.EncryptRequest{Key: "orders", Plaintext: []byte("hello")}))
			if err != nil {
				t.Fatal(err)
			}
			opened, err := c.Decrypt(t.Context(), connect.NewRequest(&keyholdv1.DecryptRequest{Ciphertext: sealed.Msg.GetCiphertext()}))
			if err != nil || string(opened.Msg.GetPlaintext()) != "hello" {
				t.Fatalf("got %q, %v", opened.Msg.GetPlaintext(), err)
			}
			_, err = c.Encrypt(t.Context(), connect.NewRequest(&keyholdv1.EncryptRequest{Key: "nosuch"}))
			var ce *connect.Error
			if !errors.As(err, &ce) || ce.Code() != connect.CodeNotFound || len(ce.Details()) != 1 {
				t.Fatalf("got %v", err)
			}
			v, err := ce.Details()[0].Value()
			if d, ok := v.(*keyholdv1.ErrorDetail); err != nil || !ok || d.GetCode() != kms.CodeKeyNotFound.String() {
				t.Errorf("got detail %v, %v", v, err)
			}
			strangers := keyholdv1connect.NewCryptoServiceClient(s.HTTP.Client(), s.URL, p.options...)
			if _, err := strangers.Encrypt(t.Context(), connect.NewRequest(&keyholdv1.EncryptRequest{Key: "orders"})); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("without a token: got %v", err)
			}
		})
	}
}

func at(t testing.TB, address, token string, ca []byte) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Address: address, Token: token, CACert: ca, Retry: client.Retry{Attempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOnlyTheLocalSocketInitialises(t *testing.T) {
	s := nativetest.Start(t)
	local, remote := at(t, s.Socket, "", nil), at(t, s.URL, "", s.CA)
	in := client.InitInput{Shares: 3, Threshold: 2, Passphrase: []byte("correct horse battery staple")}
	if _, err := remote.Init(t.Context(), in); client.CodeOf(err) != client.CodeOnlyLocal {
		t.Fatalf("over the network: got %v", err)
	}
	if _, err := remote.WhoAmI(t.Context()); client.CodeOf(err) != client.CodeNotInitialised {
		t.Errorf("before init: got %v", err)
	}
	made, err := local.Init(t.Context(), in)
	if err != nil || len(made.Shares) != 3 || made.Enrollment.Code == "" || made.AuditKey == "" || made.ClusterID == "" {
		t.Fatalf("got %+v, %v", made, err)
	}
	if _, err := local.Init(t.Context(), in); client.CodeOf(err) != "KH1405" {
		t.Errorf("twice: got %v", err)
	}
	st, err := remote.UnsealShare(t.Context(), made.Shares[0])
	if err != nil || !st.Sealed || len(st.SharesGiven) != 1 || st.ClusterID != "" || len(st.Recipients) != 0 {
		t.Errorf("one share: got %+v, %v: a stranger learns how many shares there are and no more", st, err)
	}
	if st, err = local.Status(t.Context()); err != nil || len(st.Recipients) < 2 || st.ClusterID != made.ClusterID {
		t.Errorf("status on the socket: got %+v, %v", st, err)
	}
	if _, err := remote.UnsealShare(t.Context(), "not a share"); client.CodeOf(err) != "KH1006" {
		t.Errorf("no share: got %v", err)
	}
	if st, err = remote.UnsealShare(t.Context(), made.Shares[2]); err != nil || st.Sealed || !st.Ready {
		t.Fatalf("two shares: got %+v, %v", st, err)
	}
	if _, err := remote.Enroll(t.Context(), "wrong", ""); client.CodeOf(err) != client.CodeUnauthenticated {
		t.Errorf("a wrong code: got %v", err)
	}
	admin, err := remote.Enroll(t.Context(), made.Enrollment.Code, "root")
	if err != nil || admin.Token.Principal != "root" {
		t.Fatalf("enroll: got %+v, %v", admin, err)
	}
	me, err := at(t, s.URL, admin.Secret, s.CA).WhoAmI(t.Context())
	if err != nil || me.Principal != "root" || me.Home != "system" || me.Namespace != "system" {
		t.Errorf("got %+v, %v", me, err)
	}
	if _, err := remote.MintEnrollment(t.Context(), made.Shares[:2]); client.CodeOf(err) != client.CodeOnlyLocal {
		t.Errorf("mint over the network: got %v", err)
	}
	if e, err := local.MintEnrollment(t.Context(), made.Shares[:2]); err != nil || e.Code == "" || !e.ExpiresAt.After(time.Now()) {
		t.Errorf("mint: got %+v, %v", e, err)
	}
	if _, err := local.MintEnrollment(t.Context(), made.Shares[:1]); err == nil {
		t.Error("one share mints a code")
	}
}

func TestExportStreamsToItsEnd(t *testing.T) {
	s := nativetest.Open(t)
	var backup bytes.Buffer
	rev, err := at(t, s.URL, s.Operator, s.CA).Export(t.Context(), &backup)
	if err != nil || rev == 0 || backup.Len() == 0 {
		t.Fatalf("got revision %d, %d bytes, %v", rev, backup.Len(), err)
	}
	if _, err := at(t, s.URL, s.User, s.CA).Export(t.Context(), &backup); client.CodeOf(err) != client.CodeDenied {
		t.Errorf("by a user: got %v", err)
	}
	failing := writer(func([]byte) (int, error) { return 0, io.ErrShortWrite })
	if _, err := at(t, s.URL, s.Operator, s.CA).Export(t.Context(), failing); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("to a full disk: got %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestBatchesKeepTheirOrderAndFailItemByItem(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := at(t, s.URL, s.Admin, s.CA), at(t, s.URL, s.User, s.CA)
	keys := []string{"a", "b", "c"}
	ids := map[string]string{}
	for _, name := range keys {
		k, err := admin.CreateKey(t.Context(), client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = k.ID
	}
	var in []client.EncryptInput
	for i := range 200 {
		in = append(in, client.EncryptInput{Key: keys[i%3], Plaintext: fmt.Appendf(nil, "item %d", i), Context: client.Context{"n": fmt.Sprint(i)}})
	}
	in[50].Key = "nosuch"
	sealed, err := user.EncryptBatch(t.Context(), in)
	if err != nil || len(sealed) != len(in) {
		t.Fatalf("got %d answers, %v", len(sealed), err)
	}
	var back []client.DecryptInput
	for i, r := range sealed {
		if i == 50 {
			if client.CodeOf(r.Err) != client.CodeKeyNotFound {
				t.Errorf("item 50: got %v", r.Err)
			}
			continue
		}
		if r.Err != nil || r.Value.KeyID != ids[in[i].Key] {
			t.Errorf("item %d: got %+v, want key %s", i, r, ids[in[i].Key])
		}
		back = append(back, client.DecryptInput{Ciphertext: r.Value.Ciphertext, Context: in[i].Context})
	}
	back[7].Context = client.Context{"n": "another"}
	back[8].Ciphertext = []byte("garbage")
	opened, err := user.DecryptBatch(t.Context(), back)
	if err != nil || len(opened) != len(back) {
		t.Fatalf("got %d answers, %v", len(opened), err)
	}
	for i, r := range opened {
		n := i
		if i >= 50 {
			n++
		}
		switch want := fmt.Sprintf("item %d", n); {
		case i == 7 && client.CodeOf(r.Err) != client.CodeDecryptFailed, i == 8 && client.CodeOf(r.Err) != "KH1007":
			t.Errorf("item %d: got %v", i, r.Err)
		case i != 7 && i != 8 && (r.Err != nil || string(r.Value.Plaintext) != want):
			t.Errorf("item %d: got %q, %v, want %q", i, r.Value.Plaintext, r.Err, want)
		}
	}
}

func TestBatchesAreBoundedAndGrouped(t *testing.T) {
	s := nativetest.Open(t)
	if status, _, body := ask(t, s, "KeyService/CreateKey", s.Admin, `{"name":"a","algorithm":"aes-256-gcm"}`); status != 200 {
		t.Fatal(body)
	}
	items := func(n int, item string) string {
		return `{"key":"a","items":[` + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + `]}`
	}
	for _, test := range []struct{ body, code string }{
		{items(0, `{}`), "KH1003"}, {items(1025, `{}`), "KH1003"}, {items(700, `{"plaintext":"`+strings.Repeat("AAAA", 2048)+`"}`), "KH1003"}, {items(2, `{"plaintxt":""}`), "KH1001"},
	} {
		if status, _, body := ask(t, s, "CryptoService/EncryptBatch", s.User, test.body); status != 400 || codeIn(t, body) != test.code {
			t.Errorf("%.60s: got %d %.300s, want %s", test.body, status, body, test.code)
		}
	}
	if status, _, body := ask(t, s, "CryptoService/EncryptBatch", s.User, items(1024, `{"plaintext":"AAAA"}`)); status != 200 || strings.Contains(body, "error") {
		t.Errorf("1024 items: got %d %.300s", status, body)
	}
	// One key, one record; the trail shows it.
	records := 0
	for r, err := range at(t, s.URL, s.Auditor, s.CA).ListRecords(t.Context(), client.AuditFilter{Action: "Encrypt", Outcome: "ok"}) {
		if err != nil {
			t.Fatal(err)
		}
		if records++; len(r.Items) != 1024 || r.Dialect != "native" || r.Principal != "svc/orders" || len(r.Keys) != 1 {
			t.Errorf("got a record with %d items: %+v", len(r.Items), r)
		}
	}
	if records != 1 {
		t.Errorf("got %d records, want 1", records)
	}
	// What concerns the caller or the server, not an item, refuses the whole.
	if _, _, body := ask(t, s, "OperatorService/Seal", s.Operator, `{}`); !strings.Contains(body, `"status"`) {
		t.Fatal(body)
	}
	if status, _, body := ask(t, s, "CryptoService/EncryptBatch", s.User, items(2, `{}`)); status != 503 || codeIn(t, body) != "KH1901" {
		t.Errorf("sealed: got %d %s", status, body)
	}
}

func TestDataKeysOfABatchDiffer(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := at(t, s.URL, s.Admin, s.CA), at(t, s.URL, s.User, s.CA)
	if _, err := admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "a", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	in := []client.GenerateDataKeyInput{
		{Key: "a"}, {Key: "a"}, {Key: "a", Length: 16}, {Key: "a", Context: client.Context{"x": "1"}}, {Key: "a", WithoutPlaintext: true}, {Key: "a", Context: client.Context{"x": "1"}},
	}
	out, err := user.GenerateDataKeyBatch(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, r := range out {
		if r.Err != nil || seen[string(r.Value.Ciphertext)] {
			t.Fatalf("item %d: %+v", i, r)
		}
		seen[string(r.Value.Ciphertext)] = true
		opened, err := user.Decrypt(t.Context(), client.DecryptInput{Ciphertext: r.Value.Ciphertext, Context: in[i].Context})
		if err != nil || !in[i].WithoutPlaintext && !bytes.Equal(opened.Plaintext, r.Value.Plaintext) || in[i].WithoutPlaintext != (len(r.Value.Plaintext) == 0) {
			t.Errorf("item %d: opened %d bytes, given %d, %v", i, len(opened.Plaintext), len(r.Value.Plaintext), err)
		}
		if want := max(int(in[i].Length), 16); len(opened.Plaintext) < want {
			t.Errorf("item %d: got %d bytes", i, len(opened.Plaintext))
		}
	}
}

// raw opens a connection and writes what no HTTP library would.
func raw(t *testing.T, s *nativetest.Server, text string) net.Conn {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestACallerThatHangsUpHarmsNobody(t *testing.T) {
	s := nativetest.Open(t)
	head := "POST /keyhold.v1.CryptoService/Encrypt HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + s.User + "\r\nContent-Length: 400\r\n\r\n"
	var wg sync.WaitGroup
	for _, part := range []string{"", `{"key":`, `{"key":"orders","plaintext":"aGVs`} {
		wg.Go(func() {
			conn := raw(t, s, head+part)
			_ = conn.Close()
		})
	}
	wg.Wait()
	// Half a body and then silence on one side: the server answers that it ended early.
	conn := raw(t, s, head+`{"key":`)
	if err := conn.(*tls.Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = conn.Close()
	if codeIn(t, string(body)) != "KH1910" {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if status, _, body := ask(t, s, "AdminService/WhoAmI", s.User, `{}`); status != 200 {
		t.Errorf("afterwards: got %d %s", status, body)
	}
}
