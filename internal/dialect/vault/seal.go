package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// sealRoutes are those of the root key's life. They come before anybody is known: who may do what is in how they are reached.
var sealRoutes = []route{
	except("over the local socket only (`VAULT_ADDR=unix://…`); 2 shares or more, and a key file as the second way to the root key in `recovery_keys`; without PGP keys and recovery shares; `root_token` is a code for the enrolment of one administrator, and no token",
		route{method: "POST", pattern: "sys/init", open: true, bare: true, run: (*exchange).Init}),
	except("`reset` over the local socket only; the nonce is empty", route{method: "POST", pattern: "sys/unseal", open: true, bare: true, run: (*exchange).Unseal}),
	{method: "POST", pattern: "sys/seal", grants: may(canUpdate, kms.SealServer), run: (*exchange).Seal},
}

// custodian stands for whoever unseals over the network: that they hold a share is all that is known of them.
var custodian = &kms.Principal{Name: "custodian", Namespace: kms.SystemNamespace, Method: kms.AuthShares}

// maxShares and maxShareText bound what a request may say of shares.
const (
	maxShares    = 255
	maxShareText = 4 << 10 // bytes, in hexadecimal digits or base64
)

// byMachine tells whether the request came over the local socket, and from whom.
func (x *exchange) byMachine(ctx context.Context) (*kms.Principal, error) {
	p, err := x.authn.Authenticate(ctx, nil, nil, x.call.Remote)
	if err != nil || p.Method != kms.AuthLocal {
		return nil, kms.Errorf(kms.CodeOnlyLocal, "a server is initialised over its local socket: VAULT_ADDR=unix://SOCKET, or keyhold init")
	}
	return p, nil
}

// Init makes the root key and answers its shares, which are not shown again.
func (x *exchange) Init(ctx context.Context) *fault {
	p, err := x.byMachine(ctx)
	if err != nil {
		return faultOf(err)
	}
	for _, m := range []string{"pgp_keys", "root_token_pgp_key", "recovery_shares", "recovery_threshold", "recovery_pgp_keys", "stored_shares"} {
		if raw := x.in.raw(m); raw != nil && string(raw) != "0" && string(raw) != `""` && string(raw) != "[]" {
			return newFault(http.StatusBadRequest, m+" is not supported: shares are given to custodians as they are made")
		}
	}
	in := engine.InitInput{Recovery: true} // losing one of two recipients loses nothing: the shares are one, what sys/init calls a recovery key the other
	for _, n := range []struct {
		name string
		to   *int
	}{{"secret_shares", &in.Shares}, {"secret_threshold", &in.Threshold}} {
		v, f := x.in.number(n.name)
		if f != nil {
			return f
		}
		if v < 2 || v > maxShares {
			return newFault(http.StatusBadRequest, "invalid seal configuration: "+n.name+" must be 2 to 255: one custodian alone is no protection")
		}
		*n.to = v
	}
	x.call.Principal, x.call.Namespace = p, kms.SystemNamespace
	out, err := x.engine.Init(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	e := &x.e
	e.out = append(e.out, out.Shares...)
	e.open()
	e.shares("keys", out.Shares, hex.AppendEncode)
	e.shares("keys_base64", out.Shares, base64.StdEncoding.AppendEncode)
	e.out = append(e.out, out.Recovery)
	e.shares("recovery_keys", []secret.Released{out.Recovery}, hex.AppendEncode)
	e.shares("recovery_keys_base64", []secret.Released{out.Recovery}, base64.StdEncoding.AppendEncode)
	e.plain("root_token", out.Enrollment.Code)
	e.name("warnings")
	e.texts([]string{"root_token is a code with which one administrator enrols, once: keyhold enroll. It is no token.", "recovery_keys holds a key file, the second way to the root key: keep it offline, for keyhold unseal --key-file.",
		"Pin the key of the audit log: " + out.AuditKey})
	e.close()
	e.b = append(e.b, '\n')
	return nil
}

// shares writes a list of shares, each encoded.
func (e *encoder) shares(name string, all []secret.Released, encode func(dst, src []byte) []byte) {
	e.name(name)
	e.list()
	for _, s := range all {
		text := s.Wire(release.Wire{})
		e.room(2*len(text) + 8)
		e.comma()
		e.b = append(encode(append(e.b, '"'), text), '"')
	}
	e.end()
}

// Unseal takes a share, as it is printed or in hexadecimal digits or base64, as sys/init answers them.
func (x *exchange) Unseal(ctx context.Context) *fault {
	if p, err := x.authn.Authenticate(ctx, nil, nil, x.call.Remote); err == nil && p.Method == kms.AuthLocal {
		x.call.Principal = p
	} else {
		x.call.Principal = custodian
	}
	x.call.Namespace = kms.SystemNamespace
	var in engine.UnsealInput
	var f *fault
	if in.Reset, f = x.in.yes("reset"); f != nil {
		return f
	}
	if !in.Reset {
		if in.Share, f = x.share(); f != nil {
			return f
		}
		defer in.Share.Zero()
	}
	if _, err := x.engine.Unseal(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	return x.SealStatus(ctx)
}

// share reads the member "key".
func (x *exchange) share() (*secret.Bytes, *fault) {
	raw := x.in.raw("key")
	switch {
	case raw == nil || len(raw) == 2:
		return nil, newFault(http.StatusBadRequest, "'key' must be specified in request body as JSON, or 'reset' set to true")
	case raw[0] != '"' || len(raw) > maxShareText:
		return nil, badField("key")
	}
	var s *secret.Bytes
	_, f := x.unquoted(raw, func(text []byte) ([]byte, *fault) {
		decoded := make([]byte, len(text))
		defer clear(decoded)
		if n, err := hex.Decode(decoded, text); err == nil {
			s = secret.Copy(decoded[:n])
		} else if n, err := base64.StdEncoding.Decode(decoded, text); err == nil && printable(decoded[:n]) {
			s = secret.Copy(decoded[:n])
		} else {
			s = secret.Copy(bytes.TrimSpace(text))
		}
		return nil, nil
	})
	return s, f
}

// printable tells whether what base64 held can be the text of a share: a share that is given as it is printed may pass for base64.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}

// Seal seals the server.
func (x *exchange) Seal(ctx context.Context) *fault {
	if _, err := x.engine.Seal(ctx, x.call); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}
