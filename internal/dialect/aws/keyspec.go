package aws

import (
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
)

// keySpec is one kind of key: AWS says what it is and what it is for apart, we say both with the algorithm where they differ.
type keySpec struct {
	spec, usage string
	algorithm   kms.Algorithm
	ours        kms.Usage
}

const (
	encryptDecrypt = "ENCRYPT_DECRYPT"
	signVerify     = "SIGN_VERIFY"
	verifyMac      = "GENERATE_VERIFY_MAC"
	keyAgreement   = "KEY_AGREEMENT"
	encapsulate    = "ENCAPSULATE_DECAPSULATE"
)

// keySpecs are all kinds of keys that AWS has and that this server makes. The first row of a spec is the one that is meant where its one usage is not said.
var keySpecs = []keySpec{
	{symmetricDefault, encryptDecrypt, kms.AES256GCM, kms.EncryptDecrypt},
	{"RSA_2048", encryptDecrypt, kms.RSA2048, kms.EncryptDecrypt}, {"RSA_2048", signVerify, kms.RSA2048, kms.SignVerify},
	{"RSA_3072", encryptDecrypt, kms.RSA3072, kms.EncryptDecrypt}, {"RSA_3072", signVerify, kms.RSA3072, kms.SignVerify},
	{"RSA_4096", encryptDecrypt, kms.RSA4096, kms.EncryptDecrypt}, {"RSA_4096", signVerify, kms.RSA4096, kms.SignVerify},
	{"ECC_NIST_P256", signVerify, kms.ECDSAP256, kms.SignVerify}, {"ECC_NIST_P256", keyAgreement, kms.ECDHP256, kms.KeyAgreement},
	{"ECC_NIST_P384", signVerify, kms.ECDSAP384, kms.SignVerify}, {"ECC_NIST_P384", keyAgreement, kms.ECDHP384, kms.KeyAgreement},
	{"ECC_NIST_P521", signVerify, kms.ECDSAP521, kms.SignVerify}, {"ECC_NIST_P521", keyAgreement, kms.ECDHP521, kms.KeyAgreement},
	{"ECC_SECG_P256K1", signVerify, kms.ECDSASecp256k1, kms.SignVerify},
	{"ECC_NIST_EDWARDS25519", signVerify, kms.Ed25519, kms.SignVerify},
	{"HMAC_224", verifyMac, kms.HMACSHA224, kms.MAC}, {"HMAC_256", verifyMac, kms.HMACSHA256, kms.MAC},
	{"HMAC_384", verifyMac, kms.HMACSHA384, kms.MAC}, {"HMAC_512", verifyMac, kms.HMACSHA512, kms.MAC},
	{"ML_DSA_44", signVerify, kms.MLDSA44, kms.SignVerify}, {"ML_DSA_65", signVerify, kms.MLDSA65, kms.SignVerify}, {"ML_DSA_87", signVerify, kms.MLDSA87, kms.SignVerify},
	{"ML_KEM_512", encapsulate, kms.MLKEM512, kms.Encapsulation}, {"ML_KEM_768", encapsulate, kms.MLKEM768, kms.Encapsulation}, {"ML_KEM_1024", encapsulate, kms.MLKEM1024, kms.Encapsulation},
}

// specOf finds the kind of a key; nil: AWS has none like it. A symmetric key that encrypts is SYMMETRIC_DEFAULT, whichever cipher it has.
func specOf(a kms.Algorithm, u kms.Usage) *keySpec {
	if u == kms.EncryptDecrypt && !a.Facts().Asymmetric {
		return &keySpecs[0]
	}
	for i := range keySpecs {
		if s := &keySpecs[i]; s.algorithm == a && s.ours == u {
			return s
		}
	}
	return nil
}

// wantedSpec finds the kind of key that a request names.
func wantedSpec(in *CreateKeyInput) (*keySpec, error) {
	spec, usage := in.KeySpec, in.KeyUsage
	switch {
	case spec != "" && in.CustomerMasterKeySpec != "":
		return nil, newFault(validation, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	case spec == "":
		spec = in.CustomerMasterKeySpec
	}
	if spec == "" {
		spec = symmetricDefault
	}
	if usage == "" {
		if spec != symmetricDefault {
			return nil, newFault(validation, "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		usage = encryptDecrypt
	}
	known := false
	for i := range keySpecs {
		if s := &keySpecs[i]; s.spec == spec {
			if known = true; s.usage == usage {
				return s, nil
			}
		}
	}
	if !known { // the model's, and none of this server
		return nil, newFault("UnsupportedOperationException", "This server makes no keys of KeySpec "+spec+".")
	}
	return nil, newFault(validation, "KeyUsage "+usage+" is not compatible with KeySpec "+spec)
}

func (s *keySpec) symmetric() bool { return s.spec == symmetricDefault }

// algorithms are what a key of this kind can do, as the five members of a description list it.
type algorithms struct{ encryption, signing, mac, agreement, encapsulation []string }

// does lists what a key can do: the schemes of its algorithm that AWS has a name for.
func (s *keySpec) does() (a algorithms) {
	if s.symmetric() {
		a.encryption = []string{symmetricDefault}
		return a
	}
	switch s.usage {
	case keyAgreement:
		a.agreement = []string{"ECDH"}
	case encapsulate:
		a.encapsulation = []string{"ML_KEM"}
	case verifyMac:
		a.mac = schemesOf(s, macAlgorithms)
	case signVerify:
		a.signing = schemesOf(s, signingAlgorithms)
	case encryptDecrypt:
		a.encryption = schemesOf(s, encryptionAlgorithms)
	}
	return a
}

// has tells whether AWS has a scheme for this kind of key. Keyhold's ECDSA keys take every hash, and AWS's that of the curve, which is the default.
func (s *keySpec) has(scheme kms.Scheme) bool {
	own := s.algorithm.DefaultScheme(s.ours)
	return scheme == own || own != kms.SchemeECDSASHA256 && own != kms.SchemeECDSASHA384 && own != kms.SchemeECDSASHA512
}

func schemesOf(s *keySpec, table []word[kms.Scheme]) (all []string) {
	for _, f := range s.algorithm.Facts().Schemes {
		if name := onWire(table, f.Scheme); f.Usage == s.ours && s.has(f.Scheme) && name != "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
