package aws_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/dialect/statetest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// kindOf is the kind of key that an operation is for, where it is not a symmetric one that encrypts.
var kindOf = map[string][2]string{
	"Sign": {"ECC_NIST_P256", "SIGN_VERIFY"}, "Verify": {"ECC_NIST_P256", "SIGN_VERIFY"}, "GetPublicKey": {"ECC_NIST_P256", "SIGN_VERIFY"},
	"GenerateMac": {"HMAC_256", "GENERATE_VERIFY_MAC"}, "VerifyMac": {"HMAC_256", "GENERATE_VERIFY_MAC"},
	"DeriveSharedSecret": {"ECC_NIST_P256", "KEY_AGREEMENT"}, "Encapsulate": {"ML_KEM_768", "ENCAPSULATE_DECAPSULATE"}, "Decapsulate": {"ML_KEM_768", "ENCAPSULATE_DECAPSULATE"},
}

// users are the operations that the user of keys asks for; all others are the administrator's.
var users = map[string]bool{
	"Decapsulate": true, "Decrypt": true, "DeriveSharedSecret": true, "Encapsulate": true, "Encrypt": true, "GenerateDataKey": true, "GenerateDataKeyPair": true,
	"GenerateDataKeyPairWithoutPlaintext": true, "GenerateDataKeyWithoutPlaintext": true, "GenerateMac": true, "GetPublicKey": true, "ReEncrypt": true, "Sign": true, "Verify": true, "VerifyMac": true,
}

// stateTrial is one key and one operation with it.
type stateTrial struct {
	*awstest.Server
	n    int
	peer []byte // a public key to agree with
	text []byte // a ciphertext of a key that works
}

// request makes a key of a state, with what the operation needs, and answers the operation's request.
func (s *stateTrial) request(t testing.TB, operation, state string) m {
	t.Helper()
	with := m{"MultiRegion": true}
	if kind, other := kindOf[operation]; other {
		with["KeySpec"], with["KeyUsage"] = kind[0], kind[1]
	}
	if state == "PendingImport" {
		with["Origin"] = "EXTERNAL"
	}
	k := create(t, s.Admin, with)
	s.n++
	in := m{"KeyId": k.KeyId}
	s.fill(t, operation, k, in)
	if state == "PendingReplicaDeletion" || operation == "UpdatePrimaryRegion" && state != "PendingImport" {
		s.Admin.Do(t, "ReplicateKey", m{"KeyId": k.KeyId, "ReplicaRegion": "eu-west-1"}, nil)
	}
	switch state {
	case "Disabled":
		s.Admin.Do(t, "DisableKey", m{"KeyId": k.KeyId}, nil)
	case "PendingDeletion", "PendingReplicaDeletion":
		s.Admin.Do(t, "ScheduleKeyDeletion", m{"KeyId": k.KeyId}, nil)
		if operation == "UpdatePrimaryRegion" || state == "PendingReplicaDeletion" {
			state = "PendingReplicaDeletion"
		}
	}
	if got := describe(t, s.Admin, k.KeyId); got.KeyState != state {
		t.Fatalf("%s: the key is %s, want %s", operation, got.KeyState, state)
	}
	return in
}

