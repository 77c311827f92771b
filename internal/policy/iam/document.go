package iam

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what a document is attached to.
type Kind uint8

// The kinds of documents.
const (
	KeyPolicy      Kind = iota + 1 // belongs to a key, names principals
	IdentityPolicy                 // belongs to principals, names keys
)

// Versions of the language.
const (
	Version2012 = "2012-10-17"
	Version2008 = "2008-10-17" // no policy variables
)

// statement is one statement as it is written.
type statement struct {
	whole  value
	sid    string
	effect string
	parts  map[string]member
}

var (
	documentMembers  = []string{"Version", "Id", "Statement"}
	statementMembers = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)

// compiler translates one document.
type compiler struct {
	kind      Kind
	account   string
	text      []byte
	variables bool // policy variables are understood
	found     Findings

	permit     bool // the statement under way permits
	delegating bool // and hands on what it permits
}

func (c *compiler) report(at value, what, want string) {
	c.found = report(c.found, c.text, at.from, what, want)
}

func (c *compiler) members(v value, known []string, what string) map[string]member {
	got := map[string]member{}
	for _, m := range v.members {
		if !slices.Contains(known, m.name) {
			want := "one of " + strings.Join(known, ", ")
			for _, k := range known {
				if strings.EqualFold(k, m.name) {
					want = "write " + k
				}
			}
			c.found = report(c.found, c.text, m.at, fmt.Sprintf("%s has no %q", what, clip(m.name)), want)
			continue
		}
		got[m.name] = m
	}
	return got
}

// statements reads the document down to its statements.
func (c *compiler) statements(doc value) []statement {
	if doc.form != object {
		c.report(doc, "a policy is a JSON object", `{"Version": "2012-10-17", "Statement": […]}`)
		return nil
	}
	got := c.members(doc, documentMembers, "a policy")
	switch v, there := got["Version"]; {
	case !there: // the older version is the default
	case v.form == text && v.text == Version2012:
		c.variables = true
	case v.form == text && v.text == Version2008:
	default:
		c.report(v.value, "there is no such version of the language", Version2012)
	}
	if id, there := got["Id"]; there && id.form != text {
		c.report(id.value, "Id is text", "")
	}
	all, there := got["Statement"]
	if !there {
		c.report(doc, "the policy has no Statement", "at least one")
		return nil
	}
	items := []value{all.value}
	if all.form == list {
		items = all.items
	}
	if len(items) == 0 || len(items) > MaxStatements {
		c.report(all.value, fmt.Sprintf("the policy has %d statements", len(items)), fmt.Sprintf("1 to %d", MaxStatements))
		return nil
	}
	var out []statement
	sids := map[string]bool{}
	for _, item := range items {
		if s, ok := c.statement(item, sids); ok {
			out = append(out, s)
		}
	}
	return out
}

func (c *compiler) statement(v value, sids map[string]bool) (s statement, ok bool) {
	if v.form != object {
		c.report(v, "a statement is an object", "")
		return s, false
	}
	before := len(c.found)
	s = statement{whole: v, parts: c.members(v, statementMembers, "a statement")}
	if sid, there := s.parts["Sid"]; there {
		if s.sid = sid.text; sid.form != text {
			c.report(sid.value, "Sid is text", "")
		} else if s.sid != "" && sids[s.sid] {
			c.report(sid.value, fmt.Sprintf("there are two statements with the Sid %q", clip(s.sid)), "one of them, or another Sid")
		}
		sids[s.sid] = true
	}
	effect := s.parts["Effect"]
	if s.effect = effect.text; s.effect != "Allow" && s.effect != "Deny" {
		at := effect.value
		if effect.form == 0 {
			at = v
		}
		c.report(at, "a statement has an Effect", `"Allow" or "Deny"`)
	}
	c.oneOf(&s, "Action", "NotAction", true)
	switch c.kind {
	case KeyPolicy:
		c.oneOf(&s, "Principal", "NotPrincipal", true)
		c.oneOf(&s, "Resource", "NotResource", false) // of a key policy it is the key
	default:
		for _, name := range []string{"Principal", "NotPrincipal"} {
			if m, there := s.parts[name]; there {
				c.report(m.value, "an identity policy has no "+name, "say with the policy to whom it is attached")
			}
		}
		c.oneOf(&s, "Resource", "NotResource", true)
	}
	if m, there := s.parts["NotPrincipal"]; there && s.effect == "Allow" {
		c.report(m.value, "NotPrincipal with Allow permits everybody else, known or not", "name the principals")
	}
	return s, len(c.found) == before
}

// oneOf wants one of two members.
func (c *compiler) oneOf(s *statement, a, b string, needed bool) {
	_, hasA := s.parts[a]
	second, hasB := s.parts[b]
	switch {
	case hasA && hasB:
		c.report(second.value, fmt.Sprintf("a statement has %s or %s, not both", a, b), "")
	case needed && !hasA && !hasB:
		c.report(s.whole, fmt.Sprintf("the statement has no %s", a), a+" or "+b)
	}
}

// strings reads a text or a list of texts.
func (c *compiler) strings(v value) []value {
	switch v.form {
	case text:
		return []value{v}
	case list:
		if len(v.items) == 0 {
			c.report(v, "the list is empty", "at least one")
		}
		for _, item := range v.items {
			if item.form != text {
				c.report(item, "want text", "")
				return nil
			}
		}
		return v.items
	default:
		c.report(v, "want text, or a list of texts", "")
		return nil
	}
}
