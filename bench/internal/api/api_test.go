package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/bare"
	"github.com/keyhold/keyhold/bench/internal/wire"
)

// through sends requests to a handler.
func through(h http.Handler) api.Do {
	return func(r wire.Request) (int, []byte, error) {
		q := httptest.NewRequest(r.Method, r.Path, strings.NewReader(string(r.Body)))
		for _, f := range r.Header {
			q.Header.Set(f[0], f[1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		return w.Code, w.Body.Bytes(), nil
	}
}

// The yardstick answers every operation, correctly.
func TestTheYardstickDoesEveryOperation(t *testing.T) {
	do := through(bare.New(nil))
	for _, op := range api.Ops {
		req, err := api.Prepare(api.Vault{}, do, op, "k-"+op.Name)
		if err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		if status, body, _ := do(req); !api.OK(status) {
			t.Errorf("%s: the request to load with is answered by %d %s", op.Name, status, body)
		}
	}
}

// A server that answers something else than it was asked for is not measured.
func TestWrongAnswersAreNoticed(t *testing.T) {
	real := bare.New(nil)
	wrong := map[string]string{
		"encrypt-32": `{"data":{}}`, "decrypt-32": `{"data":{"plaintext":"AAAA"}}`, "datakey": `{"data":{"plaintext":"AAAA","ciphertext":"v1:x"}}`, "hmac": `{"data":{}}`,
		"sign-ed25519": `{"data":{}}`, "verify-ed25519": `{"data":{"valid":false}}`, "batch-256x32": `{"data":{"batch_results":[{"ciphertext":"v1:x"}]}}`, "read": `{"data":{}}`,
	}
	for name, lie := range wrong {
		op, err := api.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		honest := 1 // answers: the key, and what the operation needs first
		if op.Verb == api.Decrypt || op.Verb == api.Verify {
			honest++
		}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if honest--; honest >= 0 {
				real.ServeHTTP(w, r)
				return
			}
			_, _ = w.Write([]byte(lie))
		})
		if _, err := api.Prepare(api.Vault{}, through(h), op, "k-"+name); err == nil {
			t.Errorf("%s: %s is accepted", name, lie)
		}
	}
}

// The signature is what another implementation of Signature Version 4 (Python, hashlib and hmac) made of the same request.
func TestAWSRequestsAreSigned(t *testing.T) {
	a := api.AWS{Host: "127.0.0.1:9", AccessKey: "AKIDEXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Region: "us-east-1",
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	r, err := a.Request(api.Read, api.Input{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Body) != `{"KeyId":"k"}` {
		t.Fatalf("got %s", r.Body)
	}
	got := map[string]string{}
	for _, h := range r.Header {
		got[h[0]] = h[1]
	}
	want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" + signature
	if got["authorization"] != want || got["x-amz-date"] != "20260102T030405Z" || got["x-amz-target"] != "TrentService.DescribeKey" || got["host"] != "" {
		t.Errorf("got %v\nwant authorization %s", got, want)
	}
}

func TestOperationsAreToldApart(t *testing.T) {
	for _, op := range api.Ops {
		for _, a := range []api.API{api.Native{Token: "t"}, api.Vault{Token: "t"}, api.AWS{Now: time.Now}} {
			r, err := a.Request(op.Verb, api.Input{Kind: op.Kind, Key: "k", Plain: make([]byte, op.Size), Items: op.Items, Text: "x"})
			if _, aws := a.(api.AWS); aws && op.Items > 0 {
				if err != api.ErrUnsupported {
					t.Errorf("%T %s: got %v, want %v", a, op.Name, err, api.ErrUnsupported)
				}
				continue
			}
			if err != nil || r.Path == "" || r.Method == "POST" && !json.Valid(r.Body) {
				t.Errorf("%T %s: got %s %s %s, %v", a, op.Name, r.Method, r.Path, r.Body, err)
			}
		}
	}
	if _, err := api.Find("encrypt-33"); err == nil {
		t.Error("encrypt-33 was found")
	}
}

const signature = "d1415b20af02eeb7cb45891eef239af93864c9399392e345ee26901242f3ed4e"
