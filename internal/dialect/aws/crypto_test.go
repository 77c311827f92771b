package aws_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// native calls the engine as another dialect would.
func native(name string, role kms.Role) kms.Call {
	return kms.Call{Namespace: kms.DefaultNamespace, Dialect: kms.DialectNative,
		Principal: &kms.Principal{Name: name, Namespace: kms.DefaultNamespace, Roles: []kms.Role{role}, Method: kms.AuthToken}}
}

// usage is said of algorithms that can serve several.
var usage = map[kms.Algorithm]kms.Usage{kms.RSA2048: kms.SignVerify}

// made makes a key by another dialect.
func made(t *testing.T, s *awstest.Server, name string, a kms.Algorithm) string {
	t.Helper()
	out, err := s.Engine.CreateKey(t.Context(), native("alice", kms.RoleAdmin), engine.CreateKeyInput{Name: name, Algorithm: a, Usage: usage[a]})
	if err != nil {
		t.Fatal(err)
	}
	return out.Key.ID.String()
}

type blobs struct {
	KeyId, KeyMaterialId, EncryptionAlgorithm, SigningAlgorithm string
	CiphertextBlob, Plaintext, Signature, Mac, PublicKey        []byte
	PrivateKeyPlaintext, PrivateKeyCiphertextBlob               []byte
	SharedSecret, SharedSecretCiphertextBlob                    []byte
	SignatureValid, MacValid                                    bool
	SourceKeyId                                                 string
}

func TestWhatIsEncryptedHereOpensInEveryDialect(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "orders", kms.AES256GCM)
	arn := "arn:aws:kms:us-east-1:" + s.Account + ":key/" + id
	for _, ref := range []string{id, arn, "alias/orders", "arn:aws:kms:us-east-1:" + s.Account + ":alias/orders"} {
		var sealed, opened blobs
		s.User.Do(t, "Encrypt", map[string]any{"KeyId": ref, "Plaintext": []byte("hello"), "EncryptionContext": map[string]string{"b": "2", "a": "1"}}, &sealed)
		if sealed.KeyId != arn || sealed.EncryptionAlgorithm != "SYMMETRIC_DEFAULT" || len(sealed.CiphertextBlob) > 5+256 {
			t.Errorf("%s: got %+v", ref, sealed)
		}
		s.User.Do(t, "Decrypt", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "EncryptionContext": map[string]string{"a": "1", "b": "2"}}, &opened)
		if string(opened.Plaintext) != "hello" || opened.KeyId != arn || len(opened.KeyMaterialId) != 64 {
			t.Errorf("%s: got %+v", ref, opened)
		}
		out, err := s.Engine.Decrypt(t.Context(), native("svc/orders", kms.RoleUser), engine.DecryptInput{Key: "orders",
			Items: []engine.DecryptItem{{Ciphertext: sealed.CiphertextBlob, Context: kms.Context{"a": "1", "b": "2"}}}})
		if err != nil || out.Items[0].Plaintext.Len() != 5 {
			t.Errorf("%s: by another dialect: %v", ref, err)
		}
	}
}

