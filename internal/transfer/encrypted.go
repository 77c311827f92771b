package transfer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // G505: the default of PBKDF2, RFC 8018 appendix A.2
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"

	"golang.org/x/crypto/scrypt"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/keyhold/keyhold/internal/kms"
)

// encryptedPrivateKeyInfo is RFC 5958 §3.
type encryptedPrivateKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// The parameters of PBES2, PBKDF2 (RFC 8018 appendix A) and scrypt (RFC 7914 §7).
type (
	pbes2Params  struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		Length     int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	scryptParams struct {
		Salt    []byte
		N, R, P int
		Length  int `asn1:"optional"`
	}
)

// The limits of scrypt: 1 GiB is what nobody's key file takes.
const (
	maxScryptMemory = 1 << 30
	maxSalt         = 1 << 10
)

var (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	oidScrypt = "1.3.6.1.4.1.11591.4.11"

	prfs = map[string]func() hash.Hash{
		"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
	}
	// AES in CBC mode, by the length of the key: NIST's arc 2.16.840.1.101.3.4.1.
	ciphers = map[string]int{"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
)

// readEncrypted opens PBES2 with PBKDF2 or scrypt, and AES.
func readEncrypted(der []byte, container string, o *Options) (Found, error) {
	weak := unknown("the private key is encrypted in a way that is not supported: want PBES2 with PBKDF2 or scrypt, and AES")
	weak.Next = "write it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW"
	var sealed encryptedPrivateKeyInfo
	var p pbes2Params
	var iv []byte
	if !whole(der, &sealed) || sealed.Algorithm.Algorithm.String() != oidPBES2 || !whole(sealed.Algorithm.Parameters.FullBytes, &p) ||
		!whole(p.Cipher.Parameters.FullBytes, &iv) {
		return Found{}, weak
	}
	size, ok := ciphers[p.Cipher.Algorithm.String()]
	if n := len(sealed.Data); !ok || len(iv) != aes.BlockSize || n == 0 || n%aes.BlockSize != 0 {
		return Found{}, weak
	}
	stretch, err := stretcher(&p.KDF, size)
	if err != nil {
		return Found{}, err
	}
	if stretch == nil {
		return Found{}, weak
	}
	phrase, err := o.passphrase()
	if err != nil {
		return Found{}, err
	}
	defer clear(phrase)
	key, err := stretch(phrase)
	if err != nil {
		return Found{}, weak
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return Found{}, weak
	}
	plain := bytes.Clone(sealed.Data)
	defer clear(plain)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, plain)
	inner, ok := unpad(plain)
	var info privateKeyInfo
	if !ok || !whole(inner, &info) { // CBC has no tag: a wrong passphrase shows by what comes out
		return Found{}, wrongPassphrase()
	}
	clear(info.Private)
	return readPKCS8(inner, container)
}

func wrongPassphrase() error {
	e := kms.Errorf(kms.CodeKeyFile, "the passphrase does not open the key file, or that is damaged")
	e.Next = "check the passphrase; its file may end in a line feed, which does not count"
	return e
}

// stretcher makes a key of a passphrase. nil: not supported.
func stretcher(kdf *pkix.AlgorithmIdentifier, size int) (func([]byte) ([]byte, error), error) {
	switch kdf.Algorithm.String() {
	case oidPBKDF2:
		var p pbkdf2Params
		if !whole(kdf.Parameters.FullBytes, &p) || len(p.Salt) > maxSalt || p.Length != 0 && p.Length != size {
			return nil, nil
		}
		id := ""
		if len(p.PRF.Algorithm) > 0 {
			id = p.PRF.Algorithm.String()
		}
		prf, ok := prfs[id]
		if !ok || p.Iterations < 1 {
			return nil, nil
		}
		if p.Iterations > MaxIterations {
			return nil, tooSlow(p.Iterations)
		}
		return func(phrase []byte) ([]byte, error) {
			return pbkdf2.Key(prf, string(phrase), p.Salt, p.Iterations, size)
		}, nil
	case oidScrypt:
		var p scryptParams
		if !whole(kdf.Parameters.FullBytes, &p) || len(p.Salt) > maxSalt || p.Length != 0 && p.Length != size || p.N < 2 || p.R < 1 || p.P < 1 {
			return nil, nil
		}
		if p.N > maxScryptMemory/128 || p.R > 64 || p.P > 16 || p.N*p.R > maxScryptMemory/128 {
			return nil, tooSlow(p.N)
		}
		return func(phrase []byte) ([]byte, error) { return scrypt.Key(phrase, p.Salt, p.N, p.R, p.P, size) }, nil
	}
	return nil, nil
}

func tooSlow(n int) error {
	return kms.Errorf(kms.CodeKeyFile, "the key file asks for %d rounds of stretching its passphrase: that is more than any system makes, so it is refused", n)
}

// unpad takes the padding of RFC 5652 §6.3 off.
func unpad(b []byte) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, false
	}
	want := bytes.Repeat([]byte{byte(n)}, n)
	return b[:len(b)-n], subtle.ConstantTimeCompare(b[len(b)-n:], want) == 1
}

// isPFX tells a PKCS #12 file by its version and the identifier of its content: RFC 7292 §4.
func isPFX(der []byte) bool {
	var p struct {
		Version int
		Content struct {
			Type asn1.ObjectIdentifier
			Data asn1.RawValue `asn1:"optional"`
		}
		MAC asn1.RawValue `asn1:"optional"`
	}
	return whole(der, &p) && p.Version == 3 && len(p.Content.Type) == 7 && p.Content.Type[:6].Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7})
}

func readPKCS12(data []byte, o *Options) (Found, error) {
	if !isPFX(data) {
		return Found{}, unknown("the file is not PKCS #12")
	}
	if most := rounds(data, 0); most > MaxIterations {
		return Found{}, tooSlow(most)
	}
	phrase, err := o.passphrase()
	if err != nil {
		return Found{}, err
	}
	defer clear(phrase)
	key, _, _, err := pkcs12.DecodeChain(data, string(phrase))
	if err != nil {
		e := unknown("the PKCS #12 file does not open: the passphrase is wrong, or it does not hold one private key with its certificate")
		return Found{}, e.Because(err)
	}
	return ofKey(key, "PKCS #12")
}

const maxNesting = 24

// rounds is the largest number that follows an OCTET STRING anywhere in a DER file, where it is in the clear: salt and iterations stand so in the MAC
// of PKCS #12 and in every way of encryption that it knows.
func rounds(der []byte, depth int) (most int) {
	salt := false
	for len(der) > 0 && depth < maxNesting {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return most
		}
		n := 0
		if salt && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger {
			if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil {
				n = MaxIterations + 1
			}
		}
		salt = v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString
		if v.IsCompound || salt {
			n = max(n, rounds(v.Bytes, depth+1))
		}
		most, der = max(most, n), rest
	}
	return most
}
