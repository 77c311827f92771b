package main

import (
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// intro stands at the head of docs/api.md.
const intro = `# API reference

Generated from the definitions in ` + "`api/`" + ` by ` + "`tools/generate.sh`" + `: change those. [dialects/native.md](dialects/native.md) says how to call it,
which headers there are and how errors look.

Field names are shown as in JSON; ` + "`snake_case`" + ` is understood as well. Bytes are base64 in JSON, 64-bit numbers are strings, times
are RFC 3339, durations are seconds followed by ` + "`s`" + `.
`

// reference writes the reference of every service and message, from their comments.
func reference(files linker.Files) []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	var messages []protoreflect.MessageDescriptor
	for _, f := range files {
		for i := range f.Services().Len() {
			writeService(&b, f.Services().Get(i))
		}
		for i := range f.Messages().Len() {
			messages = append(messages, f.Messages().Get(i))
		}
	}
	sort.Slice(messages, func(i, j int) bool { return messages[i].Name() < messages[j].Name() })
	b.WriteString("\n## Messages\n")
	for _, m := range messages {
		writeMessage(&b, m)
	}
	return b.Bytes()
}

func writeService(b *bytes.Buffer, s protoreflect.ServiceDescriptor) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| method | request → answer | what it does |\n|---|---|---|\n", s.Name(), comment(s))
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		stream := ""
		if m.IsStreamingServer() {
			stream = "stream of "
		}
		fmt.Fprintf(b, "| `POST /%s/%s` | %s → %s%s | %s |\n", s.FullName(), m.Name(), link(m.Input()), stream, link(m.Output()), cell(comment(m)))
	}
}

func writeMessage(b *bytes.Buffer, m protoreflect.MessageDescriptor) {
	fmt.Fprintf(b, "\n### %s\n", m.Name())
	if c := comment(m); c != "" {
		fmt.Fprintf(b, "\n%s\n", c)
	}
	if m.Fields().Len() == 0 {
		b.WriteString("\nNo fields.\n")
		return
	}
	b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.JSONName(), typeOf(f), cell(comment(f)))
	}
}

// typeOf is a field's type as a reader of JSON thinks of it.
func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map of " + typeOf(f.MapKey()) + " to " + typeOf(f.MapValue())
	}
	name := f.Kind().String()
	if f.Kind() == protoreflect.MessageKind {
		name = link(f.Message())
	}
	switch {
	case f.IsList():
		return "list of " + name
	case f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic():
		return name + ", or another of its group"
	case f.HasOptionalKeyword():
		return name + ", may be left out"
	}
	return name
}

func link(m protoreflect.MessageDescriptor) string {
	if !strings.HasPrefix(string(m.FullName()), "keyhold.") {
		return strings.ToLower(string(m.Name()))
	}
	return fmt.Sprintf("[%s](#%s)", m.Name(), strings.ToLower(string(m.Name())))
}

// comment is the text in front of a declaration.
func comment(d protoreflect.Descriptor) string {
	lines := strings.Split(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// cell makes a text fit into one cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", "\\|")
}
