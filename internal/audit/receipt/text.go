package receipt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// ErrForm says that a text is not a receipt.
var ErrForm = errors.New("not a destruction receipt")

// proofMark stands before each line of the proof, so that the text has no empty line.
const proofMark = "| "

// writer appends lines whose value is not empty.
type writer struct{ strings.Builder }

func (w *writer) line(name, value string) {
	if value != "" {
		w.WriteString(name + ": " + value + "\n")
	}
}

func (w *writer) quoted(name, value string) {
	if value != "" {
		w.line(name, strconv.QuoteToASCII(value))
	}
}

func (w *writer) count(name string, n uint64) {
	if n != 0 {
		w.line(name, strconv.FormatUint(n, 10))
	}
}

func (w *writer) time(name string, t time.Time) {
	if !t.IsZero() {
		w.line(name, t.UTC().Format(time.RFC3339Nano))
	}
}

func (w *writer) id(name string, id kms.ID) {
	if !id.IsZero() {
		w.line(name, id.String())
	}
}

// Text is the text that is signed.
func (r *Receipt) Text() string {
	var w writer
	w.WriteString(Header + "\n")
	w.line("cluster", r.Cluster)
	w.line("destroyed", r.What)
	w.line("namespace", string(r.Namespace))
	w.id("key", r.Key)
	w.quoted("name", r.Name)
	w.quoted("data-class", r.Class)
	w.quoted("description", r.Description)
	for _, l := range r.Labels {
		w.line("label", labelText(l))
	}
	w.line("labels-sha256", r.LabelsSum)
	w.count("versions", r.VersionsAll)
	for i := range r.Versions {
		w.line("version", VersionText(&r.Versions[i]))
	}
	w.line("versions-sha256", r.VersionsSum)
	w.count("keys", r.Keys)
	w.count("data-keys", r.DataKeys)
	w.count("principals", r.Principals)
	w.time("requested", r.Requested)
	w.quoted("requested-by", r.RequestedBy)
	w.quoted("reason", r.Reason)
	w.id("approval", r.Approval)
	for _, p := range r.ApprovedBy {
		w.line("approved-by", strconv.QuoteToASCII(p))
	}
	w.line("assessment-sha256", r.Assessment)
	w.time("due", r.Due)
	w.time("erased", r.Erased)
	w.line("method", Method)
	w.count("last-epoch", uint64(r.Epoch))
	w.time("irrecoverable", r.Irrecoverable)
	for _, u := range unreached {
		w.line("not-reached", u)
	}
	w.id("record", r.Record)
	w.line("position", r.Position)
	for l := range strings.Lines(string(r.Proof)) {
		w.WriteString(proofMark + l)
	}
	return w.String()
}

func labelText(l Label) string {
	return strconv.QuoteToASCII(l.Name) + " " + strconv.QuoteToASCII(l.Value)
}

// VersionText is the line of a version, without its name.
func VersionText(v *Version) string {
	s := fmt.Sprintf("%d %s %s %s", v.Number, v.Algorithm, v.State, v.Created.UTC().Format(time.RFC3339Nano))
	if len(v.Check) > 0 {
		s += " " + hex.EncodeToString(v.Check)
	}
	return s
}

// Sum is the digest of lines that are too many to list.
func Sum(lines func(yield func(string))) string {
	h := sha256.New()
	lines(func(s string) { h.Write([]byte(s + "\n")) })
	return hex.EncodeToString(h.Sum(nil))
}

// SetLabels takes the labels of a key, or their digest if they are long.
func (r *Receipt) SetLabels(labels map[string]string) {
	total := 0
	for n, v := range labels {
		l := Label{n, v}
		r.Labels = append(r.Labels, l)
		total += len(labelText(l))
	}
	slices.SortFunc(r.Labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	if total > MaxLabels {
		r.LabelsSum = Sum(func(yield func(string)) {
			for _, l := range r.Labels {
				yield(labelText(l))
			}
		})
		r.Labels = nil
	}
}

// reader takes the lines apart. The first thing that is wrong stays in err.
type reader struct {
	r   *Receipt
	err error
}

func (p *reader) wrong(name string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: the line %q is wrong", ErrForm, name)
	}
}

func (p *reader) quoted(name, v string) string {
	s, err := strconv.Unquote(v)
	if err != nil {
		p.wrong(name)
	}
	return s
}

func (p *reader) count(name, v string, bits int) uint64 {
	n, err := strconv.ParseUint(v, 10, bits)
	if err != nil {
		p.wrong(name)
	}
	return n
}

func (p *reader) time(name, v string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		p.wrong(name)
	}
	return t.UTC()
}

func (p *reader) id(name, v string) kms.ID {
	id, ok := kms.ParseID(v)
	if !ok {
		p.wrong(name)
	}
	return id
}

