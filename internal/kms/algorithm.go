package kms

// Algorithm is what a key's material is for and how long it is.
type Algorithm uint8

// The algorithms. The numbers are part of the record format: append only.
const (
	AES128GCM Algorithm = iota + 1
	AES192GCM
	AES256GCM
	HMACSHA256
	HMACSHA384
	HMACSHA512
	ECDSAP256
	ECDSAP384
	Ed25519
	RSA2048
	RSA3072
	RSA4096
	ECDSAP521
	ECDSASecp256k1
	HMACSHA224
	ChaCha20Poly1305
	XChaCha20Poly1305
	AES128CMAC
	AES256CMAC
	MLDSA44
	MLDSA65
	MLDSA87
	SLHDSASHA2128s
	SLHDSASHA2128f

	algorithmEnd
)

// SchemeFacts is one cell row of the algorithm table.
type SchemeFacts struct {
	Scheme Scheme
	Usage  Usage
	Leave  [2]Leave // by profile
	Why    string   // the clause or reason that goes into the error and the docs
}

// AlgorithmFacts is one row of the algorithm table: the one place that decides what an algorithm may do.
type AlgorithmFacts struct {
	Name       string
	Bits       int // of a key that is made here: of the key, the modulus, the field or, for post-quantum kinds, the public key
	MinBytes   int // of the raw material that is read, where it is not exactly Bits: 0 elsewhere
	MaxBytes   int
	Strength   int // security strength in bits of a key that is made here, SP 800-57 part 1 rev. 5 tables 2 and 3
	Asymmetric bool
	Slow       bool // generation takes tens of milliseconds or more: it runs in a bounded pool
	SlowSign   bool // so does signing, in the same pool
	Schemes    []SchemeFacts
}

// The limits of an HMAC key in bytes. Keys that are made here are as long as the hash (RFC 2104 §3); one that was made elsewhere
// has at least the 112 bits of SP 800-131A rev. 2 §10, rounded up to what any client sends.
const (
	MinHMACKey = 16
	MaxHMACKey = 512
)

func full(s Scheme, u Usage, why string) SchemeFacts {
	return SchemeFacts{Scheme: s, Usage: u, Leave: [2]Leave{Full, Full}, Why: why}
}

// notFIPS is a scheme that the FIPS profile refuses altogether.
func notFIPS(s Scheme, u Usage, why string) SchemeFacts {
	return SchemeFacts{Scheme: s, Usage: u, Leave: [2]Leave{ProfileDefault: Full, ProfileFIPS: Refused}, Why: why}
}

func hmacFacts(name string, bits, strength int, s Scheme) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: bits, MinBytes: MinHMACKey, MaxBytes: MaxHMACKey, Strength: strength,
		Schemes: []SchemeFacts{full(s, MAC, "FIPS 198-1")}}
}

func cmacFacts(name string, bits int) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: bits, Strength: bits,
		Schemes: []SchemeFacts{full(SchemeAESCMAC, MAC, "SP 800-38B; the mode is outside the module, its AES is inside")}}
}

// The post-quantum kinds. Their strength is that of their category: 1, 2: 128 bits, 3: 192, 5: 256 (FIPS 204 table 1, FIPS 205
// table 2). The FIPS profile refuses them while no validated module offers them.
func mldsaFacts(name string, public, strength int) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: 8 * public, Strength: strength, Asymmetric: true,
		Schemes: []SchemeFacts{notFIPS(SchemeMLDSA, SignVerify, "FIPS 204; the implementation is outside the FIPS 140-3 module")}}
}

func slhdsaFacts(name string, public, strength int) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: 8 * public, Strength: strength, Asymmetric: true, Slow: true, SlowSign: true,
		Schemes: []SchemeFacts{notFIPS(SchemeSLHDSA, SignVerify, "FIPS 205; the implementation is outside the FIPS 140-3 module")}}
}

var rsaSchemes = []SchemeFacts{
	full(SchemePSSSHA256, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA384, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA512, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA256, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA384, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA512, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemeOAEPSHA256, EncryptDecrypt, "SP 800-56B rev. 2 §9"),
	full(SchemeOAEPSHA384, EncryptDecrypt, "SP 800-56B rev. 2 §9"),
	full(SchemeOAEPSHA512, EncryptDecrypt, "SP 800-56B rev. 2 §9"),
	notFIPS(SchemeOAEPSHA1, EncryptDecrypt, "RFC 8017 §7.1 with SHA-1, only where it is named; the FIPS 140-3 module refuses it"),
}

