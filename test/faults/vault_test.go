package faults

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// vaultRoute is a row of the table of docs/dialects/vault.md, which is made from the code's.
type vaultRoute struct {
	method, pattern string
	members         []string // of its body, as OpenBao describes it
}

// vaultRoutes are all of the table, so that a new one is tested by being there.
func vaultRoutes(t *testing.T) []vaultRoute {
	t.Helper()
	page, err := os.ReadFile("../../docs/dialects/vault.md")
	if err != nil {
		t.Fatal(err)
	}
	described, err := os.ReadFile("../../internal/dialect/vault/testdata/endpoints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	members := map[string][]string{}
	for line := range strings.Lines(string(described)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 4 {
			for m := range strings.SplitSeq(f[3], ",") {
				name, _, _ := strings.Cut(m, "=")
				key := f[0] + strings.TrimPrefix(f[1], "/")
				members[key] = append(members[key], name)
			}
		}
	}
	_, table, _ := strings.Cut(string(page), "<!-- routes: begin -->")
	table, _, _ = strings.Cut(table, "<!-- routes: end -->")
	var all []vaultRoute
	for _, m := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `([^`]+)` \\| (?:yes|partly|no) \\|").FindAllStringSubmatch(table, -1) {
		all = append(all, vaultRoute{m[1], m[2], members[m[1]+m[2]]})
	}
	if len(all) < 100 || len(members) < 60 {
		t.Fatalf("%d routes, %d with members: not all are found", len(all), len(members))
	}
	return all
}

// variable is what stands for a part of a path.
var variable = regexp.MustCompile(`\{[^}]+\}`)

// path is the route's, with a name for its variables.
func (r vaultRoute) path(name string) string {
	return "/v1/" + variable.ReplaceAllStringFunc(r.pattern, func(v string) string {
		if v == "{plaintext}" {
			return "plaintext"
		}
		return name
	})
}

// ending are routes that end what the test needs: they are sent what nobody takes for a request, and nothing else.
var ending = map[string]bool{"sys/seal": true, "auth/token/revoke-self": true, "sys/step-down": true}

// strangersToo are the routes that ask for no token, or for one in the body.
var strangersToo = regexp.MustCompile(`^(sys/(health|seal-status|leader|init|unseal|wrapping/(lookup|rewrap|unwrap))|auth/(approle|userpass|jwt|kubernetes|cert)/.*|auth/\{path\}.*|.*login.*|.*/(oidc|jwt)/.*)$`)

// asVault judges an answer: it succeeded, or was refused in Vault's form, without a look inside.
func asVault(r vaultRoute, status int, body []byte) error {
	var refusal struct{ Errors []string }
	switch {
	case leak.Match(bytes.ReplaceAll(body, []byte("sys/internal/"), nil)):
		return errors.New("the answer tells of the inside")
	case status >= 200 && status < 300:
		return nil
	case r.pattern == "sys/health" && json.Valid(body):
		return nil
	case status < 400 || status >= 500:
		return fmt.Errorf("status %d, want 4xx", status)
	case r.method == http.MethodHead:
		return nil
	case json.Unmarshal(body, &refusal) != nil || refusal.Errors == nil && !bytes.Contains(body, []byte(`"batch_results"`)):
		return errors.New("not in the form of Vault")
	case len(body) > 8<<10 && refusal.Errors != nil:
		return fmt.Errorf("%d bytes of error", len(body))
	}
	return nil
}

// wrongVaultMembers are the members that a route knows with values of other types, doubled and cut.
func wrongVaultMembers(r vaultRoute) []input {
	var all []input
	for _, name := range r.members {
		for _, value := range []string{`[[{}]]`, `{"a":{"a":[]}}`, `1e400`, `-1`, `99999999999999999999`, `"\ud800"`, `true`, `"` + strings.Repeat("A", 300_000) + `"`} {
			all = append(all, input{fmt.Sprintf("%s = %.20s", name, value), asJSON, "", fmt.Appendf(nil, `{%q:%s}`, name, value)})
		}
		all = append(all, input{name + " twice", asJSON, "", fmt.Appendf(nil, `{%q:null,%q:null}`, name, name)}, input{name + " cut", asJSON, "", fmt.Appendf(nil, `{%q:"x`, name)})
	}
	return append(all, input{"too large", asJSON, "", append(bytes.Repeat([]byte(" "), 9<<20), "{}"...)})
}