func TestTheLongestPlaintextStaysBelowTheLimitOfCiphertexts(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	var sealed, opened blobs
	s.User.Do(t, "Encrypt", map[string]any{"KeyId": id, "Plaintext": make([]byte, 4096)}, &sealed)
	if n := len(sealed.CiphertextBlob); n > 4096+160 {
		t.Errorf("got %d bytes", n)
	}
	s.User.Do(t, "Decrypt", map[string]any{"CiphertextBlob": sealed.CiphertextBlob}, &opened)
	if len(opened.Plaintext) != 4096 {
		t.Errorf("got %d bytes", len(opened.Plaintext))
	}
	if a := s.User.Ask(t, "Encrypt", fmt.Sprintf(`{"KeyId":%q,"Plaintext":"%s"}`, id, strings.Repeat("AAAA", 4098/3))); a.Fault() != "ValidationException" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

func TestCiphertextsThatDoNotOpen(t *testing.T) {
	s := awstest.Open(t)
	id, other := made(t, s, "k", kms.AES256GCM), made(t, s, "other", kms.AES256GCM)
	var sealed blobs
	s.User.Do(t, "Encrypt", map[string]any{"KeyId": id, "Plaintext": []byte("hello"), "EncryptionContext": map[string]string{"a": "1"}}, &sealed)
	flipped, foreign := bytes.Clone(sealed.CiphertextBlob), bytes.Clone(sealed.CiphertextBlob)
	flipped[len(flipped)-1] ^= 1
	foreign[9] ^= 1 // of the key's id
	for _, c := range []struct {
		name  string
		in    map[string]any
		fault string
	}{
		{"another context", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "EncryptionContext": map[string]string{"a": "2"}}, "InvalidCiphertextException"},
		{"no context", map[string]any{"CiphertextBlob": sealed.CiphertextBlob}, "InvalidCiphertextException"},
		{"a flipped bit", map[string]any{"CiphertextBlob": flipped, "EncryptionContext": map[string]string{"a": "1"}}, "InvalidCiphertextException"},
		{"a key of another cluster", map[string]any{"CiphertextBlob": foreign, "EncryptionContext": map[string]string{"a": "1"}}, "InvalidCiphertextException"},
		{"no ciphertext of ours", map[string]any{"CiphertextBlob": []byte("x")}, "InvalidCiphertextException"},
		{"another key", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "EncryptionContext": map[string]string{"a": "1"}, "KeyId": other}, "IncorrectKeyException"},
		{"a key that is not there", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "KeyId": "alias/none"}, "NotFoundException"},
		{"an empty ciphertext", map[string]any{"CiphertextBlob": []byte{}}, "ValidationException"},
		{"no ciphertext", map[string]any{"KeyId": id}, "ValidationException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := marshal(t, c.in)
			a := s.User.Ask(t, "Decrypt", b)
			if a.Fault() != c.fault || a.Status != 400 {
				t.Errorf("got %d %s, want %s", a.Status, a.Body, c.fault)
			}
			if c.fault == "InvalidCiphertextException" && strings.Contains(string(a.Body), "essage") {
				t.Errorf("it tells more than that it failed: %s", a.Body)
			}
			if a.Header.Get("x-amzn-RequestId") == "" {
				t.Error("no request id")
			}
		})
	}
}

func TestRSACiphertextsAreBare(t *testing.T) {
	s := awstest.Open(t)
	out, err := s.Engine.CreateKey(t.Context(), native("alice", kms.RoleAdmin), engine.CreateKeyInput{Name: "rsa", Algorithm: kms.RSA2048, Usage: kms.EncryptDecrypt})
	if err != nil {
		t.Fatal(err)
	}
	id := out.Key.ID.String()
	for _, algorithm := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"} {
		var sealed, opened blobs
		s.User.Do(t, "Encrypt", map[string]any{"KeyId": id, "Plaintext": []byte("hello"), "EncryptionAlgorithm": algorithm}, &sealed)
		if len(sealed.CiphertextBlob) != 256 || sealed.EncryptionAlgorithm != algorithm {
			t.Errorf("got %d bytes, %s", len(sealed.CiphertextBlob), sealed.EncryptionAlgorithm)
		}
		s.User.Do(t, "Decrypt", map[string]any{"KeyId": id, "CiphertextBlob": sealed.CiphertextBlob, "EncryptionAlgorithm": algorithm}, &opened)
		if string(opened.Plaintext) != "hello" || opened.KeyMaterialId != "" {
			t.Errorf("got %+v", opened)
		}
	}
	for body, want := range map[string]string{
		fmt.Sprintf(`{"KeyId":%q,"Plaintext":"aGk="}`, id):                                                                          "InvalidKeyUsageException",
		fmt.Sprintf(`{"KeyId":%q,"Plaintext":"aGk=","EncryptionAlgorithm":"RSAES_OAEP_SHA_256","EncryptionContext":{"a":"b"}}`, id): "ValidationException",
		fmt.Sprintf(`{"KeyId":%q,"Plaintext":"%s","EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`, id, strings.Repeat("AAAA", 100)):    "ValidationException",
		fmt.Sprintf(`{"KeyId":%q,"Plaintext":"aGk=","EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`, made(t, s, "aes", kms.AES256GCM)): "InvalidKeyUsageException",
	} {
		if a := s.User.Ask(t, "Encrypt", body); a.Fault() != want {
			t.Errorf("%s: got %s, want %s", body, a.Body, want)
		}
	}
}

