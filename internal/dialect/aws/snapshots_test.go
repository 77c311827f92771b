package aws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// inputs and outputs are the shapes of all operations; answers that are empty have none.
var inputs = []interface {
	decode(*decoder)
	check(*problems)
}{
	&CancelKeyDeletionInput{}, &ConnectCustomKeyStoreInput{}, &CreateAliasInput{}, &CreateCustomKeyStoreInput{}, &CreateGrantInput{}, &CreateKeyInput{},
	&DecapsulateInput{}, &DecryptInput{}, &DeleteAliasInput{}, &DeleteCustomKeyStoreInput{}, &DeleteImportedKeyMaterialInput{},
	&DeriveSharedSecretInput{}, &DescribeCustomKeyStoresInput{}, &DescribeKeyInput{}, &DisableKeyInput{}, &DisableKeyRotationInput{},
	&DisconnectCustomKeyStoreInput{}, &EnableKeyInput{}, &EnableKeyRotationInput{}, &EncapsulateInput{}, &EncryptInput{}, &GenerateDataKeyPairInput{},
	&GenerateDataKeyPairWithoutPlaintextInput{}, &GenerateDataKeyInput{}, &GenerateDataKeyWithoutPlaintextInput{}, &GenerateMacInput{},
	&GenerateRandomInput{}, &GetKeyLastUsageInput{}, &GetKeyPolicyInput{}, &GetKeyRotationStatusInput{}, &GetParametersForImportInput{},
	&GetPublicKeyInput{}, &ImportKeyMaterialInput{}, &ListAliasesInput{}, &ListGrantsInput{}, &ListKeyPoliciesInput{}, &ListKeyRotationsInput{},
	&ListKeysInput{}, &ListResourceTagsInput{}, &ListRetirableGrantsInput{}, &PutKeyPolicyInput{}, &ReEncryptInput{}, &ReplicateKeyInput{},
	&RetireGrantInput{}, &RevokeGrantInput{}, &RotateKeyOnDemandInput{}, &ScheduleKeyDeletionInput{}, &SignInput{}, &TagResourceInput{},
	&UntagResourceInput{}, &UpdateAliasInput{}, &UpdateCustomKeyStoreInput{}, &UpdateKeyDescriptionInput{}, &UpdatePrimaryRegionInput{},
	&VerifyMacInput{}, &VerifyInput{},
}

var outputs = []interface{ encode(*encoder) }{
	&CancelKeyDeletionOutput{}, &ConnectCustomKeyStoreOutput{}, &CreateCustomKeyStoreOutput{}, &CreateGrantOutput{}, &CreateKeyOutput{},
	&DecapsulateOutput{}, &DecryptOutput{}, &DeleteCustomKeyStoreOutput{}, &DeleteImportedKeyMaterialOutput{}, &DeriveSharedSecretOutput{},
	&DescribeCustomKeyStoresOutput{}, &DescribeKeyOutput{}, &DisconnectCustomKeyStoreOutput{}, &EncapsulateOutput{}, &EncryptOutput{},
	&GenerateDataKeyPairOutput{}, &GenerateDataKeyPairWithoutPlaintextOutput{}, &GenerateDataKeyOutput{}, &GenerateDataKeyWithoutPlaintextOutput{},
	&GenerateMacOutput{}, &GenerateRandomOutput{}, &GetKeyLastUsageOutput{}, &GetKeyPolicyOutput{}, &GetKeyRotationStatusOutput{},
	&GetParametersForImportOutput{}, &GetPublicKeyOutput{}, &ImportKeyMaterialOutput{}, &ListAliasesOutput{}, &ListGrantsOutput{},
	&ListKeyPoliciesOutput{}, &ListKeyRotationsOutput{}, &ListKeysOutput{}, &ListResourceTagsOutput{}, &ReEncryptOutput{}, &ReplicateKeyOutput{},
	&RotateKeyOnDemandOutput{}, &ScheduleKeyDeletionOutput{}, &SignOutput{}, &UpdateCustomKeyStoreOutput{}, &VerifyMacOutput{}, &VerifyOutput{},
}

