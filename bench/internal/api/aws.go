package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/bench/internal/wire"
)

// AWS is the JSON 1.1 API of AWS KMS. A request is signed once and sent many times with the same signature: a server that
// remembers signatures it has verified looks better here than it is. Signatures are good for five minutes.
type AWS struct {
	Host, AccessKey, SecretKey, Region string
	Now                                func() time.Time
}

var awsSpecs = map[Kind][2]string{ // key spec, usage
	AES256: {"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"}, HMAC256: {"HMAC_256", "GENERATE_VERIFY_MAC"}, P256: {"ECC_NIST_P256", "SIGN_VERIFY"},
	Ed25519: {"ECC_NIST_EDWARDS25519", "SIGN_VERIFY"}, RSA2048: {"RSA_2048", "SIGN_VERIFY"},
}

var awsSigning = map[Kind]string{P256: "ECDSA_SHA_256", Ed25519: "ED25519_SHA_512", RSA2048: "RSASSA_PSS_SHA_256"}

var awsActions = map[Verb]string{
	Encrypt: "Encrypt", Decrypt: "Decrypt", DataKey: "GenerateDataKey", MAC: "GenerateMac", Sign: "Sign", Verify: "Verify", Create: "CreateKey", Read: "DescribeKey",
}

type awsRequest struct {
	KeyID            string `json:"KeyId,omitempty"`
	KeySpec          string `json:",omitempty"`
	KeyUsage         string `json:",omitempty"`
	Plaintext        []byte `json:",omitempty"`
	CiphertextBlob   string `json:",omitempty"`
	Message          []byte `json:",omitempty"`
	MessageType      string `json:",omitempty"`
	MacAlgorithm     string `json:",omitempty"`
	SigningAlgorithm string `json:",omitempty"`
	Signature        string `json:",omitempty"`
}

// Request implements API.
func (a AWS) Request(v Verb, in Input) (wire.Request, error) {
	q := awsRequest{KeyID: in.Key}
	switch v {
	case Create:
		q = awsRequest{KeySpec: awsSpecs[in.Kind][0], KeyUsage: awsSpecs[in.Kind][1]}
	case Encrypt:
		if in.Items > 0 {
			return wire.Request{}, ErrUnsupported
		}
		q.Plaintext = in.Plain
	case Decrypt:
		q.CiphertextBlob = in.Text
	case DataKey:
		q.KeySpec = "AES_256"
	case MAC:
		q.Message, q.MacAlgorithm = in.Plain, "HMAC_SHA_256"
	case Sign, Verify:
		q.Message, q.MessageType, q.SigningAlgorithm, q.Signature = in.Plain, "RAW", awsSigning[in.Kind], in.Text
	case Read:
	}
	body, err := json.Marshal(q)
	r := wire.Request{Method: "POST", Path: "/", Body: body}
	r.Header = a.sign("TrentService."+awsActions[v], body)
	return r, err
}

// sign answers the headers of a request by Signature Version 4, which are in the order that it wants.
func (a AWS) sign(target string, body []byte) [][2]string {
	at := a.Now().UTC().Format("20060102T150405Z")
	header := [][2]string{{"content-type", "application/x-amz-json-1.1"}, {"host", a.Host}, {"x-amz-date", at}, {"x-amz-target", target}}
	canonical, names := "POST\n/\n\n", ""
	for _, h := range header {
		canonical += h[0] + ":" + h[1] + "\n"
		names += ";" + h[0]
	}
	names = names[1:]
	canonical += "\n" + names + "\n" + digest(body)
	scope := at[:8] + "/" + a.Region + "/kms/aws4_request"
	key := mac([]byte("AWS4"+a.SecretKey), at[:8])
	for _, part := range []string{a.Region, "kms", "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+digest([]byte(canonical)))
	return append(header[:1:1], header[2], header[3], [2]string{"authorization",
		fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", a.AccessKey, scope, names, signature)})
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Answer implements API.
func (AWS) Answer(_ Verb, body []byte) (Output, error) {
	var a struct {
		KeyMetadata struct {
			KeyID string `json:"KeyId"`
		}
		CiphertextBlob, Signature, Mac string
		Plaintext                      []byte
		SignatureValid                 bool
	}
	err := json.Unmarshal(body, &a)
	return Output{Key: a.KeyMetadata.KeyID, Text: a.CiphertextBlob + a.Signature + a.Mac, Plain: a.Plaintext, Valid: a.SignatureValid}, err
}
