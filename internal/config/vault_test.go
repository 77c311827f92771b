package config

import (
	"slices"
	"testing"
)

func TestMountsDoNotOverlap(t *testing.T) {
	c, err := build(nil)
	if err != nil || !slices.Equal(c.Vault.Mounts, []string{"transit"}) {
		t.Fatalf("the default: got %v, %v", c, err)
	}
	for value, want := range map[string][]string{
		"[transit, /team/t/]": {"transit", "team/t"}, "a": {"a"},
		"sys": nil, "auth/x": nil, "alias": nil, "[a, a]": nil, "[a, a/b]": nil, "[a/b, a]": nil, "a//b": nil, "-a": nil, "a b": nil,
	} {
		given, ps := parse("keyhold.yaml", []byte("vault:\n  mounts: "+value+"\n"))
		c, err := build(given)
		bad := err != nil || len(ps) > 0
		if bad != (want == nil) || !bad && !slices.Equal(c.Vault.Mounts, want) {
			t.Errorf("%s: got %+v, %v, %v want %v", value, c, ps, err, want)
		}
	}
}
