package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rows are the table's rows from top to bottom.
func rows() []row {
	var all []row
	for _, l := range table {
		all = append(all, l.rows...)
	}
	return all
}

func TestEveryPackageIsPlaced(t *testing.T) {
	found := read(t)
	placed := map[string]bool{}
	for _, r := range rows() {
		if placed[r.path] {
			t.Errorf("%s stands in the table twice", r.path)
		}
		placed[r.path] = true
	}
	for _, p := range tests {
		if placed[p] {
			t.Errorf("%s is both a package of the product and one of tests", p)
		}
		placed[p] = true
	}
	for _, p := range sorted(found) {
		if !placed[p] && !forTests(p) {
			t.Errorf("%s is not placed: give it a row in internal/archtest/table_test.go, in its layer", p)
		}
	}
	for _, p := range sorted(placed) {
		if found[p] == nil {
			t.Errorf("%s has a row and no package: remove the row", p)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	found := read(t)
	below := map[string]int{} // the place in the table, from the top
	for i, r := range rows() {
		below[r.path] = i
	}
	for i, r := range rows() {
		s := found[r.path]
		if s == nil {
			continue // TestEveryPackageIsPlaced tells
		}
		used := map[string]bool{}
		imports := s.imports()
		for _, p := range sorted(imports) {
			switch {
			case p == reveal || p == release:
			case ours(p) && !slices.Contains(r.may, p):
				t.Errorf("%s imports %s, which its row in the table does not permit", imports[p], p)
			case foreign(p):
				e := slices.IndexFunc(r.ext, func(e string) bool { return p == e || strings.HasPrefix(p, e+"/") })
				if e < 0 {
					t.Errorf("%s imports %s, which its row in the table does not permit", imports[p], p)
				} else {
					used[r.ext[e]] = true
				}
			case ours(p):
				used[p] = true
			}
		}
		for _, p := range append(slices.Clone(r.may), r.ext...) {
			if !used[p] {
				t.Errorf("%s may import %s and does not: take the permission out of its row", r.path, p)
			}
		}
		for _, p := range r.may {
			if at, ok := below[p]; !ok {
				t.Errorf("%s may import %s, which is not in the table", r.path, p)
			} else if at <= i {
				t.Errorf("%s may import %s, which does not stand below it", r.path, p)
			}
		}
	}
}

// Invariant 1: every operation on a key goes through the engine, because nothing else can reach a key.
func TestNoPathAroundThePath(t *testing.T) {
	found := read(t)
	for _, p := range sorted(found) {
		s := found[p]
		if forTests(p) {
			continue
		}
		imports := s.imports()
		for _, b := range bans {
			if !under(p, b.path) {
				continue
			}
			for _, i := range sorted(imports) {
				for _, banned := range b.imports {
					if under(i, banned) {
						t.Errorf("%s imports %s: %s", imports[i], i, b.why)
					}
				}
			}
		}
		if dialect, ok := strings.CutPrefix(p, "internal/dialect/"); ok {
			own, _, _ := strings.Cut(dialect, "/")
			for _, i := range sorted(imports) {
				if under(i, "internal/dialect/") && !under(i, "internal/dialect/"+own+"/") {
					t.Errorf("%s imports %s: a dialect does not lean on another", imports[i], i)
				}
			}
		}
	}
	// What the engine's methods take and answer cannot be used to reach a key past the engine.
	handles := []string{"store", "provider", "keyring", "seal", "box", "records", "reveal"}
	methods := 0
	for name, f := range found["internal/engine"].files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || receiver(fn) != "Engine" {
				continue
			}
			methods++
			ast.Inspect(fn.Type, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains(handles, x.Name) {
						t.Errorf("%s: the method %s of the engine has %s.%s in its signature: a handle would lead around the path", name, fn.Name, x.Name, s.Sel)
					}
				}
				return true
			})
		}
	}
	if methods < 40 {
		t.Errorf("only %d methods of the engine were looked at", methods)
	}
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) != 1 {
		return ""
	}
	switch r := fn.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		if x, ok := r.X.(*ast.Ident); ok {
			return x.Name
		}
	case *ast.Ident:
		return r.Name
	}
	return ""
}

func TestWhoMayReadSecrets(t *testing.T) {
	found := read(t)
	for _, list := range []struct {
		permission string
		who        map[string]string
	}{{reveal, readers}, {release, releasers}} {
		has := map[string]bool{}
		for _, p := range sorted(found) {
			file, ok := found[p].imports()[list.permission]
			if !ok || forTests(p) {
				continue
			}
			has[p] = true
			if list.who[p] == "" {
				t.Errorf("%s imports %s: %s is not on the list of those who may, with their reasons", file, list.permission, p)
			}
		}
		for _, p := range sorted(list.who) {
			if !has[p] {
				t.Errorf("%s may import %s and does not: take it off the list", p, list.permission)
			}
		}
	}
}

