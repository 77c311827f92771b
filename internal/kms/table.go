package kms

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

// kemFacts: FIPS 203 table 3 gives the sizes, §8 the categories 1, 3 and 5. X-Wing has the strength that its authors claim.
func kemFacts(name string, public, strength int, scheme SchemeFacts) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: 8 * public, Strength: strength, Asymmetric: true, Schemes: []SchemeFacts{scheme}}
}

func ecdhFacts(name string, bits, strength int, scheme SchemeFacts) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: bits, Strength: strength, Asymmetric: true, Schemes: []SchemeFacts{scheme}}
}

// wrapFacts: padding comes first, as it takes material of any length.
func wrapFacts(name string, bits int) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: bits, Strength: bits, Schemes: []SchemeFacts{
		full(SchemeKWP, Wrapping, "SP 800-38F §6.3; the mode is outside the module, its AES is inside"),
		full(SchemeKW, Wrapping, "SP 800-38F §6.2; the mode is outside the module, its AES is inside")}}
}

func ff1Facts(name string, bits int) AlgorithmFacts {
	return AlgorithmFacts{Name: name, Bits: bits, Strength: bits,
		Leaks: "A ciphertext shows the length and the alphabet of its plaintext, and whether two plaintexts under one tweak and key version are equal; " +
			"nothing authenticates it.",
		Schemes: []SchemeFacts{full(SchemeFF1, FormatPreserving, "SP 800-38G; the mode is outside the module, its AES is inside")}}
}

// verifyOnly is a scheme for signatures that others made with SHA-1: SP 800-131A rev. 2 §3 allows their verification as legacy use.
func verifyOnly(s Scheme) SchemeFacts {
	return SchemeFacts{Scheme: s, Usage: SignVerify, Leave: [2]Leave{ProfileDefault: ProcessOnly, ProfileFIPS: Refused}, Why: "SHA-1: SP 800-131A rev. 2 §3 allows verification alone, and the FIPS 140-3 module refuses it"}
}

// ecdsaSchemes are the hash that has the curve's length, which is the default, and all others.
func ecdsaSchemes(own Scheme) []SchemeFacts {
	all := []SchemeFacts{full(own, SignVerify, "FIPS 186-5 §6")}
	for _, s := range []Scheme{SchemeECDSASHA224, SchemeECDSASHA256, SchemeECDSASHA384, SchemeECDSASHA512, SchemeECDSASHA3x224, SchemeECDSASHA3x256, SchemeECDSASHA3x384, SchemeECDSASHA3x512} {
		if s != own {
			all = append(all, full(s, SignVerify, "FIPS 186-5 §6"))
		}
	}
	return append(all, verifyOnly(SchemeECDSASHA1))
}

// hmacSchemes are those of a key that is for every hash: an hmac key, or one that stands beside another.
var hmacSchemes = []SchemeFacts{
	full(SchemeHMACSHA256, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA224, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA384, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA512, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA3x224, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA3x256, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA3x384, MAC, "FIPS 198-1"),
	full(SchemeHMACSHA3x512, MAC, "FIPS 198-1"),
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
	full(SchemePSSSHA224, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA3x224, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA3x256, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA3x384, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePSSSHA3x512, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA224, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA3x224, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA3x256, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA3x384, SignVerify, "FIPS 186-5 §5.4"),
	full(SchemePKCS1SHA3x512, SignVerify, "FIPS 186-5 §5.4"),
	verifyOnly(SchemePSSSHA1),
	verifyOnly(SchemePKCS1SHA1),
	notFIPS(SchemePKCS1None, SignVerify, "RFC 8017 §8.2 without the name of a hash, only where it is named; the FIPS 140-3 module refuses it"),
}

// gcmLayouts: SP 800-38D §8.2.2 knows random nonces. One that is made of the plaintext is no construction that it knows; to open what has one is.
var gcmLayouts = []SchemeFacts{
	full(SchemeTransitAESGCM, EncryptDecrypt, "SP 800-38D §8.2.2"),
	{Scheme: SchemeConvergentAESGCM, Usage: EncryptDecrypt, Leave: [2]Leave{ProfileDefault: Full, ProfileFIPS: ProcessOnly}, Why: "SP 800-38D §8.2 has no nonces that are made of the plaintext"},
}

