package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxUnknown problems are noted; a file of another kind would have thousands.
const maxUnknown = 100

// parser walks the nodes of one file. Nodes, not structs: only they know lines, and repeated names.
type parser struct {
	file     string
	base     string
	settings map[string]setting
	names    []string
	sections map[string]bool
	seen     map[string]int // line
	given    []value
	ps       Problems
}

// parse reads the text of a file.
func parse(file string, text []byte) ([]value, Problems) {
	p := parser{
		file: file, base: filepath.Dir(file), settings: map[string]setting{}, sections: map[string]bool{}, seen: map[string]int{},
	}
	for _, s := range append(table(), sinkRows()...) {
		p.settings[s.name] = s
		p.names = append(p.names, s.name)
		if section, _, ok := strings.Cut(s.name, "."); ok {
			p.sections[section] = true
		}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // an empty file
	case err != nil:
		p.syntax(err)
		return nil, p.ps
	}
	if err := d.Decode(&next); err == nil {
		p.add(&next, "", "a second document begins here", "one document")
		return nil, p.ps
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil, p.ps
	}
	if len(doc.Content) == 1 {
		if root := doc.Content[0]; !isNull(root) {
			p.mapping(root, "")
		}
	}
	return p.given, p.ps
}

// mapping reads the settings of the file, or of a section.
func (p *parser) mapping(n *yaml.Node, section string) {
	if n.Kind != yaml.MappingNode {
		p.add(n, section, "these are not settings", "lines of the form NAME: VALUE")
		return
	}
	for i := 0; i+1 < len(n.Content) && len(p.ps) < maxUnknown; i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			p.add(key, section, "this is not the name of a setting", "a name")
			continue
		}
		name := clip(key.Value)
		if section != "" {
			name = section + "." + name
		}
		if line, twice := p.seen[name]; twice {
			p.add(key, name, fmt.Sprintf("it is given twice, first in line %d", line), "it once")
			continue
		}
		p.seen[name] = key.Line
		switch s, known := p.settings[name]; {
		case known:
			p.setting(s, key, val)
		case section == "" && p.sections[name]:
			if !isNull(val) {
				p.mapping(val, name)
			}
		case name == sinksName:
			p.sinks(val)
		default:
			p.unknown(key, name)
		}
	}
}

// sinks reads the list of sinks: each is a section, whose settings have its number in their names.
func (p *parser) sinks(n *yaml.Node) {
	const want = "a list of sinks, each with a name and a kind"
	switch {
	case n.Kind != yaml.SequenceNode:
		p.add(n, sinksName, "it is no list", want)
	case len(n.Content) > MaxSinks:
		p.add(n.Content[MaxSinks], sinksName, fmt.Sprintf("%d sinks are more than %d", len(n.Content), MaxSinks), want)
	default:
		for i, sink := range n.Content {
			p.mapping(sink, fmt.Sprintf("%s.%d", sinksName, i))
		}
	}
}

// setting reads the value, or values, of a setting.
func (p *parser) setting(s setting, key, val *yaml.Node) {
	texts := []string{}
	nodes := []*yaml.Node{val}
	if val.Kind == yaml.SequenceNode && s.list {
		nodes = val.Content
	}
	for _, n := range nodes {
		switch {
		case n.Kind == yaml.AliasNode || n.Anchor != "":
			p.add(n, s.name, "anchors and aliases are not read", s.form)
			return
		case isNull(n):
			p.add(key, s.name, "it has no value", s.form)
			return
		case n.Kind != yaml.ScalarNode:
			p.add(n, s.name, "it is "+kindText(n.Kind), s.form)
			return
		case n.Tag != "" && !slices.Contains(plainTags, n.Tag):
			p.add(n, s.name, "the tag "+clip(n.Tag)+" is not read", s.form)
			return
		}
		texts = append(texts, n.Value)
	}
	p.given = append(p.given, value{name: s.name, texts: texts, base: p.base, at: place{p.file, val.Line, val.Column}})
}

var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// secretWords are what a name has that is meant to hold a secret.
var secretWords = []string{"password", "passphrase", "secret", "token", "pin", "private_key"}

func (p *parser) unknown(key *yaml.Node, name string) {
	want := ""
	if near := nearest(name, append(slices.Clone(p.names), sectionNames(p.sections)...)); near != "" {
		want = near
	}
	what := "unknown setting"
	if slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) }) {
		what += "; secrets do not belong in this file"
	}
	p.add(key, name, what, want)
}

func sectionNames(of map[string]bool) []string {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p *parser) add(n *yaml.Node, setting, what, want string) {
	p.ps.add(place{p.file, max(n.Line, 1), max(n.Column, 1)}, setting, what, want)
}

// syntax notes an error of the YAML reader, which has the line in its text: "yaml: line 3: …".
func (p *parser) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	at := place{p.file, 1, 1}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, after, ok := strings.Cut(rest, ":"); ok {
			if line, err := strconv.Atoi(number); err == nil {
				at.line, text = line, strings.TrimSpace(after)
			}
		}
	}
	p.ps.add(at, "", "this is not YAML: "+clip(text), "lines of the form NAME: VALUE")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindText(k yaml.Kind) string {
	if k == yaml.SequenceNode {
		return "a list"
	}
	return "a section"
}
