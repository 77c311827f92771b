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
	ECDHP256
	ECDHP384
	ECDHP521
	X25519
	MLKEM512
	MLKEM768
	MLKEM1024
	XWing
	AES128Wrap
	AES192Wrap
	AES256Wrap
	AES256SIV
	AES128FF1
	AES256FF1
	HMAC // of any hash: keys of systems that name the hash with each request

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
	Bits       int // of a key that is made here: of the key, the modulus, the field or, for post-quantum and hybrid kinds, the public key
	MinBytes   int // of the raw material that is read, where it is not exactly Bits: 0 elsewhere
	MaxBytes   int
	Strength   int // security strength in bits of a key that is made here, SP 800-57 part 1 rev. 5 tables 2 and 3
	Asymmetric bool
	Slow       bool   // generation takes tens of milliseconds or more: it runs in a bounded pool
	SlowSign   bool   // so does signing, in the same pool
	Leaks      string // what the ciphertexts of a deterministic algorithm show, a sentence for whoever chooses it; else empty
	Schemes    []SchemeFacts
	Layouts    []SchemeFacts // of transit's own ciphertexts, with a random nonce and convergent: for keys with Transit.Plain alone (CheckLayout)
}

// The limits of an HMAC key in bytes. Keys that are made here are as long as the hash (RFC 2104 §3); one that was made elsewhere
// has at least the 112 bits of SP 800-131A rev. 2 §10, rounded up to what any client sends.
const (
	MinHMACKey = 16
	MaxHMACKey = 512
)

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
