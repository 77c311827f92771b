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

	algorithmEnd
)

// Scheme is how a key of an asymmetric or MAC algorithm is used in one operation.
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

	schemeEnd
)

var schemeNames = [...]string{
	NoScheme: "none", SchemeAESGCM: "aes-gcm",
	SchemeHMACSHA256: "hmac-sha-256", SchemeHMACSHA384: "hmac-sha-384", SchemeHMACSHA512: "hmac-sha-512",
	SchemeECDSASHA256: "ecdsa-sha-256", SchemeECDSASHA384: "ecdsa-sha-384", SchemeEd25519: "ed25519",
	SchemePSSSHA256: "rsa-pss-sha-256", SchemePSSSHA384: "rsa-pss-sha-384", SchemePSSSHA512: "rsa-pss-sha-512",
	SchemePKCS1SHA256: "rsa-pkcs1-sha-256", SchemePKCS1SHA384: "rsa-pkcs1-sha-384", SchemePKCS1SHA512: "rsa-pkcs1-sha-512",
	SchemeOAEPSHA256: "rsa-oaep-sha-256", SchemeOAEPSHA384: "rsa-oaep-sha-384", SchemeOAEPSHA512: "rsa-oaep-sha-512",
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
	return 0, Errorf(CodeBadRequest, "%q is not a signature, MAC or encryption scheme", clip(s))
}

// Profile is the rule set that the server runs under.
type Profile uint8

// The profiles.
const (
	ProfileDefault Profile = iota
	ProfileFIPS            // only what Go's FIPS 140-3 module provides

	profileEnd
)

func (p Profile) String() string {
	if p == ProfileFIPS {
		return "fips"
	}
	return "default"
}

// AllProfiles lists the profiles.
func AllProfiles() []Profile {
	var all []Profile
	for p := ProfileDefault; p < profileEnd; p++ {
		all = append(all, p)
	}
	return all
}

// Leave says whether a scheme may protect (encrypt, sign, make a MAC), only process (decrypt, verify), or neither.
type Leave uint8

// The leaves.
const (
	Refused Leave = iota
	ProcessOnly
	Full
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
	Bits       int // of the key or modulus
	Strength   int // security strength in bits, SP 800-57 part 1 rev. 5 table 2
	Asymmetric bool
	Slow       bool // generation takes tens of milliseconds or more: it runs in a bounded pool
	Schemes    []SchemeFacts
}

func full(s Scheme, u Usage, why string) SchemeFacts {
	return SchemeFacts{Scheme: s, Usage: u, Leave: [2]Leave{Full, Full}, Why: why}
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
}

var algorithms = [...]AlgorithmFacts{
	AES128GCM:  {Name: "aes-128-gcm", Bits: 128, Strength: 128, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	AES192GCM:  {Name: "aes-192-gcm", Bits: 192, Strength: 192, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	AES256GCM:  {Name: "aes-256-gcm", Bits: 256, Strength: 256, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}},
	HMACSHA256: {Name: "hmac-sha-256", Bits: 256, Strength: 256, Schemes: []SchemeFacts{full(SchemeHMACSHA256, MAC, "FIPS 198-1")}},
	HMACSHA384: {Name: "hmac-sha-384", Bits: 384, Strength: 256, Schemes: []SchemeFacts{full(SchemeHMACSHA384, MAC, "FIPS 198-1")}},
	HMACSHA512: {Name: "hmac-sha-512", Bits: 512, Strength: 256, Schemes: []SchemeFacts{full(SchemeHMACSHA512, MAC, "FIPS 198-1")}},
	ECDSAP256:  {Name: "ecdsa-p256", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeECDSASHA256, SignVerify, "FIPS 186-5 §6")}},
	ECDSAP384:  {Name: "ecdsa-p384", Bits: 384, Strength: 192, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeECDSASHA384, SignVerify, "FIPS 186-5 §6")}},
	Ed25519:    {Name: "ed25519", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{full(SchemeEd25519, SignVerify, "FIPS 186-5 §7")}},
	RSA2048:    {Name: "rsa-2048", Bits: 2048, Strength: 112, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA3072:    {Name: "rsa-3072", Bits: 3072, Strength: 128, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA4096:    {Name: "rsa-4096", Bits: 4096, Strength: 152, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
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

// CheckCreate is the gate at the birth of a key: may a key of this algorithm be made for this usage under this profile?
// A usage of 0 stands for the algorithm's only one; the effective usage is returned.
func CheckCreate(a Algorithm, u Usage, p Profile) (Usage, error) {
	usages := a.Usages()
	if len(usages) == 0 {
		return 0, Errorf(CodeAlgorithm, "there is no such algorithm")
	}
	if u == 0 {
		if len(usages) > 1 {
			return 0, Errorf(CodeUsage, "%s keys can encrypt or sign, and a key serves one purpose: say which with the usage", a)
		}
		u = usages[0]
	}
	var why string
	for _, s := range a.Facts().Schemes {
		if s.Usage != u {
			continue
		}
		if s.Leave[p] == Full {
			return u, nil
		}
		why = s.Why
	}
	if why != "" {
		return 0, Errorf(CodeProfile, "the %s profile does not let %s keys be made for %s (%s)", p, a, u, why)
	}
	return 0, Errorf(CodeUsage, "%s keys cannot %s", a, u)
}

// CheckScheme is the gate before every cryptographic call: may a key of this algorithm and usage do this scheme,
// under this profile? protect is true for encrypt, sign and MAC, false for decrypt and verify.
// NoScheme stands for the default; the effective scheme is returned.
func CheckScheme(a Algorithm, u Usage, s Scheme, p Profile, protect bool) (Scheme, error) {
	if s == NoScheme {
		s = a.DefaultScheme(u)
	}
	for i := range a.Facts().Schemes {
		f := &a.Facts().Schemes[i]
		if f.Scheme != s {
			continue
		}
		if f.Usage != u {
			return 0, Errorf(CodeUsage, "%s is for %s, this key is for %s", s, f.Usage, u)
		}
		if f.Leave[p] == Full || f.Leave[p] == ProcessOnly && !protect {
			return s, nil
		}
		return 0, Errorf(CodeProfile, "the %s profile refuses %s with %s (%s)", p, s, a, f.Why)
	}
	return 0, Errorf(CodeAlgorithm, "%s keys cannot do %s", a, s)
}
