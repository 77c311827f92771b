package secret_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func TestNothingPrintsASecret(t *testing.T) {
	const planted = "PLANTED-SECRET-BYTES"
	var log strings.Builder
	for _, v := range []any{secret.Copy([]byte(planted)), *secret.Copy([]byte(planted)), secret.Release([]byte(planted)),
		struct{ S *secret.Bytes }{secret.Copy([]byte(planted))}, struct{ R secret.Released }{secret.Release([]byte(planted))}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, planted) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", planted)) || strings.Contains(got, "80 76 65") {
				t.Errorf("%s of %T shows the secret: %s", verb, v, got)
			}
		}
		b, err := json.Marshal(v)
		if err != nil || strings.Contains(string(b), planted) || strings.Contains(string(b), "UExBTlRFRC") {
			t.Errorf("json of %T shows the secret: %s %v", v, b, err)
		}
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	}
	if strings.Contains(log.String(), planted) {
		t.Errorf("log shows the secret: %s", log.String())
	}
}

func TestZeroErases(t *testing.T) {
	raw := []byte("abcdef")
	s := secret.Take(raw)
	s.Zero()
	s.Zero()
	if string(raw) != "\x00\x00\x00\x00\x00\x00" || s.Len() != 0 || s.Reveal(reveal.Key{}) != nil {
		t.Fatalf("after Zero: %q, %d bytes", raw, s.Len())
	}
}
