package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/dialect/aws"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// believing takes every request for an administrator's who may also use keys: what is fuzzed is what comes behind the signature.
type believing struct{}

func (believing) SigV4(context.Context, *http.Request, []byte, netip.AddrPort) (authn.Signature, error) {
	return authn.Signature{Region: "us-east-1", Service: "kms", Time: time.Now(), Principal: &kms.Principal{
		Name: "fuzz", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin, kms.RoleUser}, Method: kms.AuthSignature,
	}}, nil
}

// Replayed: nothing was sent before.
func (believing) Replayed(*authn.Signature) bool { return false }

// WebIdentity believes no token.
func (believing) WebIdentity(context.Context, string, func(context.Context) ([]oidc.Trust, error), netip.AddrPort) (oidc.Identity, error) {
	return oidc.Identity{}, kms.Errorf(kms.CodeIdentityToken, "no token is believed")
}

// faultShape is what an error looks like: a name of AWS's, and a message or none.
var faultShape = regexp.MustCompile(`^\{"__type":"[A-Za-z]+Exception"(,"message":".*")?\}$`)

// FuzzOperations asks every operation with any body: the answer is one of AWS's, and nothing panics or fails inside.
func FuzzOperations(f *testing.F) {
	files, err := filepath.Glob("testdata/snapshots/request/*.snap")
	if err != nil || len(files) == 0 {
		f.Fatalf("no snapshots: %v", err)
	}
	var names []string
	for i, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".request.snap"))
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		body := b[bytes.LastIndex(b, []byte("\n\n"))+2:]
		f.Add(byte(i), body)
		f.Add(byte(i), bytes.ReplaceAll(body, []byte("__KeyId__"), []byte("alias/sym")))
		f.Add(byte(i), body[:len(body)/2])
		f.Add(byte(i), []byte(`{"KeyId":"alias/mac","TargetKeyId":"alias/sym","AliasName":"alias/fuzz","Limit":1,"Plaintext":"aGk=","Message":"aGk=","NumberOfBytes":9}`))
	}
	f.Add(byte(0), []byte(`{`))
	f.Add(byte(0), []byte(`{"KeyId":"`+strings.Repeat("[", 1000)))
	s := nativetest.Open(f)
	by := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	for name, a := range map[string]kms.Algorithm{"sym": kms.AES256GCM, "mac": kms.HMACSHA256, "ecc": kms.ECDSAP256, "kem": kms.MLKEM768} {
		if _, err := s.Engine.CreateKey(f.Context(), by, engine.CreateKeyInput{Name: name, Algorithm: a}); err != nil {
			f.Fatal(err)
		}
	}
	var log bytes.Buffer // of panics
	h := aws.Handler(aws.Config{Engine: s.Engine, Authn: believing{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		name := names[int(which)%len(names)]
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "TrentService."+name)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch answer := w.Body.Bytes(); {
		case log.Len() > 0:
			t.Fatalf("%s %q\n%s", name, body, &log)
		case w.Code == http.StatusOK && json.Valid(answer):
		case w.Code == http.StatusBadRequest && faultShape.Match(answer) && json.Valid(answer):
		default:
			t.Errorf("%s %q\ngot %d %s", name, body, w.Code, answer)
		}
	})
}
