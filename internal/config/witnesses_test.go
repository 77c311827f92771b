package config

import (
	"strings"
	"testing"
)

func TestWitnessesHaveAForm(t *testing.T) {
	const key = "w.example/w1+1a2b3c4d+BAAA"
	for text, want := range map[string]string{
		"audit:\n  witnesses: " + key + " https://w.example/prefix\n  witness_quorum: 1\n":              "",
		"audit:\n  witnesses: [" + key + " https://a.example, " + key + "x https://b.example:7444/w]\n": "",
		"audit:\n  witnesses: " + key + "\n":                                                            "not a verifier key, a space and a URL",
		"audit:\n  witnesses: https://w.example " + key + "\n":                                          "not a verifier key",
		"audit:\n  witnesses: " + key + " http://w.example\n":                                           "not an https URL",
		"audit:\n  witnesses: " + key + " https://u@w.example\n":                                        "not an https URL",
		"audit:\n  witnesses: [" + key + " https://a.example, " + key + " https://a.example]\n":         "there twice",
		"audit:\n  witnesses: " + key + " https://w.example\n  witness_quorum: 2\n":                     "there are 1 witnesses",
		"audit:\n  witness_interval: 10ms\n":                                                            "out of range",
	} {
		given, ps := parse("keyhold.yaml", []byte(text))
		c, err := build(given)
		if err != nil {
			ps = append(ps, err.(Problems)...) //nolint:forcetypeassert,errcheck,errorlint // build gives no other
		}
		switch {
		case want == "" && (len(ps) > 0 || len(c.Audit.Witnessing.Witnesses) == 0):
			t.Errorf("%s: %v", text, ps)
		case want != "" && !strings.Contains(ps.Error(), want):
			t.Errorf("%s: got %v, want something with %q", text, ps, want)
		}
	}
}
