package native

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// asMessages gives what the short path read of each method as the message that the codec would have read.
var asMessages = map[string]func(*leanRequest) (fresh, read proto.Message){
	keyholdv1connect.CryptoServiceEncryptProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.EncryptRequest{}, readEncrypt(q.items[0])
	},
	keyholdv1connect.CryptoServiceEncryptBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.EncryptBatchRequest{}, &keyholdv1.EncryptBatchRequest{Key: q.key, Items: pick(q.items, all(q), readEncrypt)}
	},
	keyholdv1connect.CryptoServiceDecryptProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.DecryptRequest{}, readDecrypt(q.items[0])
	},
	keyholdv1connect.CryptoServiceDecryptBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.DecryptBatchRequest{}, &keyholdv1.DecryptBatchRequest{Key: q.key, Items: pick(q.items, all(q), readDecrypt)}
	},
	keyholdv1connect.CryptoServiceGenerateDataKeyProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.GenerateDataKeyRequest{}, readGenerateDataKey(q.items[0])
	},
	keyholdv1connect.CryptoServiceGenerateDataKeyBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.GenerateDataKeyBatchRequest{}, &keyholdv1.GenerateDataKeyBatchRequest{Key: q.key, Items: pick(q.items, all(q), readGenerateDataKey)}
	},
	keyholdv1connect.CryptoServiceSignProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.SignRequest{}, readSign(q.items[0])
	},
	keyholdv1connect.CryptoServiceSignBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.SignBatchRequest{}, &keyholdv1.SignBatchRequest{Key: q.key, Items: pick(q.items, all(q), readSign)}
	},
	keyholdv1connect.CryptoServiceVerifyProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.VerifyRequest{}, readVerify(q.items[0])
	},
	keyholdv1connect.CryptoServiceVerifyBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.VerifyBatchRequest{}, &keyholdv1.VerifyBatchRequest{Key: q.key, Items: pick(q.items, all(q), readVerify)}
	},
	keyholdv1connect.CryptoServiceGenerateMacProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.GenerateMacRequest{}, readGenerateMac(q.items[0])
	},
	keyholdv1connect.CryptoServiceGenerateMacBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.GenerateMacBatchRequest{}, &keyholdv1.GenerateMacBatchRequest{Key: q.key, Items: pick(q.items, all(q), readGenerateMac)}
	},
	keyholdv1connect.CryptoServiceVerifyMacProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.VerifyMacRequest{}, readVerifyMac(q.items[0])
	},
	keyholdv1connect.CryptoServiceVerifyMacBatchProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		return &keyholdv1.VerifyMacBatchRequest{}, &keyholdv1.VerifyMacBatchRequest{Key: q.key, Items: pick(q.items, all(q), readVerifyMac)}
	},
	keyholdv1connect.KeyServiceCreateKeyProcedure: func(q *leanRequest) (proto.Message, proto.Message) {
		i := q.items[0]
		return &keyholdv1.CreateKeyRequest{}, &keyholdv1.CreateKeyRequest{Name: i.key, Algorithm: i.scheme, Usage: i.usage, Description: i.description,
			Labels: i.context, Aliases: i.aliases, Bytes: i.length}
	},
}

func all(q *leanRequest) []int {
	at := make([]int, len(q.items))
	for i := range at {
		at[i] = i
	}
	return at
}

func readEncrypt(i leanItem) *keyholdv1.EncryptRequest {
	return &keyholdv1.EncryptRequest{Key: i.key, Plaintext: i.data, Context: i.context, Aad: i.aad, Version: i.version, Scheme: i.scheme, Raw: i.raw}
}

func readDecrypt(i leanItem) *keyholdv1.DecryptRequest {
	return &keyholdv1.DecryptRequest{Key: i.key, Ciphertext: i.data, Context: i.context, Aad: i.aad, Version: i.version, Scheme: i.scheme, Raw: i.raw}
}

func readGenerateDataKey(i leanItem) *keyholdv1.GenerateDataKeyRequest {
	return &keyholdv1.GenerateDataKeyRequest{Key: i.key, Length: i.length, Context: i.context, Aad: i.aad, WithoutPlaintext: i.withheld}
}

func readSign(i leanItem) *keyholdv1.SignRequest {
	return &keyholdv1.SignRequest{Key: i.key, Message: i.data, Digested: i.digested, Version: i.version, Scheme: i.scheme}
}

func readVerify(i leanItem) *keyholdv1.VerifyRequest {
	return &keyholdv1.VerifyRequest{Key: i.key, Message: i.data, Digested: i.digested, Signature: i.proof, Version: i.version, Scheme: i.scheme}
}

