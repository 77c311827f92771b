// Package transfer recognises key material in the files that other systems write: PEM and DER with PKCS #8 (RFC 5958), PKCS #1 (RFC 8017
// appendix A), SEC 1 (RFC 5915) and encrypted PKCS #8 (PBES2, RFC 8018), PKCS #12 (RFC 7292), JSON Web Keys (RFC 7517, 7518, 8037), and
// symmetric keys as bytes, hexadecimal digits or base64. It says what it saw and gives the one key inside in the form in which it is
// imported: a symmetric key as it is, a private key as PKCS #8.
//
// It refuses files of more than MaxFile bytes, files with no key or with several, passwords whose stretching would take more than
// MaxIterations, public keys and certificates alone, and text that could be two things: a text is never taken for the bytes of a key unless
// that is said. It opens no file and asks nobody: the passphrase is its caller's to get.
//
// Material is in secret.Bytes. Copies that the standard library's parsers make on the way, and the strings of a JSON Web Key, stay on the heap until
// it is reused: it is for the short life of a command.
package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// Limits.
const (
	MaxFile       = 64 << 10   // bytes
	MaxIterations = 10_000_000 // of PBKDF2 and of PKCS #12
	maxBlocks     = 64         // of PEM: a key and its chain of certificates
)

// Format is what a file is.
type Format string

// The formats. Auto finds out.
const (
	Auto   Format = ""
	PEM    Format = "pem"
	DER    Format = "der"
	PKCS12 Format = "pkcs12"
	JWK    Format = "jwk"
	Raw    Format = "raw"
	Hex    Format = "hex"
	Base64 Format = "base64"
)

// Formats lists the formats that can be named.
func Formats() []string {
	return []string{string(PEM), string(DER), string(PKCS12), string(JWK), string(Raw), string(Hex), string(Base64)}
}

// Options say how a file is read.
type Options struct {
	Format     Format
	Algorithm  kms.Algorithm          // what the key is to be; 0: what it looks like
	Passphrase func() ([]byte, error) // asked for once, if the key is encrypted; the slice is erased
}

// Found is the key in a file.
type Found struct {
	Container string        // for example "PEM, PKCS #8"
	Kind      string        // for example "EC private key, P-256"
	Algorithm kms.Algorithm // as asked for, or the first of Fits
	Fits      []kms.Algorithm
	Material  *secret.Bytes // its receiver erases it
	Public    []byte        // DER SubjectPublicKeyInfo, of the kinds that the standard library reads
}

// Fingerprint names the key without telling of it: of a pair SHA-256 of its public half, where that could be read; of a symmetric key the
// check value that the server shows of it.
func (f *Found) Fingerprint() string {
	switch {
	case f.Public != nil:
		return fmt.Sprintf("sha256:%x", sha256.Sum256(f.Public))
	case f.Algorithm.Facts().Asymmetric:
		return ""
	}
	return fmt.Sprintf("check value %x", transport.CheckSecret(f.Algorithm, f.Material))
}

func unknown(format string, args ...any) *kms.Error {
	e := kms.Errorf(kms.CodeKeyFile, format, args...)
	e.Next = "want one private key or secret key as PEM, DER, PKCS #12, JWK, raw bytes, hex or base64; --format says which where it could be several"
	return e
}

// Read recognises the one key in a file. CodeKeyFile; CodeTooLarge; the errors of Passphrase.
func Read(data []byte, o Options) (Found, error) {
	if len(data) > MaxFile {
		return Found{}, kms.Errorf(kms.CodeTooLarge, "the key file has more than %d bytes", MaxFile)
	}
	format := o.Format
	if format == Auto {
		format = guess(data)
	}
	var f Found
	var err error
	switch format {
	case PEM:
		f, err = readPEM(data, &o)
	case DER:
		f, err = readDER(data, "DER", &o)
	case PKCS12:
		f, err = readPKCS12(data, &o)
	case JWK:
		f, err = readJWK(data)
	case Raw:
		f = secretKey(bytes.Clone(data), "raw bytes")
	case Hex:
		f, err = readHex(data)
	case Base64:
		f, err = readBase64(data)
	default:
		err = unknown("this is not a key in a form that is understood")
	}
	if err == nil {
		err = f.settle(o.Algorithm)
	}
	if err != nil {
		f.Material.Zero()
		return Found{}, err
	}
	return f, nil
}

// guess tells what a file is by its beginning, and of text whether it is made of digits. Auto: neither.
func guess(data []byte) Format {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(trimmed) == 0:
		return Auto
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return PEM
	case trimmed[0] == '{':
		return JWK
	case isDER(data) && isPFX(data):
		return PKCS12
	case isDER(data):
		return DER
	case isHex(trimmed):
		return Hex
	case isText(trimmed):
		if _, err := decodeBase64(trimmed); err == nil {
			return Base64
		}
		return Auto
	case slices.ContainsFunc(fitting(len(data)), func(a kms.Algorithm) bool { return a.Facts().Bits == 8*len(data) }):
		return Raw // of other lengths it could as well be a damaged file
	}
	return Auto
}