func TestCiphertextsMoveBetweenKeys(t *testing.T) {
	s := awstest.Open(t)
	from, to := made(t, s, "from", kms.AES256GCM), made(t, s, "to", kms.ChaCha20Poly1305)
	var sealed, moved, opened blobs
	s.User.Do(t, "Encrypt", map[string]any{"KeyId": from, "Plaintext": []byte("hello"), "EncryptionContext": map[string]string{"a": "1"}}, &sealed)
	s.User.Do(t, "ReEncrypt", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "SourceEncryptionContext": map[string]string{"a": "1"},
		"DestinationKeyId": to, "DestinationEncryptionContext": map[string]string{"b": "2"}}, &moved)
	if !strings.HasSuffix(moved.KeyId, to) || !strings.HasSuffix(moved.SourceKeyId, from) {
		t.Errorf("got %+v", moved)
	}
	s.User.Do(t, "Decrypt", map[string]any{"CiphertextBlob": moved.CiphertextBlob, "EncryptionContext": map[string]string{"b": "2"}}, &opened)
	if string(opened.Plaintext) != "hello" {
		t.Errorf("got %q", opened.Plaintext)
	}
}

func TestDataKeys(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	for body, n := range map[string]int{`"KeySpec":"AES_256"`: 32, `"KeySpec":"AES_128"`: 16, `"NumberOfBytes":1`: 1, `"NumberOfBytes":1024`: 1024} {
		var key, opened blobs
		s.User.Ask(t, "GenerateDataKey", fmt.Sprintf(`{"KeyId":%q,%s}`, id, body)).Into(t, &key)
		s.User.Do(t, "Decrypt", map[string]any{"CiphertextBlob": key.CiphertextBlob}, &opened)
		if len(key.Plaintext) != n || !bytes.Equal(key.Plaintext, opened.Plaintext) || key.KeyMaterialId != opened.KeyMaterialId {
			t.Errorf("%s: got %d bytes", body, len(key.Plaintext))
		}
		var hidden blobs
		s.User.Ask(t, "GenerateDataKeyWithoutPlaintext", fmt.Sprintf(`{"KeyId":%q,%s}`, id, body)).Into(t, &hidden)
		if hidden.Plaintext != nil || hidden.CiphertextBlob == nil {
			t.Errorf("%s: got %+v", body, hidden)
		}
	}
	for _, body := range []string{``, `,"KeySpec":"AES_256","NumberOfBytes":32`, `,"NumberOfBytes":0`, `,"NumberOfBytes":1025`, `,"KeySpec":"AES_512"`} {
		if a := s.User.Ask(t, "GenerateDataKey", fmt.Sprintf(`{"KeyId":%q%s}`, id, body)); a.Fault() != "ValidationException" {
			t.Errorf("%s: got %s", body, a.Body)
		}
	}
	for _, w := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "ML_KEM_768", "RSA_2048"} {
		var pair, opened blobs
		s.User.Do(t, "GenerateDataKeyPair", map[string]any{"KeyId": id, "KeyPairSpec": w}, &pair)
		s.User.Do(t, "Decrypt", map[string]any{"CiphertextBlob": pair.PrivateKeyCiphertextBlob}, &opened)
		if len(pair.PublicKey) == 0 || !bytes.Equal(opened.Plaintext, pair.PrivateKeyPlaintext) {
			t.Errorf("%s: got %d bytes, %d in the clear", w, len(opened.Plaintext), len(pair.PrivateKeyPlaintext))
		}
	}
	var random blobs
	s.User.Ask(t, "GenerateRandom", `{"NumberOfBytes":1024}`).Into(t, &random)
	if len(random.Plaintext) != 1024 {
		t.Errorf("got %d bytes", len(random.Plaintext))
	}
	if a := s.User.Ask(t, "GenerateRandom", `{}`); a.Message() != "NumberOfBytes is required." {
		t.Errorf("got %s", a.Body)
	}
}

