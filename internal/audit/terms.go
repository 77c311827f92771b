package audit

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/audit/index"
	"github.com/keyhold/keyhold/internal/kms"
)

// Properties of a record that an index holds (docs/formats-audit.md, "Index"). The numbers are part of the format. What identifies a person is not among them: a
// principal is found by the alias that stands in the body anyway, so that an index holds nothing that erasure would have to reach.
const (
	byKey byte = iota + 1
	byAlias
	byRequest
	byAction
	byOutcome
	byDialect
	byCode
	byNamespace
	byResource
	byChange
	byKeyAction
	byAliasAction
	byKeyOutcome // the outcomes other than OK are few, so that what somebody was refused is found among much that he was not
	byAliasOutcome
	byActionOutcome
	byKeyAlias
)

// eachTerm calls see with the terms of a record. The value is good until see returns.
func eachTerm(r *Record, see func(kind byte, value []byte)) {
	var room [64]byte
	pair := func(kind byte, a []byte, b byte) { see(kind, append(append(room[:0], a...), b)) }
	action, outcome := byte(r.Action), byte(r.Outcome)
	see(byAction, []byte{action})
	see(byOutcome, []byte{outcome})
	see(byDialect, []byte{byte(r.Dialect)})
	see(byAlias, r.Alias[:])
	pair(byAliasAction, r.Alias[:], action)
	for i := range r.Keys {
		key := r.Keys[i].Key[:]
		see(byKey, key)
		pair(byKeyAction, key, action)
		see(byKeyAlias, append(append(room[:0], key...), r.Alias[:]...))
	}
	if r.Namespace != "" {
		see(byNamespace, []byte(r.Namespace))
	}
	if r.RequestID != "" {
		see(byRequest, []byte(r.RequestID))
	}
	if r.Resource != "" {
		see(byResource, []byte(r.Resource))
	}
	if r.Code != 0 {
		see(byCode, codeBytes(r.Code))
	}
	if r.Change {
		see(byChange, nil)
	}
	if r.Outcome == OK {
		return
	}
	pair(byAliasOutcome, r.Alias[:], outcome)
	see(byActionOutcome, []byte{action, outcome})
	for i := range r.Keys {
		pair(byKeyOutcome, r.Keys[i].Key[:], outcome)
	}
}

func codeBytes(c kms.Code) []byte { return []byte{byte(c >> 8), byte(c)} } //nolint:gosec // G115: halves

// maxAliases bounds the aliases that are looked up one by one.
const maxAliases = 256

// terms are what an index is asked for: a record that the filter keeps has one of each list.
func (f *Filter) terms() (all [][]index.Term) {
	one := func(kind byte, value []byte) { all = append(all, []index.Term{{Kind: kind, Value: value}}) }
	join := func(kind byte, of [][]byte, b byte) {
		var list []index.Term
		for _, v := range of {
			list = append(list, index.Term{Kind: kind, Value: append(v[:len(v):len(v)], b)})
		}
		all = append(all, list)
	}
	var keys, aliases [][]byte
	action, outcome := byte(f.Action), byte(f.Outcome)
	failed := f.Outcome != 0 && f.Outcome != OK
	if f.RequestID != "" {
		one(byRequest, []byte(f.RequestID))
	}
	if !f.Key.IsZero() {
		keys = [][]byte{f.Key[:]}
	}
	if len(f.Aliases) <= maxAliases {
		for i := range f.Aliases {
			aliases = append(aliases, f.Aliases[i][:])
		}
	}
	for _, of := range []struct {
		values                  [][]byte
		single, action, outcome byte
	}{{keys, byKey, byKeyAction, byKeyOutcome}, {aliases, byAlias, byAliasAction, byAliasOutcome}} {
		if of.values == nil {
			continue
		}
		if f.Action != 0 {
			join(of.action, of.values, action)
		}
		if failed {
			join(of.outcome, of.values, outcome)
		}
		if f.Action == 0 && !failed {
			var list []index.Term
			for _, v := range of.values {
				list = append(list, index.Term{Kind: of.single, Value: v})
			}
			all = append(all, list)
		}
	}
	if keys != nil && aliases != nil {
		var list []index.Term
		for _, v := range aliases {
			list = append(list, index.Term{Kind: byKeyAlias, Value: slices.Concat(keys[0], v)})
		}
		all = append(all, list)
	}
	switch {
	case f.Action != 0 && failed:
		one(byActionOutcome, []byte{action, outcome})
	case f.Action != 0:
		one(byAction, []byte{action})
	case f.Outcome != 0:
		one(byOutcome, []byte{outcome})
	}
	if f.Code != 0 {
		one(byCode, codeBytes(f.Code))
	}
	if f.Resource != "" {
		one(byResource, []byte(f.Resource))
	}
	if f.Changes {
		one(byChange, nil)
	}
	if f.Dialect != 0 {
		one(byDialect, []byte{byte(f.Dialect)})
	}
	if f.Namespace != "" {
		one(byNamespace, []byte(f.Namespace))
	}
	return all
}

// span gives the filter's times in nanoseconds since 1970.
func (f *Filter) span() (since, until int64) {
	nanos := func(t time.Time, none int64) int64 {
		switch {
		case t.IsZero():
			return none
		case t.Before(firstTime):
			return math.MinInt64
		case t.After(lastTime):
			return math.MaxInt64
		}
		return t.UnixNano()
	}
	return nanos(f.Since, math.MinInt64), nanos(f.Until, math.MaxInt64)
}

// glance is what tells at once, from the encoded body, that a filter does not keep a record.
type glance struct {
	f            *Filter
	since, until int64
	parts        [][]byte // of which all must stand somewhere in the body
}

func (f *Filter) glance() glance {
	g := glance{f: f}
	g.since, g.until = f.span()
	if !f.Key.IsZero() {
		g.parts = append(g.parts, f.Key[:])
	}
	if id, ok := packUUID(f.RequestID); ok {
		g.parts = append(g.parts, id[:])
	} else if f.RequestID != "" {
		g.parts = append(g.parts, []byte(f.RequestID))
	}
	for _, s := range []string{f.Resource, string(f.Namespace)} {
		if s != "" {
			g.parts = append(g.parts, []byte(s))
		}
	}
	return g
}

// may tells whether the filter can keep the record. A body that is not one may be anything: decoding it tells.
func (g *glance) may(body []byte) bool {
	if len(body) < minBody {
		return true
	}
	f := g.f
	at := timeOf(body)
	switch {
	case f.Action != 0 && body[fixedAt] != byte(f.Action),
		f.Outcome != 0 && body[fixedAt+1] != byte(f.Outcome),
		f.Dialect != 0 && body[fixedAt+2] != byte(f.Dialect),
		at < g.since || at >= g.until && g.until != math.MaxInt64:
		return false
	}
	if len(f.Aliases) > 0 && !slices.Contains(f.Aliases, [16]byte(body[aliasAt:])) {
		return false
	}
	for _, p := range g.parts {
		if !bytes.Contains(body[variantAt:], p) {
			return false
		}
	}
	return true
}