// TestNoInputBreaksTheVaultEndpoint sends to every route of Vault what is wrong in every way, as a caller who may do everything.
func TestNoInputBreaksTheVaultEndpoint(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	w, before, sent := p.web(), p.memory(), 0
	common := inputs()
	as := []string{"X-Vault-Token", p.env["VAULT_TOKEN"], "Authorization", ""}
	names := []string{"k", "%00", "%ff", "..%2f..%2fetc", "*", "+", strings.Repeat("n", 4000), "%7bname%7d", "a%3ab", strings.Repeat("n/", 300)}
	for i, r := range vaultRoutes(t) {
		if r.method == http.MethodPost {
			for k, in := range append(wrongVaultMembers(r), common...) {
				var object map[string]json.RawMessage
				wellFormed := (json.Unmarshal(in.body, &object) == nil || len(bytes.TrimSpace(in.body)) == 0) && len(in.body) < 8<<20
				if !long && (i+k)%16 != 0 || wellFormed && ending[r.pattern] {
					continue
				}
				sent++
				status, body := w.send(t, http.MethodPost, r.path("k"), in, as...)
				if err := asVault(r, status, body); err != nil || !wellFormed && status < 400 {
					t.Errorf("%s, %s: %v: %d %.300q", r.pattern, in.name, err, status, body)
				}
			}
			continue
		}
		if ending[r.pattern] {
			continue
		}
		for k, name := range names {
			for m, query := range []string{"", "?list=true&after=%ff&limit=-1", "?version=x&limit=x", "?" + strings.Repeat("a=b&", 1000)} {
				if !long && (i+k+m)%4 != 0 {
					continue
				}
				sent++
				if status, body := w.send(t, r.method, r.path(name)+query, input{name: name}, as...); asVault(r, status, body) != nil {
					t.Errorf("%s %.60s%.20s: %v: %d %.300q", r.method, r.path(name), query, asVault(r, status, body), status, body)
				}
			}
		}
	}
	if status, body := w.send(t, http.MethodPost, "/v1/transit/random/16", input{kind: asJSON}, as...); status != http.StatusOK {
		t.Errorf("the server does not serve any more: %d %s", status, body)
	}
	p.bounded(before, 256<<20)
	p.wholesome()
	t.Logf("%d requests; resident memory went from %d MiB to %d MiB", sent, before>>20, p.memory()>>20)
}

// TestEveryRouteOfVaultWantsAToken asks every route as a stranger, with tokens that are wrong, and as a principal of another namespace.
func TestEveryRouteOfVaultWantsAToken(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "KEYHOLD_LOCK_OUT_FAILURES=1048576", "KEYHOLD_LOCK_OUT_FAILURE_RATE=1048576")
	foreign, _, err := p.foreigner()
	if err != nil {
		t.Fatal(err)
	}
	w := p.web()
	w.token = ""
	for _, r := range vaultRoutes(t) {
		body := input{kind: asJSON, body: []byte(`{}`)}
		if r.method != http.MethodPost {
			body = input{}
		}
		for _, tc := range []struct{ name, token string }{
			{"no token", ""}, {"garbage", "x"}, {"a token nobody made", "kh_" + strings.Repeat("a", 26) + "_" + strings.Repeat("A", 43)},
			{"a longer one", strings.Repeat("kh_", 1000)}, {"another's secret", foreign.Secret[:30] + p.env["VAULT_TOKEN"][30:]},
		} {
			status, answer := w.send(t, r.method, r.path("k"), body, "X-Vault-Token", tc.token)
			if strangersToo.MatchString(r.pattern) {
				if err := asVault(r, status, answer); err != nil {
					t.Errorf("%s %s, %s: %v: %d %.300q", r.method, r.pattern, tc.name, err, status, answer)
				}
				continue
			}
			if want := "{\"errors\":[\"permission denied\"]}\n"; status != http.StatusForbidden || r.method != http.MethodHead && string(answer) != want {
				t.Errorf("%s %s, %s: %d %.300q", r.method, r.pattern, tc.name, status, answer)
			}
		}
		if ending[r.pattern] || strangersToo.MatchString(r.pattern) {
			continue
		}
		// Whoever may do everything elsewhere may do nothing here.
		status, answer := w.send(t, r.method, r.path("k"), body, "X-Vault-Token", foreign.Secret, "X-Vault-Namespace", "default")
		if err := asVault(r, status, answer); err != nil || status < 300 && !nobodysSecret.MatchString(r.pattern) {
			t.Errorf("%s %s from another namespace: %v: %d %.300q", r.method, r.pattern, err, status, answer)
		}
	}
	p.wholesome()
}

// nobodysSecret are the routes that tell every caller the same, or the caller of himself.
var nobodysSecret = regexp.MustCompile(`^(sys/(mounts|auth|internal/ui)(/.*)?|sys/capabilities-self|auth/token/(lookup|renew)-self|transit/(hash|random).*|transit/cache-config)$`)

// TestRequestsToTheVaultEndpointThatDoNotEnd sends bodies that are shorter than they say, longer than is taken, or never end.
func TestRequestsToTheVaultEndpointThatDoNotEnd(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	route := vaultRoute{method: http.MethodPost, pattern: "transit/hash"}
	head := "POST /v1/transit/hash HTTP/1.1\r\nHost: x\r\nContent-Type: " + asJSON + "\r\nX-Vault-Token: " + p.env["VAULT_TOKEN"] + "\r\n"
	t.Run("larger than is taken", func(t *testing.T) {
		if status, body := answers(p, head+"Content-Length: 9000000\r\n\r\n{"); asVault(route, status, []byte(body)) != nil || status != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d %.200q", status, body)
		}
	})
	for name, rest := range map[string]string{
		"shorter than it says": "Content-Length: 1000\r\n\r\n{\"input\":\"" + base64.StdEncoding.EncodeToString([]byte("cut")),
		"a cut chunk":          "Transfer-Encoding: chunked\r\n\r\n40\r\n{\"input\":",
		"no chunk":             "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := p.dialTLS("http/1.1")
			if _, err := io.WriteString(conn, head+rest); err != nil {
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
			if err := asVault(route, resp.StatusCode, body); err != nil || resp.StatusCode < 400 {
				t.Errorf("%v: %d %.200q", err, resp.StatusCode, body)
			}
		})
	}
	t.Run("without an end", func(t *testing.T) {
		before := p.memory()
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
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil { // to be cut off is as good
			defer resp.Body.Close() //nolint:errcheck // a test's
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("got %s", resp.Status)
			}
		}
		p.bounded(before, 64<<20)
	})
	p.wholesome()
}
