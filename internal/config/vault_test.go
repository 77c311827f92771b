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

// TestSecretsAreNotWhereTransitIs, and the usual place gives way.
func TestSecretsAreNotWhereTransitIs(t *testing.T) {
	for text, want := range map[string][]string{
		"": {"secret"}, "  mounts: [transit, secret]": nil, "  kv_mounts: [kv, team/kv]": {"kv", "team/kv"}, "  kv_mounts: off": nil,
		"  kv_mounts: transit": {"!"}, "  mounts: team\n  kv_mounts: team/kv": {"!"}, "  kv_mounts: sys": {"!"},
	} {
		given, ps := parse("keyhold.yaml", []byte("vault:\n"+text+"\n"))
		if text == "" {
			given, ps = nil, nil
		}
		c, err := build(given)
		bad := err != nil || len(ps) > 0
		if bad != (len(want) == 1 && want[0] == "!") || !bad && !slices.Equal(c.Vault.KV, want) {
			t.Errorf("%s: got %v, %v, %v want %v", text, c, ps, err, want)
		}
	}
}