// shape is the name of a shape's operation.
func shape(v any, suffix string) string {
	return strings.TrimSuffix(reflect.TypeOf(v).Elem().Name(), suffix)
}

// snapshot reads a file: what stands in front of the body, and the body.
func snapshot(t *testing.T, path string) (head, body string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/snapshots", path))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	at := strings.LastIndex(text, "\n\n")
	if at < 0 {
		t.Fatalf("%s has no body", path)
	}
	return text[:at], strings.TrimSpace(text[at:])
}

// TestRequestsOfTheSDKAreReadWhole reads each request that the SDK for Go writes, and wants every member of it in the input.
func TestRequestsOfTheSDKAreReadWhole(t *testing.T) {
	for _, in := range inputs {
		name := shape(in, "Input")
		head, body := snapshot(t, "request/"+name+".request.snap")
		if !strings.Contains(head, "X-Amz-Target: "+targetPrefix+name) || !strings.Contains(head, contentType[0]) {
			t.Errorf("%s: the headers are %s", name, head)
		}
		var d decoder
		d.reset([]byte(body), make([]byte, 0, len(body)))
		in.decode(&d)
		if d.end(); d.err != nil {
			t.Errorf("%s: %v", name, d.err)
			continue
		}
		same(t, name, body, plain(t, reflect.ValueOf(in).Elem()))
	}
	if len(inputs) != len(modelled) {
		t.Errorf("%d inputs, the model has %d", len(inputs), len(modelled))
	}
}

// TestAnswersAreWrittenAsTheSDKReadsThem fills each output from what the SDK for Go reads, and wants the same text again.
func TestAnswersAreWrittenAsTheSDKReadsThem(t *testing.T) {
	done := map[string]bool{"ListRetirableGrants": true} // whose answer is that of ListGrants
	for _, out := range outputs {
		name := shape(out, "Output")
		done[name] = true
		_, body := snapshot(t, "response/"+name+".response.snap")
		var members any
		if err := json.Unmarshal([]byte(body), &members); err != nil {
			t.Fatal(err)
		}
		fill(t, name, reflect.ValueOf(out).Elem(), members)
		var e encoder
		out.encode(&e)
		same(t, name, body, e.b)
	}
	for name := range modelled {
		if !done[name] {
			if _, body := snapshot(t, "response/"+name+".response.snap"); body != "{}" {
				t.Errorf("%s answers %s, and has no output here", name, body)
			}
		}
	}
}

// TestErrorsAreWrittenAsTheSDKReadsThem writes each error of the model.
func TestErrorsAreWrittenAsTheSDKReadsThem(t *testing.T) {
	files, err := filepath.Glob("testdata/snapshots/response/*.error.snap")
	if err != nil || len(files) < 45 {
		t.Fatalf("%d errors, %v", len(files), err)
	}
	for _, file := range files {
		head, body := snapshot(t, "response/"+filepath.Base(file))
		code := strings.TrimSuffix(filepath.Base(file), ".error.snap")
		model, _, _ := strings.Cut(head, "\n")
		status, err := strconv.Atoi(model)
		if err != nil {
			t.Fatal(err)
		}
		if status < 500 {
			status = 400
		}
		w := httptest.NewRecorder()
		newFault(code, "__Message__").write(w)
		if w.Code != status || w.Header().Get("Content-Type") != contentType[0] {
			t.Errorf("%s: status %d, type %q", code, w.Code, w.Header().Get("Content-Type"))
		}
		same(t, code, body, w.Body.Bytes())
	}
}

