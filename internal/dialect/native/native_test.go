package native_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/kms"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ask sends one request as a client without any library would.
func ask(t testing.TB, s *nativetest.Server, method, token, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/keyhold.v1."+method, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.HTTP.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// refusal is an error of the Connect protocol in JSON.
type refusal struct {
	Code    string
	Message string
	Details []struct {
		Type, Value string
		Debug       struct{ Code, Title, What, Next, Decision string }
	}
}

// codeIn finds the code of a refusal; "" if the body is none.
func codeIn(t testing.TB, body string) string {
	t.Helper()
	var r refusal
	if json.Unmarshal([]byte(body), &r) != nil || r.Code == "" {
		return ""
	}
	if len(r.Details) != 1 || r.Details[0].Type != "keyhold.v1.ErrorDetail" || r.Details[0].Debug.What == "" || r.Details[0].Debug.Next == "" {
		t.Errorf("a refusal without its detail: %s", body)
		return "?"
	}
	return r.Details[0].Debug.Code
}

// rpc is one method with requests that must succeed, must be denied and must find nothing. {NAME} in a body stands for
// something that an earlier step made.
type rpc struct {
	method  string
	body    string
	by      string // whose token: admin, user, auditor, operator
	keep    string // regular expression with one group: what to keep of the answer, under the name before '='
	other   string // whose token is denied; empty: no token is good for less
	missing string // body that names what does not exist; empty: nothing is named
	absent  string // the code for it
}

var rpcs = []rpc{
	{method: "KeyService/CreateKey", body: `{"name":"orders","algorithm":"aes-256-gcm"}`, by: "admin", keep: `id="id": ?"([0-9a-f-]{36})"`, other: "user"},
	{method: "KeyService/CreateKey", body: `{"name":"signer","algorithm":"ecdsa-p256"}`, by: "admin"},
	{method: "KeyService/CreateKey", body: `{"name":"mac","algorithm":"hmac-sha-256"}`, by: "admin"},
	{method: "KeyService/DescribeKey", body: `{"key":"{id}"}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/ListKeys", body: `{"namePrefix":"ord","algorithm":"aes-256-gcm","usage":"encrypt","state":"enabled"}`, by: "auditor", other: "operator"},
	{method: "KeyService/ListVersions", body: `{"key":"orders","pageSize":1}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/UpdateKey", body: `{"key":"orders","description":"d","setLabels":{"a":"b"},"addAliases":["o"]}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/RotateKey", body: `{"key":"alias/o"}`, by: "admin", missing: `{"key":"alias/nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/ScheduleRotation", body: `{"key":"orders","cryptoperiod":{"every":"86400s"}}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/ReportRotations", body: `{"namePrefix":"ord"}`, by: "auditor", other: "operator"},
	{method: "KeyService/SuspendKey", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/ResumeKey", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/DisableKey", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/EnableKey", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},

	{method: "CryptoService/Encrypt", body: `{"key":"orders","plaintext":"aGVsbG8=","context":{"a":"b"}}`, by: "user", keep: `sealed="ciphertext": ?"([^"]+)"`, missing: `{"key":"nosuch","plaintext":"aGVsbG8="}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/EncryptBatch", body: `{"key":"orders","items":[{"plaintext":"aGVsbG8="},{"plaintext":"","context":{"a":"b"}}]}`, by: "user"},
	{method: "CryptoService/Decrypt", body: `{"ciphertext":"{sealed}","context":{"a":"b"}}`, by: "user", missing: `{"key":"nosuch","ciphertext":"{sealed}"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/DecryptBatch", body: `{"items":[{"ciphertext":"{sealed}","context":{"a":"b"}}]}`, by: "user"},
	{method: "CryptoService/ReEncrypt", body: `{"ciphertext":"{sealed}","fromContext":{"a":"b"},"toKey":"orders"}`, by: "user", missing: `{"ciphertext":"{sealed}","toKey":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/ReEncryptBatch", body: `{"toKey":"orders","items":[{"ciphertext":"{sealed}","fromContext":{"a":"b"}}]}`, by: "user"},
	{method: "CryptoService/GenerateDataKey", body: `{"key":"orders","length":16}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/GenerateDataKeyBatch", body: `{"key":"orders","items":[{},{"withoutPlaintext":true}]}`, by: "user"},
	{method: "CryptoService/Sign", body: `{"key":"signer","message":"aGVsbG8="}`, by: "user", keep: `signature="signature": ?"([^"]+)"`, missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/SignBatch", body: `{"key":"signer","items":[{"message":"aGVsbG8="}]}`, by: "user"},
	{method: "CryptoService/Verify", body: `{"key":"signer","message":"aGVsbG8=","signature":"{signature}"}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/VerifyBatch", body: `{"key":"signer","items":[{"message":"aGVsbG8=","signature":"{signature}"}]}`, by: "user"},
	{method: "CryptoService/GenerateMac", body: `{"key":"mac","message":"aGVsbG8="}`, by: "user", keep: `mac="mac": ?"([^"]+)"`, missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/GenerateMacBatch", body: `{"key":"mac","items":[{"message":"aGVsbG8="}]}`, by: "user"},
	{method: "CryptoService/VerifyMac", body: `{"key":"mac","message":"aGVsbG8=","mac":"{mac}"}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/VerifyMacBatch", body: `{"key":"mac","items":[{"message":"aGVsbG8=","mac":"{mac}"}]}`, by: "user"},
	{method: "CryptoService/GenerateRandom", body: `{"length":16}`, by: "user", other: "admin"},
	{method: "CryptoService/GetPublicKey", body: `{"key":"signer"}`, by: "user", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},

	{method: "KeyService/CreateKey", body: `{"name":"agree","algorithm":"ecdh-p256"}`, by: "admin"},
	{method: "KeyService/CreateKey", body: `{"name":"kem","algorithm":"ml-kem-768"}`, by: "admin"},
	{method: "KeyService/CreateKey", body: `{"name":"kek","algorithm":"aes-256-kw"}`, by: "admin"},
	{method: "KeyService/CreateKey", body: `{"name":"cards","algorithm":"aes-256-ff1"}`, by: "admin"},
	{method: "CryptoService/GetPublicKey", body: `{"key":"agree"}`, by: "user", keep: `peer="publicKey": ?"([^"]+)"`},
	{method: "CryptoService/DeriveSharedSecret", body: `{"key":"agree","peerPublicKey":"{peer}","kdf":"hkdf-sha-256","info":"aGVsbG8=","salt":"AAA=","length":16}`, by: "user", missing: `{"key":"nosuch","peerPublicKey":"{peer}"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/Encapsulate", body: `{"key":"kem"}`, by: "user", keep: `capsule="ciphertext": ?"([^"]+)"`, missing: `{"key":"nosuch"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/Decapsulate", body: `{"key":"kem","ciphertext":"{capsule}"}`, by: "user", missing: `{"key":"nosuch","ciphertext":"{capsule}"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/WrapKey", body: `{"key":"kek","material":"aGVsbG8="}`, by: "user", keep: `wrapped="wrapped": ?"([^"]+)"`, missing: `{"key":"nosuch","material":"aGVsbG8="}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/WrapKeyBatch", body: `{"key":"kek","items":[{"material":"aGVsbG8="},{"material":"AAAAAAAAAAAAAAAAAAAAAA==","scheme":"aes-kw"}]}`, by: "user"},
	{method: "CryptoService/UnwrapKey", body: `{"key":"kek","wrapped":"{wrapped}"}`, by: "user", missing: `{"key":"nosuch","wrapped":"{wrapped}"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/UnwrapKeyBatch", body: `{"key":"kek","items":[{"wrapped":"{wrapped}"}]}`, by: "user"},
	{method: "CryptoService/EncryptFormat", body: `{"key":"cards","text":"4111 1111","preserveOthers":true,"tweak":"AAA="}`, by: "user", keep: `card="text": ?"([^"]+)"`, missing: `{"key":"nosuch","text":"123456"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/EncryptFormatBatch", body: `{"key":"cards","items":[{"text":"123456"},{"text":"abcdef","alphabet":"letters"}]}`, by: "user"},
	{method: "CryptoService/DecryptFormat", body: `{"key":"cards","text":"{card}","preserveOthers":true,"tweak":"AAA="}`, by: "user", missing: `{"key":"nosuch","text":"123456"}`, absent: "KH1301", other: "admin"},
	{method: "CryptoService/DecryptFormatBatch", body: `{"key":"cards","items":[{"text":"{card}","preserveOthers":true,"tweak":"AAA="}]}`, by: "user"},
	{method: "CryptoService/GenerateDataKeyPair", body: `{"key":"orders","algorithm":"ed25519"}`, by: "user", missing: `{"key":"nosuch","algorithm":"ed25519"}`, absent: "KH1301", other: "admin"},

	{method: "KeyService/DeactivateVersion", body: `{"key":"orders","version":1}`, by: "admin", missing: `{"key":"orders","version":99}`, absent: "KH1302", other: "user"},
	{method: "KeyService/RotateKey", body: `{"key":"orders","preActive":true}`, by: "admin"},
	{method: "KeyService/ActivateVersion", body: `{"key":"orders","version":3}`, by: "admin", missing: `{"key":"orders","version":99}`, absent: "KH1302", other: "user"},
	{method: "KeyService/SuspendVersion", body: `{"key":"orders","version":2}`, by: "admin", missing: `{"key":"orders","version":99}`, absent: "KH1302", other: "user"},
	{method: "KeyService/ResumeVersion", body: `{"key":"orders","version":2}`, by: "admin", missing: `{"key":"nosuch","version":2}`, absent: "KH1301", other: "user"},
	{method: "KeyService/ArchiveVersion", body: `{"key":"orders","version":1}`, by: "admin", missing: `{"key":"orders","version":99}`, absent: "KH1302", other: "user"},
	{method: "KeyService/RecallVersion", body: `{"key":"orders","version":1,"end":true}`, by: "admin", missing: `{"key":"orders","version":99,"end":true}`, absent: "KH1302", other: "user"},
	{method: "KeyService/CompromiseVersion", body: `{"key":"orders","versions":[2]}`, by: "admin", missing: `{"key":"orders","versions":[99]}`, absent: "KH1302", other: "user"},
	{method: "KeyService/CreateKey", body: `{"name":"old","algorithm":"aes-256-gcm"}`, by: "admin"},
	{method: "KeyService/RotateKey", body: `{"key":"old"}`, by: "admin"},
	{method: "UsageService/ReadUsage", body: `{"key":"orders"}`, by: "auditor", missing: `{"key":"orders","version":99}`, absent: "KH1302", other: "operator"},
	{method: "UsageService/CheckRetirement", body: `{"key":"old","version":1}`, by: "auditor", missing: `{"key":"old","version":99}`, absent: "KH1302", other: "operator"},
	{method: "UsageService/RetireVersion", body: `{"key":"old","version":1,"window":"864000s"}`, by: "admin", missing: `{"key":"old","version":99}`, absent: "KH1302", other: "user"},
	{method: "UsageService/ObserveKey", body: `{"key":"orders"}`, by: "auditor", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "UsageService/AssessKey", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/PutKeyPolicy", body: `{"key":"old","text":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::000000000000:root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}}"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "KeyService/GetKeyPolicy", body: `{"key":"old"}`, by: "auditor", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/CreateGrant", body: `{"key":"old","grantee":"svc/g","retiring":"alice","operations":["Encrypt","DescribeKey"],"contextSubset":{"a":"b"}}`, by: "admin", keep: `grant="id": ?"([0-9a-f]{64})"`, missing: `{"key":"nosuch","grantee":"svc/g","operations":["Encrypt"]}`, absent: "KH1301", other: "user"},
	{method: "KeyService/ListGrants", body: `{"key":"old"}`, by: "auditor", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/ListRetirableGrants", body: `{"retiring":"alice"}`, by: "auditor", other: "operator"},
	{method: "KeyService/RevokeGrant", body: `{"key":"old","grant":"{grant}"}`, by: "admin", missing: `{"key":"old","grant":"0000000000000000000000000000000000000000000000000000000000000000"}`, absent: "KH1303", other: "user"},
	{method: "KeyService/CreateGrant", body: `{"key":"old","grantee":"svc/g","operations":["Encrypt"]}`, by: "admin", keep: `grant="id": ?"([0-9a-f]{64})"`},
	{method: "KeyService/RetireGrant", body: `{"key":"old","grant":"{grant}"}`, by: "admin", missing: `{"key":"old","grant":"0000000000000000000000000000000000000000000000000000000000000000"}`, absent: "KH1303", other: "user"},
	{method: "KeyService/ScheduleKeyDestruction", body: `{"key":"orders","window":"864000s"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},
	{method: "DestructionService/ReadReceipt", body: `{"key":"orders"}`, by: "auditor", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "operator"},
	{method: "KeyService/CancelKeyDestruction", body: `{"key":"orders"}`, by: "admin", missing: `{"key":"nosuch"}`, absent: "KH1301", other: "user"},

	{method: "AdminService/CreateNamespace", body: `{"name":"tenant-a","description":"d"}`, by: "operator", other: "admin"},
	{method: "AdminService/UpdateNamespace", body: `{"name":"tenant-a","separationOfDuties":false}`, by: "operator", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/DescribeNamespace", body: `{"name":"tenant-a"}`, by: "operator", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/ListNamespaces", body: `{"pageSize":2}`, by: "operator"},
	{method: "DestructionService/ScheduleNamespaceDestruction", body: `{"name":"tenant-a","window":"864000s"}`, by: "operator", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "DestructionService/ReadReceipt", body: `{"namespace":"tenant-a"}`, by: "operator", missing: `{"namespace":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "DestructionService/CancelNamespaceDestruction", body: `{"name":"tenant-a"}`, by: "operator", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/CheckPolicy", body: `{"id":"p","text":"permit (principal == Principal::\"svc/x\", action == Action::\"Encrypt\", resource);"}`, by: "admin", other: "user"},
	{method: "AdminService/PutPolicy", body: `{"id":"p","text":"permit (principal == Principal::\"svc/x\", action == Action::\"Encrypt\", resource);"}`, by: "admin", other: "user"},
	{method: "AdminService/GetPolicy", body: `{"id":"p"}`, by: "admin", missing: `{"id":"nosuch"}`, absent: "KH1303"},
	{method: "AdminService/ListPolicies", body: `{}`, by: "auditor"},
	{method: "AdminService/DeletePolicy", body: `{"id":"p"}`, by: "admin", missing: `{"id":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/CanI", body: `{"action":"Encrypt","key":"orders"}`, by: "user"},
	{method: "AdminService/CreateToken", body: `{"principal":"svc/y","roles":["user"],"scope":["Encrypt"],"ttl":"3600s"}`, by: "admin", keep: `token="id": ?"([0-9a-f-]{36})"`, other: "user"},
	{method: "AdminService/ListTokens", body: `{}`, by: "admin", other: "user"},
	{method: "AdminService/GetToken", body: `{"id":"{token}"}`, by: "admin", missing: `{"id":"00000000-0000-7000-8000-000000000000"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/RevokeToken", body: `{"id":"{token}"}`, by: "admin", missing: `{"id":"00000000-0000-7000-8000-000000000000"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/CreateCredential", body: `{"subject":"spiffe://example.org/svc","principal":"svc/z","roles":["user"]}`, by: "admin", other: "user"},
	{method: "AdminService/ListCredentials", body: `{}`, by: "admin", other: "user"},
	{method: "AdminService/RevokeCredential", body: `{"subject":"spiffe://example.org/svc"}`, by: "admin", missing: `{"subject":"spiffe://example.org/no"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/CreateAccessKey", body: `{"principal":"svc/aws","roles":["user"],"scope":["Encrypt"],"ttl":"3600s"}`, by: "admin", keep: `access="id": ?"(AKIA[A-Z2-7]{16})"`, other: "user"},
	{method: "AdminService/ListAccessKeys", body: `{"principal":"svc/aws"}`, by: "admin", other: "user"},
	{method: "AdminService/RotateAccessKey", body: `{"id":"{access}","grace":"0s"}`, by: "admin", missing: `{"id":"AKIAAAAAAAAAAAAAAAAA"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/RevokeAccessKey", body: `{"id":"{access}"}`, by: "admin", missing: `{"id":"AKIAAAAAAAAAAAAAAAAA"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/PutRole", body: `{"role":{"name":"batch","roles":["user"],"trust":{"principals":["svc/aws"],"web":[{"issuer":"https://issuer.example","audiences":["keyhold"],"claims":{"sub":"ci"}}]},"maxSession":"1800s"}}`, by: "admin", other: "user"},
	{method: "AdminService/GetRole", body: `{"name":"batch"}`, by: "admin", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/ListRoles", body: `{}`, by: "admin", other: "user"},
	{method: "AdminService/DeleteRole", body: `{"name":"batch"}`, by: "admin", missing: `{"name":"nosuch"}`, absent: "KH1303", other: "user"},
	{method: "AdminService/WhoAmI", body: `{}`, by: "user"},
	{method: "AdminService/ListJobs", body: `{}`, by: "operator", other: "admin"},
	{method: "AdminService/RollEpoch", body: `{}`, by: "operator", other: "admin"},
	{method: "AdminService/RotateRoot", body: `{}`, by: "operator", other: "admin"},
	{method: "AdminService/RebuildUsage", body: `{}`, by: "operator", other: "admin"},
	{method: "AdminService/CheckStore", body: `{}`, by: "operator", other: "admin"},

	{method: "AuditService/ListRecords", body: `{"action":"Encrypt","outcome":"denied","pageSize":1,"since":"2020-01-01T00:00:00Z"}`, by: "auditor", keep: `position="position": ?"([^"]+)"`, other: "user"},
	{method: "AdminService/Explain", body: `{"decision":"{position}"}`, by: "admin", missing: `{"decision":"n1-000001-99999999"}`, absent: "KH1303", other: "user"},
	{method: "AuditService/ProveRecord", body: `{"position":"{position}"}`, by: "auditor", missing: `{"position":"n1-000001-99999999"}`, absent: "KH1303", other: "user"},
	{method: "AuditService/GetCheckpoint", body: `{}`, by: "auditor", keep: `checkpoint="checkpoint": ?"([^"]+)"`, other: "user"},
	{method: "AuditService/ProveConsistency", body: `{"checkpoint":"{checkpoint}"}`, by: "auditor", missing: `{"from":{"origin":"keyhold.nosuch/n1/1","size":"3"}}`, absent: "KH1303", other: "user"},

	{method: "OperatorService/GetStatus", body: `{}`, by: "operator"},
	{method: "OperatorService/Unseal", body: `{"reset":true}`, by: "operator"},
	{method: "OperatorService/ConfirmClock", body: `{}`, by: "operator", other: "admin"},
	{method: "OperatorService/Seal", body: `{}`, by: "operator", other: "admin"},
}

// elsewhere are methods that this table cannot call like the others, with the test that does.
var elsewhere = map[string]string{
	"OperatorService/Init":           "TestOnlyTheLocalSocketInitialises",
	"OperatorService/MintEnrollment": "TestOnlyTheLocalSocketInitialises",
	"OperatorService/Enroll":         "TestOnlyTheLocalSocketInitialises",
	"OperatorService/Export":         "TestExportStreamsToItsEnd",
}

func token(s *nativetest.Server, who string) string {
	return map[string]string{"admin": s.Admin, "user": s.User, "auditor": s.Auditor, "operator": s.Operator}[who]
}

func TestTheTableHasEveryMethod(t *testing.T) {
	have := map[string]bool{}
	for _, r := range rpcs {
		have[r.method] = true
	}
	for _, f := range []protoreflect.FileDescriptor{
		keyholdv1.File_keyhold_v1_key_proto, keyholdv1.File_keyhold_v1_crypto_proto, keyholdv1.File_keyhold_v1_admin_proto,
		keyholdv1.File_keyhold_v1_audit_proto, keyholdv1.File_keyhold_v1_operator_proto, keyholdv1.File_keyhold_v1_usage_proto,
	} {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				name := string(s.Name()) + "/" + string(s.Methods().Get(j).Name())
				if !have[name] && elsewhere[name] == "" {
					t.Errorf("%s is not tested", name)
				}
			}
		}
	}
}

// Every method: works for who may, refuses who may not, says what is not there, and asks for a credential.
func TestEveryMethod(t *testing.T) {
	s := nativetest.Open(t)
	made := map[string]string{}
	fill := func(body string) string {
		for name, value := range made {
			body = strings.ReplaceAll(body, "{"+name+"}", value)
		}
		return body
	}
	for _, r := range rpcs {
		public := r.method == "OperatorService/GetStatus" || r.method == "OperatorService/Unseal"
		if status, _, body := ask(t, s, r.method, "", fill(r.body)); !public && (status != 401 || codeIn(t, body) != "KH1101") {
			t.Errorf("%s without a credential: got %d %s", r.method, status, body)
		}
		if r.other != "" {
			headers := []string{}
			if r.other == "operator" {
				headers = []string{"Keyhold-Namespace", "default"} // operators are denied in it, and know that it exists
			}
			status, _, body := ask(t, s, r.method, token(s, r.other), fill(r.body), headers...)
			if code := codeIn(t, body); status != 403 || code != "KH1201" && code != "KH1202" {
				t.Errorf("%s by %s: got %d %s, want 403", r.method, r.other, status, body)
			}
		}
		if r.missing != "" {
			if _, _, body := ask(t, s, r.method, token(s, r.by), fill(r.missing)); codeIn(t, body) != r.absent {
				t.Errorf("%s of what is not there: got %s, want %s", r.method, body, r.absent)
			}
		}
		status, head, body := ask(t, s, r.method, token(s, r.by), fill(r.body))
		if status != 200 || !json.Valid([]byte(body)) || head.Get("X-Request-Id") == "" {
			t.Errorf("%s by %s: got %d %s", r.method, r.by, status, body)
		}
		if strings.HasSuffix(r.method, "Batch") && strings.Contains(body, `"error"`) {
			t.Errorf("%s: an item failed: %s", r.method, body)
		}
		if name, pattern, ok := strings.Cut(r.keep, "="); ok {
			m := regexp.MustCompile(pattern).FindStringSubmatch(body)
			if m == nil {
				t.Fatalf("%s: nothing to keep in %s", r.method, body)
			}
			made[name] = m[1]
		}
	}
}

// A sealed server says so, to everybody, before it asks who they are.
func TestASealedServerSaysSoFirst(t *testing.T) {
	s := nativetest.Open(t)
	if status, _, body := ask(t, s, "OperatorService/Seal", s.Operator, `{}`); status != 200 {
		t.Fatalf("seal: %d %s", status, body)
	}
	for _, r := range rpcs {
		if strings.HasPrefix(r.method, "OperatorService/") && r.method != "OperatorService/Seal" {
			continue
		}
		for _, tok := range []string{"", s.User} {
			if status, _, body := ask(t, s, r.method, tok, `{}`); status != 503 || codeIn(t, body) != "KH1901" {
				t.Errorf("%s with token %t: got %d %s, want KH1901", r.method, tok != "", status, body)
			}
		}
	}
	status, _, body := ask(t, s, "OperatorService/GetStatus", "", `{}`)
	if status != 200 || !strings.Contains(body, `"sealed":true`) && !strings.Contains(body, `"sealed": true`) || strings.Contains(body, "recipients") {
		t.Errorf("status: got %d %s", status, body)
	}
	for i, share := range s.Shares[:2] {
		if status, _, body = ask(t, s, "OperatorService/Unseal", "", `{"share":"`+share+`"}`); status != 200 {
			t.Fatalf("share %d: %d %s", i, status, body)
		}
	}
	if status, _, body := ask(t, s, "AdminService/WhoAmI", s.User, `{}`); status != 200 {
		t.Errorf("after unsealing: got %d %s", status, body)
	}
}

// The short path and the codec answer alike: the same request by both ways (the codec answers a charset).
func TestBothPathsAnswerAlike(t *testing.T) {
	s := nativetest.Open(t)
	for _, r := range rpcs[:3] {
		if status, _, body := ask(t, s, r.method, s.Admin, r.body); status != 200 {
			t.Fatal(body)
		}
	}
	field := func(body, name string) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		v, _ := m[name].(string)
		return v
	}
	_, _, sealed := ask(t, s, "CryptoService/Encrypt", s.User, `{"key":"orders","plaintext":"aGVsbG8=","context":{"a":"b"}}`)
	_, _, empty := ask(t, s, "CryptoService/Encrypt", s.User, `{"key":"orders"}`)
	_, _, signed := ask(t, s, "CryptoService/Sign", s.User, `{"key":"signer","message":"aGVsbG8="}`)
	_, _, mac := ask(t, s, "CryptoService/GenerateMac", s.User, `{"key":"mac","message":"aGVsbG8="}`)
	c, e, g, m := field(sealed, "ciphertext"), field(empty, "ciphertext"), field(signed, "signature"), field(mac, "mac")
	random := regexp.MustCompile(`"(ciphertext|plaintext|signature)": ?"[^"]*"`)
	varies := regexp.MustCompile(`n1-000001-\d+`)
	for n, test := range []struct{ method, body string }{
		{"Encrypt", `{"key":"orders","plaintext":"aGVsbG8="}`}, {"Encrypt", `{"key":"orders","dryRun":true}`}, {"Encrypt", `{"key":"signer"}`},
		{"Encrypt", `{"key":"orders","scheme":"nosuch"}`}, {"Encrypt", `{"key":"orders","context":{"":""}}`}, {"Encrypt", `{"key":"orders","context":{"a":"b"},"aad":"AA=="}`},
		{"Encrypt", `{"key":"orders","plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 65537)) + `"}`},
		{"Encrypt", `{"key":"orders","plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 65536)) + `"}`},
		{"Encrypt", `{"key":"orders","plaintext":"-_-_"}`}, {"Encrypt", `{"key":"\u006frders","version":"1"}`}, {"Encrypt", `{"key":null}`}, {"Encrypt", `{"key":"orders"`},
		{"Encrypt", ``}, {"Encrypt", `[]`}, {"Encrypt", `{"key":"orders","plaintext":"%%%%"}`}, {"Encrypt", `{"key":"orders","key":"orders"}`}, {"Encrypt", `{"version":1.5}`},
		{"Encrypt", `{"key":"orders","version":9}`}, {"Encrypt", `{"key":"nosuch"}`}, {"Encrypt", `{}`}, {"Encrypt", `{"key":"a b"}`},
		{"Decrypt", `{"ciphertext":"` + c + `","context":{"a":"b"}}`}, {"Decrypt", `{"ciphertext":"` + e + `"}`}, {"Decrypt", `{"ciphertext":"` + c + `"}`},
		{"Decrypt", `{"key":"mac","ciphertext":"` + c + `","context":{"a":"b"}}`}, {"Decrypt", `{"ciphertext":"AAAA"}`}, {"Decrypt", `{}`},
		{"GenerateDataKey", `{"key":"orders"}`}, {"GenerateDataKey", `{"key":"orders","length":1025}`}, {"GenerateDataKey", `{"key":"orders","without_plaintext":true}`},
		{"Sign", `{"key":"signer","message":"aGVsbG8="}`}, {"Sign", `{"key":"signer","message":"aGVsbG8=","digested":true}`}, {"Sign", `{"key":"orders"}`},
		{"Verify", `{"key":"signer","message":"aGVsbG8=","signature":"` + g + `"}`}, {"Verify", `{"key":"signer","message":"aGVsbG9v","signature":"` + g + `"}`},
		{"GenerateMac", `{"key":"mac","message":"aGVsbG8="}`}, {"VerifyMac", `{"key":"mac","message":"aGVsbG8=","mac":"` + m + `"}`}, {"VerifyMac", `{"key":"mac","mac":"` + m + `"}`},
		{"EncryptBatch", `{"key":"orders","items":[{"plaintext":"aGVsbG8="},{"key":"nosuch"},{"key":"signer"},{"scheme":"nosuch"},{"aad":"AA==","context":{"a":"b"}},{"aad":"AA=="},{"version":1},{}]}`},
		{"EncryptBatch", `{"key":"nosuch","items":[{},{}]}`}, {"EncryptBatch", `{"key":"orders","items":[{},{"context":{"":""}},{}]}`}, {"EncryptBatch", `{"items":[{}]}`}, {"EncryptBatch", `{}`},
		{"EncryptBatch", `{"key":"orders","items":[]}`}, {"EncryptBatch", `{"key":"orders","items":[` + strings.Repeat("{},", 1024) + `{}]}`}, {"EncryptBatch", `{"key":"orders","items":[{"plaintxt":""}]}`},
		{"EncryptBatch", `{"key":"orders","items":[` + strings.Repeat(`{"plaintext":"`+strings.Repeat("AAAA", 2048)+`"},`, 699) + `{}]}`},
		{"EncryptBatch", `{"key":"orders","items":[{"plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 65537)) + `"},{}]}`},
		{"DecryptBatch", `{"items":[{"ciphertext":"` + e + `"},{"ciphertext":"` + c + `","context":{"a":"b"}},{"ciphertext":"` + c + `"},{"ciphertext":"AAAA"},{},{"key":"mac","ciphertext":"` + e + `"},{"key":"orders","raw":true}]}`},
		{"DecryptBatch", `{"items":[{"ciphertext":"` + c + `"},{"ciphertext":"AAAA"}]}`}, {"DecryptBatch", `{"items":[{"ciphertext":"` + c + `","context":{"a":"b"}}]}`},
		{"GenerateDataKeyBatch", `{"key":"orders","items":[{},{"length":16},{"context":{"a":"b"}},{"without_plaintext":true},{"length":1025},{"context":{"a":"b"}},{"key":"signer"}]}`},
		{"SignBatch", `{"key":"signer","items":[{"message":"aGVsbG8="},{"message":"aGVsbG8=","digested":true},{"key":"orders"},{"scheme":"nosuch"},{"version":9}]}`},
		{"VerifyBatch", `{"key":"signer","items":[{"message":"aGVsbG8=","signature":"` + g + `"},{"message":"aGVsbG9v","signature":"` + g + `"},{"key":"mac"}]}`},
		{"GenerateMacBatch", `{"key":"mac","items":[{"message":"aGVsbG8="},{},{"key":"orders"}]}`}, {"VerifyMacBatch", `{"key":"mac","items":[{"message":"aGVsbG8=","mac":"` + m + `"},{"mac":"` + m + `"},{"key":"a b"}]}`},
	} {
		all := [][]string{{}, {"Keyhold-Dry-Run", "true"}, {"Keyhold-Namespace", "nosuch"}, {"Connect-Timeout-Ms", "0"}, {"Connect-Timeout-Ms", "x"}, {"Connect-Protocol-Version", "2"}}
		if n%8 != 0 && !strings.HasSuffix(test.method, "Batch") {
			all = all[:2]
		}
		for _, headers := range all {
			var status [2]int
			var body [2]any
			var kind [2]string
			for i, contentType := range []string{"application/json", "application/json; charset=utf-8"} {
				headers := append([]string{"X-Request-Id", "r", "Content-Type", contentType}, headers...)
				code, head, text := ask(t, s, "CryptoService/"+test.method, s.User, test.body, headers...)
				status[i], kind[i] = code, strings.TrimSuffix(head.Get("Content-Type"), "; charset=utf-8")
				switch strings.TrimSuffix(test.method, "Batch") {
				case "Encrypt", "GenerateDataKey", "Sign":
					text = random.ReplaceAllString(text, `"$1":"…"`)
				}
				// A decision's id is in the text and in the detail's encoding; what it is differs from one decision to the next.
				text = regexp.MustCompile(`"value": ?"[^"]*"`).ReplaceAllString(varies.ReplaceAllString(text, "position"), `"value":""`)
				if err := json.Unmarshal([]byte(text), &body[i]); err != nil && text != "" {
					t.Errorf("%s: not JSON: %s", test.method, text)
				}
			}
			a, _ := json.Marshal(body[0])
			b, _ := json.Marshal(body[1])
			if status[0] != status[1] || kind[0] != kind[1] || !bytes.Equal(a, b) {
				t.Errorf("%s %.100s %v\nshort path %d %s %.300s\ncodec      %d %s %.300s", test.method, test.body, headers, status[0], kind[0], a, status[1], kind[1], b)
			}
		}
	}
}

func TestHeadersAreChecked(t *testing.T) {
	s := nativetest.Open(t)
	for _, test := range []struct{ name, value, code string }{
		{"Keyhold-Namespace", "No Such", "KH1002"}, {"Keyhold-Namespace", "nosuch", ""}, {"Keyhold-Dry-Run", "maybe", "KH1001"},
		{"Keyhold-Idempotency-Token", strings.Repeat("x", 129), "KH1005"}, {"Keyhold-Reason", strings.Repeat("x", 257), "KH1001"},
		{"X-Request-Id", strings.Repeat("x", 65), "KH1001"}, {"Keyhold-Reason", "naïve", "KH1001"},
	} {
		status, _, body := ask(t, s, "AdminService/WhoAmI", s.User, `{}`, test.name, test.value)
		if code := codeIn(t, body); test.code != "" && code != test.code || status == 200 && test.code != "" {
			t.Errorf("%s: %.20s: got %d %s, want %s", test.name, test.value, status, body, test.code)
		}
	}
	_, head, body := ask(t, s, "AdminService/WhoAmI", s.User, `{}`, "X-Request-Id", "mine-1")
	if head.Get("X-Request-Id") != "mine-1" || !strings.Contains(body, `"default"`) {
		t.Errorf("got %q %s", head.Get("X-Request-Id"), body)
	}
}

func TestDryRunsChangeNothing(t *testing.T) {
	s := nativetest.Open(t)
	if status, _, body := ask(t, s, "KeyService/CreateKey", s.Admin, `{"name":"k","algorithm":"aes-256-gcm"}`, "Keyhold-Dry-Run", "true"); status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	if status, _, _ := ask(t, s, "KeyService/DescribeKey", s.Admin, `{"key":"k"}`); status != 404 {
		t.Errorf("the key is there: %d", status)
	}
}

func TestTheSameIdempotencyTokenChangesOnce(t *testing.T) {
	s := nativetest.Open(t)
	const body = `{"name":"k","algorithm":"aes-256-gcm"}`
	id := regexp.MustCompile(`"id": ?"([0-9a-f-]{36})"`)
	_, _, first := ask(t, s, "KeyService/CreateKey", s.Admin, body, "Keyhold-Idempotency-Token", "t-1")
	status, _, again := ask(t, s, "KeyService/CreateKey", s.Admin, body, "Keyhold-Idempotency-Token", "t-1")
	if status != 200 || id.FindString(first) == "" || id.FindString(first) != id.FindString(again) {
		t.Errorf("first %s\nagain %d %s", first, status, again)
	}
	if status, _, other := ask(t, s, "KeyService/CreateKey", s.Admin, `{"name":"l","algorithm":"aes-256-gcm"}`, "Keyhold-Idempotency-Token", "t-1"); codeIn(t, other) != "KH1403" {
		t.Errorf("another request with the same token: got %d %s", status, other)
	}
}

func TestUnknownMethodsAndWrongVerbs(t *testing.T) {
	s := nativetest.Open(t)
	status, _, body := ask(t, s, "CryptoService/Encrpyt", s.User, `{}`)
	if status != 404 || codeIn(t, body) != "KH1303" || !strings.Contains(body, "did you mean /keyhold.v1.CryptoService/Encrypt?") {
		t.Errorf("got %d %s", status, body)
	}
	if _, _, body = ask(t, s, "CrptoService/Encrypt", s.User, `{}`); codeIn(t, body) != "KH1303" || !strings.Contains(body, "did you mean /keyhold.v1.CryptoService/Encrypt?") {
		t.Errorf("got %s", body)
	}
	res, err := s.HTTP.Client().Get(s.URL + "/keyhold.v1.AdminService/WhoAmI?encoding=json&message=%7B%7D")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: got %d", res.StatusCode)
	}
	if status, _, _ := ask(t, s, "AdminService/WhoAmI", s.User, `{}`, "Content-Type", "text/plain"); status != http.StatusUnsupportedMediaType {
		t.Errorf("text: got %d", status)
	}
}

// Both paths call it the same: a request that is no error of the server's.
func TestABodyThatBreaksOffIsTheCallersFault(t *testing.T) {
	s := nativetest.Open(t)
	for _, method := range []string{"CryptoService/Encrypt", "KeyService/CreateKey"} { // the short path, the library's
		r := httptest.NewRequest(http.MethodPost, "/keyhold.v1."+method, iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"name":"x"}`))))
		r.Header.Set("Authorization", "Bearer "+s.Admin)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if w.Code != 499 || !strings.Contains(w.Body.String(), kms.CodeCancelled.String()) {
			t.Errorf("%s: got %d %s", method, w.Code, w.Body)
		}
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	s := nativetest.Open(t)
	for _, method := range []string{"CryptoService/Encrypt", "KeyService/CreateKey"} {
		big := `{"key":"` + strings.Repeat("x", 9<<20) + `"}`
		if status, _, body := ask(t, s, method, s.User, big); codeIn(t, body) != "KH1003" {
			t.Errorf("%s with 9 MiB: got %d %.200s", method, status, body)
		}
		middle := `{"key":"` + strings.Repeat("x", 8<<20+1) + `"}`
		if status, _, body := ask(t, s, method, s.User, middle); status != 429 && status != 400 {
			t.Errorf("%s with more than 8 MiB: got %d %.200s", method, status, body)
		}
		// 64 MiB of zeros in 64 KiB: what it would become is refused before it is.
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		_, _ = z.Write([]byte(`{"key":"`))
		for range 64 {
			_, _ = z.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		_ = z.Close()
		if status, _, body := ask(t, s, method, s.User, bomb.String(), "Content-Encoding", "gzip"); status != 429 || len(body) > 4096 {
			t.Errorf("%s with a bomb: got %d %.200s", method, status, body)
		}
	}
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, _ = z.Write([]byte(`{}`))
	_ = z.Close()
	if status, _, body := ask(t, s, "AdminService/WhoAmI", s.User, small.String(), "Content-Encoding", "gzip"); status != 200 {
		t.Errorf("a small gzip: got %d %s", status, body)
	}
}

func TestKindsOfTheTableExist(t *testing.T) {
	for _, r := range rpcs {
		if r.absent != "" && !strings.HasPrefix(r.absent, "KH13") {
			t.Errorf("%s: %s is not of kind %s", r.method, r.absent, kms.KindNotFound)
		}
	}
}
