package soft

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the table
	_ "crypto/sha512"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// scheme is how one scheme is carried out. The functions that do not apply are nil; the algorithm table, which is asked
// first, lets no call reach them (TestEverySchemeOfTheTableWorks).
type scheme struct {
	hash   crypto.Hash // 0: the scheme takes the message itself
	seal   func(k *key, h crypto.Hash, dst, header, plaintext, aad []byte) ([]byte, error)
	open   func(k *key, h crypto.Hash, dst, header, sealed, aad []byte) ([]byte, error)
	sign   func(k *key, h crypto.Hash, digest []byte) ([]byte, error)
	verify func(k *key, h crypto.Hash, digest, signature []byte) bool
	mac    func(k *key, h crypto.Hash, dst, message []byte) []byte
}

var schemes = [...]scheme{
	kms.SchemeAESGCM:      {seal: aesSeal, open: aesOpen},
	kms.SchemeHMACSHA256:  {hash: crypto.SHA256, mac: hmacSum},
	kms.SchemeHMACSHA384:  {hash: crypto.SHA384, mac: hmacSum},
	kms.SchemeHMACSHA512:  {hash: crypto.SHA512, mac: hmacSum},
	kms.SchemeECDSASHA256: {hash: crypto.SHA256, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA384: {hash: crypto.SHA384, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeEd25519:     {sign: ed25519Sign, verify: ed25519Verify},
	kms.SchemePSSSHA256:   {hash: crypto.SHA256, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA384:   {hash: crypto.SHA384, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA512:   {hash: crypto.SHA512, sign: pssSign, verify: pssVerify},
	kms.SchemePKCS1SHA256: {hash: crypto.SHA256, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA384: {hash: crypto.SHA384, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA512: {hash: crypto.SHA512, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemeOAEPSHA256:  {hash: crypto.SHA256, seal: oaepSeal, open: oaepOpen},
	kms.SchemeOAEPSHA384:  {hash: crypto.SHA384, seal: oaepSeal, open: oaepOpen},
	kms.SchemeOAEPSHA512:  {hash: crypto.SHA512, seal: oaepSeal, open: oaepOpen},
}

// schemeOf is nil for a scheme that is not built.
func schemeOf(s kms.Scheme) *scheme {
	if s == kms.NoScheme || int(s) >= len(schemes) {
		return nil
	}
	return &schemes[s]
}

// digest gives what is signed: the message's digest, a digest whose length is checked, or the message itself.
func (s *scheme) digest(message []byte, digested bool) ([]byte, error) {
	if s.hash == 0 {
		if digested {
			return nil, kms.Errorf(kms.CodeBadRequest, "this scheme signs the message itself: pass the message, not a digest")
		}
		return message, nil
	}
	if digested {
		if len(message) != s.hash.Size() {
			return nil, kms.Errorf(kms.CodeBadRequest, "the digest has %d bytes, the scheme's hash has %d", len(message), s.hash.Size())
		}
		return message, nil
	}
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil), nil
}

func aesSeal(k *key, _ crypto.Hash, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	out, err := k.aes.Seal(dst, box.Blob, header, plaintext, aad)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the encryption failed").Because(err)
	}
	return out, nil
}

func aesOpen(k *key, _ crypto.Hash, dst, header, sealed, aad []byte) ([]byte, error) {
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	out, err := k.aes.Open(dst, box.Blob, header, sealed, aad)
	if err != nil {
		return nil, decryptFailed()
	}
	return out, nil
}

// checkHeader: the header of a box has one length for its label, so that header and salt cannot run into each other.
func checkHeader(header []byte) error {
	if len(header) != blob.HeaderSize {
		return kms.Errorf(kms.CodeInternal, "a ciphertext header of %d bytes was passed, want %d", len(header), blob.HeaderSize)
	}
	return nil
}

// decryptFailed is the one error of every decryption that fails. It carries no cause: the reason is nobody's business.
func decryptFailed() error {
	return kms.Errorf(kms.CodeDecryptFailed, "the ciphertext does not open under this key and this context")
}

func hmacSum(k *key, h crypto.Hash, dst, message []byte) []byte {
	m := hmac.New(h.New, k.mac.Reveal(reveal.Key{}))
	m.Write(message)
	return m.Sum(dst)
}

func equalMAC(want, got []byte) bool { return hmac.Equal(want, got) }

func ecdsaSign(k *key, _ crypto.Hash, digest []byte) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, k.private.(*ecdsa.PrivateKey), digest)
}

func ecdsaVerify(k *key, _ crypto.Hash, digest, signature []byte) bool {
	return ecdsa.VerifyASN1(&k.private.(*ecdsa.PrivateKey).PublicKey, digest, signature)
}

func ed25519Sign(k *key, _ crypto.Hash, message []byte) ([]byte, error) {
	return ed25519.Sign(k.private.(ed25519.PrivateKey), message), nil
}

func ed25519Verify(k *key, _ crypto.Hash, message, signature []byte) bool {
	return ed25519.Verify(k.private.Public().(ed25519.PublicKey), message, signature)
}

func pkcs1Sign(k *key, h crypto.Hash, digest []byte) ([]byte, error) {
	return rsa.SignPKCS1v15(nil, k.private.(*rsa.PrivateKey), h, digest)
}

func pkcs1Verify(k *key, h crypto.Hash, digest, signature []byte) bool {
	return rsa.VerifyPKCS1v15(&k.private.(*rsa.PrivateKey).PublicKey, h, digest, signature) == nil
}

func oaepSeal(k *key, h crypto.Hash, dst, _, plaintext, label []byte) ([]byte, error) {
	public := &k.private.(*rsa.PrivateKey).PublicKey
	if most := public.Size() - 2*h.Size() - 2; len(plaintext) > most { // RFC 8017 §7.1.1 step 1b
		return nil, kms.Errorf(kms.CodeTooLarge, "the plaintext has %d bytes, this key encrypts at most %d with this scheme", len(plaintext), most)
	}
	sealed, err := rsa.EncryptOAEP(h.New(), rand.Reader, public, plaintext, label)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the encryption failed").Because(err)
	}
	return append(dst, sealed...), nil
}

func oaepOpen(k *key, h crypto.Hash, dst, _, sealed, label []byte) ([]byte, error) {
	plaintext, err := rsa.DecryptOAEP(h.New(), nil, k.private.(*rsa.PrivateKey), sealed, label)
	if err != nil {
		return nil, decryptFailed()
	}
	if dst == nil {
		return plaintext, nil
	}
	defer clear(plaintext)
	return append(dst, plaintext...), nil
}
