package migrate

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// verdict tells whether two keys are one.
type verdict uint8

const (
	unknown verdict = iota
	same
	another
)

// prove compares a key of the source with that of the target: first what they show, then by what they do. Without try it is content with public keys.
func (m *Mover) prove(ctx context.Context, k *Key, s, t *described, try bool) (verdict, string) {
	switch {
	case t.Deleted:
		return another, "it is waiting for its destruction"
	case s.Type != t.Type:
		return another, fmt.Sprintf("it is of type %s there and %s here", quoted(s.Type), quoted(t.Type))
	case s.Derived != t.Derived || s.Convergent != t.Convergent:
		return another, "only one of them is derived, or encrypts convergently"
	case t.Latest < s.Latest:
		return another, fmt.Sprintf("the source has versions up to %d, and the target up to %d: was it rotated there since it moved?", s.Latest, t.Latest)
	}
	public, differs := compared(s, t)
	if differs != 0 {
		return another, fmt.Sprintf("the public keys of version %d differ", differs)
	}
	if public > 0 && !try {
		return same, "public keys"
	}
	p := &probe{m: m, source: k.Name, target: k.Target, of: s}
	v, said := p.all(ctx, max(s.first(), uint32(s.MinEncryption), t.first())) //nolint:gosec // G115: checked
	switch {
	case v != unknown || public == 0:
		return v, said
	default:
		return same, "public keys; not tried: " + said
	}
}

// compared counts the public keys that both show, and answers the first version in which they differ.
func compared(s, t *described) (public int, differs uint32) {
	for n, a := range s.versions {
		b, ok := t.versions[n]
		if !ok || a.public == "" || b.public == "" {
			continue
		}
		if der(a.public) != der(b.public) {
			return public, n
		}
		public++
	}
	return public, 0
}

// der is what a text holds, without the freedom of PEM.
func der(text string) string {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return string(block.Bytes)
	}
	return text
}

// probe tries a key: what the source makes must work at the target.
type probe struct {
	m              *Mover
	source, target string
	of             *described
}

// trial is one request of a probe, and what of its answer counts. The values are random and protect nothing.
type trial struct {
	Plaintext  string `json:"plaintext,omitzero"`
	Ciphertext string `json:"ciphertext,omitzero"`
	Input      string `json:"input,omitzero"`
	Signature  string `json:"signature,omitzero"`
	HMAC       string `json:"hmac,omitzero"`
	Context    string `json:"context,omitzero"`
	Version    uint32 `json:"key_version,omitzero"`
}

type tried struct {
	Plaintext  string `json:"plaintext"`
	Ciphertext string `json:"ciphertext"`
	Signature  string `json:"signature"`
	HMAC       string `json:"hmac"`
	Valid      bool   `json:"valid"`
}

// all tries every version from one on.
func (p *probe) all(ctx context.Context, first uint32) (verdict, string) {
	t := typeNamed(p.of.Type)
	if t == nil {
		return unknown, "keys of its type cannot be tried"
	}
	last := p.of.latest()
	first = max(first, last-min(last, MaxVersions)+1)
	for n := first; n <= last; n++ {
		if v, said := p.version(ctx, t, n); v != same {
			return v, said
		}
	}
	versions := fmt.Sprintf("version %d", last)
	if first < last {
		versions = fmt.Sprintf("versions %d to %d", first, last)
	}
	switch {
	case t.encrypts:
		return same, "encrypted there and decrypted here by " + versions
	case t.signs:
		return same, "signed there and verified here by " + versions
	}
	return same, "HMAC made there and verified here by " + versions
}

// version makes something at the source by one version, and has the target check it.
func (p *probe) version(ctx context.Context, t *keyType, n uint32) (verdict, string) {
	in := trial{Version: n}
	text := base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	if p.of.Derived {
		in.Context = base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	}
	check := trial{Context: in.Context}
	op, opposite := "encrypt", "decrypt"
	switch {
	case t.encrypts:
		in.Plaintext = text
	case t.signs:
		op, opposite, in.Input, check.Input = "sign", "verify", text, text
	default:
		op, opposite, in.Input, check.Input = "hmac", "verify", text, text
	}
	made, err := p.m.cfg.Source.use(ctx, op, p.source, &in)
	if err != nil {
		return unknown, trimmed(err)
	}
	check.Ciphertext, check.Signature, check.HMAC = made.Ciphertext, made.Signature, made.HMAC
	if check.Ciphertext+check.Signature+check.HMAC == "" {
		return unknown, "the source answers " + op + " with nothing"
	}
	got, err := p.m.cfg.Tester.use(ctx, opposite, p.target, &check)
	switch {
	case refused(err, http.StatusBadRequest) && strings.Contains(err.Error(), "authentication failed"):
		return another, fmt.Sprintf("what the source encrypts by version %d does not decrypt here", n)
	case err != nil:
		return unknown, trimmed(err)
	case t.encrypts && got.Plaintext != text:
		return another, fmt.Sprintf("what the source encrypts by version %d decrypts to something else here", n)
	case !t.encrypts && !got.Valid:
		return another, fmt.Sprintf("what the source makes by version %d does not verify here", n)
	case p.of.Convergent:
		return p.converges(ctx, n, text, in.Context, made.Ciphertext)
	}
	return same, ""
}

// converges tells whether both ends make the same ciphertext. A target that does not let the token encrypt has decrypted it at least.
func (p *probe) converges(ctx context.Context, n uint32, plaintext, derivation, want string) (verdict, string) {
	got, err := p.m.cfg.Tester.use(ctx, "encrypt", p.target, &trial{Plaintext: plaintext, Context: derivation, Version: n})
	if err == nil && got.Ciphertext != want {
		return another, fmt.Sprintf("what encrypts convergently by version %d gives another ciphertext here", n)
	}
	return same, ""
}

// trimmed is what an error says, for the middle of a sentence.
func trimmed(err error) string {
	_, what, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return err.Error()
	}
	return what
}

// use does one operation of transit.
func (s *Server) use(ctx context.Context, op, key string, in *trial) (*tried, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	a, err := s.call(ctx, http.MethodPost, s.transit(op, key), body)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	var out tried
	if err := into(a, &out); err != nil {
		return nil, err
	}
	return &out, nil
}
