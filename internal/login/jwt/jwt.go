package jwt

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// metaRole is the name under which a token carries the role it was given by.
const metaRole = "role"

// Method is the login. It is safe for concurrent use.
type Method struct {
	now  func() time.Time
	held held
}

// New makes one. now is the clock by which keys grow old; nil: time.Now.
func New(now func() time.Time) *Method {
	if now == nil {
		now = time.Now
	}
	return &Method{now: now}
}

// Prove verifies a token, and compares what it says with what the role binds.
func (m *Method) Prove(ctx context.Context, mount login.Mount, r login.Request) (login.Identity, error) {
	c, err := readConfig(mount.Config.Public)
	if err != nil {
		return login.Identity{}, err
	}
	if r.Proof.Len() == 0 {
		return login.Identity{}, login.Refuse("there is no token")
	}
	keys, err := m.keys(&c)
	if err != nil {
		return login.Identity{}, err
	}
	said, err := verified(ctx, keys, string(r.Proof.Reveal(reveal.Key{})), c.Algorithms)
	if err != nil {
		return login.Identity{}, err
	}
	name := cmp.Or(r.Role, c.DefaultRole)
	if name == "" {
		return login.Identity{}, login.Refuse("it names no role, and the mount has none for that")
	}
	kept, err := mount.Roles.Role(ctx, name)
	if err != nil {
		return login.Identity{}, err
	}
	var of role
	if err := json.Unmarshal(kept.Public, &of); err != nil {
		return login.Identity{}, err
	}
	return of.judge(said, &c, mount.Path, kept.Name, r.Now)
}

// verified answers what a token says whose signature is good.
func verified(ctx context.Context, keys *oidc.Keys, token string, by []string) (said, error) {
	payload, err := keys.Payload(ctx, token, by)
	switch kms.CodeOf(err) {
	case 0:
	case kms.CodeIdentityToken:
		return nil, login.Refuse("%s", kms.AsError(err).What)
	case kms.CodeIssuer: // whose keys these are is nothing that a stranger is told
		return nil, kms.Errorf(kms.CodeIssuer, "the keys of who signs tokens could not be had").Because(err)
	default:
		return nil, err
	}
	var s said
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, login.Refuse("what it says is no JSON object (RFC 7519 §7.2)")
	}
	return s, nil
}

// judge compares what a token says with what is asked for, and says whose it is.
func (r *role) judge(s said, c *config, mount, name string, now time.Time) (id login.Identity, err error) {
	d, err := s.dates()
	if err == nil {
		err = r.timely(d, now)
	}
	if err == nil {
		err = r.bind(s, c)
	}
	if err != nil {
		return id, err
	}
	who, ok := one(s.find(r.UserClaim, r.Pointer))
	if !ok || !who.quoted || who.text == "" || !login.Plain(who.text) {
		return id, login.Refuse("its claim %q is not a text that can be a name", login.Clip(r.UserClaim))
	}
	id = login.Identity{Role: name, Name: who.text, Metadata: map[string]string{metaRole: name}}
	for from, to := range r.Mappings {
		if v := s.find(from, true); v != nil {
			one, ok := one(v)
			if !ok {
				return login.Identity{}, login.Refuse("its claim %q is not a text, a number or a truth value", login.Clip(from))
			}
			id.Metadata[to] = one.text
		}
	}
	if r.Groups == "" {
		return id, nil
	}
	groups, ok := s.texts(r.Groups)
	if !ok || s.find(r.Groups, true) == nil {
		return login.Identity{}, login.Refuse("its claim %q is not a list of texts", login.Clip(r.Groups))
	}
	for _, g := range groups {
		if g = mount + "/" + g; kms.CheckName(g) == nil && !slices.Contains(id.Groups, g) { // a group that cannot be named permits nothing
			id.Groups = append(id.Groups, g)
		}
	}
	return id, nil
}

// bind refuses a token that is not for here.
func (r *role) bind(s said, c *config) error {
	issuer, ok := s.texts("iss")
	if want := cmp.Or(c.BoundIssuer, c.Issuer); !ok || want != "" && (len(issuer) != 1 || issuer[0] != want) {
		return login.Refuse("its issuer is %q", login.Clip(first(issuer)))
	}
	audience, ok := s.texts("aud")
	switch {
	case !ok:
		return login.Refuse("its audience is not a text or a list of texts")
	case len(r.Audiences) == 0 && len(audience) > 0:
		return login.Refuse("it is for an audience, and the role binds none")
	case len(r.Audiences) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(r.Audiences, a) }):
		return login.Refuse("its audience is %q", login.Clip(first(audience)))
	}
	if subject, ok := s.texts("sub"); r.Subject != "" && (!ok || len(subject) != 1 || subject[0] != r.Subject) {
		return login.Refuse("its subject is %q", login.Clip(first(subject)))
	}
	for name, want := range r.Claims {
		if !r.claims(s, name, want) {
			return login.Refuse("its claim %q is not as the role binds it", login.Clip(name))
		}
	}
	return nil
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// claims tells whether one of what a token claims is one of what is wanted.
func (r *role) claims(s said, name string, want []byte) bool {
	has, ok := scalars(s.find(name, true))
	wanted, good := scalars(want)
	return ok && good && slices.ContainsFunc(has, func(h scalar) bool {
		return slices.ContainsFunc(wanted, func(w scalar) bool {
			if r.Match == matchGlob {
				return h.quoted && login.Glob(w.text, h.text)
			}
			return h == w
		})
	})
}
