package native

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
)

func TestEveryKindHasACodeOfTheProtocol(t *testing.T) {
	for _, k := range kms.AllKinds() {
		if int(k) >= len(wireCodes) || wireCodes[k] == 0 {
			t.Errorf("kind %s has no code", k)
		}
	}
	for _, c := range kms.AllCodes() {
		if wireCode(c) == 0 {
			t.Errorf("%s has no code of the protocol", c)
		}
	}
}

func TestEveryErrorCarriesItsDetailAndNothingElse(t *testing.T) {
	const planted = "planted internal cause"
	for _, c := range kms.AllCodes() {
		e := kms.Errorf(c, "what happened").Because(errors.New(planted))
		e.Decision, e.RetryMS = "n1-000001-7", 1500
		w := wireError(fmt.Errorf("around: %w", e))
		if strings.Contains(w.Message(), planted) || strings.Contains(w.Error(), "around") {
			t.Errorf("%s shows its cause: %s", c, w)
		}
		if len(w.Details()) != 1 {
			t.Fatalf("%s has %d details, want 1", c, len(w.Details()))
		}
		v, err := w.Details()[0].Value()
		if err != nil {
			t.Fatal(err)
		}
		d, ok := v.(*keyholdv1.ErrorDetail)
		if !ok || d.GetCode() != c.String() || d.GetTitle() != c.Title() || d.GetWhat() != "what happened" || d.GetNext() != c.Next() ||
			d.GetDecision() != "n1-000001-7" || d.GetRetryAfterMs() != 1500 {
			t.Errorf("%s: got detail %v", c, d)
		}
		if got := w.Meta().Get("Retry-After"); got != "2" {
			t.Errorf("%s: got Retry-After %q, want 2", c, got)
		}
	}
}

func TestForeignErrorsSayNothingOfThemselves(t *testing.T) {
	for _, test := range []struct {
		err  error
		want kms.Code
	}{
		{errors.New("disk /dev/sda1 failed"), kms.CodeInternal},
		{context.Canceled, kms.CodeCancelled},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), kms.CodeCancelled},
	} {
		w := wireError(test.err)
		if w.Code() != wireCode(test.want) || strings.Contains(w.Message(), "sda1") {
			t.Errorf("%v: got %v", test.err, w)
		}
	}
}

func TestStatusOfKinds(t *testing.T) {
	h := &handler{errors: connect.NewErrorWriter()}
	want := map[kms.Code]int{
		kms.CodeBadRequest: 400, kms.CodeUnauthenticated: 401, kms.CodeDenied: 403, kms.CodeKeyNotFound: 404, kms.CodeConflict: 409, kms.CodeExists: 409,
		kms.CodeKeyDisabled: 400, kms.CodeAlgorithm: 400, kms.CodeDecryptFailed: 400, kms.CodeRateLimited: 429, kms.CodeSealed: 503, kms.CodeInternal: 500,
		kms.CodeRecordDamaged: 500,
	}
	for code, status := range want {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Content-Type", "application/json")
		h.refuse(w, r, kms.Errorf(code, "x"))
		if w.Code != status {
			t.Errorf("%s: got status %d, want %d", code, w.Code, status)
		}
		if got := w.Header().Get("Www-Authenticate"); (got != "") != (status == 401) {
			t.Errorf("%s: got Www-Authenticate %q", code, got)
		}
	}
}
