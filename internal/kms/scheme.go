package kms

// Scheme is how a key is used in one operation.
type Scheme uint8

// The schemes. The numbers are part of the audit format: append only.
const (
	NoScheme Scheme = iota
	SchemeAESGCM
	SchemeHMACSHA256
	SchemeHMACSHA384
	SchemeHMACSHA512
	SchemeECDSASHA256
	SchemeECDSASHA384
	SchemeEd25519
	SchemePSSSHA256
	SchemePSSSHA384
	SchemePSSSHA512
	SchemePKCS1SHA256
	SchemePKCS1SHA384
	SchemePKCS1SHA512
	SchemeOAEPSHA256
	SchemeOAEPSHA384
	SchemeOAEPSHA512
	SchemeECDSASHA512
	SchemeEd25519ph
	SchemeHMACSHA224
	SchemeChaCha20Poly1305
	SchemeXChaCha20Poly1305
	SchemeOAEPSHA1
	SchemeAESCMAC
	SchemeMLDSA
	SchemeSLHDSA
	SchemeECDH
	SchemeMLKEM
	SchemeXWing
	SchemeKWP
	SchemeKW
	SchemeAESSIV
	SchemeFF1
	SchemeTransitAESGCM
	SchemeTransitChaCha20Poly1305
	SchemeTransitXChaCha20Poly1305
	SchemeConvergentAESGCM
	SchemeConvergentChaCha20Poly1305
	SchemeConvergentXChaCha20Poly1305
	SchemeECDSASHA1
	SchemeECDSASHA224
	SchemeECDSASHA3x224
	SchemeECDSASHA3x256
	SchemeECDSASHA3x384
	SchemeECDSASHA3x512
	SchemePSSSHA1
	SchemePSSSHA224
	SchemePSSSHA3x224
	SchemePSSSHA3x256
	SchemePSSSHA3x384
	SchemePSSSHA3x512
	SchemePKCS1SHA1
	SchemePKCS1SHA224
	SchemePKCS1SHA3x224
	SchemePKCS1SHA3x256
	SchemePKCS1SHA3x384
	SchemePKCS1SHA3x512
	SchemePKCS1None
	SchemeHMACSHA3x224
	SchemeHMACSHA3x256
	SchemeHMACSHA3x384
	SchemeHMACSHA3x512

	schemeEnd
)

var schemeNames = [...]string{
	NoScheme: "none", SchemeAESGCM: "aes-gcm",
	SchemeHMACSHA256: "hmac-sha-256", SchemeHMACSHA384: "hmac-sha-384", SchemeHMACSHA512: "hmac-sha-512",
	SchemeECDSASHA256: "ecdsa-sha-256", SchemeECDSASHA384: "ecdsa-sha-384", SchemeEd25519: "ed25519",
	SchemePSSSHA256: "rsa-pss-sha-256", SchemePSSSHA384: "rsa-pss-sha-384", SchemePSSSHA512: "rsa-pss-sha-512",
	SchemePKCS1SHA256: "rsa-pkcs1-sha-256", SchemePKCS1SHA384: "rsa-pkcs1-sha-384", SchemePKCS1SHA512: "rsa-pkcs1-sha-512",
	SchemeOAEPSHA256: "rsa-oaep-sha-256", SchemeOAEPSHA384: "rsa-oaep-sha-384", SchemeOAEPSHA512: "rsa-oaep-sha-512",
	SchemeECDSASHA512: "ecdsa-sha-512", SchemeEd25519ph: "ed25519ph", SchemeHMACSHA224: "hmac-sha-224",
	SchemeChaCha20Poly1305: "chacha20-poly1305", SchemeXChaCha20Poly1305: "xchacha20-poly1305",
	SchemeOAEPSHA1: "rsa-oaep-sha-1", SchemeAESCMAC: "aes-cmac",
	SchemeMLDSA: "ml-dsa", SchemeSLHDSA: "slh-dsa",
	SchemeECDH: "ecdh", SchemeMLKEM: "ml-kem", SchemeXWing: "x-wing",
	SchemeKWP: "aes-kwp", SchemeKW: "aes-kw", SchemeAESSIV: "aes-siv", SchemeFF1: "ff1",
	SchemeTransitAESGCM: "transit-aes-gcm", SchemeTransitChaCha20Poly1305: "transit-chacha20-poly1305", SchemeTransitXChaCha20Poly1305: "transit-xchacha20-poly1305",
	SchemeConvergentAESGCM: "convergent-aes-gcm", SchemeConvergentChaCha20Poly1305: "convergent-chacha20-poly1305", SchemeConvergentXChaCha20Poly1305: "convergent-xchacha20-poly1305",
	SchemeECDSASHA1:     "ecdsa-sha-1",
	SchemeECDSASHA224:   "ecdsa-sha-224",
	SchemeECDSASHA3x224: "ecdsa-sha3-224",
	SchemeECDSASHA3x256: "ecdsa-sha3-256",
	SchemeECDSASHA3x384: "ecdsa-sha3-384",
	SchemeECDSASHA3x512: "ecdsa-sha3-512",
	SchemePSSSHA1:       "rsa-pss-sha-1",
	SchemePSSSHA224:     "rsa-pss-sha-224",
	SchemePSSSHA3x224:   "rsa-pss-sha3-224",
	SchemePSSSHA3x256:   "rsa-pss-sha3-256",
	SchemePSSSHA3x384:   "rsa-pss-sha3-384",
	SchemePSSSHA3x512:   "rsa-pss-sha3-512",
	SchemePKCS1SHA1:     "rsa-pkcs1-sha-1",
	SchemePKCS1SHA224:   "rsa-pkcs1-sha-224",
	SchemePKCS1SHA3x224: "rsa-pkcs1-sha3-224",
	SchemePKCS1SHA3x256: "rsa-pkcs1-sha3-256",
	SchemePKCS1SHA3x384: "rsa-pkcs1-sha3-384",
	SchemePKCS1SHA3x512: "rsa-pkcs1-sha3-512",
	SchemePKCS1None:     "rsa-pkcs1-none",
	SchemeHMACSHA3x224:  "hmac-sha3-224",
	SchemeHMACSHA3x256:  "hmac-sha3-256",
	SchemeHMACSHA3x384:  "hmac-sha3-384",
	SchemeHMACSHA3x512:  "hmac-sha3-512",
}

func (s Scheme) String() string {
	if s < schemeEnd {
		return schemeNames[s]
	}
	return "unknown-scheme"
}

// AllSchemes lists every scheme but NoScheme.
func AllSchemes() []Scheme {
	var all []Scheme
	for s := SchemeAESGCM; s < schemeEnd; s++ {
		all = append(all, s)
	}
	return all
}

// ParseScheme reads the name of a scheme; the empty string is NoScheme ("the key's default").
func ParseScheme(s string) (Scheme, error) {
	if s == "" {
		return NoScheme, nil
	}
	for i, name := range schemeNames {
		if name == s && i != 0 {
			return Scheme(i), nil //nolint:gosec // G115: a short table
		}
	}
	return 0, Errorf(CodeBadRequest, "%q is not the name of a scheme", clip(s))
}