// fill says what else a request of an operation has, and prepares it while the key is new.
func (s *stateTrial) fill(t testing.TB, operation string, k metadata, in m) {
	t.Helper()
	works := k.KeyState == "Enabled"
	unknown := kms.NewID(time.Now(), [10]byte{1})
	alias := fmt.Sprintf("alias/n%d", s.n)
	ask := func(op string, with m, out *blobs) {
		t.Helper()
		with["KeyId"] = k.KeyId
		if works {
			s.User.Do(t, op, with, out)
		}
	}
	var made blobs
	switch operation {
	case "Encrypt":
		in["Plaintext"] = []byte("x")
	case "Decrypt":
		ask("Encrypt", m{"Plaintext": []byte("x")}, &made)
		if in["CiphertextBlob"] = made.CiphertextBlob; !works {
			in["CiphertextBlob"] = s.text
		}
	case "ReEncrypt":
		delete(in, "KeyId")
		in["DestinationKeyId"], in["CiphertextBlob"] = k.KeyId, s.text
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext":
		in["KeySpec"] = "AES_256"
	case "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext":
		in["KeyPairSpec"] = "ECC_NIST_P256"
	case "Sign", "Verify":
		in["Message"], in["SigningAlgorithm"] = []byte("x"), "ECDSA_SHA_256"
		if operation == "Verify" {
			ask("Sign", m{"Message": []byte("x"), "SigningAlgorithm": "ECDSA_SHA_256"}, &made)
			if in["Signature"] = made.Signature; !works {
				in["Signature"] = []byte("x")
			}
		}
	case "GenerateMac", "VerifyMac":
		in["Message"], in["MacAlgorithm"] = []byte("x"), "HMAC_SHA_256"
		if operation == "VerifyMac" {
			ask("GenerateMac", m{"Message": []byte("x"), "MacAlgorithm": "HMAC_SHA_256"}, &made)
			if in["Mac"] = made.Mac; !works {
				in["Mac"] = []byte("x")
			}
		}
	case "DeriveSharedSecret":
		in["KeyAgreementAlgorithm"], in["PublicKey"] = "ECDH", s.peer
	case "Encapsulate", "Decapsulate":
		in["EncapsulationAlgorithm"] = "ML_KEM"
		if operation == "Decapsulate" {
			ask("Encapsulate", m{"EncapsulationAlgorithm": "ML_KEM"}, &made)
			in["SharedSecretCiphertextBlob"] = made.SharedSecretCiphertextBlob
		}
	case "CreateAlias":
		delete(in, "KeyId")
		in["AliasName"], in["TargetKeyId"] = alias, k.KeyId
	case "UpdateAlias":
		other := create(t, s.Admin, m{})
		s.Admin.Do(t, "CreateAlias", m{"AliasName": alias, "TargetKeyId": other.KeyId}, nil)
		delete(in, "KeyId")
		in["AliasName"], in["TargetKeyId"] = alias, k.KeyId
	case "DeleteAlias":
		s.Admin.Do(t, "CreateAlias", m{"AliasName": alias, "TargetKeyId": k.KeyId}, nil)
		delete(in, "KeyId")
		in["AliasName"] = alias
	case "CreateGrant":
		in["GranteePrincipal"], in["Operations"] = "arn:aws:iam::"+s.Account+":user/bob", []string{"Encrypt"}
	case "PutKeyPolicy":
		in["Policy"] = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + s.Account + `:root"},"Action":"kms:*","Resource":"*"}]}`
	case "TagResource":
		in["Tags"] = []m{{"TagKey": "a", "TagValue": "b"}}
	case "UntagResource":
		in["TagKeys"] = []string{"a"}
	case "UpdateKeyDescription":
		in["Description"] = "x"
	case "ReplicateKey":
		in["ReplicaRegion"] = "ap-south-1"
	case "UpdatePrimaryRegion":
		in["PrimaryRegion"] = "eu-west-1"
	case "GetParametersForImport":
		in["WrappingAlgorithm"], in["WrappingKeySpec"] = "RSAES_OAEP_SHA_256", "RSA_2048"
	case "ImportKeyMaterial":
		in["ImportToken"], in["EncryptedKeyMaterial"], in["ExpirationModel"] = append([]byte{1}, unknown[:]...), []byte("x"), "KEY_MATERIAL_DOES_NOT_EXPIRE"
	}
}

