package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScripts plays testdata/scripts against the server: what AWS's documentation and recordings of its answers say for each operation, in the
// form of the wire. README.md beside the scripts tells how they are written.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	web := dev.web(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, web, file, string(text))
		})
	}
}

// TestEveryOperationHasAScript holds the scripts to the list of operations in AWS's model.
func TestEveryOperationHasAScript(t *testing.T) {
	for _, name := range operations(t) {
		text, err := os.ReadFile(filepath.Join("testdata/scripts", name+".txt"))
		if err != nil {
			t.Errorf("%s has no script: %v", name, err)
			continue
		}
		good, refused := false, false
		exchanges, err := parse(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, x := range exchanges {
			if x.operation == name {
				good, refused = good || x.status == http.StatusOK, refused || x.status != http.StatusOK
			}
		}
		if !refused || !good && !inapplicable[name] {
			t.Errorf("the script of %s answers it: %v, refuses it: %v", name, good, refused)
		}
	}
}

// TestEveryMessageIsInAScript holds the scripts to the messages that the real service was seen to send: people search for them.
func TestEveryMessageIsInAScript(t *testing.T) {
	list, err := os.ReadFile("testdata/messages.tsv")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var expected []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		exchanges, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, x := range exchanges {
			expected = append(expected, filler.ReplaceAllString(x.expected, "something"))
		}
	}
	variable := regexp.MustCompile(`<[^>]*>|…`)
	for line := range strings.Lines(string(list)) {
		cell := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cell) != 3 || cell[1] != "recorded" {
			continue
		}
		want := cell[0] + ": " + cell[2]
		if cell[2] == "(no message member)" {
			want = cell[0]
		}
		pattern := "^"
		for i, part := range variable.Split(want, -1) {
			if i > 0 {
				pattern += ".+"
			}
			pattern += regexp.QuoteMeta(part)
		}
		re := regexp.MustCompile(pattern + "$")
		if !slices.ContainsFunc(expected, re.MatchString) {
			t.Errorf("no script expects %s", want)
		}
	}
}

// inapplicable are operations on key stores outside, which are refused whatever is asked.
var inapplicable = map[string]bool{
	"ConnectCustomKeyStore": true, "CreateCustomKeyStore": true, "DeleteCustomKeyStore": true, "DisconnectCustomKeyStore": true, "UpdateCustomKeyStore": true,
}

// exchange is one request and the answer that is expected.
type exchange struct {
	line       int
	directives [][2]string
	operation  string
	body       string
	status     int
	expected   string
}

var answers = regexp.MustCompile(`^([1-5]\d\d)(?: (.*))?$`)

// parse reads a script: paragraphs of directives, a request, and an answer.
func parse(text string) ([]exchange, error) {
	var all []exchange
	var x exchange
	part := 0 // of the paragraph: nothing yet, request, answer
	end := func(line int) error {
		if part == 1 {
			return fmt.Errorf("line %d: the request of line %d has no answer", line, x.line)
		}
		if part == 2 {
			all = append(all, x)
		}
		x, part = exchange{}, 0
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		m := answers.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if err := end(n); err != nil {
				return nil, err
			}
		case part == 0 && line[0] == '@':
			name, value, _ := strings.Cut(line[1:], " ")
			x.directives = append(x.directives, [2]string{name, value})
		case part == 0:
			x.line, part = n, 1
			x.operation, x.body, _ = strings.Cut(line, " ")
		case part == 1 && m != nil:
			part = 2
			x.status, _ = strconv.Atoi(m[1])
			x.expected = m[2]
		case part == 1:
			x.body += "\n" + line
		default:
			x.expected += "\n" + line
		}
	}
	return all, end(n)
}

// play runs a script. What is captured in an answer is known from there on.
func play(t *testing.T, web *http.Client, file, text string) {
	t.Helper()
	exchanges, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	p := &player{t: t, values: map[string]string{"account": account, "region": home}}
	for _, x := range exchanges {
		p.at = fmt.Sprintf("%s:%d: %s", filepath.Base(file), x.line, x.operation)
		to, client, times, r := dev, web, 1, request{target: "TrentService." + x.operation, region: home, service: "kms", key: dev.credentials(), header: http.Header{}}
		r.body = p.fill(x.body)
		for _, d := range x.directives {
			switch d[0] {
			case "elsewhere":
				to, client = p.elsewhere()
				r.key = to.credentials()
				continue
			case "times":
				if times, err = strconv.Atoi(d[1]); err != nil {
					t.Fatalf("%s: %v", p.at, err)
				}
				continue
			}
			set, ok := directives[d[0]]
			if !ok {
				t.Fatalf("%s: unknown directive @%s", p.at, d[0])
			}
			set(p, &r, p.fill(d[1]))
		}
		for range times {
			p.check(x, to.send(t, client, r))
		}
	}
}

