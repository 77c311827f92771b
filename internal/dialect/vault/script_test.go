package vault_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestScripts plays testdata/scripts: requests of every family of routes, and the answers as they were captured on OpenBao's wire or as its
// source has them. README.md beside the scripts tells how they are written.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all, err := parseScript(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			p := &player{t: t, values: map[string]string{}}
			for _, x := range all {
				p.play(filepath.Base(file), x)
			}
		})
	}
}

// step is one request and the answer that is expected.
type step struct {
	line                       int
	directives                 [][2]string
	method, path, body, answer string
	status                     int
}

var statusLine = regexp.MustCompile(`^([2-5]\d\d)(?: (.*))?$`)

// parseScript reads paragraphs of directives, a request and an answer.
func parseScript(text string) ([]step, error) {
	var all []step
	var s step
	part := 0 // of the paragraph: nothing yet, request, answer
	n := 0
	end := func() error {
		if part == 1 {
			return fmt.Errorf("line %d: the request of line %d has no answer", n, s.line)
		}
		if part == 2 || len(s.directives) > 0 {
			all = append(all, s)
		}
		s, part = step{}, 0
		return nil
	}
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		m := statusLine.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if err := end(); err != nil {
				return nil, err
			}
		case part == 0 && line[0] == '@':
			name, value, _ := strings.Cut(line[1:], " ")
			s.directives = append(s.directives, [2]string{name, value})
		case part == 0:
			s.line, part = n, 1
			s.method, s.path, _ = strings.Cut(line, " ")
			s.path, s.body, _ = strings.Cut(s.path, " ")
		case part == 1 && m != nil:
			part = 2
			s.status, _ = strconv.Atoi(m[1])
			s.answer = m[2]
		case part == 1:
			s.body += "\n" + line
		default:
			s.answer += "\n" + line
		}
	}
	return all, end()
}

// player is what a script knows while it runs.
type player struct {
	t      *testing.T
	s      *vaulttest.Server // nil: not started yet
	at     string
	values map[string]string
}

// play sends a request and compares its answer. Who asks, unless a directive says otherwise, is the administrator where keys are managed.
func (p *player) play(file string, x step) {
	p.t.Helper()
	p.at = fmt.Sprintf("%s:%d: %s %s", file, x.line, x.method, x.path)
	token, headers, times := "admin", []string(nil), 1
	for _, d := range x.directives {
		value := p.fill(d[1])
		switch d[0] {
		case "sealed":
			p.s = vaulttest.Start(p.t)
		case "policy":
			p.policy(value)
		case "as":
			token = value
		case "header":
			headers = append(headers, value)
		case "times":
			times, _ = strconv.Atoi(value)
		default:
			p.t.Fatalf("%s: unknown directive @%s", p.at, d[0])
		}
	}
	if p.s == nil {
		p.s = vaulttest.Open(p.t)
	}
	if x.method == "" {
		return
	}
	switch token {
	case "admin":
		token = p.s.Admin
	case "user":
		token = p.s.User
	case "operator":
		token = p.s.Operator
	case "auditor":
		token = p.s.Auditor
	case "nobody":
		token = ""
	}
	for range times {
		a := p.s.Ask(p.t, token, x.method, p.fill(strings.TrimPrefix(x.path, "/")), p.fill(x.body), headers...)
		p.check(x, a)
	}
}

// policy puts a policy, as an administrator does.
func (p *player) policy(text string) {
	p.t.Helper()
	p.s = vaulttest.Open(p.t)
	by := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	if _, err := p.s.Engine.PutPolicy(p.t.Context(), by, engine.PutPolicyInput{ID: "script", Text: text}); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

func (p *player) errorf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s\n"+format, append([]any{p.at}, args...)...)
}

