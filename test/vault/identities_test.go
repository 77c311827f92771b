package vaultclients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/keyhold/keyhold/internal/config"
)

// signer signs the tokens of an issuer or a cluster.
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k}
}

func (s signer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithHeader("kid", "a"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(by).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// overTLS starts a server and gives its address and its authority in PEM.
func overTLS(t *testing.T, h http.Handler) (at, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone cannot be told
}

// mounted makes a mount of logins.
func mounted(t *testing.T, admin *api.Client, at, kind string) {
	t.Helper()
	if err := admin.Sys().EnableAuthWithOptionsWithContext(t.Context(), at, &api.EnableAuthOptions{Type: kind}); err != nil {
		t.Fatal(err)
	}
}

// works encrypts with the token that a login gave.
func works(t *testing.T, admin, c *api.Client, s *api.Secret) {
	t.Helper()
	c.SetToken(s.Auth.ClientToken)
	write(t, admin, "transit/keys/orders", nil)
	if out := write(t, c, "transit/encrypt/orders", map[string]any{"plaintext": "AAAA"}); out.Data["ciphertext"] == "" {
		t.Errorf("got %v", out.Data)
	}
}

// TestHashiCorpsKubernetesLogin logs a pod in by the token that it finds in its file system.
func TestHashiCorpsKubernetesLogin(t *testing.T) {
	server(t)
	admin, pod := administrator(t)
	const reviewer = "of-the-reviewer"
	host, ca := overTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			APIVersion, Kind string
			Spec             struct{ Token string }
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil || q.Kind != "TokenReview" || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Authorization") != "Bearer "+reviewer {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		answer(w, http.StatusCreated, map[string]any{"apiVersion": q.APIVersion, "kind": q.Kind, "status": map[string]any{"authenticated": true,
			"user": map[string]any{"username": "system:serviceaccount:shop:cart", "uid": "u-1"}}})
	}))
	mounted(t, admin, "kubernetes", "kubernetes")
	write(t, admin, "auth/kubernetes/config", map[string]any{"kubernetes_host": host, "kubernetes_ca_cert": ca, "token_reviewer_jwt": reviewer})
	write(t, admin, "auth/kubernetes/role/cart", map[string]any{"bound_service_account_names": []string{"cart"}, "bound_service_account_namespaces": []string{"shop"}, "token_policies": "user"})
	logIn := func(account string) (*api.Secret, error) {
		file := filepath.Join(t.TempDir(), "token")
		token := newSigner(t).token(t, map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "aud": []string{"api"},
			"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": account, "uid": "u-1"}}})
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := kubernetes.NewKubernetesAuth("cart", kubernetes.WithServiceAccountTokenPath(file))
		if err != nil {
			t.Fatal(err)
		}
		return pod.Auth().Login(t.Context(), a)
	}
	given, err := logIn("cart")
	if err != nil || given.Auth.Metadata["service_account_name"] != "cart" {
		t.Fatalf("got %+v %v", given, err)
	}
	works(t, admin, pod, given)
	_, err = logIn("till")
	refusedWith(t, err, http.StatusForbidden)
}

// TestHashiCorpsClientLogsInByAToken of an issuer that it finds by discovery.
func TestHashiCorpsClientLogsInByAToken(t *testing.T) {
	server(t)
	admin, job := administrator(t)
	s := newSigner(t)
	var issuer string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "a", Use: "sig"}}})
	})
	issuer, ca := overTLS(t, mux)
	mounted(t, admin, "ci/jwt", "jwt")
	write(t, admin, "auth/ci/jwt/config", map[string]any{"oidc_discovery_url": issuer, "oidc_discovery_ca_pem": ca})
	write(t, admin, "auth/ci/jwt/role/deploy", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"keyhold"},
		"bound_claims_type": "glob", "bound_claims": map[string]any{"ref": []string{"refs/tags/*"}}, "token_policies": []string{"user"}})
	role, err := admin.Logical().ReadWithContext(t.Context(), "auth/ci/jwt/role/deploy")
	if err != nil || role.Data["user_claim"] != "sub" {
		t.Fatalf("got %+v %v", role, err)
	}
	logIn := func(ref string) (*api.Secret, error) {
		token := s.token(t, map[string]any{"iss": issuer, "sub": "repo:shop", "aud": "keyhold", "exp": time.Now().Add(time.Minute).Unix(), "ref": ref})
		return job.Logical().WriteWithContext(t.Context(), "auth/ci/jwt/login", map[string]any{"role": "deploy", "jwt": token})
	}
	given, err := logIn("refs/tags/v1")
	if err != nil {
		t.Fatal(err)
	}
	works(t, admin, job, given)
	_, err = logIn("refs/heads/main")
	refusedWith(t, err, http.StatusBadRequest)
}

// TestHashiCorpsClientLogsInByACertificate of an authority that the server trusts for nothing else.
func TestHashiCorpsClientLogsInByACertificate(t *testing.T) {
	server(t, config.Override{Name: "tls.client_certificates", Value: "pinned", Flag: "test"})
	admin, _ := administrator(t)
	dir := t.TempDir()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	root := newSigner(t)
	made := func(name string, c, parent *x509.Certificate, key *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), root.key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	authority := made("ca", ca, ca, root.key)
	for i, name := range []string{"till-1", "safe-1"} {
		made(name, &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, newSigner(t).key)
	}
	mounted(t, admin, "cert", "cert")
	write(t, admin, "auth/cert/certs/tills", map[string]any{"certificate": authority, "allowed_common_names": []string{"till-*"}, "token_policies": "user"})
	logIn := func(name string) (*api.Client, *api.Secret, error) {
		set := api.DefaultConfig()
		if err := set.ConfigureTLS(&api.TLSConfig{CACert: os.Getenv("VAULT_CACERT"), ClientCert: filepath.Join(dir, name+".pem"), ClientKey: filepath.Join(dir, name+".key")}); err != nil {
			t.Fatal(err)
		}
		c, err := api.NewClient(set)
		if err != nil {
			t.Fatal(err)
		}
		c.ClearToken()
		s, err := c.Logical().WriteWithContext(t.Context(), "auth/cert/login", map[string]any{"name": "tills"})
		return c, s, err
	}
	till, given, err := logIn("till-1")
	if err != nil || given.Auth.Metadata["common_name"] != "till-1" {
		t.Fatalf("got %+v %v", given, err)
	}
	_, err = till.Auth().Token().LookupSelfWithContext(t.Context()) // the certificate alone is nobody
	refusedWith(t, err, http.StatusForbidden)
	works(t, admin, till, given)
	_, _, err = logIn("safe-1")
	refusedWith(t, err, http.StatusBadRequest)
}
