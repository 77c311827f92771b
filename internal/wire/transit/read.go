package transit

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// MaxText is the most that the text of one version in an export has, in bytes: RSA keys of 4,096 bits have 3,300.
const MaxText = 16 << 10

// ReadText reads a version's material from the text that an export writes of it: the other way of Version.Text. It leaves the text alone. CodeKeyFile.
func ReadText(a kms.Algorithm, text []byte) (m *secret.Bytes, err error) {
	if len(text) > MaxText {
		return nil, badText("it has %d bytes, the limit is %d", len(text), MaxText)
	}
	secret.Do(func() {
		if a.Facts().Asymmetric && a != kms.Ed25519 {
			m, err = readPEM(a, text)
		} else {
			m, err = readBase64(a, text)
		}
	})
	return m, err
}

// ReadMAC reads a version's MAC key: the other way of Version.MACText. CodeKeyFile.
func ReadMAC(text []byte) (m *secret.Bytes, err error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil || n != kms.MACKeyBytes {
		clear(b)
		return nil, badText("the MAC key is not %d bytes in base64", kms.MACKeyBytes)
	}
	return secret.Take(b[:n]), nil
}

func readBase64(a kms.Algorithm, text []byte) (*secret.Bytes, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil {
		clear(b)
		return nil, badText("it is not base64")
	}
	b = b[:n]
	f := a.Facts()
	switch least, most := f.MinBytes, f.MaxBytes; {
	case a == kms.Ed25519:
		defer clear(b)
		private, err := (&entry{Key: b}).edwards()
		if err != nil {
			return nil, badText("%v", kms.AsError(err).What)
		}
		return pkcs8(private)
	case a != kms.HMAC && n != f.Bits/8, a == kms.HMAC && (n < least || n > most):
		clear(b)
		return nil, badText("it has %d bytes, which no %s key has", n, a)
	}
	return secret.Take(b), nil
}

// readPEM reads SEC 1, PKCS #1 or PKCS #8.
func readPEM(a kms.Algorithm, text []byte) (*secret.Bytes, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		return nil, badText("it is not one private key in PEM")
	}
	defer clear(block.Bytes)
	var private any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, badText("it is not a private key")
	}
	if err != nil { // the error says nothing of the key
		return nil, badText("its private key does not open")
	}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		if curveOf(a) == k.Curve {
			return pkcs8(k)
		}
	case *rsa.PrivateKey:
		if curveOf(a) == nil && k.N.BitLen() == a.Facts().Bits && len(k.Primes) == maxPrimes {
			return pkcs8(k)
		}
	case ed25519.PrivateKey: // has no PEM there
	}
	return nil, badText("its private key is none of %s", a)
}

func pkcs8(private any) (*secret.Bytes, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, badText("its private key is none")
	}
	return secret.Take(der), nil
}

// badText is why an export is refused.
func badText(format string, args ...any) error {
	e := kms.Errorf(kms.CodeKeyFile, "the exported key cannot be read: "+format, args...)
	e.Next = "export the key again, or make a backup of it"
	return e
}
