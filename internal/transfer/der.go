package transfer

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// privateKeyInfo is PKCS #8 of either version, RFC 5958 §2.
type privateKeyInfo struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	Private    []byte
	Attributes asn1.RawValue  `asn1:"optional,tag:0"`
	Public     asn1.BitString `asn1:"optional,tag:1"`
}

// ecPrivateKey is SEC 1, RFC 5915 §3.
type ecPrivateKey struct {
	Version int
	Private []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// isDER tells whether a file is one whole SEQUENCE.
func isDER(b []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	return err == nil && len(rest) == 0 && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagSequence
}

// readDER tries the forms that a private key has, which no other one is mistaken for.
func readDER(der []byte, container string, o *Options) (Found, error) {
	var info privateKeyInfo
	if whole(der, &info) && len(info.Private) > 0 {
		clear(info.Private)
		return readPKCS8(der, container+", PKCS #8")
	}
	var sec1 ecPrivateKey
	if whole(der, &sec1) && sec1.Version == 1 && len(sec1.Curve) > 0 {
		clear(sec1.Private)
		return readSEC1(der, container+", SEC 1")
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		key.D.SetInt64(0)
		return readPKCS1(der, container+", PKCS #1")
	}
	var sealed encryptedPrivateKeyInfo
	if whole(der, &sealed) {
		return readEncrypted(der, container+", encrypted PKCS #8", o)
	}
	return Found{}, unknown("the file is DER, and no private key in a form that is understood")
}

func whole(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}

var (
	oidRSA    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEC     = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
)

// namedKind is what an identifier of an algorithm or of a curve stands for.
type namedKind struct {
	kind string
	fits []kms.Algorithm
}

// named are the identifiers of RFC 8410, RFC 9881, RFC 9909 and RFC 9935; curves the named curves of RFC 5480 and SEC 2.
var (
	named = map[string]namedKind{
		"1.3.101.112":             {"Ed25519 private key", []kms.Algorithm{kms.Ed25519}},
		"1.3.101.110":             {"X25519 private key", []kms.Algorithm{kms.X25519}},
		"2.16.840.1.101.3.4.3.17": {"ML-DSA-44 private key", []kms.Algorithm{kms.MLDSA44}},
		"2.16.840.1.101.3.4.3.18": {"ML-DSA-65 private key", []kms.Algorithm{kms.MLDSA65}},
		"2.16.840.1.101.3.4.3.19": {"ML-DSA-87 private key", []kms.Algorithm{kms.MLDSA87}},
		"2.16.840.1.101.3.4.3.20": {"SLH-DSA-SHA2-128s private key", []kms.Algorithm{kms.SLHDSASHA2128s}},
		"2.16.840.1.101.3.4.3.21": {"SLH-DSA-SHA2-128f private key", []kms.Algorithm{kms.SLHDSASHA2128f}},
		"2.16.840.1.101.3.4.4.1":  {"ML-KEM-512 private key", []kms.Algorithm{kms.MLKEM512}},
		"2.16.840.1.101.3.4.4.2":  {"ML-KEM-768 private key", []kms.Algorithm{kms.MLKEM768}},
		"2.16.840.1.101.3.4.4.3":  {"ML-KEM-1024 private key", []kms.Algorithm{kms.MLKEM1024}},
	}
	curves = map[string]namedKind{
		"1.2.840.10045.3.1.7": {"EC private key, P-256", []kms.Algorithm{kms.ECDSAP256, kms.ECDHP256}},
		"1.3.132.0.34":        {"EC private key, P-384", []kms.Algorithm{kms.ECDSAP384, kms.ECDHP384}},
		"1.3.132.0.35":        {"EC private key, P-521", []kms.Algorithm{kms.ECDSAP521, kms.ECDHP521}},
		"1.3.132.0.10":        {"EC private key, secp256k1", []kms.Algorithm{kms.ECDSASecp256k1}},
	}
	byBits = map[int]kms.Algorithm{2048: kms.RSA2048, 3072: kms.RSA3072, 4096: kms.RSA4096}
)

// readPKCS8 finds out what is inside, and reads it where the standard library can: a file that is no good is refused here, before a server sees it.
func readPKCS8(der []byte, container string) (Found, error) {
	var info privateKeyInfo
	if !whole(der, &info) {
		return Found{}, unknown("the private key is cut short or damaged (%s)", container)
	}
	defer clear(info.Private)
	f := Found{Container: container}
	id := info.Algorithm.Algorithm
	kind, ok := named[id.String()]
	switch {
	case id.Equal(oidRSAPSS):
		e := unknown("the RSA key may be used with RSA-PSS only, which is a form that few systems read")
		e.Next = "write it as an ordinary RSA key: openssl rsa -in FILE -traditional -out NEW; keyhold signs with RSA-PSS anyway"
		return f, e
	case id.Equal(oidRSA):
		return readRSA(der, f)
	case id.Equal(oidEC):
		var curve asn1.ObjectIdentifier
		if !whole(info.Algorithm.Parameters.FullBytes, &curve) {
			return f, unknown("the EC key is not on a named curve")
		}
		if kind, ok = curves[curve.String()]; !ok {
			return f, unknown("the EC key is on a curve (%s) that is not supported", curve)
		}
	case !ok:
		return f, unknown("the private key is of an algorithm (%s) that is not supported", id)
	}
	f.Kind, f.Fits = kind.kind, kind.fits
	if f.Fits[0] != kms.ECDSASecp256k1 && !isPostQuantum(f.Fits[0]) {
		parsed, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return f, unknown("the %s is damaged", f.Kind)
		}
		f.Public = publicOf(parsed)
	}
	f.Material = secret.Copy(der)
	return f, nil
}

