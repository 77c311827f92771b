package inventory

import (
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

type algorithmProperties struct {
	Primitive    string   `json:"primitive"`
	ParameterSet string   `json:"parameterSetIdentifier,omitempty"`
	Curve        string   `json:"curve,omitempty"`
	Mode         string   `json:"mode,omitempty"`
	Functions    []string `json:"cryptoFunctions"`
	Classical    int      `json:"classicalSecurityLevel"`
	Quantum      *int     `json:"nistQuantumSecurityLevel,omitempty"`
}

// purposes are the primitive and the functions that a key of a usage serves.
var purposes = map[kms.Usage]struct {
	primitive string
	functions []string
}{
	kms.EncryptDecrypt:   {"ae", []string{"keygen", "encrypt", "decrypt"}},
	kms.SignVerify:       {"signature", []string{"keygen", "sign", "verify"}},
	kms.MAC:              {"mac", []string{"keygen", "tag", "verify"}},
	kms.KeyAgreement:     {"key-agree", []string{"keygen", "keyderive"}},
	kms.Encapsulation:    {"kem", []string{"keygen", "encapsulate", "decapsulate"}},
	kms.Wrapping:         {"ae", []string{"keygen", "encrypt", "decrypt"}},
	kms.FormatPreserving: {"block-cipher", []string{"keygen", "encrypt", "decrypt"}},
}

// curves are named as the database of standard curves names them, which the schema recommends.
var curves = map[kms.Algorithm]string{
	kms.ECDSAP256: "nist/P-256", kms.ECDSAP384: "nist/P-384", kms.ECDSAP521: "nist/P-521", kms.ECDSASecp256k1: "secg/secp256k1", kms.Ed25519: "other/Ed25519",
	kms.ECDHP256: "nist/P-256", kms.ECDHP384: "nist/P-384", kms.ECDHP521: "nist/P-521", kms.X25519: "other/Curve25519",
}

// The categories of NIST's call for post-quantum algorithms (§4.A.5). AES is what three of them are defined by; FIPS 203 §8, FIPS 204 table 1 and FIPS 205
// table 2 say those of the others. The hash-based MACs have none that anybody has published.
var categories = map[kms.Algorithm]int{
	kms.AES128GCM: 1, kms.AES192GCM: 3, kms.AES256GCM: 5, kms.AES128CMAC: 1, kms.AES256CMAC: 5, kms.AES128Wrap: 1, kms.AES192Wrap: 3, kms.AES256Wrap: 5,
	kms.AES128FF1: 1, kms.AES256FF1: 5,
	kms.MLDSA44: 2, kms.MLDSA65: 3, kms.MLDSA87: 5, kms.SLHDSASHA2128s: 1, kms.SLHDSASHA2128f: 1, kms.MLKEM512: 1, kms.MLKEM768: 3, kms.MLKEM1024: 5,
}

// quantum tells whether an asymmetric algorithm withstands what breaks factoring and discrete logarithms.
func quantum(a kms.Algorithm) bool { return categories[a] != 0 || a == kms.XWing }

// describe says of an algorithm, as it serves one usage, what the schema has members for.
func describe(r algorithmRef) *algorithmProperties {
	f, name := r.algorithm.Facts(), r.algorithm.String()
	p := &algorithmProperties{Primitive: purposes[r.usage].primitive, Functions: purposes[r.usage].functions, Curve: curves[r.algorithm], Classical: f.Strength}
	if p.Primitive == "ae" && f.Asymmetric {
		p.Primitive = "pke"
	}
	switch {
	case strings.HasSuffix(name, "-gcm"):
		p.Mode = "gcm"
	case strings.HasPrefix(name, "aes-") && r.usage != kms.MAC:
		p.Mode = "other"
	}
	switch family, rest, ok := strings.Cut(name, "dsa-"); {
	case ok && family != "ec": // ml-dsa-65, slh-dsa-sha2-128s
		p.ParameterSet = rest
	case strings.HasPrefix(name, "ml-kem-"):
		p.ParameterSet = strings.TrimPrefix(name, "ml-kem-")
	case p.Curve == "" && r.algorithm != kms.XWing:
		p.ParameterSet = strconv.Itoa(f.Bits)
	}
	if n, ok := categories[r.algorithm]; ok {
		p.Quantum = &n
	} else if f.Asymmetric && !quantum(r.algorithm) {
		p.Quantum = new(int) // 0: none of the categories
	}
	return p
}

// sizeOf is the length of a key in bits; 0: the algorithm's table counts something else.
func sizeOf(a kms.Algorithm, bytes uint32) int {
	switch f := a.Facts(); {
	case bytes != 0:
		return 8 * int(bytes)
	case f.Asymmetric && quantum(a):
		return 0
	default:
		return f.Bits
	}
}
