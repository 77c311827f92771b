package certificate

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// Limits of a login.
const (
	maxChain = 10  // certificates that are presented
	maxTried = 256 // roles, of a login that names none
)

// Method is the login. It is safe for concurrent use.
type Method struct{}

// New makes one.
func New() *Method { return &Method{} }

// Config keeps nothing: what there is to say, roles say.
func (m *Method) Config(context.Context, login.Document, login.Document) (login.Document, error) {
	return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a mount of certificates has no configuration here: the client's certificate is bound to nothing but the login")
}

// Prove says by which role's certificate the caller's is vouched for. Of several the first one in the order of their names counts.
func (m *Method) Prove(ctx context.Context, mount login.Mount, r login.Request) (login.Identity, error) {
	switch {
	case len(r.Certificates) == 0:
		return login.Identity{}, login.Refuse("there is no client certificate")
	case len(r.Certificates) > maxChain:
		return login.Identity{}, login.Refuse("there are more than %d certificates", maxChain)
	}
	leaf := r.Certificates[0]
	if r.Role != "" {
		kept, err := mount.Roles.Role(ctx, r.Role)
		if err == nil {
			err = judge(kept, r.Certificates, r.Now)
		}
		if err != nil {
			return login.Identity{}, err
		}
		return identify(kept.Name, leaf)
	}
	found, err := anyRole(ctx, mount.Roles, r.Certificates, r.Now)
	if err != nil {
		return login.Identity{}, err
	}
	return identify(found, leaf)
}

// anyRole finds the role that a certificate fits.
func anyRole(ctx context.Context, roles login.Roles, presented []*x509.Certificate, now time.Time) (string, error) {
	found, tried := "", 0
	var why, failed error
	err := roles.All(ctx, func(kept login.Role) bool {
		if tried++; tried > maxTried {
			return false
		}
		why = judge(kept, presented, now)
		if _, no := why.(*login.Refusal); why != nil && !no { //nolint:errorlint // judge returns it itself
			failed = why
			return false
		}
		if why == nil && (found == "" || kept.Name < found) {
			found = kept.Name
		}
		return true
	})
	switch {
	case err != nil:
		return "", err
	case failed != nil:
		return "", failed
	case tried > maxTried:
		return "", login.Refuse("the mount has more than %d certificates: the login has to name one", maxTried)
	case found != "":
		return found, nil
	case tried == 1:
		return "", why
	}
	return "", login.Refuse("none of the %d certificates of the mount fits it", tried)
}

// judge refuses certificates that do not fit a role.
func judge(kept login.Role, presented []*x509.Certificate, now time.Time) error {
	var r role
	if err := json.Unmarshal(kept.Public, &r); err != nil {
		return err
	}
	if err := r.admits(presented[0]); err != nil { // cheaper than a chain
		return err
	}
	return r.vouched(presented, now)
}

// identify says whose a certificate is: that of its common name, or else of its first other name.
func identify(role string, c *x509.Certificate) (login.Identity, error) {
	name := ""
	for _, l := range [...][]string{{c.Subject.CommonName}, uris(c), c.DNSNames, c.EmailAddresses} {
		if len(l) > 0 && l[0] != "" {
			name = l[0]
			break
		}
	}
	if name == "" || !login.Plain(name) {
		return login.Identity{}, login.Refuse("it has no name, or one that nobody can have")
	}
	return login.Identity{Role: role, Name: name, Metadata: map[string]string{
		"cert_name": role, "common_name": c.Subject.CommonName, "serial_number": c.SerialNumber.String(),
		"subject_key_id": colons(c.SubjectKeyId), "authority_key_id": colons(c.AuthorityKeyId),
	}}, nil
}

func uris(c *x509.Certificate) []string {
	if len(c.URIs) == 0 {
		return nil
	}
	return []string{c.URIs[0].String()}
}

// colons writes bytes as certificates have them: a1:b2.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}
