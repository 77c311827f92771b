package api

import (
	"encoding/json"

	"github.com/keyhold/keyhold/bench/internal/wire"
)

// Native is Keyhold's own API (docs/api.md) in JSON.
type Native struct{ Token string }

var nativeMethods = map[Verb]string{
	Encrypt: "CryptoService/Encrypt", Decrypt: "CryptoService/Decrypt", DataKey: "CryptoService/GenerateDataKey", MAC: "CryptoService/GenerateMac",
	Sign: "CryptoService/Sign", Verify: "CryptoService/Verify", Create: "KeyService/CreateKey", Read: "KeyService/DescribeKey",
}

var nativeAlgorithms = map[Kind]string{AES256: "aes-256-gcm", HMAC256: "hmac-sha-256", P256: "ecdsa-p256", Ed25519: "ed25519", RSA2048: "rsa-2048"}

type nativeRequest struct {
	Name       string       `json:"name,omitempty"`
	Algorithm  string       `json:"algorithm,omitempty"`
	Usage      string       `json:"usage,omitempty"`
	Key        string       `json:"key,omitempty"`
	Plaintext  []byte       `json:"plaintext,omitempty"`
	Ciphertext string       `json:"ciphertext,omitempty"`
	Message    []byte       `json:"message,omitempty"`
	Signature  string       `json:"signature,omitempty"`
	Scheme     string       `json:"scheme,omitempty"`
	Length     int          `json:"length,omitempty"`
	Items      []nativeItem `json:"items,omitempty"`
}

type nativeItem struct {
	Plaintext []byte `json:"plaintext"`
}

// Request implements API.
func (n Native) Request(v Verb, in Input) (wire.Request, error) {
	method := nativeMethods[v]
	var q nativeRequest
	switch v {
	case Create:
		q = nativeRequest{Name: in.Key, Algorithm: nativeAlgorithms[in.Kind]}
		if in.Kind == RSA2048 { // the one kind that could do something else
			q.Usage = "sign"
		}
	case Encrypt:
		q = nativeRequest{Key: in.Key, Plaintext: in.Plain}
		if in.Items > 0 {
			method, q.Plaintext = "CryptoService/EncryptBatch", nil
			for range in.Items {
				q.Items = append(q.Items, nativeItem{in.Plain})
			}
		}
	case Decrypt:
		q = nativeRequest{Ciphertext: in.Text} // it names its key
	case DataKey:
		q = nativeRequest{Key: in.Key, Length: len(in.Plain)}
	case Read:
		q = nativeRequest{Key: in.Key}
	case MAC, Sign, Verify:
		q = nativeRequest{Key: in.Key, Message: in.Plain, Signature: in.Text}
		if in.Kind == RSA2048 {
			q.Scheme = "rsa-pss-sha-256"
		}
	}
	body, err := json.Marshal(q)
	return wire.Request{Method: "POST", Path: "/keyhold.v1." + method, Body: body,
		Header: [][2]string{{"authorization", "Bearer " + n.Token}, {"content-type", "application/json"}}}, err
}

// Answer implements API.
func (Native) Answer(v Verb, body []byte) (Output, error) {
	var a struct {
		Key                        struct{ ID string }
		KeyID                      string
		Ciphertext, Signature, MAC string
		Plaintext                  []byte
		Items                      []struct{ OK sealed }
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return Output{}, err
	}
	out := Output{Key: a.Key.ID, Text: a.Ciphertext + a.Signature + a.MAC, Plain: a.Plaintext, Valid: v == Verify && a.KeyID != ""}
	for _, item := range a.Items {
		out.add(item.OK)
	}
	return out, nil
}

// sealed is an item of a batch's answer, as both dialects that have batches name it.
type sealed struct{ Ciphertext string }

// add counts an item that succeeded.
func (o *Output) add(item sealed) {
	if item.Ciphertext != "" {
		o.Text = item.Ciphertext
		o.Items++
	}
}