func isPostQuantum(a kms.Algorithm) bool {
	return a >= kms.MLDSA44 && a <= kms.SLHDSASHA2128f || a >= kms.MLKEM512 && a <= kms.MLKEM1024
}

func readRSA(der []byte, f Found) (Found, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return f, unknown("the RSA private key is damaged, or too weak to be read")
	}
	f.Kind = fmt.Sprintf("RSA private key, %d bits", key.N.BitLen())
	a, ok := byBits[key.N.BitLen()]
	if !ok {
		return f, unknown("the file holds this: %s. RSA keys are taken with 2048, 3072 or 4096 bits", f.Kind)
	}
	f.Fits, f.Public, f.Material = []kms.Algorithm{a}, publicOf(key), secret.Copy(der)
	return f, nil
}

// publicOf is the SubjectPublicKeyInfo of a private key; nil if it has none.
func publicOf(private any) []byte {
	var public any
	switch key := private.(type) {
	case *rsa.PrivateKey:
		public = key.Public()
	case *ecdsa.PrivateKey:
		public = key.Public()
	case ed25519.PrivateKey:
		public = key.Public()
	case *ecdh.PrivateKey:
		public = key.Public()
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil
	}
	return der
}

// readPKCS1 and readSEC1 put the key into the frame of PKCS #8.
func readPKCS1(der []byte, container string) (Found, error) {
	return framed(pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}, der, container)
}

func readSEC1(der []byte, container string) (Found, error) {
	var key ecPrivateKey
	if !whole(der, &key) || key.Version != 1 {
		return Found{}, unknown("the EC private key is cut short or damaged")
	}
	clear(key.Private)
	if len(key.Curve) == 0 {
		return Found{}, unknown("the EC key is not on a named curve")
	}
	curve, err := asn1.Marshal(key.Curve)
	if err != nil {
		return Found{}, unknown("the EC key is not on a named curve")
	}
	return framed(pkix.AlgorithmIdentifier{Algorithm: oidEC, Parameters: asn1.RawValue{FullBytes: curve}}, der, container)
}

func framed(a pkix.AlgorithmIdentifier, private []byte, container string) (Found, error) {
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Private   []byte
	}{0, a, private})
	if err != nil {
		return Found{}, unknown("the private key is damaged (%s)", container)
	}
	defer clear(der)
	return readPKCS8(der, container)
}

// ofKey is a key that was parsed, as PKCS #8.
func ofKey(private any, container string) (Found, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Found{}, unknown("the file holds a key of a kind that is not supported (%s)", container)
	}
	defer clear(der)
	return readPKCS8(der, container)
}
