package policy

import (
	"errors"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) // a Monday

func principal(ns kms.Namespace, name string, roles ...kms.Role) *Principal {
	return PreparePrincipal(&kms.Principal{Name: name, Namespace: ns, Roles: roles, Method: kms.AuthToken})
}

func key(ns kms.Namespace, name string, labels ...string) *Resource {
	k := &kms.Key{ID: idOf(name), Namespace: ns, Name: name, Algorithm: kms.AES256GCM, Usage: kms.EncryptDecrypt,
		Origin: kms.Generated, Switch: kms.Enabled, Labels: map[string]string{}}
	for i := 0; i+1 < len(labels); i += 2 {
		k.Labels[labels[i]] = labels[i+1]
	}
	return PrepareKey(k)
}

// idOf is an id that depends on the name alone.
func idOf(name string) kms.ID {
	var b [10]byte
	copy(b[:], name)
	return kms.NewID(noon, b)
}

func mustCheck(t testing.TB, id, text string) *Policy {
	t.Helper()
	p, err := Check(id, []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func mustCompile(t testing.TB, ns kms.Namespace, set Settings, texts ...string) *Rules {
	t.Helper()
	var list []*Policy
	for i, text := range texts {
		list = append(list, mustCheck(t, "p"+string(rune('a'+i)), text))
	}
	r, err := Compile(ns, set, list, 7)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func findings(t *testing.T, text string) Findings {
	t.Helper()
	_, err := Check("p", []byte(text))
	if err == nil {
		return nil
	}
	if kms.CodeOf(err) != kms.CodeBadPolicy {
		t.Fatalf("got %v, want CodeBadPolicy", err)
	}
	var f Findings
	if !errors.As(err, &f) {
		t.Fatalf("no findings in %v", err)
	}
	return f
}
