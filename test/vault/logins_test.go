package vaultclients

import (
	"errors"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

// administrator is HashiCorp's client with the token of dev.env; nobody is one without a token.
func administrator(t *testing.T) (admin, nobody *api.Client) {
	t.Helper()
	admin, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if nobody, err = admin.Clone(); err != nil {
		t.Fatal(err)
	}
	nobody.ClearToken()
	return admin, nobody
}

// write writes to a path, and wants that to go well.
func write(t *testing.T, c *api.Client, path string, data map[string]any) *api.Secret {
	t.Helper()
	s, err := c.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

// refusedWith wants an error of a status.
func refusedWith(t *testing.T, err error, status int) {
	t.Helper()
	if e := (*api.ResponseError)(nil); !errors.As(err, &e) || e.StatusCode != status {
		t.Errorf("got %v, want status %d", err, status)
	}
}

// TestHashiCorpsAppRoleLogin logs a machine in as an agent does: mount, role, a wrapped secret id that is used once, a key, the end.
func TestHashiCorpsAppRoleLogin(t *testing.T) {
	server(t)
	admin, machine := administrator(t)
	const at = "team/machines"
	if err := admin.Sys().EnableAuthWithOptionsWithContext(t.Context(), at, &api.EnableAuthOptions{Type: "approle", Description: "of the team"}); err != nil {
		t.Fatal(err)
	}
	mounts, err := admin.Sys().ListAuthWithContext(t.Context())
	if err != nil || mounts[at+"/"] == nil || mounts[at+"/"].Type != "approle" || mounts["token/"] == nil {
		t.Fatalf("got %v %v", mounts, err)
	}
	write(t, admin, "auth/"+at+"/role/ci", map[string]any{"token_policies": []string{"user"}, "secret_id_num_uses": 1, "token_ttl": "30m"})
	id, err := admin.Logical().ReadWithContext(t.Context(), "auth/"+at+"/role/ci/role-id")
	if err != nil {
		t.Fatal(err)
	}
	role, _ := id.Data["role_id"].(string)
	login := func(secret *approle.SecretID, more ...approle.LoginOption) (*api.Secret, error) {
		a, err := approle.NewAppRoleAuth(role, secret, append(more, approle.WithMountPath(at))...)
		if err != nil {
			t.Fatal(err)
		}
		return machine.Auth().Login(t.Context(), a)
	}
	wrapping, err := admin.Clone()
	if err != nil {
		t.Fatal(err)
	}
	wrapping.SetToken(admin.Token())
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	wrapped := write(t, wrapping, "auth/"+at+"/role/ci/secret-id", nil)
	file := t.TempDir() + "/secret-id"
	if err := os.WriteFile(file, []byte(wrapped.WrapInfo.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	given, err := login(&approle.SecretID{FromFile: file}, approle.WithWrappingToken())
	if err != nil || given.Auth == nil || given.Auth.LeaseDuration != 1800 || given.Auth.Metadata["role_name"] != "ci" {
		t.Fatalf("got %+v %v", given, err)
	}
	write(t, admin, "transit/keys/orders", nil)
	if s := write(t, machine, "transit/encrypt/orders", map[string]any{"plaintext": "AAAA"}); s.Data["ciphertext"] == "" {
		t.Errorf("got %v", s.Data)
	}
	secret := write(t, admin, "auth/"+at+"/role/ci/secret-id", map[string]any{"metadata": `{"host":"a"}`})
	value, _ := secret.Data["secret_id"].(string)
	if given, err = login(&approle.SecretID{FromString: value}); err != nil || given.Auth.Metadata["host"] != "a" {
		t.Fatalf("got %+v %v", given, err)
	}
	_, err = login(&approle.SecretID{FromString: value}) // it has been used
	refusedWith(t, err, http.StatusBadRequest)
	if err := admin.Sys().DisableAuthWithContext(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	_, err = machine.Auth().Token().LookupSelfWithContext(t.Context())
	refusedWith(t, err, http.StatusForbidden)
}

// TestHashiCorpsUserLogin logs a user in and has the client's own watcher keep the token alive, up to its end.
func TestHashiCorpsUserLogin(t *testing.T) {
	server(t)
	admin, ann := administrator(t)
	if err := admin.Sys().EnableAuthWithOptionsWithContext(t.Context(), "userpass", &api.EnableAuthOptions{Type: "userpass"}); err != nil {
		t.Fatal(err)
	}
	user := map[string]any{"password": "correct horse", "token_policies": "user", "token_ttl": "3s", "token_max_ttl": "6s"}
	write(t, admin, "auth/userpass/users/ann", user)
	login := func(password string) (*api.Secret, error) {
		a, err := userpass.NewUserpassAuth("ann", &userpass.Password{FromString: password})
		if err != nil {
			t.Fatal(err)
		}
		return ann.Auth().Login(t.Context(), a)
	}
	_, err := login("wrong")
	refusedWith(t, err, http.StatusBadRequest)
	given, err := login("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := ann.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: given})
	if err != nil {
		t.Fatal(err)
	}
	go watcher.Start()
	defer watcher.Stop()
	renewed := 0
	for end := time.After(time.Minute); ; {
		select {
		case <-watcher.RenewCh():
			renewed++
			continue
		case err := <-watcher.DoneCh():
			if err != nil || renewed == 0 {
				t.Errorf("got %v after %d renewals", err, renewed)
			}
		case <-end:
			t.Error("the watcher goes on beyond the token's end")
		}
		break
	}
	write(t, admin, "auth/userpass/users/ann/password", map[string]any{"password": "battery staple"})
	_, err = login("correct horse")
	refusedWith(t, err, http.StatusBadRequest)
	if _, err = login("battery staple"); err != nil {
		t.Fatal(err)
	}
}
