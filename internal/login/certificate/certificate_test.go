package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// roles are those of a mount.
type roles map[string]login.Document

func (r roles) Role(_ context.Context, name string) (login.Role, error) {
	d, ok := r[name]
	if !ok {
		return login.Role{}, login.Refuse("there is no role %q", name)
	}
	return login.Role{Name: name, Document: d}, nil
}

func (r roles) All(_ context.Context, see func(login.Role) bool) error {
	for name, d := range r {
		if !see(login.Role{Name: name, Document: d}) {
			break
		}
	}
	return nil
}

func selfSigned(t testing.TB) *x509.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ann"}, NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_900_000_000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func text(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// TestOfSeveralRolesTheFirstNameCounts, whatever the order in which they come; and so many are tried at most.
func TestOfSeveralRolesTheFirstNameCounts(t *testing.T) {
	c := selfSigned(t)
	m, all := New(), roles{}
	put := func(name string) {
		d, err := m.Role(t.Context(), name, login.Document{}, login.Document{Public: fmt.Appendf(nil, `{"certificate":%q}`, text(c))})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = d
	}
	for i := range maxTried {
		put(fmt.Sprintf("r%03d", i))
	}
	r := login.Request{Certificates: []*x509.Certificate{c}, Now: time.Unix(1_800_000_000, 0)}
	id, err := m.Prove(t.Context(), login.Mount{Roles: all}, r)
	if err != nil || id.Role != "r000" || id.Name != "ann" {
		t.Errorf("got %+v %v", id, err)
	}
	put("one-more")
	if _, err = m.Prove(t.Context(), login.Mount{Roles: all}, r); err == nil || !strings.Contains(err.Error(), "has to name one") {
		t.Errorf("got %v", err)
	}
	r.Role = "one-more"
	if id, err = m.Prove(t.Context(), login.Mount{Roles: all}, r); err != nil || id.Role != "one-more" {
		t.Errorf("got %+v %v", id, err)
	}
	r.Now = time.Unix(1_900_000_001, 0)
	if _, err = m.Prove(t.Context(), login.Mount{Roles: all}, r); err == nil || !strings.Contains(err.Error(), "not good at this time") {
		t.Errorf("got %v", err)
	}
	r.Certificates = make([]*x509.Certificate, maxChain+1)
	if _, err = m.Prove(t.Context(), login.Mount{Roles: all}, r); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

// fixed is a certificate of which every process of a fuzzer has the same.
const fixed = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUDqyPrlOKHrJzKe0L7iRbdOokBCcwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEc2hvcDAgFw0yNjExMjMxMDI2MzVaGA8yMTI2MTAzMDEwMjYz
NVowDzENMAsGA1UEAwwEc2hvcDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIAr
bNHMTx05+Uhs+sMeoAEAdXBo1rhyzhN15sctDL78+uEIHZl32Ge03L9uigqLL5c7
ddb1KETl7u4O/1RtQpyjUzBRMB0GA1UdDgQWBBSGUCJIfLuDKfcQtFHkODiH7a25
VTAfBgNVHSMEGDAWgBSGUCJIfLuDKfcQtFHkODiH7a25VTAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIDFL+RGORPniSC0padZ3gikJb9uTF+75/zlE
/79XkAyXAiEAmkfCARZR5s0QZPa5kMi6qy+2BvkDRyCp3/6PhjWNNuM=
-----END CERTIFICATE-----`

func FuzzRoles(f *testing.F) {
	all, err := parse(fixed)
	if err != nil {
		f.Fatal(err)
	}
	c := all[0]
	f.Add(fmt.Sprintf(`{"certificate":%q,"allowed_names":["s*"]}`, fixed))
	f.Add(`{"certificate":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}`)
	m := New()
	f.Fuzz(func(t *testing.T, asked string) {
		d, err := m.Role(t.Context(), "r", login.Document{}, login.Document{Public: []byte(asked)})
		if err != nil {
			if code := kms.CodeOf(err); code != kms.CodeBadRequest && code != kms.CodeTooLarge {
				t.Fatalf("%q: got %v", asked, err)
			}
			return
		}
		err = judge(login.Role{Name: "r", Document: d}, []*x509.Certificate{c}, time.Unix(1_800_000_000, 0))
		if no := (*login.Refusal)(nil); err != nil && !errors.As(err, &no) {
			t.Fatalf("%q: got %v", asked, err)
		}
	})
}
