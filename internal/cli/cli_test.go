package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// files are the streams of a command that runs in the test.
func streams(t *testing.T) (cfg Config, read func() (stdout, stderr string)) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	cfg = Config{Stdin: open("in"), Stdout: open("out"), Stderr: open("err"), Getenv: func(string) string { return "" }, Version: "test"}
	return cfg, func() (string, string) {
		out, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		errs, err := os.ReadFile(filepath.Join(dir, "err"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out), string(errs)
	}
}

func TestWrongUsageIsStatusTwo(t *testing.T) {
	for _, line := range []string{"nothing", "key nothing", "key show", "key list --nothing", "encrypt", "random x", "operator init --shares 1", "-o yaml jobs"} {
		cfg, read := streams(t)
		if got := Run(cfg, strings.Fields(line)); got != exitUsage {
			t.Errorf("keyhold %s: got status %d, want %d", line, got, exitUsage)
		}
		out, errs := read()
		if out != "" || strings.Count(errs, "\n") != 3 || !strings.Contains(errs, "\n  why:  ") || !strings.Contains(errs, "\n  next: ") {
			t.Errorf("keyhold %s: got %q and %q, want three lines on standard error", line, out, errs)
		}
	}
}

// Every command that can be run has a form of JSON, or writes text or bytes by its nature.
func TestEveryCommandHasAFormOfJSON(t *testing.T) {
	cfg, _ := streams(t)
	a := &app{in: cfg.Stdin, stdout: cfg.Stdout, stderr: cfg.Stderr, getenv: cfg.Getenv}
	all, known := map[string]bool{}, schemas()
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
		if holdsOthers(c) {
			return
		}
		all[c.CommandPath()] = true
		if _, ok := known[c.CommandPath()]; !ok {
			t.Errorf("%s has no row in schema.go", c.CommandPath())
		}
	}
	for _, c := range a.root(nil).Commands() {
		look(c)
	}
	for name := range known {
		if !all[name] {
			t.Errorf("%s has a row in schema.go and is no command", name)
		}
	}
}

func TestNoFieldOfJSONIsWithoutName(t *testing.T) {
	var look func(reflect.Type)
	look = func(r reflect.Type) {
		for r.Kind() == reflect.Pointer || r.Kind() == reflect.Slice || r.Kind() == reflect.Map {
			r = r.Elem()
		}
		if r.Kind() != reflect.Struct || r == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range r.NumField() {
			f := r.Field(i)
			if f.IsExported() && !f.Anonymous && f.Tag.Get("json") == "" {
				t.Errorf("%s.%s has no json tag", r, f.Name)
			}
			if f.IsExported() {
				look(f.Type)
			}
		}
	}
	for _, f := range schemas() {
		look(f.item)
	}
}

func TestDurationsAndTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "0d": 0, "12h": 12 * time.Hour, "90m": 90 * time.Minute} {
		if got, ok := parseDays(text); !ok || got != want {
			t.Errorf("%q: got %s, %t, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "99999999999d", "tomorrow"} {
		if got, ok := parseDays(text); ok {
			t.Errorf("%q: got %s, want none", text, got)
		}
	}
	var i instant
	if err := i.Set("2026-01-31"); err != nil || !i.Equal(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %s, %v", i, err)
	}
	if err := i.Set("2d"); err != nil || time.Since(i.Time).Round(time.Hour) != 48*time.Hour {
		t.Errorf("two days ago: got %s, %v", i, err)
	}
}

func TestSizesAndDistances(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 30: "5.0 GiB", 1<<64 - 1: "16.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d): got %s, want %s", n, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"label", "lable", 2}, {"key", "key", 0}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q): got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestAFileAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := writeFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := newFile(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if err := f.abandon(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("got %q, %v, want what was there before", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the one file", left, err)
	}
	if err := writeOnce(path, []byte("x")); err == nil {
		t.Error("a file that may hold a secret was written over")
	}
}

func FuzzPrintableIsHarmless(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "\u009b31m", "a\nb", "\xff\xfe", "é…漢"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if !utf8.ValidString(got) {
			t.Fatalf("printable(%q): got %q, which is not UTF-8", s, got)
		}
		for _, r := range got {
			if !unicode.IsGraphic(r) {
				t.Fatalf("printable(%q): got %q, which has %U", s, got, r)
			}
		}
		if again := printable(got); again != got {
			t.Fatalf("printable is not stable: %q, then %q", got, again)
		}
	})
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{"30d", "2026-01-31", "a=b", "=", "AAEC\n", "-", "9999999999999999999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var p pairs
		if p.Set(s) == nil && len(p) != 1 {
			t.Fatalf("%q: got %v", s, p)
		}
		var d days
		if d.Set(s) == nil && d <= 0 {
			t.Fatalf("%q: got %d", s, d)
		}
		var i instant
		_ = i.Set(s)
		if b, err := unbase64("x", []byte(s)); err == nil && len(b) > len(s) {
			t.Fatalf("%q: got %d bytes", s, len(b))
		}
		for _, e := range []error{oneOf("x", s, []string{"encrypt"})} {
			if e != nil && len(e.Error()) > 1024 {
				t.Fatalf("a message of %d bytes", len(e.Error()))
			}
		}
	})
}