func readGenerateMac(i leanItem) *keyholdv1.GenerateMacRequest {
	return &keyholdv1.GenerateMacRequest{Key: i.key, Message: i.data, Version: i.version}
}

func readVerifyMac(i leanItem) *keyholdv1.VerifyMacRequest {
	return &keyholdv1.VerifyMacRequest{Key: i.key, Message: i.data, Mac: i.proof, Version: i.version}
}

// agree checks one body: what the short path reads, the codec reads too, and the same.
func agree(t *testing.T, path string, body []byte) (read bool) {
	t.Helper()
	q := &leanRequest{body: bytes.Clone(body)}
	if !q.scan(leanMethods[path]) {
		return false
	}
	want, got := asMessages[path](q)
	if why := decodeJSON(bytes.Clone(body), want); why != "" {
		t.Fatalf("%s\n%q\nthe short path reads what the codec refuses: %s", path, body, why)
	}
	if !proto.Equal(got, want) {
		t.Fatalf("%s\n%q\nshort path %v\ncodec      %v", path, body, got, want)
	}
	return true
}

func TestEveryFieldOfALeanMethodIsReadByBothNames(t *testing.T) {
	if len(asMessages) != len(leanMethods) {
		t.Fatalf("%d methods have a short path, %d are tested", len(leanMethods), len(asMessages))
	}
	for path, m := range leanMethods {
		fresh, _ := asMessages[path](&leanRequest{items: make([]leanItem, 1)})
		d := fresh.ProtoReflect().Descriptor()
		if m.batch {
			sameFields(t, d, batchFields)
			d = d.Fields().ByName("items").Message()
		}
		sameFields(t, d, m.fields)
	}
}

// leftToTheCodec are fields of rare requests: one that has any of them takes the long way.
var leftToTheCodec = map[protoreflect.FullName]bool{
	"keyhold.v1.CreateKeyRequest.import":              true,
	"keyhold.v1.CreateKeyRequest.exportable":          true,
	"keyhold.v1.CreateKeyRequest.activate_at":         true,
	"keyhold.v1.CreateKeyRequest.pre_active":          true,
	"keyhold.v1.CreateKeyRequest.deactivate_at":       true,
	"keyhold.v1.CreateKeyRequest.template":            true,
	"keyhold.v1.CreateKeyRequest.data_class":          true,
	"keyhold.v1.CreateKeyRequest.cryptoperiod":        true,
	"keyhold.v1.CreateKeyRequest.freeze":              true,
	"keyhold.v1.CreateKeyRequest.process_deactivated": true,
}

func sameFields(t *testing.T, d protoreflect.MessageDescriptor, read []leanField) {
	t.Helper()
	fields := d.Fields()
	short := 0
	for i := range fields.Len() {
		if !leftToTheCodec[fields.Get(i).FullName()] {
			short++
		}
	}
	if short != len(read) {
		t.Errorf("%s has %d fields, the short path %d", d.FullName(), short, len(read))
	}
	for _, f := range read {
		if n := fields.ByJSONName(f.camel); n == nil || string(n.Name()) != f.snake {
			t.Errorf("%s: no field is called %s and %s", d.FullName(), f.camel, f.snake)
		}
	}
}