var algorithms = [...]AlgorithmFacts{
	AES128GCM:  {Name: "aes-128-gcm", Bits: 128, Strength: 128, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}, Layouts: gcmLayouts},
	AES192GCM:  {Name: "aes-192-gcm", Bits: 192, Strength: 192, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}, Layouts: gcmLayouts},
	AES256GCM:  {Name: "aes-256-gcm", Bits: 256, Strength: 256, Schemes: []SchemeFacts{full(SchemeAESGCM, EncryptDecrypt, "SP 800-38D")}, Layouts: gcmLayouts},
	HMACSHA256: hmacFacts("hmac-sha-256", 256, 256, SchemeHMACSHA256),
	HMACSHA384: hmacFacts("hmac-sha-384", 384, 256, SchemeHMACSHA384),
	HMACSHA512: hmacFacts("hmac-sha-512", 512, 256, SchemeHMACSHA512),
	ECDSAP256:  {Name: "ecdsa-p256", Bits: 256, Strength: 128, Asymmetric: true, Schemes: ecdsaSchemes(SchemeECDSASHA256)},
	ECDSAP384:  {Name: "ecdsa-p384", Bits: 384, Strength: 192, Asymmetric: true, Schemes: ecdsaSchemes(SchemeECDSASHA384)},
	Ed25519: {Name: "ed25519", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{
		full(SchemeEd25519, SignVerify, "FIPS 186-5 §7"), full(SchemeEd25519ph, SignVerify, "FIPS 186-5 §7.8")}},
	RSA2048: {Name: "rsa-2048", Bits: 2048, Strength: 112, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA3072: {Name: "rsa-3072", Bits: 3072, Strength: 128, Asymmetric: true, Slow: true, Schemes: rsaSchemes},
	RSA4096: {Name: "rsa-4096", Bits: 4096, Strength: 152, Asymmetric: true, Slow: true, Schemes: rsaSchemes},

	ECDSAP521: {Name: "ecdsa-p521", Bits: 521, Strength: 256, Asymmetric: true, Schemes: ecdsaSchemes(SchemeECDSASHA512)},
	ECDSASecp256k1: {Name: "ecdsa-secp256k1", Bits: 256, Strength: 128, Asymmetric: true, Schemes: []SchemeFacts{
		notFIPS(SchemeECDSASHA256, SignVerify, "SEC 2 §2.4.1; the curve is outside the FIPS 140-3 module")}},
	HMACSHA224: hmacFacts("hmac-sha-224", 224, 224, SchemeHMACSHA224),
	ChaCha20Poly1305: {Name: "chacha20-poly1305", Bits: 256, Strength: 256, Schemes: []SchemeFacts{
		notFIPS(SchemeChaCha20Poly1305, EncryptDecrypt, "RFC 8439; not an approved algorithm")}, Layouts: []SchemeFacts{
		notFIPS(SchemeTransitChaCha20Poly1305, EncryptDecrypt, "RFC 8439; not an approved algorithm"),
		notFIPS(SchemeConvergentChaCha20Poly1305, EncryptDecrypt, "RFC 8439; not an approved algorithm")}},
	XChaCha20Poly1305: {Name: "xchacha20-poly1305", Bits: 256, Strength: 256, Schemes: []SchemeFacts{
		notFIPS(SchemeXChaCha20Poly1305, EncryptDecrypt, "draft-irtf-cfrg-xchacha-03; not an approved algorithm")}, Layouts: []SchemeFacts{
		notFIPS(SchemeTransitXChaCha20Poly1305, EncryptDecrypt, "draft-irtf-cfrg-xchacha-03; not an approved algorithm"),
		notFIPS(SchemeConvergentXChaCha20Poly1305, EncryptDecrypt, "draft-irtf-cfrg-xchacha-03; not an approved algorithm")}},
	AES128CMAC:     cmacFacts("aes-128-cmac", 128),
	AES256CMAC:     cmacFacts("aes-256-cmac", 256),
	MLDSA44:        mldsaFacts("ml-dsa-44", 1312, 128),
	MLDSA65:        mldsaFacts("ml-dsa-65", 1952, 192),
	MLDSA87:        mldsaFacts("ml-dsa-87", 2592, 256),
	SLHDSASHA2128s: slhdsaFacts("slh-dsa-sha2-128s", 32, 128),
	SLHDSASHA2128f: slhdsaFacts("slh-dsa-sha2-128f", 32, 128),

	ECDHP256: ecdhFacts("ecdh-p256", 256, 128, full(SchemeECDH, KeyAgreement, "SP 800-56A rev. 3 §5.7.1.2")),
	ECDHP384: ecdhFacts("ecdh-p384", 384, 192, full(SchemeECDH, KeyAgreement, "SP 800-56A rev. 3 §5.7.1.2")),
	ECDHP521: ecdhFacts("ecdh-p521", 521, 256, full(SchemeECDH, KeyAgreement, "SP 800-56A rev. 3 §5.7.1.2")),
	X25519:   ecdhFacts("x25519", 256, 128, notFIPS(SchemeECDH, KeyAgreement, "RFC 7748; the FIPS 140-3 module refuses the curve")),
	MLKEM512: kemFacts("ml-kem-512", 800, 128,
		notFIPS(SchemeMLKEM, Encapsulation, "FIPS 203; this parameter set is outside the FIPS 140-3 module")),
	MLKEM768:  kemFacts("ml-kem-768", 1184, 192, full(SchemeMLKEM, Encapsulation, "FIPS 203")),
	MLKEM1024: kemFacts("ml-kem-1024", 1568, 256, full(SchemeMLKEM, Encapsulation, "FIPS 203")),
	XWing: kemFacts("x-wing", 1216, 128,
		notFIPS(SchemeXWing, Encapsulation, "draft-connolly-cfrg-xwing-kem; the implementation is outside the FIPS 140-3 module")),
	AES128Wrap: wrapFacts("aes-128-kw", 128),
	AES192Wrap: wrapFacts("aes-192-kw", 192),
	AES256Wrap: wrapFacts("aes-256-kw", 256),
	AES256SIV: {Name: "aes-256-siv", Bits: 256, Strength: 256,
		Leaks:   "Equal plaintexts with the same context and key version give equal ciphertexts.",
		Schemes: []SchemeFacts{notFIPS(SchemeAESSIV, EncryptDecrypt, "RFC 5297; not an approved mode")}},
	AES128FF1: ff1Facts("aes-128-ff1", 128),
	AES256FF1: ff1Facts("aes-256-ff1", 256),
	HMAC:      {Name: "hmac", Bits: 256, MinBytes: MinHMACKey, MaxBytes: MaxHMACKey, Strength: 256, Schemes: hmacSchemes},
}
