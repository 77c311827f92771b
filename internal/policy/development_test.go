package policy_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
)

// One token can do everything in a development namespace, and nowhere else.
func TestDevelopmentLetsAdministratorsOperate(t *testing.T) {
	for _, dev := range []bool{true, false} {
		r, err := policy.Compile("default", policy.Settings{Development: dev}, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		for home, want := range map[kms.Namespace]bool{"default": dev, "other": false} {
			p := policy.PreparePrincipal(&kms.Principal{Name: "dev", Namespace: home, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken})
			for _, a := range []kms.Action{kms.SealServer, kms.RollEpoch, kms.CheckStore, kms.ReadHealth} {
				d := r.Decide(policy.Request{Principal: p, Action: a, Resource: policy.PrepareNamespace("default"), Now: time.Now()})
				if d.Allowed != want {
					t.Errorf("development %v, home %s, %s: got %v, want %v", dev, home, a, d.Allowed, want)
				}
			}
		}
	}
}
