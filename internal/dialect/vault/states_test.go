package vault_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/statetest"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// vaultStates is how this dialect does each operation that uses a key. A key goes by its id, as by its name. Rewrapping is on one key and so is two
// operations at once, and a key that is destroyed is not there for whom reads it: neither is in the table.
func vaultStates(s *vaulttest.Server) statetest.Dialect {
	message, text := base64.StdEncoding.EncodeToString(statetest.Message), base64.StdEncoding.EncodeToString
	ask := func(token, path, body string) func(testing.TB, statetest.Case) kms.Code {
		return func(t testing.TB, c statetest.Case) kms.Code {
			t.Helper()
			body := strings.NewReplacer("VERSION", fmt.Sprint(c.Version), "MESSAGE", message, "MADE", fmt.Sprintf("vault:v%d:%s", c.Version, text(c.Made))).Replace(body)
			a := s.Ask(t, token, "POST", strings.ReplaceAll(path, "KEY", c.Key.String()), body)
			if a.Status == 200 {
				return 0
			}
			for _, said := range a.Errors() {
				for _, code := range kms.AllCodes() {
					if strings.HasPrefix(said, code.String()+" ") {
						return code
					}
				}
			}
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			return 0
		}
	}
	return statetest.Dialect{
		kms.Encrypt:         ask(s.User, "transit/encrypt/KEY", `{"plaintext":"MESSAGE","key_version":VERSION}`),
		kms.Decrypt:         ask(s.User, "transit/decrypt/KEY", `{"ciphertext":"MADE"}`),
		kms.GenerateDataKey: ask(s.User, "transit/datakey/plaintext/KEY", `{}`),
		kms.Sign:            ask(s.User, "transit/sign/KEY", `{"input":"MESSAGE","key_version":"VERSION"}`),
		kms.Verify:          ask(s.User, "transit/verify/KEY", `{"input":"MESSAGE","signature":"MADE"}`),
		kms.GenerateMAC:     ask(s.User, "transit/hmac/KEY", `{"input":"MESSAGE","key_version":VERSION}`),
		kms.VerifyMAC:       ask(s.User, "transit/verify/KEY", `{"input":"MESSAGE","hmac":"MADE"}`),
		kms.UpdateKey:       ask(s.Admin, "transit/keys/KEY/config", `{"deletion_allowed":true}`),
	}
}

// TestEveryStateInTheVaultDialect: state × switch × operation, over TLS. Invariant 4.
func TestEveryStateInTheVaultDialect(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	began := time.Now()
	s := vaulttest.Open(t, func(c *engine.Config) {
		c.Now = func() time.Time { return began.Add(time.Since(began) + time.Duration(ahead.Load())) }
		c.Elapsed = func() time.Duration { return time.Since(began) + time.Duration(ahead.Load()) }
	})
	if err := s.Engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := func(name string, r kms.Role) kms.Call {
		return kms.Call{Principal: &kms.Principal{Name: name, Namespace: kms.DefaultNamespace, Roles: []kms.Role{r}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	}
	statetest.Run(t, statetest.Server{Engine: s.Engine, Admin: as("alice", kms.RoleAdmin), User: as("svc/orders", kms.RoleUser),
		Pass: func(d time.Duration) { ahead.Add(int64(d)) }}, vaultStates(s))
}