// The bodies that encoders write are read on the short path; the rest goes to the codec.
func TestWhatTheShortPathReads(t *testing.T) {
	many := strings.Repeat("{},", 1023) + "{}"
	long := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 65536))
	for _, test := range []struct {
		body string
		read bool
	}{
		{`{}`, true},
		{` { } ` + "\r\n\t", true},
		{`{"key":"orders","plaintext":"aGVsbG8=","context":{"order":"17","a":""},"version":0}`, true},
		{`{ "plaintext" : "aGVsbG8" , "aad" : "" , "raw" : false , "scheme" : "" }`, true},
		{`{"key":"schlüssel","version":4294967295,"raw":true}`, true},
		{`{"plaintext":"` + long + `"}`, true},
		{``, false}, {`[]`, false}, {`{"key":"a"`, false}, {`{"key":"a"}x`, false}, {`{"key":"a",}`, false}, {`{,}`, false},
		{`{"key":"a" "raw":true}`, false}, {`{"key":"a","key":"a"}`, false}, {`{"context":{"a":"1","a":"1"}}`, false},
		{`{"key":"\u0061"}`, false}, {`{"k\u0065y":"a"}`, false}, {"{\"key\":\"\xff\"}", false}, {"{\"key\":\"a\nb\"}", false},
		{`{"key":null}`, false}, {`{"context":null}`, false}, {`{"context":{"a":1}}`, false}, {`{"context":{"a":null}}`, false},
		{`{"version":01}`, false}, {`{"version":1.0}`, false}, {`{"version":1e0}`, false}, {`{"version":"1"}`, false}, {`{"version":4294967296}`, false},
		{`{"version":}`, false}, {`{"version":-0}`, false}, {`{"raw":1}`, false}, {`{"raw":truely}`, false}, {`{"raw":tru}`, false},
		{`{"plaintext":"aGVsbG8=="}`, false}, {`{"plaintext":"-_-_"}`, false}, {`{"plaintext":"a"}`, false}, {"{\"plaintext\":\"aGVs\nbG8=\"}", false},
		{`{"plain_text":""}`, false}, {`{"ciphertext":""}`, false}, {`{"Key":"a"}`, false},
		{`{"context":{` + strings.TrimSuffix(strings.Repeat(`"x":"",`, 65), ",") + `}}`, false},
	} {
		if got := agree(t, keyholdv1connect.CryptoServiceEncryptProcedure, []byte(test.body)); got != test.read {
			t.Errorf("%.80s: got %v, want %v", test.body, got, test.read)
		}
	}
	for _, test := range []struct {
		body string
		read bool
	}{
		{`{}`, true}, {`{"items":[]}`, true}, {`{"items":[{}]}`, true}, {` { "items" : [ { } , { "plaintext" : "AA" } ] , "key" : "a" } `, true},
		{`{"key":"a","items":[{"plaintext":"aGVsbG8=","context":{"order":"17"}},{"key":"b","plaintext":"aGVsbG8=","version":2,"raw":false}]}`, true},
		{`{"items":[` + many + `]}`, true}, {`{"items":[` + many + `,{}]}`, false},
		{`{"items":null}`, false}, {`{"items":{}}`, false}, {`{"items":[null]}`, false}, {`{"items":[{},]}`, false}, {`{"items":[,]}`, false}, {`{"items":[{}}`, false},
		{`{"items":[{}`, false}, {`{"items":[{} {}]}`, false}, {`{"items":[[{}]]}`, false}, {`{"items":[{}],"items":[]}`, false}, {`{"items":[{"items":[]}]}`, false},
		{`{"plaintext":"AA=="}`, false}, {`{"items":[{"plaintext":"AA==","plaintext":"AA=="}]}`, false}, {`{"items":[{}]}]`, false}, {`[{}]`, false},
	} {
		if got := agree(t, keyholdv1connect.CryptoServiceEncryptBatchProcedure, []byte(test.body)); got != test.read {
			t.Errorf("%.80s: got %v, want %v", test.body, got, test.read)
		}
	}
	for _, test := range []struct {
		body string
		read bool
	}{
		{`{"name":"orders","algorithm":"aes-256-gcm"}`, true},
		{`{"name":"a","usage":"mac","description":"für Müller","labels":{"team":"a","":""},"aliases":["b","c/d"],"bytes":64}`, true},
		{`{"aliases":[]}`, true}, {`{ "aliases" : [ "a" , "" ] , "labels" : { } }`, true},
		{`{"aliases":["` + strings.Repeat(`a","`, 63) + `a"]}`, true}, {`{"aliases":["` + strings.Repeat(`a","`, 64) + `a"]}`, false},
		{`{"aliases":null}`, false}, {`{"aliases":[null]}`, false}, {`{"aliases":"a"}`, false}, {`{"aliases":["a",]}`, false}, {`{"aliases":["a"`, false},
		{`{"aliases":["a" "b"]}`, false}, {`{"aliases":[1]}`, false}, {`{"aliases":["\u0061"]}`, false}, {`{"key":"a"}`, false}, {`{"bytes":-1}`, false},
	} {
		if got := agree(t, keyholdv1connect.KeyServiceCreateKeyProcedure, []byte(test.body)); got != test.read {
			t.Errorf("%.80s: got %v, want %v", test.body, got, test.read)
		}
	}
	if !agree(t, keyholdv1connect.CryptoServiceGenerateDataKeyProcedure, []byte(`{"length":16,"without_plaintext":true}`)) ||
		agree(t, keyholdv1connect.CryptoServiceGenerateDataKeyProcedure, []byte(`{"withoutPlaintext":true,"without_plaintext":true}`)) {
		t.Error("a field is read by either name, but once")
	}
}

// What one end writes the other reads, on the short path too.
func TestTheShortPathReadsWhatProtojsonWrites(t *testing.T) {
	for _, m := range []proto.Message{
		&keyholdv1.EncryptRequest{Key: "alias/a", Plaintext: []byte("hello"), Context: map[string]string{"a": "b", "c": "d"}, Version: 3, Raw: true},
	} {
		b, err := protojson.Marshal(m)
		if err != nil || !agree(t, keyholdv1connect.CryptoServiceEncryptProcedure, b) {
			t.Errorf("%s is not read (%v)", b, err)
		}
	}
}

