package aws

import (
	"strings"
	"testing"
	"time"
)

// parse reads a body as the dialect does.
func parse[In any, PI input[In]](body string) (PI, *fault) {
	x := &exchange{}
	x.d.reset([]byte(body), make([]byte, 0, len(body)))
	in := PI(new(In))
	return in, take(x, in.decode, in.check)
}

func TestRequestsAreReadAsTheModelSays(t *testing.T) {
	in, f := parse[EncryptInput](`{"KeyId":"alias\/a","Plaintext":"aGk=","Unknown":[1,{"a":null}],"EncryptionContext":{"b":"2","a":"\u00e9"},"DryRun":null,"GrantTokens":["g"]}`)
	if f != nil {
		t.Fatal(f)
	}
	if in.KeyId != "alias/a" || string(in.Plaintext) != "hi" || in.EncryptionContext["a"] != "é" || in.EncryptionContext["b"] != "2" || in.DryRun || in.GrantTokens[0] != "g" {
		t.Errorf("got %+v", in)
	}
	imported, f := parse[ImportKeyMaterialInput](`{"KeyId":"k","ImportToken":"aGk=","EncryptedKeyMaterial":"aGk=","ValidTo":1.7e9}`)
	if f != nil || !imported.ValidTo.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("got %+v, %v", imported, f)
	}
}

func TestWhatIsNotReadableIsToldAsAWSDoes(t *testing.T) {
	for body, want := range map[string]string{
		``:                               "ends before",
		`{`:                              "ends before",
		`{"KeyId":"k"`:                   "ends before",
		`[]`:                             "START_ARRAY can not be converted",
		`"x"`:                            "STRING_VALUE can not be converted",
		`{"KeyId":"k"} {}`:               "follows",
		`{"KeyId":1,"Plaintext":"aGk="}`: "NUMBER_VALUE can not be converted to String",
		`{"KeyId":"k","KeyId":"l","Plaintext":"aGk="}`:        "stands twice",
		`{"KeyId":"k","Plaintext":"aGk"}`:                     "not base64",
		`{"KeyId":"k","Plaintext":"aGl="}`:                    "not base64", // unused bits that are not zero
		`{"KeyId":"k","Plaintext":"a-_="}`:                    "not base64",
		`{"KeyId":"k","Plaintext":["aGk="]}`:                  "START_ARRAY can not be converted to a blob",
		`{"KeyId":"k","EncryptionContext":{"a":1}}`:           "NUMBER_VALUE can not be converted to String",
		`{"KeyId":"k","EncryptionContext":{"a":"1","a":"2"}}`: "stands twice",
		`{"KeyId":"k","DryRun":"true"}`:                       "STRING_VALUE can not be converted to Boolean",
		"{\"KeyId\":\"\xff\"}":                                "not JSON",
		`{"KeyId":"k",}`:                                      "not JSON",
		`{'KeyId':"k"}`:                                       "not JSON",
	} {
		_, f := parse[EncryptInput](body)
		if f == nil || f.code != "SerializationException" || !strings.Contains(f.message, want) {
			t.Errorf("%s: got %v, want SerializationException with %q", body, f, want)
		}
	}
	for body, want := range map[string]string{`{"NumberOfBytes":1.5}`: "NUMBER_VALUE can not be converted to Integer", `{"NumberOfBytes":"1"}`: "STRING_VALUE", `{"NumberOfBytes":99999999999}`: "NUMBER_VALUE"} {
		if _, f := parse[GenerateRandomInput](body); f == nil || !strings.Contains(f.message, want) {
			t.Errorf("%s: got %v, want %q", body, f, want)
		}
	}
}

func TestConstraintsAreToldInAWSsWords(t *testing.T) {
	one := "1 validation error detected: "
	check := func(f *fault, want string) {
		t.Helper()
		if f == nil || f.code != "ValidationException" || f.message != want {
			t.Errorf("got %v\nwant %s", f, want)
		}
	}
	_, f := parse[GenerateRandomInput](`{"NumberOfBytes":0}`)
	check(f, one+"Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1")
	_, f = parse[GenerateRandomInput](`{"NumberOfBytes":1025}`)
	check(f, one+"Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024")
	_, f = parse[EncryptInput](`{"Plaintext":"aGk="}`)
	check(f, one+"Value null at 'keyId' failed to satisfy constraint: Member must not be null")
	_, f = parse[TagResourceInput](`{"KeyId":"k","Tags":[{"TagKey":"` + strings.Repeat("x", 129) + `","TagValue":""}]}`)
	check(f, one+"Value '"+strings.Repeat("x", 128)+"…' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128")
	_, f = parse[GenerateDataKeyInput](`{"KeyId":"k","KeySpec":"AES_257"}`)
	check(f, one+"Value 'AES_257' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]")
	_, f = parse[CreateAliasInput](`{"AliasName":"alias/a b","TargetKeyId":""}`)
	check(f, "2 validation errors detected: Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; "+
		"Value '' at 'targetKeyId' failed to satisfy constraint: Member must have length greater than or equal to 1")
	_, f = parse[EncryptInput](`{"KeyId":"k","Plaintext":""}`)
	check(f, one+"Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1")
}

func TestAnswersLeaveOutWhatIsNotSet(t *testing.T) {
	var e encoder
	out := DescribeKeyOutput{KeyMetadata: &KeyMetadata{KeyId: "k", CreationDate: time.UnixMilli(1_700_000_000_120), MultiRegion: Bool{Set: true}, EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}}}
	out.encode(&e)
	want := `{"KeyMetadata":{"CreationDate":1700000000.120,"Description":"","Enabled":false,"EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"KeyId":"k","MultiRegion":false}}`
	if string(e.b) != want {
		t.Errorf("got %s\nwant %s", e.b, want)
	}
}
