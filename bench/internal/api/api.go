// Package api has the operations that are measured, and the requests that each server's own protocol makes of them.
//
// An operation is prepared by asking the server itself for a key, a ciphertext, a signature; one answer is checked in full
// before any load: a ciphertext must give its plaintext back, a signature must hold. Answers under load are only counted.
package api

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/bench/internal/wire"
)

// Verb is what an operation does.
type Verb uint8

// The verbs.
const (
	Encrypt Verb = iota
	Decrypt
	DataKey
	MAC
	Sign
	Verify
	Create
	Read
)

// Kind is a kind of key.
type Kind uint8

// The kinds.
const (
	AES256 Kind = iota
	HMAC256
	P256
	Ed25519
	RSA2048
)

// Op is an operation.
type Op struct {
	Name  string
	Verb  Verb
	Kind  Kind
	Size  int // bytes of the plaintext or message
	Items int // of a batch; 0: not a batch
}

// Ops are the operations, in the order of the tables.
var Ops = []Op{
	{"encrypt-32", Encrypt, AES256, 32, 0},
	{"decrypt-32", Decrypt, AES256, 32, 0},
	{"encrypt-4096", Encrypt, AES256, 4096, 0},
	{"decrypt-4096", Decrypt, AES256, 4096, 0},
	{"datakey", DataKey, AES256, 32, 0},
	{"hmac", MAC, HMAC256, 32, 0},
	{"sign-ecdsa-p256", Sign, P256, 32, 0},
	{"verify-ecdsa-p256", Verify, P256, 32, 0},
	{"sign-ed25519", Sign, Ed25519, 32, 0},
	{"verify-ed25519", Verify, Ed25519, 32, 0},
	{"sign-rsa-2048-pss", Sign, RSA2048, 32, 0},
	{"verify-rsa-2048-pss", Verify, RSA2048, 32, 0},
	{"batch-256x32", Encrypt, AES256, 32, 256},
	{"create", Create, AES256, 0, 0},
	{"read", Read, AES256, 0, 0},
}

// Find finds an operation by its name.
func Find(name string) (Op, error) {
	i := slices.IndexFunc(Ops, func(o Op) bool { return o.Name == name })
	if i < 0 {
		return Op{}, fmt.Errorf("there is no operation %q", name)
	}
	return Ops[i], nil
}

// Units is how many operations one request does.
func (o Op) Units() int { return max(o.Items, 1) }

// ErrUnsupported says that a protocol has no such operation.
var ErrUnsupported = errors.New("the protocol has no such operation")

// Input is what a request is made of.
type Input struct {
	Kind  Kind
	Key   string // its name, or the reference that creating it answered
	Plain []byte // plaintext or message
	Items int    // as in Op
	Text  string // of an earlier answer: what is to be decrypted or verified
}

// Output is what an answer held.
type Output struct {
	Key   string // the reference of a key that was created or read
	Text  string // ciphertext, signature or MAC
	Plain []byte
	Valid bool // of a signature
	Items int  // of a batch: those that succeeded
}

// API is a protocol.
type API interface {
	// Request makes a request, or answers ErrUnsupported.
	Request(Verb, Input) (wire.Request, error)
	// Answer reads the body of an answer with a status of 200 or 201.
	Answer(Verb, []byte) (Output, error)
}

// Do sends one request, outside of any load.
type Do func(wire.Request) (status int, body []byte, err error)

// call sends a request and reads its answer.
func call(a API, do Do, v Verb, in Input) (wire.Request, Output, error) {
	req, err := a.Request(v, in)
	if err != nil {
		return req, Output{}, err
	}
	status, body, err := do(req)
	if err == nil && !OK(status) {
		err = fmt.Errorf("status %d: %.300s", status, body)
	}
	var out Output
	if err == nil {
		out, err = a.Answer(v, body)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", req.Method, req.Path, err)
	}
	return req, out, err
}

// OK tells whether a status is that of an operation that succeeded.
func OK(status int) bool { return status >= 200 && status <= 299 }

// Prepare makes the key and whatever else an operation needs, checks one answer in full, and returns the request to load with.
// The key's name should be a new one.
func Prepare(a API, do Do, op Op, name string) (wire.Request, error) {
	in := Input{Kind: op.Kind, Key: name, Plain: make([]byte, op.Size), Items: op.Items}
	rand.Read(in.Plain) //nolint:errcheck // never fails since Go 1.24
	if op.Verb == Create {
		in.Key += "-" + wire.Counter
		req, _, err := call(a, do, Create, in)
		return req, err
	}
	_, made, err := call(a, do, Create, in)
	if err != nil {
		return wire.Request{}, err
	}
	if made.Key != "" {
		in.Key = made.Key
	}
	return prepare(a, do, op, in)
}

// PrepareWith is Prepare with a key that is there already, of the kind that the operation wants. Its name may hold wire.Counter, for load over many keys;
// then the operation must be one that needs no earlier answer, which would be about one of them.
func PrepareWith(a API, do Do, op Op, name string) (wire.Request, error) {
	if _, needed := before[op.Verb]; op.Verb == Create || needed && strings.Contains(name, wire.Counter) {
		return wire.Request{}, fmt.Errorf("%s: there is no such load over keys that are there", op.Name)
	}
	in := Input{Kind: op.Kind, Key: name, Plain: make([]byte, op.Size), Items: op.Items}
	rand.Read(in.Plain) //nolint:errcheck // never fails since Go 1.24
	return prepare(a, do, op, in)
}

// prepare asks for what the operation needs, and checks its first answer.
func prepare(a API, do Do, op Op, in Input) (wire.Request, error) {
	if first, needed := before[op.Verb]; needed {
		_, got, err := call(a, do, first, in)
		if err != nil {
			return wire.Request{}, err
		}
		in.Text = got.Text
	}
	req, got, err := call(a, do, op.Verb, in)
	if err == nil {
		err = check(op, in, got)
	}
	return req, err
}

// before are the operations whose answer another one needs.
var before = map[Verb]Verb{Decrypt: Encrypt, Verify: Sign}

func check(op Op, in Input, got Output) error {
	ok := false
	switch op.Verb {
	case Decrypt:
		ok = bytes.Equal(got.Plain, in.Plain)
	case DataKey:
		ok = len(got.Plain) == op.Size && got.Text != ""
	case Verify:
		ok = got.Valid
	case Create, Read:
		ok = got.Key != ""
	case Encrypt, MAC, Sign:
		ok = got.Text != "" && got.Items == op.Items
	}
	if !ok {
		return fmt.Errorf("%s: the server answered something else than was asked for", op.Name)
	}
	return nil
}