func TestTestPackagesStayInTests(t *testing.T) {
	found := read(t)
	for _, p := range sorted(found) {
		if forTests(p) {
			continue
		}
		imports := found[p].imports()
		for _, i := range sorted(imports) {
			if forTests(i) || i == "testing" {
				t.Errorf("%s imports %s, which is for tests", imports[i], i)
			}
		}
	}
}

func TestRandomnessIsSecret(t *testing.T) {
	found := read(t)
	for _, p := range sorted(found) {
		if forTests(p) {
			continue
		}
		imports := found[p].imports()
		for _, weak := range []string{"math/rand", "math/rand/v2"} {
			if file, ok := imports[weak]; ok && jitter[p] == "" {
				t.Errorf("%s imports %s: use crypto/rand", file, weak)
			}
		}
		for _, unsafe := range []string{"unsafe", "C"} {
			if file, ok := imports[unsafe]; ok && !generated(found[p].files[file]) {
				t.Errorf("%s imports %q", file, unsafe)
			}
		}
	}
}

func generated(f *ast.File) bool { return ast.IsGenerated(f) }

func TestDecisionsReadNoClock(t *testing.T) {
	found := read(t)
	for _, p := range clockless {
		s := found[p]
		if s == nil {
			t.Errorf("%s is to read no clock, and is no package", p)
			continue
		}
		for name, f := range s.files {
			for range uses(f, "time", "Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer") {
				t.Errorf("%s reads the clock: time is passed in", name)
			}
		}
	}
}

// Habits of the whole module that a linter does not know.
func TestHabits(t *testing.T) {
	found := read(t)
	withValue := map[string]string{
		"internal/authn":          "the peer of the local socket, from the listener to the handler",
		"internal/dialect/native": "the exchange, through the library that parses it",
	}
	for _, p := range sorted(found) {
		for name, f := range found[p].files {
			if generated(f) {
				continue
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init: dependencies arrive as arguments", name)
				}
			}
			if len(uses(f, "context", "WithValue")) > 0 && withValue[p] == "" {
				t.Errorf("%s puts values into a context: who, what and where from are parameters", name)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				m, ok := n.(*ast.MapType)
				if !ok {
					return true
				}
				k, _ := m.Key.(*ast.Ident)
				v, _ := m.Value.(*ast.Ident)
				if k != nil && k.Name == "string" && v != nil && v.Name == "any" {
					t.Errorf("%s: map[string]any at %s: give it a type", name, found[p].fset.Position(n.Pos()))
				}
				return true
			})
		}
		for name, f := range found[p].tests {
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow") {
					if x, ok := s.X.(*ast.Ident); ok && (x.Name == "t" || x.Name == "b" || x.Name == "tb") {
						t.Errorf("%s skips at %s: no test is skipped silently", name, found[p].fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
		documented := len(found[p].files) == 0
		for _, f := range found[p].files {
			documented = documented || f.Doc != nil || generated(f)
		}
		if !documented {
			t.Errorf("%s has no package comment", p)
		}
	}
}

func TestLeanPrograms(t *testing.T) {
	for p, banned := range leanPrograms {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+root+"/"+p).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", p, err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, module+"/"+p) {
			t.Fatalf("go list -deps %s answers %d packages, not that one", p, len(deps))
		}
		for _, d := range deps {
			for _, b := range banned {
				if d == b || strings.HasSuffix(b, "/") && strings.HasPrefix(d, b) && !strings.HasPrefix(d, module+"/") {
					t.Errorf("%s links %s", p, d)
				}
			}
		}
	}
}

func TestEveryInvariantHasItsTest(t *testing.T) {
	found := read(t)
	if len(invariants) != 10 {
		t.Errorf("%d invariants in the table, want 10", len(invariants))
	}
	page, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range invariants {
		if !strings.Contains(string(page), fmt.Sprintf("\n%d. **%s", i+1, v.says)) {
			t.Errorf("invariant %d, %q, does not stand in ARCHITECTURE.md", i+1, v.says)
		}
		s := found[v.in]
		if s == nil {
			t.Errorf("invariant %d: no package %s", i+1, v.in)
			continue
		}
		has := false
		for _, f := range s.tests {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				has = has || ok && fn.Recv == nil && fn.Name.Name == v.test && fn.Body != nil && len(fn.Body.List) > 0
			}
		}
		if !has {
			t.Errorf("invariant %d, %q: there is no test %s in %s", i+1, v.says, v.test, v.in)
		}
	}
}
