package vault_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/secret"
)

// overSocket asks as the server's machine does.
func overSocket(t *testing.T, s *vaulttest.Server, method, path, body string) vaulttest.Answer {
	t.Helper()
	r := httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body))
	r = r.WithContext(authn.WithPeer(t.Context(), 0))
	r.RemoteAddr = "@"
	w := httptest.NewRecorder()
	s.Vault.ServeHTTP(w, r)
	return vaulttest.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
}

type sealStatus struct {
	Initialized, Sealed bool
	T, N, Progress      int
}

func statusOf(t *testing.T, a vaulttest.Answer) (s sealStatus) {
	t.Helper()
	if err := json.Unmarshal(a.Body, &s); err != nil || a.Status != 200 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	return s
}

// TestAServerIsInitialisedAndUnsealed: initialised over the local socket, unsealed from anywhere with shares in each form, sealed by an operator.
func TestAServerIsInitialisedAndUnsealed(t *testing.T) {
	s := vaulttest.Start(t)
	const wanted = `{"secret_shares":3,"secret_threshold":2}`
	if a := s.Ask(t, "", "PUT", "sys/init", wanted); a.Status != 403 {
		t.Errorf("over the network: got %d %s", a.Status, a.Body)
	}
	for body, want := range map[string]string{
		`{"secret_shares":1,"secret_threshold":1}`:                     "invalid seal configuration",
		`{"secret_shares":2,"secret_threshold":3}`:                     "",
		`{"secret_shares":300,"secret_threshold":2}`:                   "invalid seal configuration",
		`{"secret_shares":3,"secret_threshold":2,"pgp_keys":["x"]}`:    "pgp_keys is not supported",
		`{"secret_shares":3,"secret_threshold":2,"recovery_shares":5}`: "recovery_shares is not supported",
		`{"secret_shares":"x","secret_threshold":2}`:                   "",
		`{"secret_shares":3,"secret_threshold":2`:                      "failed to decode JSON input",
		`[]`: "failed to decode JSON input",
	} {
		if a := overSocket(t, s, "PUT", "sys/init", body); a.Status != 400 || !strings.HasPrefix(a.Errors()[0], want) {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
	a := overSocket(t, s, "PUT", "sys/init", wanted)
	var made struct {
		Keys   []string
		Base64 []string `json:"keys_base64"`
		Root   string   `json:"root_token"`

		Recovery []string `json:"recovery_keys_base64"`
	}
	if err := json.Unmarshal(a.Body, &made); err != nil || a.Status != 200 || len(made.Keys) != 3 || len(made.Base64) != 3 || len(made.Recovery) != 1 || made.Root == "" {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := overSocket(t, s, "PUT", "sys/init", wanted); a.Status != 400 {
		t.Errorf("twice: got %d %s", a.Status, a.Body)
	}
	if st := statusOf(t, s.Ask(t, "", "GET", "sys/seal-status", "")); !st.Initialized || !st.Sealed || st.T != 2 || st.N != 3 {
		t.Errorf("got %+v", st)
	}
	printed, err := hex.DecodeString(made.Keys[2])
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.StdEncoding.DecodeString(made.Base64[2]); err != nil || string(raw) != string(printed) {
		t.Errorf("the two forms differ: %v", err)
	}
	for _, bad := range []string{`{}`, `{"key":""}`, `{"key":7}`, `{"key":"x"}`, `{"key":"` + strings.Repeat("A", 5000) + `"}`, `{"key":"` + made.Keys[0][:20] + `"}`} {
		if a := s.Ask(t, "", "PUT", "sys/unseal", bad); a.Status != 400 {
			t.Errorf("%.40s: got %d %s", bad, a.Status, a.Body)
		}
	}
	if st := statusOf(t, s.Ask(t, "", "PUT", "sys/unseal", `{"key":"`+made.Keys[0]+`"}`)); !st.Sealed || st.Progress != 1 {
		t.Errorf("after one: got %+v", st)
	}
	if a := s.Ask(t, "", "PUT", "sys/unseal", `{"reset":true}`); a.Status != 403 {
		t.Errorf("reset over the network: got %d %s", a.Status, a.Body)
	}
	if st := statusOf(t, overSocket(t, s, "PUT", "sys/unseal", `{"reset":true}`)); st.Progress != 0 {
		t.Errorf("after a reset: got %+v", st)
	}
	for i, key := range []string{made.Base64[1], string(printed)} {
		if st := statusOf(t, s.Ask(t, "", "PUT", "sys/unseal", `{"key":"`+key+`"}`)); st.Sealed != (i == 0) {
			t.Errorf("after share %d: got %+v", i+1, st)
		}
	}
	path := filepath.Join(t.TempDir(), "key")
	text, err := base64.StdEncoding.DecodeString(made.Recovery[0])
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if _, err2 := keyfile.Read(path); err != nil || err2 != nil {
		t.Errorf("the recovery key is no key file: %v %v", err, err2)
	}
	if a := s.Ask(t, made.Root, "GET", "auth/token/lookup-self", ""); a.Status != 403 {
		t.Errorf("the code is a token: got %d %s", a.Status, a.Body)
	}
	out, err := s.Engine.Enroll(t.Context(), kms.Call{Principal: &kms.Principal{Name: "uid:0", Namespace: kms.SystemNamespace, Method: kms.AuthLocal}, Namespace: kms.SystemNamespace},
		engine.EnrollInput{Code: secret.Copy([]byte(made.Root)), Principal: "root-admin"})
	if err != nil || out.Token.Len() == 0 {
		t.Errorf("the code enrols nobody: %v", err)
	}
}

// TestAnOperatorSeals: and nobody else.
func TestAnOperatorSeals(t *testing.T) {
	s := vaulttest.Open(t)
	if a := s.Ask(t, s.User, "PUT", "sys/seal", ""); a.Status != 403 {
		t.Errorf("a user: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Operator, "PUT", "sys/seal", ""); a.Status != 204 {
		t.Errorf("an operator: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "GET", "transit/keys", ""); a.Status != http.StatusServiceUnavailable {
		t.Errorf("sealed: got %d %s", a.Status, a.Body)
	}
}
