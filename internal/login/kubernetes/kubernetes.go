package kubernetes

import (
	"context"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Method is the login. It is safe for concurrent use.
type Method struct{ slots chan struct{} }

// New makes one.
func New() *Method { return &Method{slots: make(chan struct{}, atOnce)} }

// Prove has the cluster say whose a token is, and compares it with the role.
func (m *Method) Prove(ctx context.Context, mount login.Mount, r login.Request) (id login.Identity, err error) {
	if len(mount.Config.Public) == 0 {
		return id, login.Refuse("the mount has no configuration")
	}
	var c config
	if err := json.Unmarshal(mount.Config.Public, &c); err != nil {
		return id, err
	}
	if r.Proof.Len() == 0 || r.Role == "" {
		return id, login.Refuse("there is no token, or no role")
	}
	kept, err := mount.Roles.Role(ctx, r.Role)
	if err != nil {
		return id, err
	}
	var of role
	if err := json.Unmarshal(kept.Public, &of); err != nil {
		return id, err
	}
	token := string(r.Proof.Reveal(reveal.Key{}))
	says, err := c.read(ctx, token)
	if err != nil {
		return id, err
	}
	claimed, err := says.account()
	if err == nil {
		err = says.judge(&c, &of, r.Now)
	}
	if err == nil {
		err = of.admits(claimed)
	}
	if err != nil {
		return id, err
	}
	reviewer := token // who may have tokens reviewed can have the own one reviewed
	if mount.Config.Secret.Len() > 0 {
		reviewer = string(mount.Config.Secret.Reveal(reveal.Key{}))
	}
	is, err := m.review(ctx, &c, reviewer, token, of.Audience)
	if err != nil {
		return id, err
	}
	if *is != *claimed {
		return id, login.Refuse("it is of the account %s/%s, and says that of another", login.Clip(is.namespace), login.Clip(is.name))
	}
	id = login.Identity{Role: kept.Name, Name: is.uid, Metadata: map[string]string{
		"role": kept.Name, "service_account_name": is.name, "service_account_namespace": is.namespace, "service_account_uid": is.uid,
	}}
	if of.Alias == byName {
		id.Name = is.namespace + "/" + is.name
	}
	return id, nil
}
