package node

import (
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/login/certificate"
	"github.com/keyhold/keyhold/internal/login/jwt"
	"github.com/keyhold/keyhold/internal/login/kubernetes"
	"github.com/keyhold/keyhold/internal/login/userpass"
)

// logins are the methods by which somebody without a token proves who it is.
func logins() map[login.Type]login.Method {
	tokens := jwt.New(nil)
	return map[login.Type]login.Method{
		login.Userpass:    userpass.New(),
		login.JWT:         tokens,
		login.OIDC:        tokens,
		login.Kubernetes:  kubernetes.New(),
		login.Certificate: certificate.New(),
	}
}
