package policy

import (
	"errors"
	"fmt"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/acl"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// MaxAttached limits to how many principals and groups one policy is attached.
const MaxAttached = 32

// Attached is whom a policy speaks about whose language does not say so itself.
type Attached struct {
	Principals []string
	Groups     []string
}

func (a *Attached) check() error {
	n := len(a.Principals) + len(a.Groups)
	if n == 0 || n > MaxAttached {
		return kms.Errorf(kms.CodeBadPolicy, "the policy is attached to %d principals and groups: want 1 to %d", n, MaxAttached)
	}
	seen := map[types.EntityUID]bool{}
	for _, uid := range a.uids() {
		if uid.ID == "" || len(uid.ID) > kms.MaxName {
			return kms.Errorf(kms.CodeBadPolicy, "the name of a principal or group has 1 to %d bytes", kms.MaxName)
		}
		if seen[uid] {
			return kms.Errorf(kms.CodeBadPolicy, "the policy is attached to %s twice", uid)
		}
		seen[uid] = true
	}
	return nil
}

func (a *Attached) uids() []types.EntityUID {
	var all []types.EntityUID
	for _, p := range a.Principals {
		all = append(all, types.NewEntityUID(typePrincipal, types.String(p)))
	}
	for _, g := range a.Groups {
		all = append(all, types.NewEntityUID(typeGroup, types.String(g)))
	}
	return all
}

// CheckIAM reads an identity policy in AWS's language for the namespace whose account it is, which speaks about those whom it is attached to. It
// is refused as Check refuses. Its statements are called id#1, id#2, … by their place in it.
func CheckIAM(id, account string, text []byte, to Attached) (*Policy, error) {
	if _, err := kms.ParseNamespace(id); err != nil {
		return nil, kms.Errorf(kms.CodeBadName, "the id of a policy has 1 to %d of a-z, 0-9 and '-', not starting with '-'", MaxID)
	}
	if err := to.check(); err != nil {
		return nil, err
	}
	compiled, err := compileIAM(id, iam.IdentityPolicy, account, text)
	if err != nil {
		return nil, err
	}
	p := &Policy{id: id, text: string(text)}
	for _, caller := range to.uids() {
		for i := range compiled {
			s, err := translated(fmt.Sprintf("%s#%d", id, compiled[i].Number), &compiled[i], caller)
			if err != nil {
				return nil, err
			}
			p.statements = append(p.statements, s)
		}
	}
	return p, nil
}

// CheckACL reads an ACL policy of Vault with what paths stand for, which speaks about those whom it is attached to. It is refused as Check refuses, unless it
// was accepted before; the notes say what of it has no effect.
func CheckACL(id string, paths []kms.Path, text []byte, to Attached, accepted bool) (*Policy, []string, error) {
	if _, err := kms.ParseNamespace(id); err != nil {
		return nil, nil, kms.Errorf(kms.CodeBadName, "the id of a policy has 1 to %d of a-z, 0-9 and '-', not starting with '-'", MaxID)
	}
	if err := to.check(); err != nil {
		return nil, nil, err
	}
	compiled, notes, err := acl.Compile(paths, text, accepted)
	var found acl.Findings
	if errors.As(err, &found) {
		all := make(Findings, len(found))
		for i, f := range found {
			all[i] = Finding(f)
		}
		return nil, nil, refused(id, all)
	}
	if err != nil {
		return nil, nil, err
	}
	p := &Policy{id: id, text: string(text)}
	for _, caller := range to.uids() {
		for i := range compiled {
			c := &compiled[i]
			s, err := translated(fmt.Sprintf("%s#%d", id, i+1), &iam.Compiled{Permit: c.Permit, Actions: c.Actions, When: c.When, Line: c.Line, Column: c.Column, Text: c.Text}, caller)
			if err != nil {
				return nil, nil, err
			}
			p.statements = append(p.statements, s)
		}
	}
	var said []string
	for _, n := range notes {
		said = append(said, n.String())
	}
	return p, said, nil
}
