package doctest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

func TestEveryErrorHasItsSection(t *testing.T) {
	all := pages(t)
	page := all["docs/errors.md"]
	have := anchors(page)
	known := map[string]bool{}
	for _, c := range kms.AllCodes() {
		known[c.String()] = true
		at := strings.ToLower(c.String())
		if !have[at] {
			t.Errorf("docs/errors.md has no section %s (%s)", c, c.Title())
			continue
		}
		_, section, _ := strings.Cut(page, "\n### "+c.String()+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		title := strings.ToUpper(c.Title()[:1]) + c.Title()[1:]
		if !strings.Contains(section, "**"+title+".**") || !strings.Contains(section, "*What to do:*") {
			t.Errorf("the section of %s does not begin with its title %q, or does not say what to do", c, title)
		}
	}
	// And no page speaks of a code that there is not.
	code := regexp.MustCompile(`KH\d{4}`)
	for name, text := range all {
		for _, c := range code.FindAllString(text, -1) {
			if !known[c] {
				t.Errorf("%s speaks of %s, which is no code", name, c)
			}
		}
	}
}

// What errors advise can be typed.
func TestAdviceNamesCommandsThatExist(t *testing.T) {
	commands := anchors(pages(t)["docs/cli.md"])
	advised := regexp.MustCompile(`keyhold ([a-z][a-z-]*(?: [a-z][a-z-]*)?)`)
	for _, c := range kms.AllCodes() {
		for _, m := range advised.FindAllStringSubmatch(c.Next(), -1) {
			first, _, _ := strings.Cut(m[1], " ")
			if !commands["keyhold-"+strings.ReplaceAll(m[1], " ", "-")] && !commands["keyhold-"+first] {
				t.Errorf("%s advises keyhold %s, which is no command", c, m[1])
			}
		}
	}
}

// used are the modules that the packages of this one import themselves, tests included.
func used(t *testing.T) []string {
	t.Helper()
	type pkg struct {
		ImportPath                         string
		Module                             *struct{ Path string }
		Imports, TestImports, XTestImports []string
	}
	list := func(each func(pkg), args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Module,Imports,TestImports,XTestImports"}, args...)...)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p pkg
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			each(p)
		}
	}
	imported := map[string]bool{}
	list(func(p pkg) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") && !strings.HasPrefix(i, "github.com/keyhold/keyhold/") {
				imported[i] = true
			}
		}
	}, "./...")
	paths := make([]string, 0, len(imported))
	for i := range imported {
		paths = append(paths, i)
	}
	modules := map[string]bool{}
	list(func(p pkg) {
		if p.Module != nil {
			modules[p.Module.Path] = true
		}
	}, paths...)
	var all []string
	for m := range modules {
		all = append(all, m)
	}
	slices.Sort(all)
	return all
}

func TestDependenciesAreListed(t *testing.T) {
	page := pages(t)["docs/dependencies.md"]
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(page, -1)
	var listed []string
	for _, r := range rows {
		listed = append(listed, r[1])
		for _, cell := range r[2:] {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("the row of %s has an empty cell", r[1])
			}
		}
	}
	slices.Sort(listed)
	got := used(t)
	for _, m := range got {
		if !slices.Contains(listed, m) {
			t.Errorf("docs/dependencies.md has no row for %s", m)
		}
	}
	for _, m := range listed {
		if !slices.Contains(got, m) {
			t.Errorf("docs/dependencies.md has a row for %s, which nothing imports", m)
		}
	}
}

// A newcomer can follow a request from the socket to the disk: few files, and few lines in them.
func TestOneRequestCanBeFollowed(t *testing.T) {
	const maxFiles, maxLines = 7, 1000
	_, section, ok := strings.Cut(pages(t)["ARCHITECTURE.md"], "\n## The path of one request\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (\w) \| \[([^\]]+)\]\(([^)]+)\) \| ([^|]+) \|`).FindAllStringSubmatch(section, -1)
	if !ok || len(rows) < 5 {
		t.Fatalf("the path has %d rows", len(rows))
	}
	files, lines := 0, 0
	for _, r := range rows {
		if r[2] != r[3] {
			t.Errorf("the link of %s leads to %s", r[2], r[3])
		}
		if r[1] >= "1" && r[1] <= "9" {
			files++
		}
		sizes := sizesOf(t, r[3])
		for _, name := range strings.Split(strings.TrimSpace(r[4]), ", ") {
			if sizes[name] == 0 {
				t.Errorf("%s has no %s", r[3], name)
			}
			lines += sizes[name]
		}
	}
	if files > maxFiles || lines > maxLines {
		t.Errorf("following a request takes %d files and %d lines, want at most %d and %d", files, lines, maxFiles, maxLines)
	}
	t.Logf("%d files, %d lines", files, lines)
}

// sizesOf counts the lines of each function and variable of a file, comments included.
func sizesOf(t *testing.T, path string) map[string]int {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	size := func(doc *ast.CommentGroup, n ast.Node) int {
		from := n.Pos()
		if doc != nil {
			from = doc.Pos()
		}
		return fset.Position(n.End()).Line - fset.Position(from).Line + 1
	}
	all := map[string]int{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			all[d.Name.Name] = max(all[d.Name.Name], size(d.Doc, d)) // of two methods of one name, the longer
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						all[name.Name] = size(v.Doc, v)
					}
				}
			}
		}
	}
	return all
}

func TestTheMakefileKeepsItsTargets(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "help")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"help", "build", "demo", "test", "test-long", "lint", "bench", "fuzz", "generate", "docs", "clean"} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^  make %s +\S`, target)).Match(out) {
			t.Errorf("make help does not show %s", target)
		}
	}
}
