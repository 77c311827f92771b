package vault

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// The members that all roles of logins have: what their tokens may do, and for how long. Old clients know some by older names, which count for less.

// terms reads what a body changes of them.
func (x *exchange) terms() (c engine.LoginTermsChange, f *fault) {
	if f = serviceTokens(x.in); f != nil {
		return c, f
	}
	for _, of := range []struct {
		to    **time.Duration
		names []string
	}{
		{&c.TTL, []string{"ttl", "token_ttl"}}, {&c.Most, []string{"max_ttl", "token_max_ttl"}}, {&c.Limit, []string{"token_explicit_max_ttl"}},
		{&c.Period, []string{"period", "token_period"}},
	} {
		for _, name := range of.names {
			d, f := x.in.spanIf(name)
			if f != nil {
				return c, f
			}
			if d != nil {
				*of.to = d
			}
		}
	}
	if c.Uses, f = x.usesIf("token_num_uses"); f != nil {
		return c, f
	}
	if x.in.has("token_no_default_policy") {
		no, f := x.in.yes("token_no_default_policy")
		if f != nil {
			return c, f
		}
		c.NoDefault = &no
	}
	for _, name := range []string{"bound_cidrs", "token_bound_cidrs"} {
		if c.Bound, f = x.networksIf(c.Bound, name); f != nil {
			return c, f
		}
	}
	for _, name := range []string{"policies", "token_policies"} {
		if x.in.has(name) {
			if c.Rights, f = x.rights(name); f != nil {
				return c, f
			}
			if c.Rights == nil {
				c.Rights = &engine.LoginRights{}
			}
		}
	}
	return c, nil
}

// usesIf is a number of uses, if there is one.
func (x *exchange) usesIf(name string) (*uint32, *fault) {
	if !x.in.has(name) {
		return nil, nil //nolint:nilnil // none is what there is
	}
	n, f := x.in.number(name)
	if f == nil && n < 0 {
		f = newFault(http.StatusBadRequest, "'"+name+"' cannot be negative")
	}
	uses := uint32(max(n, 0)) //nolint:gosec // G115: from 32 bits, not negative
	return &uses, f
}

// maxTexts bounds a list of names.
const maxTexts = 256

// several reads a list of texts, or one text with commas in it.
func (x *exchange) several(in fields, name string) ([]string, *fault) {
	raw := in.raw(name)
	if raw == nil {
		return nil, nil
	}
	var all []string
	if raw[0] == '[' {
		values, f := x.j.list(raw)
		if f != nil {
			return nil, badField(name)
		}
		for _, v := range values {
			s, f := fields{{name: []byte(name), raw: v}}.text(name)
			if f != nil {
				return nil, f
			}
			all = append(all, s)
		}
	} else {
		s, f := in.text(name)
		if f != nil {
			return nil, f
		}
		all = strings.Split(s, ",")
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	if all = slices.DeleteFunc(all, func(s string) bool { return s == "" }); len(all) > maxTexts {
		return nil, newFault(http.StatusBadRequest, "Field validation failed: "+name+" has too many values")
	}
	return all, nil
}

// rights reads the names of policies: those of roles are roles, the others groups. nil: none are named.
func (x *exchange) rights(name string) (*engine.LoginRights, *fault) {
	all, f := x.several(x.in, name)
	if f != nil || len(all) == 0 {
		return nil, f
	}
	to := &engine.LoginRights{}
	for _, s := range all {
		switch {
		case s == "default": // every token has it, and it permits nothing of its own here
		case s == "root":
			return nil, newFault(http.StatusBadRequest, noRoot)
		case slices.Contains(kms.AllRoles(), kms.Role(s)):
			to.Roles = appendNew(to.Roles, kms.Role(s))
		default:
			to.Groups = appendNew(to.Groups, s)
		}
	}
	slices.Sort(to.Roles)
	slices.Sort(to.Groups)
	return to, nil
}

func appendNew[T comparable](all []T, v T) []T {
	if slices.Contains(all, v) {
		return all
	}
	return append(all, v)
}

const noRoot = "root tokens may not be created: no token may do everything here; an administrator's has the policy admin"

// networksIf reads networks, or single addresses, if there are any.
func (x *exchange) networksIf(was *[]netip.Prefix, name string) (*[]netip.Prefix, *fault) {
	if !x.in.has(name) {
		return was, nil
	}
	all, f := x.several(x.in, name)
	if f != nil {
		return nil, f
	}
	nets := make([]netip.Prefix, 0, len(all))
	for _, s := range all {
		p, err := netip.ParsePrefix(s)
		if at, no := netip.ParseAddr(s); err != nil && no == nil && at.Zone() == "" {
			p, err = netip.PrefixFrom(at, at.BitLen()), nil
		}
		if err != nil {
			return nil, newFault(http.StatusBadRequest, "Field validation failed: "+name+": "+clip(s)+" is not a network or an address")
		}
		nets = append(nets, p.Masked())
	}
	return &nets, nil
}

// termMembers are the members as they are answered.
var termMembers = []struct {
	name string
	show func(*encoder, string, *engine.LoginTerms)
}{
	{"token_bound_cidrs", func(e *encoder, name string, t *engine.LoginTerms) { e.name(name); e.texts(networks(t.Bound)) }},
	{"token_explicit_max_ttl", func(e *encoder, name string, t *engine.LoginTerms) { e.number(name, int64(t.Limit/time.Second)) }},
	{"token_max_ttl", func(e *encoder, name string, t *engine.LoginTerms) { e.number(name, int64(t.Most/time.Second)) }},
	{"token_no_default_policy", func(e *encoder, name string, t *engine.LoginTerms) { e.yes(name, t.NoDefault) }},
	{"token_num_uses", func(e *encoder, name string, t *engine.LoginTerms) { e.number(name, int64(t.Uses)) }},
	{"token_period", func(e *encoder, name string, t *engine.LoginTerms) { e.number(name, int64(t.Period/time.Second)) }},
	{"token_policies", func(e *encoder, name string, t *engine.LoginTerms) {
		e.name(name)
		e.texts(policies(t.Roles, t.Groups))
	}},
	{"token_strictly_bind_ip", func(e *encoder, name string, _ *engine.LoginTerms) { e.yes(name, false) }},
	{"token_ttl", func(e *encoder, name string, t *engine.LoginTerms) { e.number(name, int64(t.TTL/time.Second)) }},
	{"token_type", func(e *encoder, name string, _ *engine.LoginTerms) { e.text(name, "default") }},
}

// showTerms writes the members, or those of them that are named.
func (x *exchange) showTerms(t *engine.LoginTerms, only ...string) {
	for _, m := range termMembers {
		if len(only) == 0 || slices.Contains(only, m.name) {
			m.show(&x.e, m.name, t)
		}
	}
}

func networks(all []netip.Prefix) []string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
		if p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
	}
	return texts
}

// noMember refuses members that would have an effect which there is not.
func (x *exchange) noMember(names ...string) *fault {
	for _, name := range names {
		s, f := x.in.text(name)
		if f != nil {
			return f
		}
		if s != "" && s != "false" && s != "0" {
			return newFault(http.StatusBadRequest, name+" is not supported here")
		}
	}
	return nil
}
