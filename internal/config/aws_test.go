package config

import (
	"strings"
	"testing"
)

func TestAccountsHaveAForm(t *testing.T) {
	for text, want := range map[string]string{
		"aws:\n  accounts: default=111122223333\n":                         "",
		"aws:\n  accounts: [default=111122223333, team-a=444455556666]\n":  "",
		"aws:\n  accounts: default=11112222333\n":                          "12 digits",
		"aws:\n  accounts: default=11112222333x\n":                         "12 digits",
		"aws:\n  accounts: Default=111122223333\n":                         "not a namespace",
		"aws:\n  accounts: \"111122223333\"\n":                             "not a namespace",
		"aws:\n  accounts: [default=111122223333, default=444455556666]\n": "there twice",
		"aws:\n  accounts: [default=111122223333, team-a=111122223333]\n":  "there twice",
	} {
		given, ps := parse("keyhold.yaml", []byte(text))
		c, err := build(given)
		if err != nil {
			ps = append(ps, err.(Problems)...) //nolint:forcetypeassert,errcheck,errorlint // build gives no other
		}
		switch {
		case want == "" && (len(ps) > 0 || c.AWS.Accounts["default"] != "111122223333"):
			t.Errorf("%s: %v", text, ps)
		case want != "" && !strings.Contains(ps.Error(), want):
			t.Errorf("%s: got %v, want something with %q", text, ps, want)
		}
	}
}
