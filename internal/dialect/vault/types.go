package vault

import (
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
)

// keyType is a type of transit's keys.
type keyType struct {
	name      string
	set       string // parameter_set; empty: there is none to choose
	algorithm kms.Algorithm
	usage     kms.Usage
	also      kms.Usage // a second purpose; 0: none
	curve     string    // what keys show as their name, where they show their public key
}

var keyTypes = []keyType{
	{name: "aes128-gcm96", algorithm: kms.AES128GCM, usage: kms.EncryptDecrypt},
	{name: "aes256-gcm96", algorithm: kms.AES256GCM, usage: kms.EncryptDecrypt},
	{name: "chacha20-poly1305", algorithm: kms.ChaCha20Poly1305, usage: kms.EncryptDecrypt},
	{name: "xchacha20-poly1305", algorithm: kms.XChaCha20Poly1305, usage: kms.EncryptDecrypt},
	{name: "ed25519", algorithm: kms.Ed25519, usage: kms.SignVerify, curve: "ed25519"},
	{name: "ecdsa-p256", algorithm: kms.ECDSAP256, usage: kms.SignVerify, curve: "P-256"},
	{name: "ecdsa-p384", algorithm: kms.ECDSAP384, usage: kms.SignVerify, curve: "P-384"},
	{name: "ecdsa-p521", algorithm: kms.ECDSAP521, usage: kms.SignVerify, curve: "P-521"},
	{name: "rsa-2048", algorithm: kms.RSA2048, usage: kms.SignVerify, also: kms.EncryptDecrypt, curve: "rsa-2048"},
	{name: "rsa-3072", algorithm: kms.RSA3072, usage: kms.SignVerify, also: kms.EncryptDecrypt, curve: "rsa-3072"},
	{name: "rsa-4096", algorithm: kms.RSA4096, usage: kms.SignVerify, also: kms.EncryptDecrypt, curve: "rsa-4096"},
	{name: "hmac", algorithm: kms.HMAC, usage: kms.MAC},
	{name: "ml-dsa", set: "44", algorithm: kms.MLDSA44, usage: kms.SignVerify, curve: "ml-dsa-44"},
	{name: "ml-dsa", set: "65", algorithm: kms.MLDSA65, usage: kms.SignVerify, curve: "ml-dsa-65"},
	{name: "ml-dsa", set: "87", algorithm: kms.MLDSA87, usage: kms.SignVerify, curve: "ml-dsa-87"},
	{name: "slh-dsa", set: "sha2-128s", algorithm: kms.SLHDSASHA2128s, usage: kms.SignVerify, curve: "slh-dsa-sha2-128s"},
	{name: "slh-dsa", set: "sha2-128f", algorithm: kms.SLHDSASHA2128f, usage: kms.SignVerify, curve: "slh-dsa-sha2-128f"},
}

// defaultType is that of a key whose maker names none.
const defaultType = "aes256-gcm96"

// typeNamed finds a type by its name and parameter set.
func typeNamed(name, set string) (*keyType, *fault) {
	if name == "" {
		name = defaultType
	}
	for i := range keyTypes {
		if t := &keyTypes[i]; t.name == name && t.set == set {
			return t, nil
		}
	}
	if set != "" {
		return nil, newFault(http.StatusBadRequest, "invalid parameter set "+clip(set)+" for key type "+clip(name))
	}
	return nil, newFault(http.StatusBadRequest, "unknown key type "+clip(name))
}

// typeOf is the type of a key; one that transit has no name for goes by that of its algorithm.
func typeOf(k *kms.Key) keyType {
	for _, t := range keyTypes {
		if t.algorithm == k.Algorithm {
			t.usage, t.also = k.Usage, k.Also // an RSA key that was made elsewhere has one purpose
			return t
		}
	}
	if k.Usage == kms.MAC && k.Algorithm.Facts().MaxBytes > 0 { // of one hash
		return keyType{name: "hmac", algorithm: k.Algorithm, usage: kms.MAC}
	}
	return keyType{name: k.Algorithm.String(), algorithm: k.Algorithm, usage: k.Usage, curve: k.Algorithm.String()}
}
