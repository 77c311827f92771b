package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// wish is a certificate request that somebody else's key signed, for its subject and names.
func wish(t testing.TB) string {
	t.Helper()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "signer"}, DNSNames: []string{"signer.example"}}, other)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// TestACertificateRequestIsOfTheKey: signed with the version that is named, for its public key, with the subject and the names that were asked for.
func TestACertificateRequestIsOfTheKey(t *testing.T) {
	s := vaulttest.Open(t)
	given, err := json.Marshal(wish(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048"} {
		made(t, s, kind, `{"type":"`+kind+`"}`)
		first := publicKey(t, s, kind)
		if kind == "ed25519" {
			s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "")
		}
		for _, w := range []struct {
			body, name string
			of         []string
		}{{`{"version":1,"csr":` + string(given) + `}`, "signer", []string{"signer.example"}}, {`{"version":"1"}`, "", nil}} {
			var out struct{ CSR, Name, Type string }
			s.Ask(t, s.User, "POST", "transit/keys/"+kind+"/csr", w.body).Into(t, &out)
			block, _ := pem.Decode([]byte(out.CSR))
			if block == nil || out.Name != kind || out.Type != kind {
				t.Fatalf("%s: got %+v", kind, out)
			}
			r, err := x509.ParseCertificateRequest(block.Bytes)
			if err != nil || r.CheckSignature() != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if !reflect.DeepEqual(r.PublicKey, first) || r.Subject.CommonName != w.name || !slices.Equal(r.DNSNames, w.of) {
				t.Errorf("%s: got a request of %v for %q, want the key's own, for %q", kind, r.Subject, r.DNSNames, w.of)
			}
		}
	}
	made(t, s, "sealing", "")
	made(t, s, "lattice", `{"type":"ml-dsa","parameter_set":"44"}`)
	made(t, s, "derived", `{"type":"ed25519","derived":true}`)
	for _, w := range []struct{ key, body, want string }{
		{"none", `{}`, "key with provided name 'none' not found"},
		{"sealing", `{}`, "key type does not support signing"},
		{"lattice", `{}`, "certificate requests are not supported for keys of algorithm ml-dsa-44"},
		{"derived", `{}`, "missing 'context' for key derivation"},
		{"ed25519", `{"version":9}`, "invalid key version"},
		{"ed25519", `{"csr":"x"}`, "could not decode PEM certificate request"},
		{"ed25519", `{"csr":"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"}`, "could not parse the certificate request"},
	} {
		if a := s.Ask(t, s.User, "POST", "transit/keys/"+w.key+"/csr", w.body); a.Status != 400 || !strings.HasPrefix(a.Errors()[0], w.want) {
			t.Errorf("%s %s: got %d %s, want %q", w.key, w.body, a.Status, a.Body, w.want)
		}
	}
}