// check compares an answer with what is expected of it, and with what every answer must have.
func (p *player) check(x step, got vaulttest.Answer) {
	p.t.Helper()
	if got.Status != x.status {
		p.errorf("got  %d %s\nwant %d %s", got.Status, got.Body, x.status, x.answer)
		return
	}
	if x.status == 204 || x.method == "HEAD" {
		if len(got.Body) != 0 {
			p.errorf("an answer without content has %q", got.Body)
		}
		return
	}
	if kind := got.Header.Get("Content-Type"); kind != "application/json" {
		p.errorf("Content-Type: %q", kind)
	}
	kind, expected, _ := strings.Cut(x.answer, " ")
	var err error
	switch kind {
	case "data", "all":
		err = p.checkEnvelope(kind, expected, got.Body)
	case "errors", "alone":
		err = p.checkErrors(kind == "alone", expected, got.Body)
	default: // the whole of it
		err = p.compare(x.answer, got.Body)
	}
	if err != nil {
		p.errorf("%v\ngot  %s\nwant %s", err, got.Body, x.answer)
	}
}

// checkEnvelope wants every member of an answer: "data" says what data is, "all" any of the members; the others are empty.
func (p *player) checkEnvelope(kind, expected string, body []byte) error {
	want := map[string]any{"request_id": "<id>", "lease_id": "", "renewable": false, "lease_duration": 0.0, "data": nil, "wrap_info": nil, "warnings": nil, "auth": nil}
	var said any
	if err := json.Unmarshal([]byte(p.fill(expected)), &said); err != nil {
		return fmt.Errorf("the expected answer: %w", err)
	}
	if kind == "data" {
		want["data"] = said
	} else if members, ok := said.(map[string]any); ok {
		maps.Copy(want, members)
	}
	return p.against(want, body)
}

// checkErrors wants the texts of Vault, in their order. Unless they are to be alone, one of ours may follow, with a stable code.
func (p *player) checkErrors(alone bool, expected string, body []byte) error {
	var want []string
	if err := json.Unmarshal([]byte(p.fill(expected)), &want); err != nil {
		return fmt.Errorf("the expected answer: %w", err)
	}
	var got map[string][]string
	if err := json.Unmarshal(body, &got); err != nil || len(got) != 1 {
		return fmt.Errorf("not the form of an error: %v", err)
	}
	have := got["errors"]
	if !alone && len(have) == len(want)+1 && ourText.MatchString(have[len(want)]) {
		have = have[:len(want)]
	}
	if len(have) != len(want) {
		return errors.New("other texts")
	}
	var all []error
	for i := range want {
		all = append(all, p.match(fmt.Sprintf("errors[%d]", i), want[i], have[i]))
	}
	return errors.Join(all...)
}

// ourText is what Keyhold adds.
var ourText = regexp.MustCompile(`^KH\d{4} `)

func (p *player) compare(expected string, body []byte) error {
	var want any
	if err := json.Unmarshal([]byte(p.fill(expected)), &want); err != nil {
		return fmt.Errorf("the expected answer: %w", err)
	}
	return p.against(want, body)
}

func (p *player) against(want any, body []byte) error {
	var have any
	if err := json.Unmarshal(body, &have); err != nil {
		return err
	}
	return p.match("", want, have)
}

// more stands for further members of an object, or elements of an array.
const more = "..."

