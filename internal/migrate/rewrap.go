package migrate

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a request of many ciphertexts.
const (
	maxItems = 256
	maxBytes = 1 << 20 // of their texts
)

// Rewrap moves ciphertexts from a key of the source to one of the target: the source decrypts, the target encrypts.
type Rewrap struct {
	Source, Target *Server
	From, To       string // the keys

	derivedFrom, derivedTo bool
}

// Ciphertext is what is moved.
type Ciphertext struct {
	Text    string // vault:vN:…
	Context []byte // that the key is derived for; nil: none
	Data    []byte // associated data; nil: none
}

// Rewrapped is what came of one.
type Rewrapped struct {
	Text string
	Err  error // why it did not move
}

// Ready looks whether both keys are there: to encrypt by a name that is not would make a key.
func (r *Rewrap) Ready(ctx context.Context) error {
	for _, end := range []struct {
		of      *Server
		name    string
		derived *bool
		missing kms.Code
		next    string
	}{{r.Source, r.From, &r.derivedFrom, kms.CodeSource, "check --key and the mount"}, {r.Target, r.To, &r.derivedTo, kms.CodeKeyNotFound, "make it first: keyhold key create " + r.To + " --algorithm aes-256-gcm"}} {
		if !pathSafe(end.name) {
			return kms.Errorf(kms.CodeBadName, "%q is no name of a key of transit", clip(end.name))
		}
		d, err := end.of.describe(ctx, end.name)
		if absent(err) {
			e := kms.Errorf(end.missing, "%s has no key %s", end.of.cfg.What, end.name)
			e.Next = end.next
			return e
		}
		if err != nil {
			return err
		}
		*end.derived = d.Derived
	}
	return nil
}

// ID names the two keys: what was moved between them does not go on between others.
func (r *Rewrap) ID() string {
	return r.Source.base + r.Source.transit("keys", r.From) + " of " + r.Source.cfg.Namespace + " to " + r.Target.transit("keys", r.To) + " of " + r.Target.cfg.Namespace
}

// Move moves some, at most as many as fit into memory. The error is one of all of them.
func (r *Rewrap) Move(ctx context.Context, all []Ciphertext) ([]Rewrapped, error) {
	out := make([]Rewrapped, 0, len(all))
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && n < maxItems && (n == 0 || size+len(all[n].Text) <= maxBytes) {
			size += len(all[n].Text)
			n++
		}
		some, err := r.batch(ctx, all[:n])
		if err != nil {
			return nil, err
		}
		out, all = append(out, some...), all[n:]
	}
	return out, nil
}

// batchItem is one of a request. None of its texts needs escapes: they are base64, or were checked.
type batchItem struct {
	member  string // "ciphertext" or "plaintext"
	value   []byte // of it, with its quotes
	context string
	data    string
}

// request writes items as they are asked for: by hand, because an encoder would keep copies of plaintexts.
func request(items []batchItem) []byte {
	size := 64
	for _, it := range items {
		size += 128 + len(it.value) + len(it.context) + len(it.data)
	}
	b := append(make([]byte, 0, size), `{"batch_input":[`...)
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"`+it.member+`":`...), it.value...)
		if it.context != "" {
			b = append(b, `,"context":"`+it.context+`"`...)
		}
		if it.data != "" {
			b = append(b, `,"associated_data":"`+it.data+`"`...)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

type batchAnswer struct {
	Results []batchResult `json:"batch_results"`
}

type batchResult struct {
	Plaintext  jsontext.Value `json:"plaintext"`
	Ciphertext string         `json:"ciphertext"`
	Error      string         `json:"error"`
}

func (b *batchAnswer) erase() {
	for i := range b.Results {
		clear(b.Results[i].Plaintext)
	}
}

func (r *Rewrap) batch(ctx context.Context, all []Ciphertext) ([]Rewrapped, error) {
	out := make([]Rewrapped, len(all))
	items := make([]batchItem, len(all))
	for i, c := range all {
		if !IsCiphertext(c.Text) {
			return nil, kms.Errorf(kms.CodeBadCiphertext, "one of the texts is not of the form vault:vN:base64")
		}
		items[i] = batchItem{"ciphertext", []byte(`"` + c.Text + `"`), encoded(c.Context, r.derivedFrom), encoded(c.Data, true)}
	}
	opened, err := r.Source.many(ctx, "decrypt", r.From, items)
	if err != nil {
		return nil, err
	}
	defer opened.erase()
	items = items[:0]
	var at []int
	for i, p := range opened.Results {
		switch {
		case p.Error != "":
			out[i].Err = r.Source.trouble("", "%s does not decrypt it: %s", r.Source.cfg.What, r.Source.quotable(p.Error))
		case p.Plaintext.Kind() != '"':
			out[i].Err = r.Source.trouble("", "%s answers with no plaintext", r.Source.cfg.What)
		default:
			items = append(items, batchItem{"plaintext", p.Plaintext, encoded(all[i].Context, r.derivedTo), encoded(all[i].Data, true)})
			at = append(at, i)
		}
	}
	if len(items) == 0 {
		return out, nil
	}
	sealed, err := r.Target.many(ctx, "encrypt", r.To, items)
	if err != nil {
		return nil, err
	}
	for j, c := range sealed.Results {
		o := &out[at[j]]
		switch {
		case c.Error != "":
			o.Err = r.Target.trouble("", "%s does not encrypt it: %s", r.Target.cfg.What, r.Target.quotable(c.Error))
		case !IsCiphertext(c.Ciphertext):
			o.Err = r.Target.trouble("", "%s answers with no ciphertext", r.Target.cfg.What)
		default:
			o.Text = c.Ciphertext
		}
	}
	return out, nil
}

func encoded(b []byte, wanted bool) string {
	if !wanted {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

// many does an operation with several items. A refusal of some comes with status 400, and with the results of all.
func (s *Server) many(ctx context.Context, op, key string, items []batchItem) (*batchAnswer, error) {
	body := request(items)
	defer clear(body)
	a, err := s.call(ctx, http.MethodPost, s.transit(op, key), body)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	var out batchAnswer
	switch a.status {
	case http.StatusOK:
	case http.StatusBadRequest:
		if _, err := member(a.body, "data"); err != nil {
			return nil, a.refusal()
		}
	default:
		return nil, a.refusal()
	}
	if err := a.data(&out); err != nil {
		out.erase()
		return nil, err
	}
	if len(out.Results) != len(items) {
		out.erase()
		return nil, a.stays("has %d results for %d items", len(out.Results), len(items))
	}
	return &out, nil
}

// errForm is for a text that is no ciphertext.
var errForm = errors.New("not of the form vault:vN:base64")

// Version reads the version that a ciphertext of transit names.
func Version(text string) (uint32, error) {
	const prefix = "vault:v"
	if len(text) <= len(prefix) || text[:len(prefix)] != prefix {
		return 0, errForm
	}
	n, at := uint32(0), len(prefix)
	for ; at < len(text) && text[at] >= '0' && text[at] <= '9' && n < 1e8; at++ {
		n = 10*n + uint32(text[at]-'0')
	}
	if n == 0 || at == len(text) || text[at] != ':' || at+1 == len(text) {
		return 0, errForm
	}
	if i := slices.IndexFunc([]byte(text[at+1:]), func(c byte) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=')
	}); i >= 0 {
		return 0, errForm
	}
	return n, nil
}

// IsCiphertext tells whether a text has the form of a ciphertext of transit.
func IsCiphertext(text string) bool {
	_, err := Version(text)
	return err == nil
}
