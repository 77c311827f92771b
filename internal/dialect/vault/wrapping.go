package vault

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// wrappingRoutes are those of wrapped answers. They know their callers by the wrapping token too, in the header or in the body.
var wrappingRoutes = []route{
	{method: "POST", pattern: "sys/wrapping/wrap", grants: may(canUpdate, kms.WrapAnswer), run: (*exchange).Wrap},
	{method: "POST", pattern: "sys/wrapping/unwrap", open: true, bare: true, grants: may(canUpdate, kms.UnwrapAnswer), run: (*exchange).Unwrap},
	{method: "POST", pattern: "sys/wrapping/lookup", open: true, grants: may(canUpdate, kms.LookUpAnswer), run: (*exchange).LookUpWrapped},
	{method: "GET", pattern: "sys/wrapping/lookup", open: true, grants: may(canRead, kms.LookUpAnswer), run: (*exchange).LookUpWrapped},
	{method: "POST", pattern: "sys/wrapping/rewrap", open: true, bare: true, grants: may(canUpdate, kms.RewrapAnswer), run: (*exchange).Rewrapped},
}

// wrapTTL is how long the answer is to wait for who fetches it; 0: it is not to be wrapped.
func (x *exchange) wrapTTL(rt *route) (time.Duration, *fault) {
	text := x.r.Header.Get("X-Vault-Wrap-Ttl")
	if text == "" {
		return 0, nil
	}
	ttl, bad := fields{{name: []byte("ttl"), raw: []byte(`"` + text + `"`)}}.span("ttl")
	switch {
	case bad != nil || ttl < 0:
		return 0, newFault(http.StatusBadRequest, "error parsing wrap ttl: "+clip(text))
	case ttl > 0 && rt.open:
		return 0, newFault(http.StatusBadRequest, "response wrapping is not supported here: leave X-Vault-Wrap-TTL out")
	}
	return ttl, nil
}

// wrap puts the answer that was made away, and answers the token that leads to it instead.
func (x *exchange) wrap(ctx context.Context, ttl time.Duration) *fault {
	value := secret.Copy(x.e.b)
	defer value.Zero()
	path := x.place.path[:min(len(x.place.path), engine.MaxAnswerPath)]
	out, err := x.engine.WrapAnswer(ctx, x.call, engine.WrapAnswerInput{Value: value, Path: path, TTL: ttl})
	if err != nil {
		return faultOf(err)
	}
	x.wrapped(&out)
	return nil
}

// wrapped writes the token that leads to an answer.
func (x *exchange) wrapped(out *engine.WrapAnswerOutput) {
	e := &x.e
	clear(e.b[:cap(e.b)])
	e.b = e.b[:0]
	e.open()
	e.text("request_id", "")
	e.text("lease_id", "")
	e.yes("renewable", false)
	e.number("lease_duration", 0)
	e.null("data")
	e.name("wrap_info")
	e.open()
	e.plain("token", out.Token)
	e.text("accessor", out.Info.ID.String())
	e.number("ttl", int64(out.Info.Expires.Sub(out.Info.Created)/time.Second))
	e.time("creation_time", out.Info.Created)
	e.text("creation_path", out.Info.Path)
	e.close()
	e.null("warnings")
	e.null("auth")
	e.close()
	e.b = append(e.b, '\n')
}

// Wrap answers what it was sent, for somebody else to fetch.
func (x *exchange) Wrap(context.Context) *fault {
	if ttl, f := x.wrapTTL(&route{}); f != nil || ttl == 0 {
		return orFault(f, "endpoint requires response wrapping to be used")
	}
	sent := bytes.TrimSpace(x.body)
	if len(sent) == 0 || sent[0] != '{' {
		sent = []byte("{}")
	}
	x.e.room(len(sent) + slack)
	x.e.b = append(x.e.b, sent...)
	return nil
}

// wrapping finds out who asks about a wrapped answer, and by which token: that of the body, or else the caller's own.
func (x *exchange) wrapping(ctx context.Context) (engine.AnswerInput, *fault) {
	text, f := x.in.text("token")
	if f != nil {
		return engine.AnswerInput{}, f
	}
	own := tokenOf(x.r.Header)
	if text == "" {
		text = own
	}
	if own == "" {
		own = text
	}
	if f = x.identifyAs(ctx, own); f != nil {
		if f.err != nil && f.err.Kind() == kms.KindUnauthenticated && own == text {
			f = notWrapped()
		}
		return engine.AnswerInput{}, f
	}
	return engine.AnswerInput{Token: secret.Copy([]byte(text))}, nil
}

func notWrapped() *fault {
	return newFault(http.StatusBadRequest, "wrapping token is not valid or does not exist")
}

// wrappingFault is an error of the engine about a wrapping token.
func wrappingFault(err error) *fault {
	if kms.CodeOf(err) == kms.CodeNotFound {
		return notWrapped()
	}
	return faultOf(err)
}

// Unwrap gives an answer out as it would have been given, once.
func (x *exchange) Unwrap(ctx context.Context) *fault {
	in, f := x.wrapping(ctx)
	if f != nil {
		return f
	}
	defer in.Token.Zero()
	out, err := x.engine.UnwrapAnswer(ctx, x.call, in)
	if err != nil {
		return wrappingFault(err)
	}
	x.e.whole(out.Value)
	return nil
}

// LookUpWrapped tells how long an answer waits, and lets it wait.
func (x *exchange) LookUpWrapped(ctx context.Context) *fault {
	in, f := x.wrapping(ctx)
	if f != nil {
		return f
	}
	defer in.Token.Zero()
	out, err := x.engine.LookUpAnswer(ctx, x.call, in)
	if err != nil {
		return wrappingFault(err)
	}
	x.e.open()
	x.e.text("creation_path", out.Info.Path)
	x.e.time("creation_time", out.Info.Created)
	x.e.number("creation_ttl", int64(out.Info.Expires.Sub(out.Info.Created)/time.Second))
	x.e.close()
	return nil
}

// Rewrapped puts an answer away under another token.
func (x *exchange) Rewrapped(ctx context.Context) *fault {
	in, f := x.wrapping(ctx)
	if f != nil {
		return f
	}
	defer in.Token.Zero()
	out, err := x.engine.RewrapAnswer(ctx, x.call, in)
	if err != nil {
		return wrappingFault(err)
	}
	x.wrapped(&out)
	return nil
}