func TestTheShortPathErasesItsBuffers(t *testing.T) {
	q := &leanRequest{body: []byte(`{"plaintext":"c2VjcmV0"}`)}
	if !q.scan(leanMethods[keyholdv1connect.CryptoServiceEncryptProcedure]) || string(q.items[0].data) != "secret" {
		t.Fatalf("got %q", q.items[0].data)
	}
	q.results = []leanResult{{plain: secret.Release([]byte("secret"))}}
	q.write("", &q.results[0])
	seen := [][]byte{q.body, q.plain, q.items[0].data, q.results[0].plain.Wire(release.Wire{}), q.out}
	q.release()
	for i, b := range seen {
		if strings.Trim(string(b), "\x00") != "" {
			t.Errorf("buffer %d still holds %q", i, b)
		}
	}
}

// What grows moves, and leaves nothing behind.
func TestAnAnswerThatGrowsErasesWhereItWas(t *testing.T) {
	q := &leanRequest{results: make([]leanResult, 64)}
	for i := range q.results {
		q.results[i] = leanResult{plain: secret.Release(bytes.Repeat([]byte("secret"), 100)), key: kms.ID{1}, version: 4294967295}
	}
	q.text("")
	var before [][]byte
	for i := range q.results {
		if was := q.out[:cap(q.out)]; len(before) == 0 || cap(before[len(before)-1]) != cap(was) {
			before = append(before, was)
		}
		q.write("", &q.results[i])
	}
	if before = before[:len(before)-1]; len(before) < 3 {
		t.Fatalf("it moved %d times only", len(before))
	}
	for i, b := range before {
		if strings.Trim(string(b), "\x00") != "" {
			t.Errorf("buffer %d still holds %q", i, b)
		}
	}
}

func FuzzShortPathAgreesWithTheCodec(f *testing.F) {
	paths := make([]string, 0, len(leanMethods))
	for _, p := range append(methodsOf("CryptoService"), methodsOf("KeyService")...) {
		if leanMethods[p] != nil {
			paths = append(paths, p)
		}
	}
	for i := range paths {
		for _, seed := range []string{
			`{}`, `{"key":"a","plaintext":"aGVsbG8=","context":{"a":"b"},"aad":"","version":1,"scheme":"aes-gcm","raw":false}`,
			`{"key":"a","message":"aGVsbG8","signature":"AA==","mac":"AAAA","digested":true,"version":07}`,
			`{"length":32,"withoutPlaintext":true,"without_plaintext":false}`, "{\"key\":\"\xc3\x28\"}", `{"context":{"a":"","a":""}}`, `{"key":"\ud800"}`,
			`{"key":"a","items":[{"plaintext":"aGVsbG8=","context":{"a":"b"}},{"key":"b"},{}]}`, `{"items":[]}`, `{"items":[{}],"items":[]}`, `{"items":[{"items":[]}]}`,
			`{"name":"a","algorithm":"hmac-sha-256","usage":"mac","description":"","labels":{"a":"b"},"aliases":["b","c"],"bytes":32}`,
		} {
			f.Add(uint8(i), []byte(seed)) //nolint:gosec // G115: few
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) { agree(t, paths[int(which)%len(paths)], body) })
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"items":[{"key":"a"},{"plaintxt":""}]}`))
	f.Add([]byte(`{"window":"1h"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range []proto.Message{&keyholdv1.EncryptBatchRequest{}, &keyholdv1.ScheduleKeyDestructionRequest{}, &keyholdv1.UnsealRequest{}, &keyholdv1.ListRecordsRequest{}} {
			if why := decodeJSON(body, m); len(why) > 1024 {
				t.Errorf("the refusal has %d bytes", len(why))
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for _, size := range []int{32, 4096} {
		body := []byte(`{"key":"orders","plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `","context":{"order":"17"}}`)
		b.Run(sizeName(size), func(b *testing.B) {
			b.ReportAllocs()
			q := &leanRequest{plain: make([]byte, 0, len(body))}
			for b.Loop() {
				q.body, q.plain = body, q.plain[:0]
				if !q.scan(leanMethods[keyholdv1connect.CryptoServiceEncryptProcedure]) {
					b.Fatal("not read")
				}
			}
		})
		b.Run("codec-"+sizeName(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if why := decodeJSON(body, &keyholdv1.EncryptRequest{}); why != "" {
					b.Fatal(why)
				}
			}
		})
	}
}

func sizeName(n int) string {
	if n < 1024 {
		return "32B"
	}
	return "4KiB"
}

// exchangeOf without an exchange gives a call without a principal, which the engine refuses.
func TestAMethodWithoutItsExchangeHasNoPrincipal(t *testing.T) {
	if c := callOf(context.Background()); c.Principal != nil {
		t.Errorf("got %+v", c)
	}
}