// TestEveryOperationInEveryState holds the dialect to AWS's table of what can be done with a key in which state.
func TestEveryOperationInEveryState(t *testing.T) {
	b, err := os.ReadFile("testdata/states.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := &stateTrial{Server: awstest.Open(t)}
	peer := create(t, s.Admin, m{"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"})
	works := create(t, s.Admin, m{})
	var out blobs
	s.User.Do(t, "GetPublicKey", m{"KeyId": peer.KeyId}, &out)
	s.peer = out.PublicKey
	s.User.Do(t, "Encrypt", m{"KeyId": works.KeyId, "Plaintext": []byte("x")}, &out)
	s.text = out.CiphertextBlob

	states := []string{"Enabled", "Disabled", "PendingDeletion", "PendingReplicaDeletion", "PendingImport"}
	rows := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Fields(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if rows++; len(cells) != 1+len(states) {
			t.Fatalf("%q has %d cells", line, len(cells))
		}
		for i, state := range states {
			want := cells[i+1]
			if want == "-" { // keys of this kind are not imported
				continue
			}
			body, err := json.Marshal(s.request(t, cells[0], state))
			if err != nil {
				t.Fatal(err)
			}
			client := s.Admin
			if users[cells[0]] {
				client = s.User
			}
			answer := client.Ask(t, cells[0], string(body))
			got := strings.TrimSuffix(answer.Fault(), "Exception")
			if answer.Status == 200 {
				got = "ok"
			}
			if got != want {
				t.Errorf("%s, %s: got %s, want %s: %s", cells[0], state, got, want, answer.Body)
			}
		}
	}
	if rows < 44 {
		t.Errorf("%d operations were tried", rows)
	}
}

// awsStates is how this dialect does the operations that can be about a version that is not the primary one, or that use the primary one in every dialect. All others use
// the primary version here, which TestEveryOperationInEveryState is about. What the table permits with a destroyed key, to look at it, AWS does not know.
func awsStates(s *awstest.Server) statetest.Dialect {
	as := func(client awstest.Client, operation string, ask func(statetest.Case) m) func(testing.TB, statetest.Case) kms.Code {
		return func(t testing.TB, c statetest.Case) kms.Code {
			t.Helper()
			body, err := json.Marshal(ask(c))
			if err != nil {
				t.Fatal(err)
			}
			a := client.Ask(t, operation, string(body))
			if a.Status == 200 {
				return 0
			}
			for _, code := range kms.AllCodes() {
				if strings.Contains(a.Message(), "("+code.String()+" ") {
					return code
				}
			}
			t.Fatalf("%s: %d %s", operation, a.Status, a.Body)
			return 0
		}
	}
	return statetest.Dialect{
		kms.Decrypt: as(s.User, "Decrypt", func(c statetest.Case) m { return m{"CiphertextBlob": c.Made, "KeyId": c.Key.String()} }),
		kms.ReEncryptFrom: as(s.User, "ReEncrypt", func(c statetest.Case) m {
			return m{"CiphertextBlob": c.Made, "SourceKeyId": c.Key.String(), "DestinationKeyId": "alias/" + c.Other}
		}),
		kms.GenerateDataKey:     as(s.User, "GenerateDataKey", func(c statetest.Case) m { return m{"KeyId": c.Key.String(), "NumberOfBytes": 32} }),
		kms.GenerateDataKeyPair: as(s.User, "GenerateDataKeyPair", func(c statetest.Case) m { return m{"KeyId": c.Key.String(), "KeyPairSpec": "ECC_NIST_P256"} }),
		kms.UpdateKey:           as(s.Admin, "UpdateKeyDescription", func(c statetest.Case) m { return m{"KeyId": c.Key.String(), "Description": "d"} }),
	}
}

// TestEveryStateInTheAWSDialect: state × switch × operation, signed and over TLS. LIF-3, invariant 4.
func TestEveryStateInTheAWSDialect(t *testing.T) {
	var ahead atomic.Int64
	began := time.Now()
	s := awstest.Open(t, func(c *engine.Config) {
		c.Now = func() time.Time { return began.Add(time.Since(began) + time.Duration(ahead.Load())) }
		c.Elapsed = func() time.Duration { return time.Since(began) + time.Duration(ahead.Load()) }
	})
	if err := s.Engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	statetest.Run(t, statetest.Server{Engine: s.Engine, Admin: native("alice", kms.RoleAdmin), User: native("svc/orders", kms.RoleUser),
		Pass: func(d time.Duration) { ahead.Add(int64(d)) }}, awsStates(s))
}
