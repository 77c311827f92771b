// Package certificate is the login by the TLS client certificate of the connection (RFC 5280, RFC 8446 §4.4.2): a role is a certificate that is trusted, an
// authority or a holder's own, and may say what the holder is called.
//
// The handshake proved that the caller holds the key; here it is proved that an authority of the role vouches for the certificate, as one of a client, at this
// time. What an authority of a role vouches for is trusted for nothing else of the server. It refuses to ask lists or servers of revoked certificates: what is
// revoked logs in until it expires or the role says otherwise; and to try more than a bounded number of roles for a login that names none.
//
// Model: the certificate method of Vault and OpenBao (https://openbao.org/api-docs/auth/cert/), whose names the documents have.
package certificate
