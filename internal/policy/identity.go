package policy

import (
	"fmt"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// MaxAttached limits to how many principals and groups one policy is attached.
const MaxAttached = 32

// Attached is whom a policy in AWS's language speaks about.
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
			s, err := fromIAM(fmt.Sprintf("%s#%d", id, compiled[i].Number), &compiled[i], caller)
			if err != nil {
				return nil, err
			}
			p.statements = append(p.statements, s)
		}
	}
	return p, nil
}