func isText(b []byte) bool {
	for _, c := range b {
		if c != '\n' && c != '\r' && c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

func isHex(b []byte) bool {
	b = compact(b)
	defer clear(b)
	if len(b)%2 != 0 {
		return false
	}
	for _, c := range b {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return false
		}
	}
	return len(b) > 0
}

// compact leaves out white space, and the colons that some tools put between bytes.
func compact(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if !strings.ContainsRune(" \t\r\n:", rune(c)) {
			out = append(out, c)
		}
	}
	return out
}

func readHex(data []byte) (Found, error) {
	digits := compact(data)
	defer clear(digits)
	raw := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(raw, digits); err != nil {
		clear(raw)
		return Found{}, unknown("the file is not hexadecimal")
	}
	return secretKey(raw, "hexadecimal text"), nil
}

// readBase64 takes base64 of a symmetric key, or of what would be a key file by itself.
func readBase64(data []byte) (Found, error) {
	raw, err := decodeBase64(data)
	if err != nil {
		return Found{}, unknown("the file is not base64")
	}
	if isDER(raw) {
		defer clear(raw)
		return readDER(raw, "base64 of DER", &Options{})
	}
	return secretKey(raw, "base64 text"), nil
}

func decodeBase64(data []byte) ([]byte, error) {
	digits := compact(data)
	defer clear(digits)
	var err error
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		raw := make([]byte, e.DecodedLen(len(digits)))
		n, bad := e.Decode(raw, digits)
		if bad == nil && n > 0 {
			return raw[:n], nil
		}
		clear(raw)
		err = fmt.Errorf("base64: %w", bad)
	}
	return nil, err
}

func secretKey(raw []byte, container string) Found {
	return Found{Container: container, Kind: fmt.Sprintf("secret key, %d bytes", len(raw)), Fits: fitting(len(raw)), Material: secret.Take(raw)}
}

// fitting lists the symmetric algorithms that have keys of a length, those first whose own length it is.
func fitting(n int) []kms.Algorithm {
	var exact, others []kms.Algorithm
	for _, a := range kms.AllAlgorithms() {
		f := a.Facts()
		switch {
		case f.Asymmetric:
		case f.Bits == 8*n:
			exact = append(exact, a)
		case f.MaxBytes > 0 && n >= f.MinBytes && n <= f.MaxBytes:
			others = append(others, a)
		}
	}
	return append(exact, others...)
}

// settle decides what the key is to be.
func (f *Found) settle(want kms.Algorithm) error {
	switch {
	case len(f.Fits) == 0:
		return unknown("the file holds this: %s. It is no key of any algorithm here", f.Kind)
	case want == 0:
		f.Algorithm = f.Fits[0]
	case slices.Contains(f.Fits, want):
		f.Algorithm = want
	default:
		e := unknown("the file holds this: %s (%s). It is no key of %s", f.Kind, f.Container, want)
		e.Next = "name the right file, or one of the algorithms that fit: " + list(f.Fits)
		return e
	}
	return nil
}

func list(all []kms.Algorithm) string {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.String()
	}
	return strings.Join(names, ", ")
}

// readPEM finds the one private key among the blocks.
func readPEM(data []byte, o *Options) (found Found, err error) {
	seen, n := []string{}, 0
	for range maxBlocks {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		seen = append(seen, block.Type)
		read, ok := pemBlocks[block.Type]
		if !ok {
			continue
		}
		if n++; n > 1 {
			clear(block.Bytes)
			return found, unknown("the file holds several private keys")
		}
		if block.Headers["DEK-Info"] != "" {
			clear(block.Bytes)
			e := unknown("the private key is encrypted in the old way of OpenSSL, which protects little")
			e.Next = "write it anew: openssl pkcs8 -topk8 -in FILE -out NEW"
			return found, e
		}
		found, err = read(block.Bytes, o)
		clear(block.Bytes)
		if err != nil {
			return found, err
		}
	}
	if n == 0 {
		if len(seen) == 0 {
			return found, unknown("the file begins like PEM and holds no whole block of it")
		}
		return found, unknown("the file holds no private key: it has %s", clip(strings.Join(seen, ", ")))
	}
	return found, nil
}

// pemBlocks are the labels of RFC 7468 §10, §11 and those that OpenSSL writes.
var pemBlocks = map[string]func([]byte, *Options) (Found, error){
	"PRIVATE KEY":           func(b []byte, _ *Options) (Found, error) { return readPKCS8(b, "PEM, PKCS #8") },
	"RSA PRIVATE KEY":       func(b []byte, _ *Options) (Found, error) { return readPKCS1(b, "PEM, PKCS #1") },
	"EC PRIVATE KEY":        func(b []byte, _ *Options) (Found, error) { return readSEC1(b, "PEM, SEC 1") },
	"ENCRYPTED PRIVATE KEY": func(b []byte, o *Options) (Found, error) { return readEncrypted(b, "PEM, encrypted PKCS #8", o) },
}

func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// passphrase asks for it, once.
func (o *Options) passphrase() ([]byte, error) {
	if o.Passphrase == nil {
		e := unknown("the key is encrypted")
		e.Next = "name the file that holds its passphrase: --passphrase-file FILE"
		return nil, e
	}
	return o.Passphrase()
}