// match compares what came with what is expected.
func (p *player) match(path string, want, have any) error {
	switch want := want.(type) {
	case map[string]any:
		members, ok := have.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, want an object", path, have)
		}
		_, open := want[more]
		var all []error
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if value, ok := members[name]; ok {
				all = append(all, p.match(path+"."+name, want[name], value))
			} else if name != more {
				all = append(all, fmt.Errorf("%s.%s is missing", path, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if _, ok := want[name]; !ok && !open {
				all = append(all, fmt.Errorf("%s.%s is not expected", path, name))
			}
		}
		return errors.Join(all...)
	case []any:
		elements, ok := have.([]any)
		open := slices.Contains(want, any(more))
		if want = slices.DeleteFunc(slices.Clone(want), func(v any) bool { return v == more }); !ok || len(elements) < len(want) || !open && len(elements) != len(want) {
			return fmt.Errorf("%s is %v, want %v", path, have, want)
		}
		var all []error
		for i := range want {
			at := i
			if open { // any that is like it
				at = max(slices.IndexFunc(elements, func(e any) bool { return p.match(path, want[i], e) == nil }), 0)
			}
			all = append(all, p.match(fmt.Sprintf("%s[%d]", path, at), want[i], elements[at]))
		}
		return errors.Join(all...)
	case string:
		return p.matchText(path, want, have)
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Errorf("%s is %v, want %v", path, have, want)
	}
	return nil
}

// placeholder is <kind>, <name:kind> or <kind N>: what has that form, kept under the name.
var placeholder = regexp.MustCompile(`^<(?:(\w+):)?(\w+)(?: (\d+))?>$`)

// forms are the kinds of texts.
var forms = map[string]*regexp.Regexp{
	"any":        regexp.MustCompile(`(?s)^.*$`),
	"id":         regexp.MustCompile(`^[0-9A-Za-z-]{26,36}$`),
	"uuid":       regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
	"token":      regexp.MustCompile(`^[!-~]{20,}$`),
	"pem":        regexp.MustCompile(`^-----BEGIN PUBLIC KEY-----\n(?:[0-9A-Za-z+/=]+\n)+-----END PUBLIC KEY-----\n$`),
	"ciphertext": regexp.MustCompile(`^vault:v(\d+):((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$`),
	"jws":        regexp.MustCompile(`^vault:v(\d+):([A-Za-z0-9_-]+)$`),
	"accessor":   regexp.MustCompile(`^[0-9A-Za-z_-]+$`),
}

// slack is how far clocks may be apart.
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
	text, isText := have.(string)
	number, isNumber := have.(float64)
	var ok bool
	switch kind {
	case "any":
		ok = true
	case "number":
		ok = isNumber && (size == "" || number == float64(mustNumber(size)))
	case "unix": // seconds since 1970
		ok = isNumber && time.Since(time.Unix(int64(number), 0)).Abs() < slack
	case "time": // RFC 3339, with parts of a second
		at, err := time.Parse(time.RFC3339Nano, text)
		ok = isText && err == nil && time.Since(at).Abs() < slack
	case "upto": // a number that ran down a little
		ok = isNumber && number <= float64(mustNumber(size)) && number > float64(mustNumber(size))-slack.Seconds()
	case "base64":
		b, err := base64.StdEncoding.DecodeString(text)
		ok = isText && err == nil && (size == "" || len(b) == mustNumber(size))
	case "ciphertext", "jws": // of a version
		f := forms[kind].FindStringSubmatch(text)
		ok = f != nil && (size == "" || f[1] == size)
	default:
		if forms[kind] == nil {
			return fmt.Errorf("%s: no kind %q", path, kind)
		}
		ok = isText && forms[kind].MatchString(text)
	}
	if !ok {
		return fmt.Errorf("%s is %v, want %s", path, have, want)
	}
	if name != "" {
		p.values[name] = fmt.Sprint(have)
	}
	return nil
}

func mustNumber(s string) int {
	n, _ := strconv.Atoi(s) // digits
	return n
}

// filler is ${name} or ${function arguments}.
var filler = regexp.MustCompile(`\$\{([^}]+)\}`)

// fill puts what was kept, and what functions make, into a text.
func (p *player) fill(text string) string {
	p.t.Helper()
	return filler.ReplaceAllStringFunc(text, func(s string) string {
		words := strings.Fields(s[2 : len(s)-1])
		switch words[0] {
		case "text": // words in base64
			return b64(strings.Join(words[1:], " "))
		case "zeros": // so many bytes in base64
			return base64.StdEncoding.EncodeToString(make([]byte, mustNumber(words[1])))
		case "items": // so many empty plaintexts
			return strings.TrimSuffix(strings.Repeat(`{"plaintext":""},`, mustNumber(words[1])), ",")
		case "version": // a ciphertext that says that it is of another version
			return regexp.MustCompile(`^vault:v\d+:`).ReplaceAllString(p.values[words[1]], "vault:v"+words[2]+":")
		case "flip": // a ciphertext with its last bit but some changed
			head, tail, _ := strings.Cut(strings.TrimPrefix(p.values[words[1]], "vault:"), ":")
			b, err := base64.StdEncoding.DecodeString(tail)
			if err != nil || len(b) == 0 {
				p.t.Fatalf("%s: %s: %v", p.at, s, err)
			}
			b[len(b)-1] ^= 1
			return "vault:" + head + ":" + base64.StdEncoding.EncodeToString(b)
		case "share":
			return p.s.Shares[mustNumber(words[1])]
		}
		value, ok := p.values[words[0]]
		if !ok {
			p.t.Fatalf("%s: nothing is called %s", p.at, s)
		}
		return value
	})
}