// TestErrorsThatAreSentAreKnownToTheModel finds misspelt names: an SDK has no type for them.
func TestErrorsThatAreSentAreKnownToTheModel(t *testing.T) {
	known := map[string]bool{}
	for _, codes := range modelled {
		for _, c := range codes {
			known[c] = true
		}
	}
	// What AWS answers besides, in every service of its JSON protocols.
	for _, c := range []string{
		"ValidationException", "AccessDeniedException", "ThrottlingException", "MissingAuthenticationTokenException", "IncompleteSignatureException",
		"UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "SerializationException", "UnknownOperationException",
	} {
		known[c] = true
	}
	for _, w := range kindErrors {
		if w.code != "" && !known[w.code] {
			t.Errorf("%s is no error of AWS KMS", w.code)
		}
	}
	for ours, w := range codeErrors {
		if !known[w.code] {
			t.Errorf("%s: %s is no error of AWS KMS", ours, w.code)
		}
	}
}

// same compares JSON texts by what they say.
func same(t *testing.T, name, want string, got []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Errorf("%s: %v in %s", name, err, got)
		return
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
	}
}

// plain writes an input as JSON, by its fields alone.
func plain(t *testing.T, v reflect.Value) []byte {
	t.Helper()
	switch x := v.Interface().(type) {
	case Int:
		return []byte(strconv.Itoa(int(x.Value)))
	case Bool:
		return strconv.AppendBool(nil, x.Value)
	case time.Time:
		return []byte(strconv.FormatInt(x.Unix(), 10))
	case secret.Released:
		b, _ := json.Marshal(x.Wire(release.Wire{})) // of bytes: it cannot fail
		return b
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that shapes have
	case reflect.Pointer:
		return plain(t, v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		var all [][]byte
		for i := range v.Len() {
			all = append(all, plain(t, v.Index(i)))
		}
		return fmt.Appendf(nil, "[%s]", bytes.Join(all, []byte(",")))
	case reflect.Struct:
		var all [][]byte
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !v.Field(i).IsZero() {
				all = append(all, fmt.Appendf(nil, "%q:%s", f.Name, plain(t, v.Field(i))))
			}
		}
		return fmt.Appendf(nil, "{%s}", bytes.Join(all, []byte(",")))
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill puts what JSON says into an output; a member that it has no field for fails the test.
func fill(t *testing.T, path string, v reflect.Value, from any) {
	t.Helper()
	switch v.Interface().(type) {
	case Int:
		v.Set(reflect.ValueOf(Int{Value: int32(number(t, path, from)), Set: true}))
		return
	case Bool:
		v.Set(reflect.ValueOf(Bool{Value: from == true, Set: true}))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(number(t, path, from)), 0)))
		return
	case secret.Released:
		v.Set(reflect.ValueOf(secret.Release(blobOf(t, path, from))))
		return
	case []byte:
		v.SetBytes(blobOf(t, path, from))
		return
	}
	switch from := from.(type) {
	case map[string]any:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		if v.Kind() == reflect.Map {
			v.Set(reflect.MakeMap(v.Type()))
			for name, value := range from {
				v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
			}
			return
		}
		for name, value := range from {
			f := v.FieldByName(name)
			if !f.IsValid() {
				t.Errorf("%s has no member %s", path, name)
				continue
			}
			fill(t, path+"."+name, f, value)
		}
	case []any:
		v.Set(reflect.MakeSlice(v.Type(), len(from), len(from)))
		for i, value := range from {
			fill(t, path, v.Index(i), value)
		}
	default:
		value := reflect.ValueOf(from)
		if value.Type() != v.Type() {
			t.Errorf("%s is of type %s, want %T", path, v.Type(), from)
			return
		}
		v.Set(value)
	}
}

func number(t *testing.T, path string, v any) float64 {
	t.Helper()
	n, ok := v.(float64)
	if !ok {
		t.Errorf("%s is %v, want a number", path, v)
	}
	return n
}

func blobOf(t *testing.T, path string, v any) []byte {
	t.Helper()
	text, ok := v.(string)
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		t.Errorf("%s is %v, want base64", path, v)
	}
	return b
}
