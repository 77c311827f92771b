package vault

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
)

// maxListed is the most names that one answer has.
const maxListed = 10_000

// listing is a part of a list of names, in the order of their bytes: OpenBao's parameters after and limit say which.
type listing struct {
	after string
	most  int
	asked bool // for so many, and so nobody has to be told that there are more
	names []string
}

// listingOf reads what a query asks for.
func listingOf(q url.Values) (*listing, *fault) {
	p := &listing{after: q.Get("after"), most: maxListed}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, badField("limit")
		}
		if n > 0 && n <= maxListed { // 0 and less: no limit
			p.most, p.asked = int(n), true
		}
	}
	return p, nil
}

// add takes a name. No more are kept than the answer can have, twice.
func (p *listing) add(name string) {
	if name <= p.after {
		return
	}
	if p.names = append(p.names, name); len(p.names) > 2*p.most+1 {
		p.sort()
	}
}

// sort keeps those that come first, and one more.
func (p *listing) sort() {
	slices.Sort(p.names)
	p.names = p.names[:min(len(p.names), p.most+1)]
}

// end answers the names, and how to ask for what follows; empty: nothing does, or who asks knows.
func (p *listing) end() (names []string, warning string) {
	p.sort()
	if len(p.names) <= p.most {
		return p.names, ""
	}
	names = p.names[:p.most]
	if !p.asked {
		warning = fmt.Sprintf("there are more than %d: ask for the next ones with the parameter after=%s", p.most, url.QueryEscape(names[p.most-1]))
	}
	return names, warning
}

// ListKeys answers the names of a mount's keys.
func (x *exchange) ListKeys(ctx context.Context) *fault {
	p, f := listingOf(x.r.URL.Query())
	if f != nil {
		return f
	}
	prefix := ""
	if x.place.mount != defaultMount {
		prefix = x.place.mount + "/"
	}
	for in := (engine.ListKeysInput{Filter: engine.KeyFilter{NamePrefix: prefix}, Limit: pageSize}); ; {
		out, err := x.engine.ListKeys(ctx, x.call, in)
		if err != nil {
			return faultOf(err)
		}
		for i := range out.Keys {
			k := &out.Keys[i]
			if name := strings.TrimPrefix(k.Name, prefix); k.Destroyed.IsZero() && !strings.Contains(name, "/") {
				p.add(name)
			}
		}
		if in.Page = out.Next; in.Page == "" {
			break
		}
	}
	return x.listed(p)
}

// listed answers names.
func (x *exchange) listed(p *listing) *fault {
	names, warning := p.end()
	if len(names) == 0 {
		return missing()
	}
	if warning != "" {
		x.warnings = append(x.warnings, warning)
	}
	x.e.open()
	x.e.name("keys")
	x.e.texts(names)
	x.e.close()
	return nil
}
