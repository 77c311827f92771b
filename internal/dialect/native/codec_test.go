package native

import (
	"strings"
	"testing"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"google.golang.org/protobuf/proto"
)

// What cannot be decoded is told by place and field, with the nearest name, and never by value.
func TestDecodingSaysWhatIsWrongButNotTheValue(t *testing.T) {
	const secret = "c2VjcmV0LXBsYWludGV4dA"
	for _, test := range []struct{ name, body, want string }{
		{"empty", ``, "the body is empty"},
		{"not an object", `"` + secret + `"`, "line 1:1: this is not the JSON of a EncryptRequest"},
		{"cut short", `{"key": "a", "plaintext": "` + secret, "is not the JSON of|cut short"},
		{"cut short after a value", `{"key": "a"`, "cut short"},
		{"unknown", `{"plaintxt": "` + secret + `"}`, `line 1:2: "plaintxt" is not a field of EncryptRequest; did you mean "plaintext"?`},
		{"unknown, far", `{"zzzzzzzzzzz": 1}`, `line 1:2: "zzzzzzzzzzz" is not a field of EncryptRequest`},
		{"wrong case", `{"Key": "a"}`, `"Key" is not a field of EncryptRequest; did you mean "key"?`},
		{"twice", `{"key": "a", "key": "b"}`, `"key" stands twice`},
		{"twice by both names", `{"key": "a", "aad": "", "aad": ""}`, `"aad" stands twice`},
		{"twice in a map", `{"context": {"a": "1", "a": "2"}}`, "a name stands twice in a map"},
		{"wrong type", `{"plaintext": 17}`, `the value of "plaintext" is not what it takes: want a string of base64`},
		{"not base64", `{"plaintext": "` + secret + `!!"}`, `the value of "plaintext" is not what it takes: want a string of base64`},
		{"version below 0", `{"version": -1}`, `the value of "version" is not what it takes: want a number from 0 to 4294967295`},
		{"version too high", `{"version": 4294967296}`, `the value of "version"`},
		{"bool as text", `{"raw": "true"}`, `the value of "raw" is not what it takes: want true or false`},
		{"posing value", `{"raw": "unknown field \"` + secret + `\""}`, `the value of "raw"`},
		{"more after it", `{} {}`, "line 1:4"},
		{"bad escape", `{"key": "\x"}`, "line 1:"},
		{"bad UTF-8", "{\"key\": \"\xff\"}", "is not the JSON|the value of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &keyholdv1.EncryptRequest{Key: "left over"}
			if err := (strictJSON{"json"}).Unmarshal([]byte(test.body), m); err != nil {
				t.Fatal(err)
			}
			err := undecoded(m)
			if err == nil {
				t.Fatal("was understood")
			}
			found := false
			for _, want := range strings.Split(test.want, "|") {
				found = found || strings.Contains(err.Error(), want)
			}
			if !found {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("shows the value: %s", err)
			}
			if m.GetKey() != "" {
				t.Error("the message still holds something")
			}
		})
	}
}

func TestNoRequestCanPoseAsAFailureOfDecoding(t *testing.T) {
	forged := &keyholdv1.EncryptRequest{}
	note(forged, "forged")
	b, err := proto.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	m := &keyholdv1.EncryptRequest{}
	if err := (strictProto{}).Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	if err := undecoded(m); err != nil {
		t.Errorf("got %v, want the unknown field to be dropped", err)
	}
	if err := (strictProto{}).Unmarshal([]byte{0x0a, 0xff}, m); err != nil {
		t.Fatal(err)
	}
	if err := undecoded(m); err == nil || !strings.Contains(err.Error(), "keyhold.v1.EncryptRequest") {
		t.Errorf("truncated protobuf: got %v", err)
	}
}

func TestCodecsEraseWhatTheyRead(t *testing.T) {
	body := []byte(`{"plaintext":"c2VjcmV0"}`)
	if err := (strictJSON{"json"}).Unmarshal(body, &keyholdv1.EncryptRequest{}); err != nil {
		t.Fatal(err)
	}
	if strings.Trim(string(body), "\x00") != "" {
		t.Errorf("still there: %q", body)
	}
}

func TestNearestName(t *testing.T) {
	names := []string{"key", "plaintext", "context", "withoutPlaintext"}
	for _, test := range []struct{ unknown, want string }{
		{"plaintxt", "plaintext"}, {"Plaintext", "plaintext"}, {"contxt", "context"}, {"k", ""}, {"completely", ""}, {strings.Repeat("x", 1<<20), ""},
	} {
		if got := nearest(test.unknown, names); got != test.want {
			t.Errorf("%.20s: got %q, want %q", test.unknown, got, test.want)
		}
	}
}