var algorithms = [...]AlgorithmFacts{
	AES128GCM:  {Name: "aes-128-gcm", Bits: 128, Strength: 128, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	AES192GCM:  {Name: "aes-192-gcm", Bits: 192, Strength: 192, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	AES256GCM:  {Name: "aes-256-gcm", Bits: 256, Strength: 256, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	HMACSHA256: hmacFacts("hmac-sha-256", 256, 256, SchemeHMACSHA256),
	HMACSHA384: hmacFacts("hmac-sha-384", 384, 256, SchemeHMACSHA384),
	HMACSHA512: hmacFacts("hmac-sha-512", 512, 256, SchemeHMACSHA512),
	ECDSAP256:  {Name: "ecdsa-p256", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeECDSASHA256, SignVerify, "FIPS 186-5 §6")}},
	ECDSAP384:  {Name: "ecdsa-p384", Bits: 384, Strength: 192, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeECDSASHA384, SignVerify, "FIPS 186-5 §6")}},
	Ed25519: {Name: "ed25519", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{
		full(SchemeEd25519, SignVerify, "FIPS 186-5 §7"), full(SchemeEd25519ph, SignVerify, "FIPS 186-5 §7.8")}},
	RSA2048: {Name: "rsa-2048", Bits: 2048, Strength: 112, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA3072: {Name: "rsa-3072", Bits: 3072, Strength: 128, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA4096: {Name: "rsa-4096", Bits: 4096, Strength: 152, Asymmetric: true, Slow: true, Schemes: rsaSchemes},

	ECDSAP521: {Name: "ecdsa-p521", Bits: 521, Strength: 256, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeECDSASHA512, SignVerify, "FIPS 186-5 §6")}},
	ECDSASecp256k1: {Name: "ecdsa-secp256k1", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{
		notFIPS(SchemeECDSASHA256, SignVerify, "SEC 2 §2.4.1; the curve is outside the FIPS 140-3 module")}},
	HMACSHA224: hmacFacts("hmac-sha-224", 224, 224, SchemeHMACSHA224),
	ChaCha20Poly1305: {Name: "chacha20-poly1305", Bits: 256, Strength: 256, Schemes: []SchemeFacts{
		notFIPS(SchemeChaCha20Poly1305, EncryptDecrypt, "RFC 8439; not an approved algorithm")}},
	XChaCha20Poly1305: {Name: "xchacha20-poly1305", Bits: 256, Strength: 256, Schemes: []SchemeFacts{
		notFIPS(SchemeXChaCha20Poly1305, EncryptDecrypt, "draft-irtf-cfrg-xchacha-03; not an approved algorithm")}},
	AES128CMAC:     cmacFacts("aes-128-cmac", 128),
	AES256CMAC:     cmacFacts("aes-256-cmac", 256),
	MLDSA44:        mldsaFacts("ml-dsa-44", 1312, 128),
	MLDSA65:        mldsaFacts("ml-dsa-65", 1952, 192),
	MLDSA87:        mldsaFacts("ml-dsa-87", 2592, 256),
	SLHDSASHA2128s: slhdsaFacts("slh-dsa-sha2-128s", 32, 128),
	SLHDSASHA2128f: slhdsaFacts("slh-dsa-sha2-128f", 32, 128),
}

// AllAlgorithms lists every algorithm.
func AllAlgorithms() []Algorithm {
	var all []Algorithm
	for a := AES128GCM; a < algorithmEnd; a++ {
		all = append(all, a)
	}
	return all
}

// Facts is the algorithm's row. The zero row belongs to an unknown algorithm.
func (a Algorithm) Facts() *AlgorithmFacts {
	if a >= AES128GCM && a < algorithmEnd {
		return &algorithms[a]
	}
	return &algorithms[0]
}

func (a Algorithm) String() string {
	if n := a.Facts().Name; n != "" {
		return n
	}
	return "unknown-algorithm"
}

// ParseAlgorithm reads the name of an algorithm.
func ParseAlgorithm(s string) (Algorithm, error) {
	for a := AES128GCM; a < algorithmEnd; a++ {
		if algorithms[a].Name == s {
			return a, nil
		}
	}
	return 0, Errorf(CodeAlgorithm, "%q is not an algorithm", clip(s))
}

// Usages lists the purposes an algorithm can serve; the first is its default.
func (a Algorithm) Usages() []Usage {
	var all []Usage
	for u := EncryptDecrypt; u < usageEnd; u++ {
		for _, s := range a.Facts().Schemes {
			if s.Usage == u {
				all = append(all, u)
				break
			}
		}
	}
	return all
}

// DefaultScheme is what an operation of a usage does when it names no scheme.
func (a Algorithm) DefaultScheme(u Usage) Scheme {
	for _, s := range a.Facts().Schemes {
		if s.Usage == u {
			return s.Scheme
		}
	}
	return NoScheme
}
