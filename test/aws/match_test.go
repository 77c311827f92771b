package awstest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: RSAES_OAEP_SHA_1 is what some clients wrap with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// account is the number that the namespace "default" has at AWS's clients.
const account = "000000000000"

// kinds are the placeholders of expected texts.
var kinds = map[string]*regexp.Regexp{
	"any":     regexp.MustCompile(`(?s)^.*$`),
	"uuid":    regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`),
	"mrk":     regexp.MustCompile(`^mrk-[0-9a-f]{32}$`),
	"arn":     regexp.MustCompile(`^arn:aws:kms:[a-z0-9-]+:\d{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f-]{36})$`),
	"hex64":   regexp.MustCompile(`^[0-9a-f]{64}$`),
	"request": regexp.MustCompile(`^[0-9a-f]{32}$`), // the audit trail knows it by the same
	"base64":  regexp.MustCompile(`^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`),
	"marker":  regexp.MustCompile(`^[ -~]+$`),
	"token":   regexp.MustCompile(`^[!-~]+$`),
}

// placeholder is <kind>, <name:kind> or <bytes 32>: a string of that kind, or of so many bytes in base64, kept under the name.
var placeholder = regexp.MustCompile(`^<(?:(\w+):)?(\w+)(?: (\d+))?>$`)

// rest stands for more: a member "..." of an object, an element "..." of an array.
const rest = "..."

// match compares what came with what is expected. Objects have the members that are named and no others.
func (p *player) match(path string, want, have any) error {
	switch want := want.(type) {
	case map[string]any:
		return p.matchObject(path, want, have)
	case []any:
		return p.matchArray(path, want, have)
	case string:
		return p.matchText(path, want, have)
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Errorf("%s is %v, want %v", path, have, want)
	}
	return nil
}

func (p *player) matchObject(path string, want map[string]any, have any) error {
	members, ok := have.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is %v, want an object", path, have)
	}
	_, open := want[rest]
	var all []error
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if name == rest {
			continue
		}
		if value, ok := members[name]; ok {
			all = append(all, p.match(path+"."+name, want[name], value))
		} else {
			all = append(all, fmt.Errorf("%s.%s is missing", path, name))
		}
	}
	for name := range members {
		if _, ok := want[name]; !ok && !open {
			all = append(all, fmt.Errorf("%s.%s is not expected", path, name))
		}
	}
	return errors.Join(all...)
}

// matchArray wants the same elements, or, with "..." among them, the others in their order.
func (p *player) matchArray(path string, want []any, have any) error {
	elements, ok := have.([]any)
	if !ok {
		return fmt.Errorf("%s is %v, want an array", path, have)
	}
	if !slices.ContainsFunc(want, func(v any) bool { return v == rest }) {
		if len(want) != len(elements) {
			return fmt.Errorf("%s has %d elements, want %d", path, len(elements), len(want))
		}
		var all []error
		for i := range want {
			all = append(all, p.match(fmt.Sprintf("%s[%d]", path, i), want[i], elements[i]))
		}
		return errors.Join(all...)
	}
	at := 0
	for i, w := range want {
		if w == rest {
			continue
		}
		for at < len(elements) && p.match(path, w, elements[at]) != nil {
			at++
		}
		if at == len(elements) {
			return fmt.Errorf("%s has no element like %v (the %d. expected)", path, w, i+1)
		}
		at++
	}
	return nil
}

// slack is how far clocks and rounding may be apart.
const slack = 2 * time.Minute

func (p *player) matchText(path, want string, have any) error {
	m := placeholder.FindStringSubmatch(want)
	if m == nil {
		if have != any(want) {
			return fmt.Errorf("%s is %v, want %q", path, have, want)
		}
		return nil
	}
	name, kind, size := m[1], m[2], m[3]
	switch number, isNumber := have.(float64); {
	case kind == "any":
	case kind == "now" || kind == "days":
		// A time in seconds since 1970, now or in so many days.
		days, _ := strconv.Atoi(size)
		at := time.UnixMilli(int64(number * 1000))
		if !isNumber || time.Until(at.AddDate(0, 0, -days)).Abs() > slack {
			return fmt.Errorf("%s is %v, want the time in %d days", path, have, days)
		}
	case kind == "time":
		if !isNumber || number < 1.7e9 || number > 1e10 {
			return fmt.Errorf("%s is %v, want a time", path, have)
		}
	case kind == "bytes":
		text, _ := have.(string)
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || strconv.Itoa(len(b)) != size {
			return fmt.Errorf("%s is %v (%d bytes), want %s bytes", path, have, len(b), size)
		}
	case kinds[kind] == nil:
		return fmt.Errorf("%s: no kind %q", path, kind)
	default:
		if text, ok := have.(string); !ok || !kinds[kind].MatchString(text) {
			return fmt.Errorf("%s is %v, want %s", path, have, want)
		}
	}
	if name != "" {
		p.values[name] = fmt.Sprint(have)
	}
	return nil
}

// filler is ${name} or ${function arguments}.
var filler = regexp.MustCompile(`\$\{([^}]+)\}`)

// fill puts values and functions into a text.
func (p *player) fill(text string) string {
	p.t.Helper()
	return filler.ReplaceAllStringFunc(text, func(s string) string {
		words := strings.Fields(s[2 : len(s)-1])
		if f, ok := functions[words[0]]; ok {
			out, err := f(p, words[1:])
			if err != nil {
				p.t.Fatalf("%s: %s: %v", p.at, s, err)
			}
			return out
		}
		value, ok := p.values[words[0]]
		if !ok {
			p.t.Fatalf("%s: nothing is called %s", p.at, s)
		}
		return value
	})
}

// functions make values of requests.
var functions = map[string]func(p *player, args []string) (string, error){
	// ${fill B N}: N bytes of value B in base64.
	"fill": func(_ *player, args []string) (string, error) {
		b, n, err := twoNumbers(args)
		if err != nil {
			return "", err
		}
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(b)}, n)), nil
	},
	// ${repeat N text}: the text N times.
	"repeat": func(_ *player, args []string) (string, error) {
		n, err := strconv.Atoi(args[0])
		return strings.Repeat(args[1], n), err
	},
	// ${tags N}: N tags.
	"tags": func(_ *player, args []string) (string, error) {
		return numbered(args[0], `{"TagKey":"k%d","TagValue":""}`)
	},
	// ${tokens N}: N texts.
	"tokens": func(_ *player, args []string) (string, error) { return numbered(args[0], `"token%d"`) },
	// ${flip name at}: the value with one bit of the byte at a place flipped; from the end if it is negative.
	"flip": func(p *player, args []string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(p.values[args[0]])
		if err != nil {
			return "", err
		}
		at, err := strconv.Atoi(args[1])
		if at < 0 {
			at += len(b)
		}
		if at < 0 || at >= len(b) {
			return "", fmt.Errorf("%d bytes have none at %d", len(b), at)
		}
		b[at] ^= 1
		return base64.StdEncoding.EncodeToString(b), err
	},
	// ${cut name N}: its first N bytes; without the last ones if it is negative.
	"cut": func(p *player, args []string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(p.values[args[0]])
		if err != nil {
			return "", err
		}
		n, err := strconv.Atoi(args[1])
		if n < 0 {
			n += len(b)
		}
		if n < 0 || n > len(b) {
			return "", fmt.Errorf("%d bytes have no %d", len(b), n)
		}
		return base64.StdEncoding.EncodeToString(b[:n]), err
	},
	// ${days N}: the time in N days, in seconds since 1970.
	"days": func(_ *player, args []string) (string, error) {
		n, err := strconv.Atoi(args[0])
		return strconv.FormatInt(time.Now().AddDate(0, 0, n).Unix(), 10), err
	},
	// ${text words}: the words in base64.
	"text": func(_ *player, args []string) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(strings.Join(args, " "))), nil
	},
	// ${wrapped algorithm publickey B N}: N bytes that B stands for, encrypted for the holder of an RSA key as material is for an import.
	"wrapped": wrapped,
	// ${undashed name}: a UUID without its dashes.
	"undashed": func(p *player, args []string) (string, error) {
		return strings.ReplaceAll(p.values[args[0]], "-", ""), nil
	},
}

func numbered(count, format string) (string, error) {
	n, err := strconv.Atoi(count)
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, ","), err
}

func twoNumbers(args []string) (int, int, error) {
	a, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.Atoi(args[1])
	return a, b, err
}

// wrapped does what a user of ImportKeyMaterial does with the public key that GetParametersForImport gave.
func wrapped(p *player, args []string) (string, error) {
	b, n, err := twoNumbers(args[2:])
	if err != nil {
		return "", err
	}
	der, err := base64.StdEncoding.DecodeString(p.values[args[1]])
	if err != nil {
		return "", err
	}
	material := sha512.Sum512([]byte{byte(b)}) // what has no pattern
	out, err := wrapForImport(args[0], der, material[:n])
	return base64.StdEncoding.EncodeToString(out), err
}

// wrapForImport encrypts material directly with RSA-OAEP, the way for 256-bit keys.
func wrapForImport(algorithm string, der, material []byte) ([]byte, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%T is no RSA key", key)
	}
	switch algorithm {
	case "RSAES_OAEP_SHA_256":
		return rsa.EncryptOAEP(sha256.New(), rand.Reader, public, material, nil)
	case "RSAES_OAEP_SHA_1":
		return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, material, nil) //nolint:gosec // G401: the name of the algorithm says so
	}
	return nil, fmt.Errorf("no algorithm %s", algorithm)
}
