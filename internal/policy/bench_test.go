package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// manyRules are the rules of a namespace with n policies: one in ten reads the context, one in ten is about any resource.
func manyRules(tb testing.TB, n int) *Rules {
	tb.Helper()
	list := make([]*Policy, n)
	for i := range list {
		text := fmt.Sprintf(`permit (principal == Principal::"svc/%d", action in Action::"UseKey", resource in Name::"team-%d/key-%d");`, i, i%100, i)
		switch i % 10 {
		case 0:
			text = fmt.Sprintf(`permit (principal == Principal::"svc/%d", action in Action::"UseKey", resource is Key) when { resource.hasTag("team") && resource.getTag("team") == "t%d" };`, i, i)
		case 1:
			text = fmt.Sprintf(`permit (principal == Principal::"svc/%d", action in Action::"UseKey", resource in Name::"team-%d/key-%d") when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) && context.encryption.hasTag("tenant") && context.encryption.getTag("tenant") == "a" };`, i, i%100, i)
		}
		list[i] = mustCheck(tb, fmt.Sprintf("p-%d", i), text)
	}
	r, err := Compile("default", apart, list, 1)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func benchRequest(i int, p *Principal, res *Resource) Request {
	q := ask(p, kms.Encrypt, res)
	q.Remote = netip.MustParseAddr("10.1.2.3")
	q.Context = kms.Context{"tenant": "a", "purpose": "backup"}
	return q
}

// BenchmarkDecide: the whole decision, guardrails and separation of duties included.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		rules := manyRules(b, n)
		for _, c := range []struct {
			what string
			i    int // which service asks
		}{{"key", n - 5}, {"context", n - 9}, {"label", n - 10}} {
			p := principal("default", fmt.Sprintf("svc/%d", c.i))
			res := key("default", fmt.Sprintf("team-%d/key-%d", c.i%100, c.i), "team", fmt.Sprintf("t%d", c.i))
			q := benchRequest(c.i, p, res)
			if d := rules.Decide(q); !d.Allowed {
				b.Fatalf("%s of %d: got %+v, want allowed", c.what, n, d)
			}
			b.Run(fmt.Sprintf("policies=%d/by=%s", n, c.what), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					rules.Decide(q)
				}
			})
		}
		user := benchRequest(0, principal("default", "u", kms.RoleUser), key("default", "team-1/key-1"))
		b.Run(fmt.Sprintf("policies=%d/by=role", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rules.Decide(user)
			}
		})
	}
}

func BenchmarkPrepareKey(b *testing.B) {
	k := &kms.Key{ID: idOf("k"), Namespace: "default", Name: "payroll/eu/7", Algorithm: kms.AES256GCM, Usage: kms.EncryptDecrypt,
		Origin: kms.Generated, Switch: kms.Enabled, Labels: map[string]string{"env": "prod", "team": "a"}}
	b.ReportAllocs()
	for b.Loop() {
		PrepareKey(k)
	}
}

func BenchmarkCheck(b *testing.B) {
	text := []byte(`permit (principal == Principal::"svc/a", action in Action::"UseKey", resource in Folder::"payroll") when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check("p", text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	own := manyRules(b, 10_000).own.all
	list := make([]*Policy, len(own))
	for i, s := range own {
		list[i] = &Policy{id: string(s.id), statements: []*statement{s}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile("default", apart, list, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTenThousandPoliciesCostAsLittleAsTen, counted in policies evaluated and memory allocated, which do not depend on the
// machine as times do.
func TestTenThousandPoliciesCostAsLittleAsTen(t *testing.T) {
	const (
		mostEvaluated = 4  // the isolation guardrail, and what names this principal
		mostAllocated = 45 // of which 25 build the request's context when a policy reads it
	)
	rules := manyRules(t, 10_000)
	for _, i := range []int{9_995, 9_991, 9_990} { // by key, by context, by label
		p := principal("default", fmt.Sprintf("svc/%d", i))
		res := key("default", fmt.Sprintf("team-%d/key-%d", i%100, i), "team", fmt.Sprintf("t%d", i))
		q := benchRequest(i, p, res)
		if d := rules.Decide(q); !d.Allowed {
			t.Fatalf("got %+v, want allowed", d)
		}
		if n := len(rules.matching(nil, p, res, maskOf(q.Action), true)); n > mostEvaluated {
			t.Errorf("service %d: %d policies are evaluated, want at most %d", i, n, mostEvaluated)
		}
		if n := testing.AllocsPerRun(100, func() { rules.Decide(q) }); n > mostAllocated {
			t.Errorf("service %d: %v allocations, want at most %d", i, n, mostAllocated)
		}
	}
}
