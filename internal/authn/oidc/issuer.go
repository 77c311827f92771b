package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/kms"
)

// issuer is one issuer and its keys, as they were found last.
type issuer struct {
	name string // as its tokens and errors have it
	at   string // where its key set is; empty: its configuration says it
	wire *http.Client
	now  func() time.Time

	turn    chan struct{} // holds one: whoever has it asks the issuer, and may read and change what follows
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were
	tried   time.Time // when the issuer was asked last
	failed  error     // what came of that
}

func newIssuer(name string, wire *http.Client, now func() time.Time) *issuer {
	i := &issuer{name: name, wire: wire, now: now, turn: make(chan struct{}, 1)}
	i.turn <- struct{}{}
	return i
}

// key finds the key that signed a token. The issuer is asked when the keys are old or the name is not among them, but not more often than every fetchPause:
// a stranger cannot make the server ask.
func (i *issuer) key(ctx context.Context, id string) (jose.JSONWebKey, *kms.Error) {
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
	case <-ctx.Done():
		return jose.JSONWebKey{}, kms.Errorf(kms.CodeCancelled, "the request ended before its token was verified").Because(ctx.Err())
	}
	now := i.now()
	k, ok := i.find(id)
	if (!ok || now.Sub(i.fetched) > keysFresh) && (i.tried.IsZero() || now.Sub(i.tried) >= fetchPause) {
		i.tried = now
		var keys []jose.JSONWebKey
		if keys, i.failed = i.fetch(ctx); i.failed == nil {
			i.keys, i.fetched = keys, now
			k, ok = i.find(id)
		}
	}
	switch {
	case ok: // also while the issuer cannot be reached
		return k, nil
	case i.failed != nil:
		return k, kms.Errorf(kms.CodeIssuer, "the keys of the issuer %s could not be had", i.name).Because(i.failed)
	}
	return k, invalid("its issuer has no such key", nil)
}

// find finds a key by its name; a token without one is signed with the only key there is.
func (i *issuer) find(id string) (jose.JSONWebKey, bool) {
	if id == "" && len(i.keys) == 1 {
		return i.keys[0], true
	}
	at := slices.IndexFunc(i.keys, func(k jose.JSONWebKey) bool { return k.KeyID == id && id != "" })
	if at < 0 {
		return jose.JSONWebKey{}, false
	}
	return i.keys[at], true
}

// fetch asks for the issuer's keys, and before that for its configuration if nobody said where they are.
func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	at := i.at
	if at == "" {
		var err error
		if at, err = i.discover(ctx); err != nil {
			return nil, err
		}
	}
	return i.set(ctx, at)
}

// discover asks where the keys are (OpenID Connect Discovery 1.0 §4).
func (i *issuer) discover(ctx context.Context) (string, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := i.get(ctx, strings.TrimSuffix(i.name, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return "", err
	}
	if about.Issuer != i.name { // §4.3: exactly
		return "", fmt.Errorf("it calls itself %q", about.Issuer)
	}
	if !overTLS(about.Keys) {
		return "", fmt.Errorf("its keys are not at an https address")
	}
	return about.Keys, nil
}

// overTLS tells whether an address is one that may be asked.
func overTLS(at string) bool {
	u, err := url.Parse(at)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
}

// set asks for a key set (RFC 7517 §5).
func (i *issuer) set(ctx context.Context, at string) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, at, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var good []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey // of a kind that is not known: somebody else's
		if err := k.UnmarshalJSON(raw); err == nil && strong(&k) {
			good = append(good, k)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("it has no key that can be used")
	}
	return good, nil
}

func (i *issuer) get(ctx context.Context, at string, to any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime) // others wait for it too
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	res, err := i.wire.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", at, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("%s answers more than %d bytes", at, maxAnswer)
	}
	return json.Unmarshal(b, to)
}
