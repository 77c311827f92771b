package native

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// compact takes out the space that protojson puts in at random.
func compact(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return out.String()
}

// same checks that what is written by hand is what the codec writes, if anything is.
func same(t *testing.T, m *keyholdv1.KeyResponse) bool {
	t.Helper()
	got, ok := appendKeyResponse([]byte("before"), m)
	if !ok {
		return false
	}
	want, err := protojson.Marshal(m)
	if err != nil {
		t.Fatalf("by hand %s, and the codec refuses: %v", got, err)
	}
	if string(got) != "before"+compact(t, want) {
		t.Fatalf("got  %s\nwant %s", got[len("before"):], compact(t, want))
	}
	return true
}

// fill sets every field of a message, and of the messages in it.
func fill(m protoreflect.Message, n *int64) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		*n++
		value := func() protoreflect.Value {
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString("text " + string(rune('a'+*n%26)))
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes([]byte{1, 2, byte(*n)})
			case protoreflect.Uint32Kind:
				return protoreflect.ValueOfUint32(uint32(*n))
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(true)
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(math.MaxUint64)
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(1_700_000_000 + *n)
			case protoreflect.Int32Kind:
				if f.Parent().FullName() == "google.protobuf.Duration" {
					return protoreflect.ValueOfInt32(0) // of whole seconds
				}
				return protoreflect.ValueOfInt32(int32([]int{0, 120_000_000, 123_456_000, 123_456_789}[*n%4]))
			default:
				panic(f.FullName())
			}
		}
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("z").MapKey(), protoreflect.ValueOfString("1"))
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("a").MapKey(), protoreflect.ValueOfString(""))
		case f.IsList() && f.Message() != nil:
			for range 2 {
				fill(m.Mutable(f).List().AppendMutable().Message(), n)
			}
		case f.IsList():
			m.Mutable(f).List().Append(value())
			m.Mutable(f).List().Append(protoreflect.ValueOfString(""))
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), n)
		default:
			m.Set(f, value())
		}
	}
}

// TestKeysAreWrittenAsTheCodecWritesThem: every field of the messages, set and not set. A field that is added to the protocol and
// not to the writer is missed here.
func TestKeysAreWrittenAsTheCodecWritesThem(t *testing.T) {
	for start := range int64(4) {
		full, n := &keyholdv1.KeyResponse{}, start
		fill(full.ProtoReflect(), &n)
		if !same(t, full) {
			t.Errorf("not written by hand: %v", full)
		}
	}
	for _, m := range []*keyholdv1.KeyResponse{
		nil, {}, {Key: &keyholdv1.Key{}}, {Versions: []*keyholdv1.KeyVersion{{}, {History: []*keyholdv1.Transition{{}, {}}}}},
		{Key: &keyholdv1.Key{CreatedAt: &timestamppb.Timestamp{}, ChangedAt: &timestamppb.Timestamp{Seconds: -62135596800}, DestroyAt: &timestamppb.Timestamp{Seconds: 253402300799, Nanos: 999999999}}},
	} {
		if !same(t, m) {
			t.Errorf("not written by hand: %v", m)
		}
	}
}

// TestWhatNeedsTheCodecIsLeftToIt: escapes, other scripts, impossible times.
func TestWhatNeedsTheCodecIsLeftToIt(t *testing.T) {
	for _, m := range []*keyholdv1.KeyResponse{
		{Key: &keyholdv1.Key{Description: `a "quoted" word`}},
		{Key: &keyholdv1.Key{Description: "two\nlines"}},
		{Key: &keyholdv1.Key{Description: `back\slash`}},
		{Key: &keyholdv1.Key{Description: "Schlüssel"}},
		{Key: &keyholdv1.Key{Description: "\xff"}},
		{Key: &keyholdv1.Key{Labels: map[string]string{"\u2028": "a"}}},
		{Key: &keyholdv1.Key{CreatedAt: &timestamppb.Timestamp{Nanos: -1}}},
		{Key: &keyholdv1.Key{CreatedAt: &timestamppb.Timestamp{Seconds: math.MaxInt64}}},
	} {
		if same(t, m) {
			t.Errorf("written by hand: %v", m)
		}
		text, err := strictJSON{}.Marshal(m)
		want, refused := protojson.Marshal(m)
		if (err != nil) != (refused != nil) || err == nil && compact(t, text) != compact(t, want) {
			t.Errorf("got %s, %v want %s, %v", text, err, want, refused)
		}
	}
}

// FuzzKeyJSON: whatever the message, the two writers agree or the codec writes alone.
func FuzzKeyJSON(f *testing.F) {
	full, n := &keyholdv1.KeyResponse{}, int64(0)
	fill(full.ProtoReflect(), &n)
	for _, m := range []*keyholdv1.KeyResponse{full, {Key: &keyholdv1.Key{Description: "\"\u2028é"}}, {}} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &keyholdv1.KeyResponse{}
		if proto.Unmarshal(b, m) == nil {
			same(t, m)
		}
	})
}
