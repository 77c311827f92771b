package aws

import "github.com/keyhold/keyhold/internal/kms"

// word is a value of one of AWS's enumerations with what stands for it here.
type word[T comparable] struct {
	aws  string
	ours T
}

func ours[T comparable](table []word[T], aws string) (T, bool) {
	for _, w := range table {
		if w.aws == aws {
			return w.ours, true
		}
	}
	var none T
	return none, false
}

func onWire[T comparable](table []word[T], v T) string {
	for _, w := range table {
		if w.ours == v {
			return w.aws
		}
	}
	return ""
}

// signingAlgorithms are the schemes of Sign and Verify. ML_DSA_SHAKE_256 is ML-DSA with an empty context (FIPS 204 §5.2).
var signingAlgorithms = []word[kms.Scheme]{
	{"RSASSA_PSS_SHA_256", kms.SchemePSSSHA256}, {"RSASSA_PSS_SHA_384", kms.SchemePSSSHA384}, {"RSASSA_PSS_SHA_512", kms.SchemePSSSHA512},
	{"RSASSA_PKCS1_V1_5_SHA_256", kms.SchemePKCS1SHA256}, {"RSASSA_PKCS1_V1_5_SHA_384", kms.SchemePKCS1SHA384}, {"RSASSA_PKCS1_V1_5_SHA_512", kms.SchemePKCS1SHA512},
	{"ECDSA_SHA_256", kms.SchemeECDSASHA256}, {"ECDSA_SHA_384", kms.SchemeECDSASHA384}, {"ECDSA_SHA_512", kms.SchemeECDSASHA512},
	{"ED25519_SHA_512", kms.SchemeEd25519}, {"ED25519_PH_SHA_512", kms.SchemeEd25519ph}, {"ML_DSA_SHAKE_256", kms.SchemeMLDSA},
}

// encryptionAlgorithms are the schemes of Encrypt and Decrypt. SYMMETRIC_DEFAULT is whatever a symmetric key encrypts with.
var encryptionAlgorithms = []word[kms.Scheme]{
	{symmetricDefault, kms.NoScheme}, {"RSAES_OAEP_SHA_1", kms.SchemeOAEPSHA1}, {"RSAES_OAEP_SHA_256", kms.SchemeOAEPSHA256},
}

const symmetricDefault = "SYMMETRIC_DEFAULT"

// macAlgorithms are the schemes of GenerateMac and VerifyMac.
var macAlgorithms = []word[kms.Scheme]{
	{"HMAC_SHA_224", kms.SchemeHMACSHA224}, {"HMAC_SHA_256", kms.SchemeHMACSHA256}, {"HMAC_SHA_384", kms.SchemeHMACSHA384}, {"HMAC_SHA_512", kms.SchemeHMACSHA512},
}

// pairSpecs are the kinds of data key pairs. Pairs on the curves of NIST sign; their files serve for agreement as well.
var pairSpecs = []word[kms.Algorithm]{
	{"RSA_2048", kms.RSA2048}, {"RSA_3072", kms.RSA3072}, {"RSA_4096", kms.RSA4096},
	{"ECC_NIST_P256", kms.ECDSAP256}, {"ECC_NIST_P384", kms.ECDSAP384}, {"ECC_NIST_P521", kms.ECDSAP521}, {"ECC_SECG_P256K1", kms.ECDSASecp256k1},
	{"ECC_NIST_EDWARDS25519", kms.Ed25519}, {"ML_KEM_512", kms.MLKEM512}, {"ML_KEM_768", kms.MLKEM768}, {"ML_KEM_1024", kms.MLKEM1024},
}
