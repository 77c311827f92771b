package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
)

const asAWS = "application/x-amz-json-1.1"

// awsOperations are those that the dialect's page has in its table, which is made from the code's.
func awsOperations(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/dialects/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- operations: begin -->")
	table, _, _ = strings.Cut(table, "<!-- operations: end -->")
	var all []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(table, -1) {
		all = append(all, m[1])
	}
	if len(all) < 15 {
		t.Fatalf("%d operations: not all are found", len(all))
	}
	return all
}

// awsRefusal is what every refusal looks like on AWS's wire.
var awsRefusal = regexp.MustCompile(`^\{"__type":"([A-Za-z]+Exception)"(,"message":".*")?\}$`)

// refusedAsAWS judges an answer: an error of the client's making, in AWS's form, without a look inside.
func refusedAsAWS(status int, body []byte) error {
	switch m := awsRefusal.FindSubmatch(body); {
	case status != http.StatusBadRequest:
		return fmt.Errorf("status %d, want 400", status)
	case m == nil || !json.Valid(body):
		return errors.New("not in the form of AWS")
	case leak.Match(body):
		return errors.New("the answer tells of the inside")
	case len(body) > 8<<10:
		return fmt.Errorf("%d bytes of error", len(body))
	}
	return nil
}

// ask sends a request to an operation of AWS, signed with the development server's key or not at all.
func (p *process) ask(t *testing.T, w *web, operation string, in input, signed bool) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/", bytes.NewReader(in.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	if in.kind != "" {
		req.Header.Set("Content-Type", in.kind)
	}
	if in.encoding != "" {
		req.Header.Set("Content-Encoding", in.encoding)
	}
	if signed {
		awstest.Client{ID: p.env["AWS_ACCESS_KEY_ID"], Secret: p.env["AWS_SECRET_ACCESS_KEY"], Region: p.env["AWS_REGION"]}.Sign(req, "kms", string(in.body))
	}
	resp, err := w.http.Do(req)
	if err != nil {
		t.Errorf("%s (%s): %v", operation, in.name, err)
		return 0, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Errorf("%s (%s): %v", operation, in.name, err)
	}
	return resp.StatusCode, body
}

// TestNoInputBreaksTheAWSEndpoint sends to every operation of AWS what is wrong in every way, signed by a caller who may do everything: what does not depend on
// the operation, and the operation's own request, as the SDK writes it, with members of other types, cut, and doubled.
func TestNoInputBreaksTheAWSEndpoint(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	w, before, sent := p.web(), p.memory(), 0
	common := inputs()
	for i := range common { // what is wrong with the body is to be seen, not the type alone
		if common[i].kind == asJSON {
			common[i].kind = asAWS
		}
	}
	for i, operation := range awsOperations(t) {
		for k, in := range append(wrongMembers(t, operation), common...) {
			if in.name == "unknown field" || !long && (i+k)%4 != 0 { // AWS passes over members that it does not know
				continue
			}
			sent++
			status, body := p.ask(t, w, operation, in, true)
			if nothingWanted[operation] && status == http.StatusOK {
				continue
			}
			if err := refusedAsAWS(status, body); err != nil {
				t.Errorf("%s, %s: %v: %d %.300q", operation, in.name, err, status, body)
			}
		}
	}
	if status, body := p.ask(t, w, "GenerateRandom", input{kind: asAWS, body: []byte(`{"NumberOfBytes":16}`)}, true); status != http.StatusOK {
		t.Errorf("the server does not serve any more: %d %s", status, body)
	}
	p.bounded(before, 256<<20)
	p.wholesome()
	t.Logf("%d requests; resident memory went from %d MiB to %d MiB", sent, before>>20, p.memory()>>20)
}

// nothingWanted are operations that succeed with whatever is not about them.
var nothingWanted = map[string]bool{"CreateKey": true, "DescribeCustomKeyStores": true, "ListAliases": true, "ListKeys": true}

