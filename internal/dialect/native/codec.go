package native

import (
	"fmt"
	"regexp"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
)

// strictJSON is the protobuf JSON mapping, which refuses fields it does not know.
type strictJSON struct{ name string }

// Name implements connect.Codec.
func (c strictJSON) Name() string { return c.name }

// IsBinary tells the protocol library that answers are text.
func (c strictJSON) IsBinary() bool { return false }

// Marshal implements connect.Codec.
func (c strictJSON) Marshal(m any) ([]byte, error) { return c.MarshalAppend(nil, m) }

// MarshalAppend spares the protocol library a copy.
func (c strictJSON) MarshalAppend(dst []byte, m any) ([]byte, error) {
	if k, ok := m.(*keyholdv1.KeyResponse); ok {
		if b, ok := appendKeyResponse(dst, k); ok {
			return b, nil
		}
	}
	p, ok := m.(proto.Message)
	if !ok {
		return nil, notProto(m)
	}
	return protojson.MarshalOptions{}.MarshalAppend(dst, p)
}

// Unmarshal implements connect.Codec. It notes a failure in the message instead of returning it: see undecoded. The
// text is erased, since the library keeps its buffers for other requests.
func (c strictJSON) Unmarshal(text []byte, m any) error {
	p, ok := m.(proto.Message)
	if !ok {
		return notProto(m)
	}
	defer clear(text)
	if why := decodeJSON(text, p); why != "" {
		note(p, why)
	}
	return nil
}

// strictProto is the protobuf binary format. Unknown fields are dropped, as that format expects of a server that is older
// than its client.
type strictProto struct{}

// Name implements connect.Codec.
func (strictProto) Name() string { return "proto" }

// IsBinary tells the protocol library that answers are not text.
func (strictProto) IsBinary() bool { return true }

// Marshal implements connect.Codec.
func (c strictProto) Marshal(m any) ([]byte, error) { return c.MarshalAppend(nil, m) }

// MarshalAppend spares the protocol library a copy.
func (strictProto) MarshalAppend(dst []byte, m any) ([]byte, error) {
	p, ok := m.(proto.Message)
	if !ok {
		return nil, notProto(m)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, p)
}

// Unmarshal implements connect.Codec, as that of strictJSON does.
func (strictProto) Unmarshal(b []byte, m any) error {
	p, ok := m.(proto.Message)
	if !ok {
		return notProto(m)
	}
	defer clear(b)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, p); err != nil {
		note(p, fmt.Sprintf("the body is not a protobuf message of type %s", p.ProtoReflect().Descriptor().FullName()))
	}
	return nil
}

func notProto(m any) error { return fmt.Errorf("%T is not a protobuf message", m) }

// failure is the number of the field under which a message carries why it could not be decoded. The protocol library
// answers a codec's own error itself, without an ErrorDetail; this way the method's interceptor answers it. No message
// has this field, and no codec here lets an unknown field through.
const failure = protowire.MaxValidNumber

func note(p proto.Message, why string) {
	proto.Reset(p)
	b := protowire.AppendTag(nil, failure, protowire.BytesType)
	p.ProtoReflect().SetUnknown(protowire.AppendString(b, why))
}

// undecoded is the refusal of a message that could not be decoded; nil if it was.
func undecoded(m any) error {
	p, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	raw := p.ProtoReflect().GetUnknown()
	if len(raw) == 0 {
		return nil
	}
	_, _, n := protowire.ConsumeTag(raw)
	if n < 0 {
		return kms.Errorf(kms.CodeBadRequest, "the request cannot be read")
	}
	why, _ := protowire.ConsumeString(raw[n:])
	return kms.Errorf(kms.CodeBadRequest, "%s", why)
}

// decodeJSON reads a message and says, if it cannot, why. What it says names fields and places, never values: a value may
// be the plaintext.
func decodeJSON(text []byte, p proto.Message) string {
	if len(text) == 0 {
		return "the body is empty: want a JSON object"
	}
	err := protojson.Unmarshal(text, p)
	if err == nil {
		return ""
	}
	return explain(err, p.ProtoReflect().Descriptor())
}

// The wordings of protojson that are told apart, each from the beginning of the text, so that no value can pose as one. A
// wording that changes is caught by a test, and costs precision alone.
var (
	place     = wording(``)
	unknown   = wording(`unknown field "([^"\\]*)"`)
	duplicate = wording(`duplicate field "([^"\\]*)"`)
	twice     = wording(`duplicate map key`)
	wrongType = wording(`invalid value for (\w+) field (\w+):`)
	wellKnown = wording(`invalid google\.protobuf\.(Timestamp|Duration) value`)
	exclusive = wording(`error parsing "[^"\\]*", oneof [\w.]+ is already set`)
	cutShort  = regexp.MustCompile(`^proto:.(?:syntax error )?(?:\(line \d+:\d+\): )?unexpected (?:EOF|end)`)
)

func wording(text string) *regexp.Regexp {
	return regexp.MustCompile(`^proto:.(?:syntax error )?\((line \d+:\d+)\): ` + text)
}

// forms is what a field of a kind looks like in JSON.
var forms = map[string]string{
	"bytes": "a string of base64", "string": "a string of valid UTF-8", "bool": "true or false",
	"uint32": "a number from 0 to 4294967295", "uint64": "a number, or a string of digits", "int64": "a number, or a string of digits", "int32": "a whole number",
}

func explain(err error, d protoreflect.MessageDescriptor) string {
	text := err.Error()
	at := "the body"
	if m := place.FindStringSubmatch(text); m != nil {
		at = m[1]
	}
	if m := unknown.FindStringSubmatch(text); m != nil {
		hint := ""
		if near := nearest(m[2], fieldNames(d, map[protoreflect.FullName]bool{})); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return fmt.Sprintf("%s: %q is not a field of %s%s", at, clip(m[2]), d.Name(), hint)
	}
	if m := duplicate.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s: %q stands twice", at, clip(m[2]))
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		want := forms[m[2]]
		if want == "" {
			want = "another kind of value"
		}
		return fmt.Sprintf("%s: the value of %q is not what it takes: want %s", at, clip(m[3]), want)
	}
	switch {
	case twice.MatchString(text):
		return at + ": a name stands twice in a map"
	case exclusive.MatchString(text):
		return at + ": two fields exclude each other"
	case wellKnown.MatchString(text):
		return at + ": want a time like \"2026-01-31T12:00:00Z\", or a duration like \"3600s\""
	case cutShort.MatchString(text):
		return "the body is cut short: want a whole JSON object"
	}
	return fmt.Sprintf("%s: this is not the JSON of a %s", at, d.Name())
}

// fieldNames lists the names of a message's fields and of those below, as JSON has them.
func fieldNames(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) []string {
	if seen[d.FullName()] {
		return nil
	}
	seen[d.FullName()] = true
	var all []string
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		all = append(all, f.JSONName())
		if f.Message() != nil && !f.IsMap() {
			all = append(all, fieldNames(f.Message(), seen)...)
		}
	}
	return all
}