// directives change a request: "@name value" before it.
var directives = map[string]func(p *player, r *request, value string){
	"region":    func(_ *player, r *request, value string) { r.region = value },
	"service":   func(_ *player, r *request, value string) { r.service = value },
	"target":    func(_ *player, r *request, value string) { r.target = value },
	"unsigned":  func(_ *player, r *request, _ string) { r.raw = true },
	"accesskey": func(_ *player, r *request, value string) { r.key.AccessKeyID = value },
	"secret":    func(_ *player, r *request, value string) { r.key.SecretAccessKey = value },
	"token":     func(_ *player, r *request, value string) { r.key.SessionToken = value },
	"as":        func(p *player, r *request, value string) { r.key = dev.accessKey(p.t, value) },
	"header": func(_ *player, r *request, value string) {
		name, text, _ := strings.Cut(value, ": ")
		r.header[http.CanonicalHeaderKey(name)] = []string{text}
	},
	"skew": func(p *player, r *request, value string) {
		seconds, err := strconv.Atoi(value)
		if err != nil {
			p.t.Fatalf("%s: %v", p.at, err)
		}
		r.skew = time.Duration(seconds) * time.Second
	},
}

// player is what a script knows while it runs.
type player struct {
	t      *testing.T
	at     string // where it is
	values map[string]string
	other  *server // of another cluster; nil: not started yet
}

// elsewhere is a server of another cluster: what it makes must not open at the first.
func (p *player) elsewhere() (*server, *http.Client) {
	p.t.Helper()
	if p.other == nil {
		p.other = newServer(p.t)
	}
	return p.other, p.other.web(p.t)
}

func (p *player) errorf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s\n"+format, append([]any{p.at}, args...)...)
}

// check compares an answer with what is expected of it, and with what every answer must have.
func (p *player) check(x exchange, got answer) {
	p.t.Helper()
	if got.status != x.status {
		p.errorf("got  %d %s\nwant %d %s", got.status, got.body, x.status, p.fill(x.expected))
		return
	}
	if id := got.header.Get("X-Amzn-Requestid"); !kinds["request"].MatchString(id) {
		p.errorf("x-amzn-RequestId: %q", id)
	}
	if date, err := http.ParseTime(got.header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
		p.errorf("Date: %q", got.header.Get("Date"))
	}
	if have := got.header.Get("Content-Type"); have != jsonType {
		p.errorf("Content-Type: %q", have)
	}
	if x.status != http.StatusOK {
		p.checkError(x.expected, got.body)
		return
	}
	expected := x.expected
	if expected == "" {
		expected = "{}"
	}
	var want, have any
	if err := json.Unmarshal([]byte(p.fill(expected)), &want); err != nil {
		p.t.Fatalf("%s: the expected answer: %v", p.at, err)
	}
	if err := json.Unmarshal(got.body, &have); err != nil {
		p.errorf("the answer %q: %v", got.body, err)
		return
	}
	if err := p.match("", want, have); err != nil {
		p.errorf("%v\ngot  %s\nwant %s", err, got.body, expected)
	}
}

// explanation is what Keyhold adds to AWS's messages, for callers that it knows.
var explanation = regexp.MustCompile(` \(KH\d{4}[^\n]*\)$`)

// checkError wants "Type" and no message, or "Type: message".
func (p *player) checkError(expected string, body []byte) {
	p.t.Helper()
	kind, message, has := strings.Cut(expected, ": ")
	got := map[string]string{}
	if err := json.Unmarshal(body, &got); err != nil {
		p.errorf("the error %q: %v", body, err)
		return
	}
	text, hasText := got["message"]
	text = explanation.ReplaceAllString(text, "")
	if kind == "<any>" { // which one is not settled by AWS's documentation
		kind, message, has, text = got["__type"], "", hasText, ""
	}
	want := "^" + strings.ReplaceAll(regexp.QuoteMeta(p.fill(message)), "<any>", "(?s:.*)") + "$"
	if !strings.HasSuffix(kind, "Exception") || got["__type"] != kind || has != hasText || !regexp.MustCompile(want).MatchString(text) || len(got) > 2 {
		p.errorf("got  %s\nwant %s", body, p.fill(expected))
	}
}
