package soft

import (
	"crypto"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: to verify what others signed; and for OAEP where a caller names it, whose security does not rest on collisions (RFC 8017 §B.1)
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// scheme is how one scheme is carried out. The functions that do not apply are nil; the algorithm table, which is asked
// first, lets no call reach them (TestEverySchemeOfTheTableWorks).
type scheme struct {
	hash   crypto.Hash // 0: the scheme takes the message itself
	bare   bool        // it signs what it is given for a digest, of whatever hash
	label  box.Label   // of schemes that seal boxes
	seal   sealer
	open   sealer
	aead   func(key []byte) (cipher.AEAD, error) // of transit's own layouts
	fixed  func(key []byte) (cipher.AEAD, error) // the same with a nonce that is given: for convergent ones
	sign   func(k *key, h crypto.Hash, digest []byte, salt kms.Salt) ([]byte, error)
	verify func(k *key, h crypto.Hash, digest, signature []byte, salt kms.Salt) bool
	// Of ML-DSA, where μ stands for the message.
	signMu   func(k *key, mu []byte) ([]byte, error)
	verifyMu func(k *key, mu, signature []byte) bool

	mac    func(k *key, h crypto.Hash, dst, message []byte) ([]byte, error)
	agree  func(k *key, peer []byte) ([]byte, error)
	encap  func(k *key) (ciphertext, shared []byte, err error)
	decap  func(k *key, ciphertext []byte) ([]byte, error)
	format func(k *key, dst []uint16, radix int, tweak []byte, numerals []uint16, decrypt bool) ([]uint16, error)
}

// sealer appends the encryption or the decryption of input to dst.
type sealer = func(k *key, s *scheme, dst, header, input, aad []byte) ([]byte, error)

var schemes = [...]scheme{
	kms.SchemeAESGCM:      {label: box.Blob, seal: boxSeal, open: boxOpen},
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

	kms.SchemeECDSASHA512:       {hash: crypto.SHA512, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeEd25519ph:         {hash: crypto.SHA512, sign: ed25519phSign, verify: ed25519phVerify},
	kms.SchemeHMACSHA224:        {hash: crypto.SHA224, mac: hmacSum},
	kms.SchemeChaCha20Poly1305:  {label: box.BlobChaCha, seal: boxSeal, open: boxOpen},
	kms.SchemeXChaCha20Poly1305: {label: box.BlobXChaCha, seal: boxSeal, open: boxOpen},
	kms.SchemeOAEPSHA1:          {hash: crypto.SHA1, seal: oaepSeal, open: oaepOpen},
	kms.SchemeAESCMAC:           {mac: cmacSum},
	kms.SchemeMLDSA:             {sign: latticeSign, verify: latticeVerify, signMu: latticeSignMu, verifyMu: latticeVerifyMu},
	kms.SchemeSLHDSA:            {sign: hashSign, verify: hashVerify},
	kms.SchemeECDH:              {agree: ecdhAgree},
	kms.SchemeMLKEM:             {encap: kemEncapsulate, decap: kemDecapsulate},
	kms.SchemeXWing:             {encap: kemEncapsulate, decap: kemDecapsulate},
	kms.SchemeKWP:               {seal: wrapWith(mode.WrapKWP), open: unwrapWith(mode.UnwrapKWP)},
	kms.SchemeKW:                {seal: wrapWith(mode.WrapKW), open: unwrapWith(mode.UnwrapKW)},
	kms.SchemeAESSIV:            {label: box.BlobSIV, seal: convergentSeal, open: convergentOpen},
	kms.SchemeFF1:               {format: ff1Format},

	kms.SchemeTransitAESGCM:               {aead: gcmRandom, seal: layoutSeal, open: layoutOpen},
	kms.SchemeTransitChaCha20Poly1305:     {aead: chacha20poly1305.New, seal: layoutSeal, open: layoutOpen},
	kms.SchemeTransitXChaCha20Poly1305:    {aead: chacha20poly1305.NewX, seal: layoutSeal, open: layoutOpen},
	kms.SchemeConvergentAESGCM:            {aead: gcmRandom, fixed: gcmFixed, seal: convergeSeal, open: layoutOpen},
	kms.SchemeConvergentChaCha20Poly1305:  {aead: chacha20poly1305.New, fixed: chacha20poly1305.New, seal: convergeSeal, open: layoutOpen},
	kms.SchemeConvergentXChaCha20Poly1305: {aead: chacha20poly1305.NewX, fixed: chacha20poly1305.NewX, seal: convergeSeal, open: layoutOpen},
	kms.SchemeECDSASHA1:                   {hash: crypto.SHA1, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA224:                 {hash: crypto.SHA224, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA3x224:               {hash: crypto.SHA3_224, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA3x256:               {hash: crypto.SHA3_256, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA3x384:               {hash: crypto.SHA3_384, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemeECDSASHA3x512:               {hash: crypto.SHA3_512, sign: ecdsaSign, verify: ecdsaVerify},
	kms.SchemePSSSHA1:                     {hash: crypto.SHA1, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA224:                   {hash: crypto.SHA224, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA3x224:                 {hash: crypto.SHA3_224, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA3x256:                 {hash: crypto.SHA3_256, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA3x384:                 {hash: crypto.SHA3_384, sign: pssSign, verify: pssVerify},
	kms.SchemePSSSHA3x512:                 {hash: crypto.SHA3_512, sign: pssSign, verify: pssVerify},
	kms.SchemePKCS1SHA1:                   {hash: crypto.SHA1, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA224:                 {hash: crypto.SHA224, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA3x224:               {hash: crypto.SHA3_224, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA3x256:               {hash: crypto.SHA3_256, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA3x384:               {hash: crypto.SHA3_384, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1SHA3x512:               {hash: crypto.SHA3_512, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemePKCS1None:                   {bare: true, sign: pkcs1Sign, verify: pkcs1Verify},
	kms.SchemeHMACSHA3x224:                {hash: crypto.SHA3_224, mac: hmacSum},
	kms.SchemeHMACSHA3x256:                {hash: crypto.SHA3_256, mac: hmacSum},
	kms.SchemeHMACSHA3x384:                {hash: crypto.SHA3_384, mac: hmacSum},
	kms.SchemeHMACSHA3x512:                {hash: crypto.SHA3_512, mac: hmacSum},
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
	if s.bare {
		if !digested {
			return nil, kms.Errorf(kms.CodeBadRequest, "this scheme has no hash: pass a digest, and say that it is one")
		}
		return message, nil
	}
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
	return digestOf(s.hash, message), nil
}

// digestOf hashes on the stack: a hash of the heap would keep the end of the message there.
func digestOf(h crypto.Hash, message []byte) []byte {
	switch h { //nolint:exhaustive // the hashes that the table signs with
	case crypto.SHA1:
		sum := sha1.Sum(message) //nolint:gosec // G401: for signatures that others made
		return sum[:]
	case crypto.SHA224:
		sum := sha256.Sum224(message)
		return sum[:]
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:]
	case crypto.SHA3_224:
		sum := sha3.Sum224(message)
		return sum[:]
	case crypto.SHA3_256:
		sum := sha3.Sum256(message)
		return sum[:]
	case crypto.SHA3_384:
		sum := sha3.Sum384(message)
		return sum[:]
	case crypto.SHA3_512:
		sum := sha3.Sum512(message)
		return sum[:]
	default: // a test goes through the table
		sum := sha512.Sum512(message)
		return sum[:]
	}
}

func boxSeal(k *key, s *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkBox(k, header); err != nil {
		return nil, err
	}
	out, err := k.box.Seal(dst, s.label, header, plaintext, aad)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the encryption failed").Because(err)
	}
	return out, nil
}

func boxOpen(k *key, s *scheme, dst, header, sealed, aad []byte) ([]byte, error) {
	if err := checkBox(k, header); err != nil {
		return nil, err
	}
	out, err := k.box.Open(dst, s.label, header, sealed, aad)
	if err != nil {
		return nil, decryptFailed()
	}
	return out, nil
}

// checkBox: a derived key has no box.
func checkBox(k *key, header []byte) error {
	if k.box == nil {
		return kms.Errorf(kms.CodeInternal, "a derived key was asked for a box")
	}
	return checkHeader(header)
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

func hmacSum(k *key, h crypto.Hash, dst, message []byte) ([]byte, error) {
	with := k.raw
	if k.mac != nil {
		with = k.mac
	}
	m := hmac.New(h.New, with.Reveal(reveal.Key{}))
	m.Write(message)
	return m.Sum(dst), nil
}

func cmacSum(k *key, _ crypto.Hash, dst, message []byte) ([]byte, error) {
	tag, err := mode.CMAC(k.raw.Reveal(reveal.Key{}), message)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the MAC could not be made").Because(err)
	}
	return append(dst, tag[:]...), nil
}

func equalMAC(want, got []byte) bool { return hmac.Equal(want, got) }

func ecdsaSign(k *key, _ crypto.Hash, digest []byte, _ kms.Salt) ([]byte, error) {
	if k, ok := k.private.(*secp256k1.PrivateKey); ok {
		return koblitzSign(k, digest), nil
	}
	return ecdsa.SignASN1(rand.Reader, k.private.(*ecdsa.PrivateKey), digest)
}

func ecdsaVerify(k *key, _ crypto.Hash, digest, signature []byte, _ kms.Salt) bool {
	if k, ok := k.verifier.(*secp256k1.PublicKey); ok {
		return koblitzVerify(k, digest, signature)
	}
	return ecdsa.VerifyASN1(k.verifier.(*ecdsa.PublicKey), digest, signature)
}

func ed25519Sign(k *key, _ crypto.Hash, message []byte, _ kms.Salt) ([]byte, error) {
	return ed25519.Sign(k.private.(ed25519.PrivateKey), message), nil
}

func ed25519Verify(k *key, _ crypto.Hash, message, signature []byte, _ kms.Salt) bool {
	return ed25519.Verify(k.verifier.(ed25519.PublicKey), message, signature)
}

// prehash is HashEdDSA, RFC 8032 §5.1, without a context.
var prehash = ed25519.Options{Hash: crypto.SHA512}

func ed25519phSign(k *key, _ crypto.Hash, digest []byte, _ kms.Salt) ([]byte, error) {
	return k.private.(ed25519.PrivateKey).Sign(nil, digest, &prehash)
}

func ed25519phVerify(k *key, _ crypto.Hash, digest, signature []byte, _ kms.Salt) bool {
	return ed25519.VerifyWithOptions(k.verifier.(ed25519.PublicKey), digest, signature, &prehash) == nil
}

func pkcs1Sign(k *key, h crypto.Hash, digest []byte, _ kms.Salt) ([]byte, error) {
	if most := k.verifier.(*rsa.PublicKey).Size() - 11; len(digest) > most { // RFC 8017 §9.2 step 3
		return nil, kms.Errorf(kms.CodeTooLarge, "the digest has %d bytes, this key signs at most %d as they are", len(digest), most)
	}
	return rsa.SignPKCS1v15(nil, k.private.(*rsa.PrivateKey), h, digest)
}

func pkcs1Verify(k *key, h crypto.Hash, digest, signature []byte, _ kms.Salt) bool {
	return rsa.VerifyPKCS1v15(k.verifier.(*rsa.PublicKey), h, digest, signature) == nil
}

func oaepSeal(k *key, s *scheme, dst, _, plaintext, label []byte) ([]byte, error) {
	public := k.verifier.(*rsa.PublicKey)
	if most := public.Size() - 2*s.hash.Size() - 2; len(plaintext) > most { // RFC 8017 §7.1.1 step 1b
		return nil, kms.Errorf(kms.CodeTooLarge, "the plaintext has %d bytes, this key encrypts at most %d with this scheme", len(plaintext), most)
	}
	sealed, err := rsa.EncryptOAEP(s.hash.New(), rand.Reader, public, plaintext, label)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the encryption failed").Because(err)
	}
	return append(dst, sealed...), nil
}

func oaepOpen(k *key, s *scheme, dst, _, sealed, label []byte) ([]byte, error) {
	private := k.private.(*rsa.PrivateKey)
	if len(sealed) != private.Size() { // RFC 8017 §7.1.2 step 1b; Go takes one whose zeros in front are missing
		return nil, decryptFailed()
	}
	plaintext, err := rsa.DecryptOAEP(s.hash.New(), nil, private, sealed, label)
	if err != nil {
		return nil, decryptFailed()
	}
	if dst == nil {
		return plaintext, nil
	}
	defer clear(plaintext)
	return append(dst, plaintext...), nil
}
