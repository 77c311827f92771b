package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
)

// vault is a server of one key, in memory: it knows what it wrapped, and for which context. The real one is used by the tests in
// server_test.go.
type vault struct {
	mu      sync.Mutex
	version uint32
	dead    map[uint32]bool
	keys    map[string]wrapped // by blob
	calls   []client.Context   // of every request, in order
	err     error
}

type wrapped struct {
	key     []byte
	version uint32
	context client.Context
}

const keyID = "5b0c2c4e-6d43-4b7a-9d6f-0e6f7a1b2c3d"

func newVault() *vault {
	return &vault{version: 1, dead: map[uint32]bool{}, keys: map[string]wrapped{}}
}

func (v *vault) GenerateDataKey(_ context.Context, in client.GenerateDataKeyInput, _ ...client.Option) (client.GenerateDataKeyOutput, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, in.Context)
	if v.err != nil {
		return client.GenerateDataKeyOutput{}, v.err
	}
	if in.Key != "orders" && in.Key != keyID {
		return client.GenerateDataKeyOutput{}, &client.Error{Code: client.CodeKeyNotFound, Title: "key not found", What: "there is no key " + in.Key}
	}
	key, blob := make([]byte, in.Length), make([]byte, 138)
	rand.Read(key)
	rand.Read(blob)
	v.keys[string(blob)] = wrapped{bytes.Clone(key), v.version, maps.Clone(in.Context)}
	return client.GenerateDataKeyOutput{Plaintext: key, Ciphertext: blob, KeyID: keyID, Version: v.version}, nil
}

func (v *vault) Decrypt(_ context.Context, in client.DecryptInput, _ ...client.Option) (client.DecryptOutput, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, in.Context)
	if v.err != nil {
		return client.DecryptOutput{}, v.err
	}
	w, ok := v.keys[string(in.Ciphertext)]
	if !ok || !maps.Equal(w.context, in.Context) {
		return client.DecryptOutput{}, &client.Error{Code: client.CodeDecryptFailed, Title: "decryption failed", What: "not with this key and context"}
	}
	if v.dead[w.version] {
		return client.DecryptOutput{}, &client.Error{Code: "KH1502", Title: "wrong state", What: "the version is deactivated"}
	}
	return client.DecryptOutput{Plaintext: bytes.Clone(w.key), KeyID: keyID, Version: w.version}, nil
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*131 + i>>8)
	}
	return b
}

func seal(t testing.TB, plaintext []byte, opt envelope.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := envelope.Encrypt(t.Context(), &b, bytes.NewReader(plaintext), opt); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unseal gives what was released, whatever came after it.
func unseal(t testing.TB, file []byte, opt envelope.OpenOptions) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	_, err := envelope.Decrypt(t.Context(), &b, bytes.NewReader(file), opt)
	return b.Bytes(), err
}

func with(ids ...envelope.Identity) envelope.OpenOptions { return envelope.OpenOptions{Identities: ids} }


func TestAFileOpensForEachRecipient(t *testing.T) {
	v := newVault()
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	words := envelope.Passphrase("correct horse battery staple")
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	all := envelope.Options{Recipients: []envelope.Recipient{key, words, private.Public()}, Context: client.Context{"order": "17", "": ""}}
	delete(all.Context, "")
	for _, n := range []int{0, 1, 65503, 65504, 65505, 300_000} {
		plaintext := text(n)
		file := seal(t, plaintext, all)
		for name, id := range map[string]envelope.Identity{"key": envelope.KeyholdKey{Client: v}, "passphrase": words, "private key": private} {
			got, err := unseal(t, file, with(id))
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%d bytes, %s: got %d bytes, %v", n, name, len(got), err)
			}
		}
		info, err := envelope.Inspect(bytes.NewReader(file))
		if err != nil || len(info.Recipients) != 3 || info.Context["order"] != "17" {
			t.Errorf("info: got %+v %v", info, err)
		}
		if size, ok := info.PlaintextSize(int64(len(file))); !ok || size != int64(n) {
			t.Errorf("the size of the plaintext: got %d %v, want %d", size, ok, n)
		}
	}
	_ = hex.EncodeToString
	_ = fmt.Sprint
	_ = errors.Is
	_ = slices.Contains[[]int]
}