// fields read the lines by their names. Lines that every receipt has alike are compared when the text is written again.
var fields = map[string]func(p *reader, name, v string){
	"cluster":     func(p *reader, _, v string) { p.r.Cluster = v },
	"destroyed":   func(p *reader, _, v string) { p.r.What = v },
	"namespace":   func(p *reader, _, v string) { p.r.Namespace = kms.Namespace(v) },
	"key":         func(p *reader, n, v string) { p.r.Key = p.id(n, v) },
	"name":        func(p *reader, n, v string) { p.r.Name = p.quoted(n, v) },
	"data-class":  func(p *reader, n, v string) { p.r.Class = p.quoted(n, v) },
	"description": func(p *reader, n, v string) { p.r.Description = p.quoted(n, v) },
	"label": func(p *reader, n, v string) {
		first, err := strconv.QuotedPrefix(v)
		if err != nil || len(v) <= len(first) || len(p.r.Labels) == kms.MaxLabels {
			p.wrong(n)
			return
		}
		p.r.Labels = append(p.r.Labels, Label{p.quoted(n, first), p.quoted(n, v[len(first)+1:])})
	},
	"labels-sha256": func(p *reader, _, v string) { p.r.LabelsSum = v },
	"versions":      func(p *reader, n, v string) { p.r.VersionsAll = p.count(n, v, 64) },
	"version": func(p *reader, n, v string) {
		one, ok := parseVersion(v)
		if !ok || len(p.r.Versions) == MaxVersions {
			p.wrong(n)
			return
		}
		p.r.Versions = append(p.r.Versions, one)
	},
	"versions-sha256": func(p *reader, _, v string) { p.r.VersionsSum = v },
	"keys":            func(p *reader, n, v string) { p.r.Keys = p.count(n, v, 64) },
	"data-keys":       func(p *reader, n, v string) { p.r.DataKeys = p.count(n, v, 64) },
	"principals":      func(p *reader, n, v string) { p.r.Principals = p.count(n, v, 64) },
	"requested":       func(p *reader, n, v string) { p.r.Requested = p.time(n, v) },
	"requested-by":    func(p *reader, n, v string) { p.r.RequestedBy = p.quoted(n, v) },
	"reason":          func(p *reader, n, v string) { p.r.Reason = p.quoted(n, v) },
	"approval":        func(p *reader, n, v string) { p.r.Approval = p.id(n, v) },
	"approved-by": func(p *reader, n, v string) {
		if len(p.r.ApprovedBy) == maxPeople {
			p.wrong(n)
			return
		}
		p.r.ApprovedBy = append(p.r.ApprovedBy, p.quoted(n, v))
	},
	"assessment-sha256": func(p *reader, _, v string) { p.r.Assessment = v },
	"due":               func(p *reader, n, v string) { p.r.Due = p.time(n, v) },
	"erased":            func(p *reader, n, v string) { p.r.Erased = p.time(n, v) },
	"method":            func(*reader, string, string) {},
	"last-epoch":        func(p *reader, n, v string) { p.r.Epoch = uint32(p.count(n, v, 32)) }, //nolint:gosec // G115: bounded
	"irrecoverable":     func(p *reader, n, v string) { p.r.Irrecoverable = p.time(n, v) },
	"not-reached":       func(*reader, string, string) {},
	"record":            func(p *reader, n, v string) { p.r.Record = p.id(n, v) },
	"position":          func(p *reader, _, v string) { p.r.Position = v },
}

func parseVersion(v string) (out Version, ok bool) {
	words := strings.Split(v, " ")
	if len(words) != 4 && len(words) != 5 {
		return out, false
	}
	n, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return out, false
	}
	out.Number = uint32(n)
	if out.Algorithm, err = kms.ParseAlgorithm(words[1]); err != nil {
		return out, false
	}
	for _, s := range kms.AllStates() {
		if s.String() == words[2] {
			out.State = s
		}
	}
	if out.Created, err = time.Parse(time.RFC3339Nano, words[3]); err != nil {
		return out, false
	}
	if len(words) == 5 {
		if out.Check, err = hex.DecodeString(words[4]); err != nil {
			return out, false
		}
	}
	return out, true
}

// ParseText reads what Text writes, and no other form.
func ParseText(text string) (*Receipt, error) {
	if len(text) > Max {
		return nil, fmt.Errorf("%w: it is too long", ErrForm)
	}
	rest, ok := strings.CutPrefix(text, Header+"\n")
	if !ok || !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("%w: it does not begin with %q, or does not end with a line", ErrForm, Header)
	}
	p := reader{r: &Receipt{}}
	for line := range strings.Lines(rest) {
		if proof, is := strings.CutPrefix(line, proofMark); is {
			p.r.Proof = append(p.r.Proof, proof...)
			continue
		}
		name, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		read := fields[name]
		if !ok || read == nil {
			return nil, fmt.Errorf("%w: a line is not known", ErrForm)
		}
		if read(&p, name, v); p.err != nil {
			return nil, p.err
		}
	}
	if p.r.Text() != text {
		return nil, fmt.Errorf("%w: it is not in canonical form", ErrForm)
	}
	return p.r, p.r.check()
}

// check refuses a receipt that says too little to be one.
func (r *Receipt) check() error {
	switch {
	case r.What != OfKey && r.What != OfNamespace || (r.What == OfKey) == r.Key.IsZero():
		return fmt.Errorf("%w: it does not say what was destroyed", ErrForm)
	case r.Cluster == "" || r.Namespace == "" || r.Erased.IsZero() || r.Irrecoverable.IsZero() || r.Epoch == 0:
		return fmt.Errorf("%w: it does not say where or when", ErrForm)
	case r.Record.IsZero() || r.Position == "" || len(r.Proof) == 0:
		return fmt.Errorf("%w: it has no record and no proof", ErrForm)
	case r.VersionsAll > uint64(len(r.Versions)) && r.VersionsSum == "":
		return fmt.Errorf("%w: it does not say which versions", ErrForm)
	}
	return nil
}