func TestSignaturesAndMACs(t *testing.T) {
	s := awstest.Open(t)
	for _, c := range []struct {
		a          kms.Algorithm
		scheme     string
		kind       string
		n          int
		otherKinds []string
	}{
		{kms.ECDSAP256, "ECDSA_SHA_256", "RAW", 100, []string{"EXTERNAL_MU"}},
		{kms.ECDSAP256, "ECDSA_SHA_256", "DIGEST", 32, nil},
		{kms.ECDSAP384, "ECDSA_SHA_384", "DIGEST", 48, nil},
		{kms.ECDSAP521, "ECDSA_SHA_512", "DIGEST", 64, nil},
		{kms.ECDSASecp256k1, "ECDSA_SHA_256", "RAW", 4096, nil},
		{kms.RSA2048, "RSASSA_PSS_SHA_256", "RAW", 10, nil},
		{kms.RSA2048, "RSASSA_PKCS1_V1_5_SHA_512", "DIGEST", 64, nil},
		{kms.Ed25519, "ED25519_SHA_512", "RAW", 10, []string{"DIGEST"}},
		{kms.Ed25519, "ED25519_PH_SHA_512", "DIGEST", 64, []string{"RAW"}},
		{kms.MLDSA65, "ML_DSA_SHAKE_256", "RAW", 10, []string{"DIGEST"}},
		{kms.MLDSA65, "ML_DSA_SHAKE_256", "EXTERNAL_MU", 64, nil},
	} {
		id := made(t, s, strings.ToLower(fmt.Sprintf("%s-%s-%s", c.a, c.scheme, c.kind)), c.a)
		in := map[string]any{"KeyId": id, "Message": make([]byte, c.n), "MessageType": c.kind, "SigningAlgorithm": c.scheme}
		var signed, verified blobs
		s.User.Do(t, "Sign", in, &signed)
		in["Signature"] = signed.Signature
		s.User.Do(t, "Verify", in, &verified)
		if !verified.SignatureValid || verified.SigningAlgorithm != c.scheme {
			t.Errorf("%s %s: got %+v", c.scheme, c.kind, verified)
		}
		signed.Signature[len(signed.Signature)/2] ^= 1
		if a := s.User.Ask(t, "Verify", marshal(t, in)); a.Fault() != "KMSInvalidSignatureException" || a.Message() != "" {
			t.Errorf("%s %s: got %s", c.scheme, c.kind, a.Body)
		}
		for _, kind := range c.otherKinds {
			in["MessageType"] = kind
			if a := s.User.Ask(t, "Sign", marshal(t, in)); a.Fault() != "ValidationException" {
				t.Errorf("%s with %s: got %s", c.scheme, kind, a.Body)
			}
		}
	}
	id := made(t, s, "digest", kms.ECDSAP256)
	if a := s.User.Ask(t, "Sign", fmt.Sprintf(`{"KeyId":%q,"Message":"aGk=","MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256"}`, id)); a.Message() != "Digest is invalid length for algorithm ECDSA_SHA_256." {
		t.Errorf("got %s", a.Body)
	}
	if a := s.User.Ask(t, "Sign", fmt.Sprintf(`{"KeyId":%q,"Message":"aGk=","SigningAlgorithm":"ECDSA_SHA_384"}`, id)); a.Fault() != "InvalidKeyUsageException" {
		t.Errorf("got %s", a.Body)
	}
	for _, c := range []struct {
		a kms.Algorithm
		w string
		n int
	}{{kms.HMACSHA224, "HMAC_SHA_224", 28}, {kms.HMACSHA256, "HMAC_SHA_256", 32}, {kms.HMACSHA384, "HMAC_SHA_384", 48}, {kms.HMACSHA512, "HMAC_SHA_512", 64}} {
		in := map[string]any{"KeyId": made(t, s, c.a.String(), c.a), "Message": []byte("m"), "MacAlgorithm": c.w}
		var mac, verified blobs
		s.User.Do(t, "GenerateMac", in, &mac)
		in["Mac"] = mac.Mac
		s.User.Do(t, "VerifyMac", in, &verified)
		if len(mac.Mac) != c.n || !verified.MacValid {
			t.Errorf("%s: got %d bytes, %+v", c.w, len(mac.Mac), verified)
		}
		mac.Mac[0] ^= 1
		if a := s.User.Ask(t, "VerifyMac", marshal(t, in)); a.Fault() != "KMSInvalidMacException" {
			t.Errorf("%s: got %s", c.w, a.Body)
		}
		in["MacAlgorithm"] = "HMAC_SHA_256"
		if a := s.User.Ask(t, "GenerateMac", marshal(t, in)); c.w != "HMAC_SHA_256" && a.Fault() != "InvalidKeyUsageException" {
			t.Errorf("%s: got %s", c.w, a.Body)
		}
	}
}

