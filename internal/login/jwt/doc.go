// Package jwt is the login by a token that somebody else signed (JWT, RFC 7519; RFC 8725): the mount says whose signature counts, the role what the token
// must say.
//
// It asks only addresses that whoever configured the mount wrote, over TLS, within the limits of package oidc, which holds what they answer; a token cannot
// say where its keys are. It tells nobody but the record what of a token was wrong. It refuses the flow by a browser, and roles that bind nothing. Groups that a
// token claims are named MOUNT/GROUP, so that an issuer puts nobody into a group that was not made for it.
//
// Model: the JWT method of Vault and OpenBao (https://openbao.org/api-docs/auth/jwt/), whose names the documents have.
package jwt