// snapshotOf is an operation's request as the SDK writes it.
func snapshotOf(t *testing.T, operation string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../internal/dialect/aws/testdata/snapshots/request", operation+".request.snap"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wrongMembers are the operation's request with each member of another type, and the whole of it cut and doubled.
func wrongMembers(t *testing.T, operation string) []input {
	t.Helper()
	head, body, ok := strings.Cut(snapshotOf(t, operation), "\n\n{")
	if !ok {
		t.Fatalf("%s: no body behind %s", operation, head)
	}
	body = "{" + strings.TrimSpace(body)
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	var all []input
	for name := range members {
		for _, value := range []string{`[[{}]]`, `{"a":{"a":[]}}`, `1e400`, `"\ud800"`, `"` + strings.Repeat("A", 300_000) + `"`} {
			all = append(all, input{fmt.Sprintf("%s = %.20s", name, value), asAWS, "", fmt.Appendf(nil, `{%q:%s}`, name, value)})
		}
		all = append(all, input{name + " twice", asAWS, "", fmt.Appendf(nil, `{%q:null,%q:null}`, name, name)})
	}
	if body != "{}" {
		all = append(all, input{"cut", asAWS, "", []byte(body[:len(body)/2])})
	}
	return append(all, input{"twice", asAWS, "", []byte(body + body)}, input{"too large", asAWS, "", []byte(strings.Repeat(" ", 600<<10) + body)})
}

// TestTheAWSEndpointWantsASignature asks every operation as a stranger, and as one with a signature for something else.
func TestTheAWSEndpointWantsASignature(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "KEYHOLD_LOCK_OUT_FAILURES=1048576", "KEYHOLD_LOCK_OUT_FAILURE_RATE=1048576")
	w := p.web()
	for _, operation := range awsOperations(t) {
		status, body := p.ask(t, w, operation, input{name: "unsigned", kind: asAWS, body: []byte(`{"KeyId":"k"}`)}, false)
		if err := refusedAsAWS(status, body); err != nil || !bytes.Contains(body, []byte("MissingAuthenticationTokenException")) {
			t.Errorf("%s unsigned: %v: %d %s", operation, err, status, body)
		}
		// A signature that was seen on the wire is good for its own body only.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/", strings.NewReader(`{"KeyId":"k","PendingWindowInDays":7}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", asAWS)
		req.Header.Set("X-Amz-Target", "TrentService."+operation)
		awstest.Client{ID: p.env["AWS_ACCESS_KEY_ID"], Secret: p.env["AWS_SECRET_ACCESS_KEY"], Region: p.env["AWS_REGION"]}.Sign(req, "kms", `{"NumberOfBytes":16}`)
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close() //nolint:errcheck // it was read
		if err := refusedAsAWS(resp.StatusCode, answer); err != nil || !bytes.Contains(answer, []byte("InvalidSignatureException")) {
			t.Errorf("%s with another's signature: %v: %d %s", operation, err, resp.StatusCode, answer)
		}
	}
	p.wholesome()
}

// TestRequestsToTheAWSEndpointThatDoNotEnd sends bodies that are shorter than they say, longer than is taken, or never end.
func TestRequestsToTheAWSEndpointThatDoNotEnd(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + asAWS + "\r\nX-Amz-Target: TrentService.GenerateRandom\r\n"
	t.Run("larger than AWS takes", func(t *testing.T) {
		if status, body := answers(p, head+"Content-Length: 5000000\r\n\r\n{"); refusedAsAWS(status, []byte(body)) != nil {
			t.Errorf("got %d %.200q", status, body)
		}
	})
	t.Run("without an end", func(t *testing.T) {
		conn := p.dialTLS("http/1.1")
		_, _ = io.WriteString(conn, head+"Transfer-Encoding: chunked\r\n\r\n") // an error shows below
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
		go func() {
			for range 1000 { // until the server has enough of it
				if _, err := io.WriteString(conn, chunk); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return // it was cut off, which is as good
		}
		defer resp.Body.Close() //nolint:errcheck // a test's
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err := refusedAsAWS(resp.StatusCode, body); err != nil {
			t.Errorf("%v: %d %.200q", err, resp.StatusCode, body)
		}
	})
	t.Run("shorter than it says", func(t *testing.T) {
		conn := p.dialTLS("http/1.1")
		if _, err := io.WriteString(conn, head+"Content-Length: 1000\r\n\r\n{\"NumberOf"); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return // it was cut off, which is as good
		}
		defer resp.Body.Close() //nolint:errcheck // a test's
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err := refusedAsAWS(resp.StatusCode, body); err != nil {
			t.Errorf("%v: %d %.200q", err, resp.StatusCode, body)
		}
	})
	p.wholesome()
}