func TestSharedSecrets(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "kem", kms.MLKEM768)
	var made1, opened blobs
	s.User.Do(t, "Encapsulate", map[string]any{"KeyId": id, "EncapsulationAlgorithm": "ML_KEM"}, &made1)
	in := map[string]any{"KeyId": id, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": made1.SharedSecretCiphertextBlob}
	s.User.Do(t, "Decapsulate", in, &opened)
	if len(opened.SharedSecret) != 32 || !bytes.Equal(opened.SharedSecret, made1.SharedSecret) || len(made1.SharedSecretCiphertextBlob) != 1088 {
		t.Errorf("got %d and %d bytes", len(opened.SharedSecret), len(made1.SharedSecretCiphertextBlob))
	}
	made1.SharedSecretCiphertextBlob[5] ^= 1
	var other blobs
	s.User.Do(t, "Decapsulate", in, &other)
	if len(other.SharedSecret) != 32 || bytes.Equal(other.SharedSecret, opened.SharedSecret) {
		t.Errorf("a changed ciphertext gives %d bytes", len(other.SharedSecret))
	}
	in["SharedSecretCiphertextBlob"] = made1.SharedSecretCiphertextBlob[1:]
	if a := s.User.Ask(t, "Decapsulate", marshal(t, in)); a.Fault() != "InvalidCiphertextException" {
		t.Errorf("got %s", a.Body)
	}

	one, two := made(t, s, "one", kms.ECDHP256), made(t, s, "two", kms.ECDHP256)
	public := func(id string) []byte {
		out, err := s.Engine.GetPublicKey(t.Context(), native("svc/orders", kms.RoleUser), engine.PublicKeyInput{Key: kms.Ref(id)})
		if err != nil {
			t.Fatal(err)
		}
		return out.DER
	}
	var a, b blobs
	s.User.Do(t, "DeriveSharedSecret", map[string]any{"KeyId": one, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public(two)}, &a)
	s.User.Do(t, "DeriveSharedSecret", map[string]any{"KeyId": two, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public(one)}, &b)
	if len(a.SharedSecret) != 32 || !bytes.Equal(a.SharedSecret, b.SharedSecret) {
		t.Errorf("got %d and %d bytes", len(a.SharedSecret), len(b.SharedSecret))
	}
}

func TestARehearsalDoesEverythingButAnswer(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	var sealed blobs
	s.User.Do(t, "Encrypt", map[string]any{"KeyId": id, "Plaintext": []byte("hello")}, &sealed)
	for _, c := range []struct {
		operation string
		in        map[string]any
		want      string
	}{
		{"Encrypt", map[string]any{"KeyId": id, "Plaintext": []byte("x")}, "DryRunOperationException"},
		{"Decrypt", map[string]any{"CiphertextBlob": sealed.CiphertextBlob}, "DryRunOperationException"},
		{"Decrypt", map[string]any{"CiphertextBlob": sealed.CiphertextBlob, "EncryptionContext": map[string]string{"a": "b"}}, "InvalidCiphertextException"},
		{"Decrypt", map[string]any{"KeyId": id, "DryRunModifiers": []string{"IGNORE_CIPHERTEXT"}}, "DryRunOperationException"},
		{"GenerateDataKey", map[string]any{"KeyId": id, "KeySpec": "AES_256"}, "DryRunOperationException"},
		{"GenerateDataKey", map[string]any{"KeyId": "alias/none", "KeySpec": "AES_256"}, "NotFoundException"},
	} {
		c.in["DryRun"] = true
		a := s.User.Ask(t, c.operation, marshal(t, c.in))
		if a.Fault() != c.want {
			t.Errorf("%s %v: got %s, want %s", c.operation, c.in, a.Body, c.want)
		}
	}
	a := s.User.Ask(t, "Encrypt", fmt.Sprintf(`{"KeyId":%q,"Plaintext":"aGk=","DryRun":true}`, id))
	if a.Message() != "The request would have succeeded, but the DryRun option is set." {
		t.Errorf("got %s", a.Body)
	}
}

func TestReferencesThatNameNoKey(t *testing.T) {
	s := awstest.Open(t)
	id := made(t, s, "k", kms.AES256GCM)
	for ref, want := range map[string]string{
		"alias/none": "NotFoundException", "k": "NotFoundException", "key/" + id: "NotFoundException", "": "ValidationException",
		"00000000-0000-7000-8000-000000000000":              "NotFoundException",
		"mrk-" + strings.ReplaceAll(id, "-", ""):            "NotFoundException",
		"arn:aws:kms:eu-west-1:" + s.Account + ":key/" + id: "NotFoundException",
		"arn:aws:kms:us-east-1:999999999999:key/" + id:      "AccessDeniedException",
		"arn:aws:s3:us-east-1:" + s.Account + ":key/" + id:  "InvalidArnException",
		"arn:aws:kms:us-east-1:" + s.Account + ":" + id:     "NotFoundException",
		"arn:aws:kms":                       "InvalidArnException",
		strings.Repeat("x", 2049):           "ValidationException",
		"alias/" + strings.Repeat("x", 300): "NotFoundException",
	} {
		if a := s.User.Ask(t, "Encrypt", fmt.Sprintf(`{"KeyId":%q,"Plaintext":"aGk="}`, ref)); a.Fault() != want {
			t.Errorf("%.60q: got %s, want %s", ref, a.Body, want)
		}
	}
}
