package api

import (
	"encoding/json"

	"github.com/keyhold/keyhold/bench/internal/wire"
)

// Vault is the transit API of HashiCorp Vault and OpenBao, mounted at /v1/transit. The yardstick speaks it as well.
type Vault struct{ Token string }

var vaultTypes = map[Kind]string{AES256: "aes256-gcm96", HMAC256: "hmac", P256: "ecdsa-p256", Ed25519: "ed25519", RSA2048: "rsa-2048"}

type vaultRequest struct {
	Type       string       `json:"type,omitempty"`
	KeySize    int          `json:"key_size,omitempty"`
	Plaintext  []byte       `json:"plaintext,omitempty"`
	Input      []byte       `json:"input,omitempty"`
	Ciphertext string       `json:"ciphertext,omitempty"`
	Signature  string       `json:"signature,omitempty"`
	Bits       int          `json:"bits,omitempty"`
	Batch      []nativeItem `json:"batch_input,omitempty"`
}

// Request implements API.
func (t Vault) Request(v Verb, in Input) (wire.Request, error) {
	method, path := "POST", ""
	var q vaultRequest
	suffix := "/sha2-256"
	if in.Kind == Ed25519 { // brings its own hash
		suffix = ""
	}
	switch v {
	case Create:
		path, q.Type = "keys/"+in.Key, vaultTypes[in.Kind]
		if in.Kind == HMAC256 {
			q.KeySize = 32
		}
	case Read:
		method, path = "GET", "keys/"+in.Key
	case Encrypt:
		path, q.Plaintext = "encrypt/"+in.Key, in.Plain
		if in.Items > 0 {
			q.Plaintext = nil
			for range in.Items {
				q.Batch = append(q.Batch, nativeItem{in.Plain})
			}
		}
	case Decrypt:
		path, q.Ciphertext = "decrypt/"+in.Key, in.Text
	case DataKey:
		path, q.Bits = "datakey/plaintext/"+in.Key, 8*len(in.Plain)
	case MAC:
		path, q.Input = "hmac/"+in.Key+"/sha2-256", in.Plain
	case Sign:
		path, q.Input = "sign/"+in.Key+suffix, in.Plain
	case Verify:
		path, q.Input, q.Signature = "verify/"+in.Key+suffix, in.Plain, in.Text
	}
	r := wire.Request{Method: method, Path: "/v1/transit/" + path}
	if t.Token != "" {
		r.Header = append(r.Header, [2]string{"x-vault-token", t.Token})
	}
	if method == "GET" {
		return r, nil
	}
	r.Header = append(r.Header, [2]string{"content-type", "application/json"})
	var err error
	r.Body, err = json.Marshal(q)
	return r, err
}

// Answer implements API.
func (Vault) Answer(_ Verb, body []byte) (Output, error) {
	var a struct {
		Data struct {
			Name                        string
			Ciphertext, Signature, HMAC string
			Plaintext                   []byte
			Valid                       bool
			Batch                       []sealed `json:"batch_results"`
		}
	}
	if len(body) == 0 { // 204
		return Output{}, nil
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return Output{}, err
	}
	d := &a.Data
	out := Output{Key: d.Name, Text: d.Ciphertext + d.Signature + d.HMAC, Plain: d.Plaintext, Valid: d.Valid}
	for _, item := range d.Batch {
		out.add(item)
	}
	return out, nil
}
