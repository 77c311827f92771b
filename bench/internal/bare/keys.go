// Package bare is the yardstick: the least honest work of a key server. It reads a request, looks a key up, uses it and answers,
// and in some modes writes an audit record. It knows nobody, refuses nobody and keeps nothing: it must not be used for anything else.
//
// What costs more here than it must makes everybody else look better: keep it lean, and do not change it without saying so
// where its figures stand.
package bare

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"sync"
)

// What a request can be refused for.
var (
	errNoKey = errors.New("no such key")
	errBad   = errors.New("bad request")
)

// key is a key: one of its fields is set.
type key struct {
	kind string
	aead cipher.AEAD
	mac  []byte
	ec   *ecdsa.PrivateKey
	ed   ed25519.PrivateKey
	rsa  *rsa.PrivateKey
}

// keys are in memory only. Making one wraps its material, as a server would that keeps it.
type keys struct {
	mu   sync.RWMutex
	all  map[string]*key
	wrap cipher.AEAD
}

func newKeys() *keys { return &keys{all: map[string]*key{}, wrap: gcm(random(32))} }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	return b
}

// gcm is AES-GCM that brings its own random nonce. The key has 32 bytes.
func gcm(k []byte) cipher.AEAD {
	block, err := aes.NewCipher(k)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return a
}

func (ks *keys) create(name, kind string) error {
	k := &key{kind: kind}
	var err error
	var material []byte
	switch kind {
	case "aes256-gcm96":
		material = random(32)
		k.aead = gcm(material)
	case "hmac":
		material = random(32)
		k.mac = material
	case "ecdsa-p256":
		k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	case "rsa-2048":
		k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = errBad
	}
	if err != nil {
		return err
	}
	_ = ks.wrap.Seal(nil, nil, material, []byte(name))
	ks.mu.Lock()
	ks.all[name] = k
	ks.mu.Unlock()
	return nil
}

func (ks *keys) find(name string) (*key, error) {
	ks.mu.RLock()
	k := ks.all[name]
	ks.mu.RUnlock()
	if k == nil {
		return nil, errNoKey
	}
	return k, nil
}

func (k *key) encrypt(plain []byte) ([]byte, error) {
	if k.aead == nil {
		return nil, errBad
	}
	return k.aead.Seal(make([]byte, 0, len(plain)+k.aead.Overhead()), nil, plain, nil), nil
}

func (k *key) decrypt(sealed []byte) ([]byte, error) {
	if k.aead == nil {
		return nil, errBad
	}
	return k.aead.Open(make([]byte, 0, len(sealed)), nil, sealed, nil)
}

func (k *key) sum(message []byte) ([]byte, error) {
	if k.mac == nil {
		return nil, errBad
	}
	m := hmac.New(sha256.New, k.mac)
	m.Write(message)
	return m.Sum(nil), nil
}

func (k *key) sign(message []byte) ([]byte, error) {
	h := sha256.Sum256(message)
	switch {
	case k.ed != nil:
		return ed25519.Sign(k.ed, message), nil
	case k.ec != nil:
		return ecdsa.SignASN1(rand.Reader, k.ec, h[:])
	case k.rsa != nil:
		return rsa.SignPSS(rand.Reader, k.rsa, crypto.SHA256, h[:], nil)
	}
	return nil, errBad
}

func (k *key) verify(message, signature []byte) bool {
	h := sha256.Sum256(message)
	switch {
	case k.ed != nil:
		return ed25519.Verify(k.ed.Public().(ed25519.PublicKey), message, signature)
	case k.ec != nil:
		return ecdsa.VerifyASN1(&k.ec.PublicKey, h[:], signature)
	case k.rsa != nil:
		return rsa.VerifyPSS(&k.rsa.PublicKey, crypto.SHA256, h[:], signature, nil) == nil
	}
	return false
}
