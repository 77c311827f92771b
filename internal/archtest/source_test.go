package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/keyhold/keyhold"
	root   = "../.."
)

// A source is one package as its files tell, whatever operating system they are for.
type source struct {
	path  string // relative to the module's root
	fset  *token.FileSet
	files map[string]*ast.File // without tests, by path
	tests map[string]*ast.File
}

// imports are those of the files that are not tests, each with the file that has it.
func (s *source) imports() map[string]string {
	all := map[string]string{}
	for name, f := range s.files {
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				p = i.Path.Value
			}
			all[relative(p)] = name
		}
	}
	return all
}

// relative makes an import path of this module relative to its root.
func relative(p string) string { return strings.TrimPrefix(p, module+"/") }

// ours tells whether a relative path is of this module.
func ours(p string) bool {
	return strings.HasPrefix(p, "internal/") || strings.HasPrefix(p, "cmd/") || strings.HasPrefix(p, "api/") || p == "client" || strings.HasPrefix(p, "client/") ||
		strings.HasPrefix(p, "test/")
}

// forTests tells whether a package is one that only tests import.
func forTests(p string) bool { return slices.Contains(tests, p) || strings.HasPrefix(p, "test/") }

// foreign tells whether it is of another module.
func foreign(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !ours(p) && strings.Contains(first, ".")
}

// read parses the module. Folders with a go.mod of their own are other modules.
func read(t *testing.T) map[string]*source {
	t.Helper()
	all := map[string]*source{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == root {
				return nil
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		s := all[rel]
		if s == nil {
			s = &source{path: rel, fset: token.NewFileSet(), files: map[string]*ast.File{}, tests: map[string]*ast.File{}}
			all[rel] = s
		}
		f, err := parser.ParseFile(s.fset, p, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		name := path.Join(rel, d.Name())
		if strings.HasSuffix(p, "_test.go") {
			s.tests[name] = f
		} else {
			s.files[name] = f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found below %s", len(all), root)
	}
	return all
}

// sorted gives the keys of a map in order, so that failures are reported in the same order each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// under tells whether a path is the given one, or below it if that ends in a slash.
func under(p, prefix string) bool {
	return p == strings.TrimSuffix(prefix, "/") || strings.HasSuffix(prefix, "/") && strings.HasPrefix(p, prefix)
}

// uses finds selectors such as time.Now in a file, by import path and name, whatever the package is called there.
func uses(f *ast.File, importPath string, names ...string) (at []token.Pos) {
	local := ""
	for _, i := range f.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); p == importPath {
			local = path.Base(p)
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, s.Sel.Name) {
				at = append(at, s.Pos())
			}
		}
		return true
	})
	return at
}
