package vault

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

const page = "../../../docs/dialects/vault.md"

// TestThePageHasTheTable holds docs/dialects/vault.md to the code's own tables. KEYHOLD_UPDATE=1 writes them into it.
func TestThePageHasTheTable(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	want := got
	for name, with := range map[string]string{"routes": routeTable(), "types": typeTable(), "errors": errorTable()} {
		want = put(t, want, name, with)
	}
	if got == want {
		return
	}
	if os.Getenv("KEYHOLD_UPDATE") == "" {
		t.Fatalf("%s is not what the tables say: KEYHOLD_UPDATE=1 go test ./internal/dialect/vault", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// put replaces what stands between the marks of a name.
func put(t *testing.T, text, name, with string) string {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	head, rest, ok := strings.Cut(text, begin)
	_, tail, is := strings.Cut(rest, end)
	if !ok || !is {
		t.Fatalf("%s has no place for %s", page, name)
	}
	return head + begin + with + end + tail
}

func routeTable() string {
	var b strings.Builder
	b.WriteString("\n| method | path | works | how, or why not |\n|---|---|---|---|\n")
	all := slices.SortedFunc(slices.Values(routes), func(a, b route) int {
		return cmp.Or(cmp.Compare(a.pattern, b.pattern), cmp.Compare(a.method, b.method))
	})
	for _, r := range all {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", r.method, r.pattern, [...]string{wholly: "yes", partly: "partly", notAtAll: "no"}[r.works], r.how)
	}
	b.WriteString("\n")
	return b.String()
}

func typeTable() string {
	var b strings.Builder
	b.WriteString("\n| type | parameter set | algorithm | for |\n|---|---|---|---|\n")
	for _, t := range keyTypes {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", t.name, t.set, t.algorithm, t.usage)
	}
	b.WriteString("\n")
	return b.String()
}

func errorTable() string {
	var b strings.Builder
	b.WriteString("\n| Keyhold | status | first text |\n|---|---|---|\n")
	codes := kms.AllCodes()
	slices.Sort(codes)
	for _, c := range codes {
		w := wireErrorOf(c)
		text := "that of Keyhold"
		switch {
		case w.text != "" && w.silent:
			text = "`" + strings.ReplaceAll(strings.TrimSpace(w.text), "\n\t", " ") + "`, alone"
		case w.text != "":
			text = "`" + strings.ReplaceAll(strings.TrimSpace(w.text), "\n\t", " ") + "`"
		case w.silent:
			text = "none"
		}
		fmt.Fprintf(&b, "| [%s](../errors.md#%s) %s | %d | %s |\n", c, strings.ToLower(c.String()), c.Title(), w.status, text)
	}
	b.WriteString("\n")
	return b.String()
}

// TestEveryErrorHasAStatus ranges over all codes, and so over all kinds.
func TestEveryErrorHasAStatus(t *testing.T) {
	for _, c := range kms.AllCodes() {
		f := faultOf(kms.Errorf(c, "what happened").Because(fmt.Errorf("an internal reason")))
		if f.status < 400 || f.status > 599 {
			t.Errorf("%s: got status %d", c, f.status)
		}
		all := strings.Join(f.texts, " ")
		if strings.Contains(all, "internal reason") {
			t.Errorf("%s tells an internal reason: %s", c, all)
		}
		if silent := wireErrorOf(c).silent; silent == strings.Contains(all, c.String()) {
			t.Errorf("%s: got %q, silent: %v", c, all, silent)
		}
	}
}

// TestEveryRouteOfTheAPIIsPlaced compares the table with what OpenBao publishes: neither has a row that the other has not.
func TestEveryRouteOfTheAPIIsPlaced(t *testing.T) {
	b, err := os.ReadFile("testdata/endpoints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		method := f[0]
		if strings.HasPrefix(f[2], "list") && method == http.MethodGet && !listsToo[f[1]] {
			method = methodList
		}
		theirs[method+" "+strings.TrimPrefix(f[1], "/")] = true
		if f[1] == "/secret/metadata/{path}" && method == http.MethodGet {
			theirs["LIST secret/metadata/{path}"] = true
		}
	}
	ours := map[string]bool{}
	for _, r := range routes {
		key := r.method + " " + r.pattern
		if ours[key] {
			t.Errorf("%s has two rows", key)
		}
		ours[key] = true
		if !theirs[key] && r.method != http.MethodPatch && !undescribed(r.pattern) {
			t.Errorf("%s is not in the API", key)
		}
		if (r.run == nil) != (r.works == notAtAll) || (r.how == "") != (r.works == wholly) {
			t.Errorf("%s: works %d, how %q", key, r.works, r.how)
		}
	}
	for key := range theirs {
		if !ours[key] {
			t.Errorf("%s is not placed", key)
		}
	}
}

// undescribed tells whether the description says nothing of a path: it was made while these logins were not mounted. It says nothing of PATCH either.
func undescribed(pattern string) bool {
	for _, mount := range []string{"auth/jwt/", "auth/kubernetes/", "auth/cert/"} {
		if strings.HasPrefix(pattern, mount) {
			return true
		}
	}
	return false
}

// listsToo are the paths of the API that can be read as well as listed, and stand once in its description.
var listsToo = map[string]bool{"/secret/metadata/{path}": true, "/sys/policies/acl/{name}": true, "/sys/policies/detailed/acl/{name}": true, "/sys/policy/{name}": true}
