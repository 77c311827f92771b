// Package reveal is the permission to read secret bytes. It does nothing; that importing it is needed to read a
// secret.Bytes or a secret.Released lets internal/archtest list, and so limit, who can.
package reveal

// Key permits reading key material. Only the packages listed in internal/archtest may import this package.
type Key struct{ _ permit }

type permit struct{}
