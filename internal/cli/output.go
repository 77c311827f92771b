package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// The forms of output.
const (
	formatTable = "table"
	formatJSON  = "json"
)

func (a *app) json() bool { return a.flags.output == formatJSON }

// isTerminal tells whether a person sees a file.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) } //nolint:gosec // G115: a descriptor

// A colour of the terminal (ECMA-48 §8.3.117).
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	faint  colour = "2"
)

// paint colours text on a terminal, never with NO_COLOR (no-color.org).
func (a *app) paint(f *os.File, c colour, s string) string {
	if c == "" || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" || !isTerminal(f) {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// printable makes a text harmless for a terminal: what is not graphic is shown as an escape (CWE-150).
func printable(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == utf8.RuneError:
			b.WriteString(`\ufffd`)
		case !unicode.IsGraphic(r):
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// writeJSON writes one value.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// cell is one field of a table.
type cell struct {
	text   string
	colour colour
}

func plain(s string) cell { return cell{text: s} }

// stateColours say at a glance how something stands.
var stateColours = map[string]colour{
	"enabled": green, "active": green, "ok": green, "running": green, "yes": green,
	"suspended": yellow, "disabled": yellow, "pending-import": yellow, "pre-active": yellow, "deactivated": yellow, "warning": yellow,
	"pending": yellow, "approved": green, "withdrawn": faint, "used": faint,
	"replayed": yellow, "dry-run": faint, "idle": faint,
	"pending-destruction": red, "destroyed": red, "compromised": red, "destroyed-compromised": red, "denied": red, "refused": red,
	"scheduled": yellow, "erased": red, "irrecoverable": red,
	"failed": red, "withheld": red, "no": red, "revoked": red, "expired": red, "used up": red,
}

func state(s string) cell { return cell{text: s, colour: stateColours[s]} }

// rowsAtOnce are laid out together; a longer table is written in parts, so that its size does not matter.
const rowsAtOnce = 500

// table writes aligned columns.
type table struct {
	a      *app
	heads  []string
	rows   [][]cell
	widths []int
	begun  bool
}

func (a *app) table(heads ...string) *table { return &table{a: a, heads: heads} }

func (t *table) add(cells ...cell) error {
	for i := range cells {
		cells[i].text = printable(cells[i].text)
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) == rowsAtOnce {
		return t.flush()
	}
	return nil
}

func (t *table) flush() error {
	if t.widths == nil {
		t.widths = make([]int, len(t.heads))
	}
	for i, h := range t.heads {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(h))
	}
	for _, r := range t.rows {
		for i, c := range r {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	if !t.begun {
		t.begun = true
		head := make([]cell, len(t.heads))
		for i, h := range t.heads {
			head[i] = cell{h, faint}
		}
		t.line(&b, head)
	}
	for _, r := range t.rows {
		t.line(&b, r)
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.a.out, b.String())
	return err
}

func (t *table) line(b *strings.Builder, cells []cell) {
	last := len(cells) - 1
	for last > 0 && cells[last].text == "" {
		last--
	}
	for i, c := range cells[:last+1] {
		b.WriteString(t.a.paint(t.a.stdout, c.colour, c.text))
		if i < last {
			b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c.text)+2))
		}
	}
	b.WriteByte('\n')
}

// fact is one line of a description.
type fact struct {
	name string
	cell cell
}

// facts writes a description: a name and a value a line. Empty values are left out.
func (a *app) facts(all ...fact) error {
	_, err := io.WriteString(a.out, a.described(a.stdout, all))
	return err
}

// warn writes a description to standard error, for a person who is asked something, or should have been.
func (a *app) warn(all ...fact) { fmt.Fprint(a.stderr, a.described(a.stderr, all)) }

func (a *app) described(to *os.File, all []fact) string {
	width := 0
	for _, f := range all {
		if f.cell.text != "" {
			width = max(width, len(f.name))
		}
	}
	var b strings.Builder
	for _, f := range all {
		if f.cell.text == "" {
			continue
		}
		name := f.name + strings.Repeat(" ", width-len(f.name)+2)
		lines := strings.Split(f.cell.text, "\n")
		for i, l := range lines {
			if i > 0 {
				name = strings.Repeat(" ", width+2)
			}
			b.WriteString(a.paint(to, faint, name) + a.paint(to, f.cell.colour, printable(l)) + "\n")
		}
	}
	return b.String()
}

// moment is a time as people read it: to the second, in UTC.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// listing writes a sequence: a table, or a JSON object with one list and "more", which tells that there are more than --limit.
// It holds no more than a part of the table in memory.
func listing[T any](a *app, name string, limit int, all iter.Seq2[T, error], heads []string, row func(T) []cell) error {
	if a.json() {
		return listJSON(a, name, limit, all)
	}
	t := a.table(heads...)
	n := 0
	for item, err := range all {
		if err != nil {
			if n > 0 {
				_ = t.flush() // what came before the failure; the failure is what counts
			}
			return err
		}
		if limit > 0 && n == limit {
			if err := t.flush(); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "there are more: --limit 0 shows all\n")
			return nil
		}
		n++
		if err := t.add(row(item)...); err != nil {
			return err
		}
	}
	if n == 0 {
		fmt.Fprintf(a.stderr, "none\n")
		return nil
	}
	return t.flush()
}

func listJSON[T any](a *app, name string, limit int, all iter.Seq2[T, error]) error {
	n, more := 0, false
	for item, err := range all {
		if err != nil {
			return err // the text is cut short, which no JSON reader takes for a whole one
		}
		if limit > 0 && n == limit {
			more = true
			break
		}
		text, err := json.MarshalIndent(item, "    ", "  ")
		if err != nil {
			return err
		}
		before := ",\n    "
		if n == 0 {
			before = fmt.Sprintf("{\n  %q: [\n    ", name)
		}
		if _, err := fmt.Fprintf(a.out, "%s%s", before, text); err != nil {
			return err
		}
		n++
	}
	tail := fmt.Sprintf("\n  ],\n  \"more\": %t\n}\n", more)
	if n == 0 {
		tail = fmt.Sprintf("{\n  %q: [],\n  \"more\": %t\n}\n", name, more)
	}
	_, err := io.WriteString(a.out, tail)
	return err
}

// each makes a sequence of a list.
func each[T any](items []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, i := range items {
			if !yield(i, nil) {
				return
			}
		}
	}
}
