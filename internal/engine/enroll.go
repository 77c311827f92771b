package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// Limits of enrolment.
const (
	enrollTTL = 15 * time.Minute
	adminTTL  = 12 * time.Hour
)

var codeText = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// newCode makes a one-time enrolment code of 160 bits, in groups that can be read aloud.
func newCode(now time.Time) (secret.Released, records.Enrollment) {
	b := make([]byte, 20)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	text := codeText.EncodeToString(b)
	clear(b)
	var grouped strings.Builder
	for i := 0; i < len(text); i += 8 {
		if i > 0 {
			grouped.WriteByte('-')
		}
		grouped.WriteString(text[i:min(i+8, len(text))])
	}
	code := []byte(grouped.String())
	return secret.Release(code), records.Enrollment{Digest: token.Digest(code), Expires: now.Add(enrollTTL).UTC()}
}

// Enroll redeems a one-time code: the first administrator gets a token of the operator role, which ends after 12 hours.
func (e *Engine) Enroll(ctx context.Context, c kms.Call, in EnrollInput) (out CreateTokenOutput, err error) {
	o, err := e.hold(ctx)
	if err != nil {
		return out, err
	}
	defer o.release()
	name := in.Principal
	if name == "" {
		name = "admin"
	}
	if err := checkIdentity(name, nil, nil); err != nil {
		return out, err
	}
	c.Namespace = kms.SystemNamespace
	c.Principal = &kms.Principal{Name: name, Namespace: kms.SystemNamespace, Method: kms.AuthCode}
	err = e.direct(ctx, o, c, kms.EnrollAdministrator, func(w *work, tx *records.Tx) error {
		out = CreateTokenOutput{}
		code, there, err := tx.Enrollment()
		if err != nil {
			return err
		}
		got := token.Digest(in.Code.Reveal(reveal.Key{}))
		// 160 random bits need no limit on guesses, and a limit would let strangers void the code.
		if !there || code.Used || w.now.After(code.Expires) || subtle.ConstantTimeCompare(got[:], code.Digest[:]) != 1 {
			return kms.Errorf(kms.CodeUnauthenticated, "the enrolment code is not in force: it is wrong, was used, or its 15 minutes are over")
		}
		code.Used = true
		if err := tx.PutEnrollment(code); err != nil {
			return err
		}
		if c.DryRun {
			return nil
		}
		out, err = w.putToken(tx, records.Token{Namespace: kms.SystemNamespace, Principal: name, Roles: []kms.Role{kms.RoleOperator}}, adminTTL)
		return err
	})
	return out, err
}

// MintEnrollment makes a new enrolment code, on the authority of a quorum of custodian shares.
func (e *Engine) MintEnrollment(ctx context.Context, c kms.Call, in MintInput) (out Enrollment, err error) {
	o, err := e.hold(ctx)
	if err != nil {
		return out, err
	}
	defer o.release()
	c.Namespace = kms.SystemNamespace
	p := system
	if c.Principal != nil {
		p = c.Principal
	}
	shown := *p
	shown.Method = kms.AuthShares
	c.Principal = &shown
	if err := quorum(o.config, in.Shares); err != nil {
		return out, e.note(c, kms.MintEnrollment, err, "refused")
	}
	code, row := newCode(e.now())
	err = e.direct(ctx, o, c, kms.MintEnrollment, func(_ *work, tx *records.Tx) error { return tx.PutEnrollment(row) })
	if err != nil || c.DryRun {
		code.Zero()
		return Enrollment{}, err
	}
	return Enrollment{Code: code, Expires: row.Expires}, nil
}

// quorum proves that shares open the root key, without opening anything with it.
func quorum(config *seal.Config, shares []*secret.Bytes) error {
	collect, err := seal.NewCollector(config)
	if err != nil {
		return err
	}
	defer collect.Reset()
	for _, s := range shares {
		p, err := collect.Add(s)
		if err != nil {
			return err
		}
		if p.Complete() {
			break // more than a quorum proves nothing more
		}
	}
	if p := collect.Progress(); !p.Complete() {
		return kms.Errorf(kms.CodeBadShare, "%d shares were given, %d are needed", len(p.Given), p.K)
	}
	private, err := collect.Private()
	if err != nil {
		return err
	}
	defer private.Zero()
	return config.VerifyRecipient(private)
}
