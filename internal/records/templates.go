package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// kindTemplate: M namespace 00 name.
const kindTemplate kind = 'M'

// Template is what keys of one kind are made by.
type Template struct {
	Name        string        `json:"name"`
	Description string        `json:"desc,omitempty"`
	Class       string        `json:"class,omitempty"`   // classification of the data that its keys protect
	Default     bool          `json:"default,omitempty"` // it is the template of its class
	Algorithm   kms.Algorithm `json:"alg,omitempty"`     // 0: whoever makes a key says it
	Usage       kms.Usage     `json:"usage,omitempty"`
	Bytes       int           `json:"bytes,omitempty"`
	Period      kms.Period    `json:"period,omitzero"`

	Freeze             bool              `json:"freeze,omitempty"`
	ProcessDeactivated bool              `json:"process_deactivated,omitempty"`
	Exportable         bool              `json:"exportable,omitempty"`
	Labels             map[string]string `json:"labels,omitempty"`
	Required           []string          `json:"required,omitempty"`   // metadata that its keys must carry
	Locked             []string          `json:"locked,omitempty"`     // fields that a request for a key cannot say otherwise
	Window             kms.Seconds       `json:"window,omitempty"`     // before destruction, where none is asked for
	MinWindow          kms.Seconds       `json:"min_window,omitempty"` // the shortest one that can be asked for

	Changed time.Time `json:"changed"`
	By      string    `json:"by"`
	Change  [32]byte  `json:"change"`

	Rev kms.Rev `json:"-"`
}

func templatePrefix(ns kms.Namespace) []byte {
	b := append([]byte{byte(kindTemplate)}, ns...)
	return append(b, 0)
}

func templatePath(ns kms.Namespace, name string) []byte { return append(templatePrefix(ns), name...) }

// Template reads a template; a zero Rev means there is none.
func (r *Records) Template(ctx context.Context, ns kms.Namespace, name string) (Template, error) {
	t, rev, err := load[Template](ctx, r, templatePath(ns, name))
	t.Rev = rev
	return t, err
}

// Templates reads a page of a namespace's templates by name.
func (r *Records) Templates(ctx context.Context, ns kms.Namespace, after string, n int) (all []Template, next string, err error) {
	var from []byte
	if after != "" {
		from = templatePath(ns, after)
	}
	more, err := scan(ctx, r, templatePrefix(ns), from, n, func(_ []byte, t Template, rev kms.Rev) {
		t.Rev = rev
		all = append(all, t)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].Name
	}
	return all, next, err
}

// Template reads a template within the transaction.
func (tx *Tx) Template(ns kms.Namespace, name string) (Template, bool, error) {
	t, rev, ok, err := fetch[Template](tx, templatePath(ns, name))
	t.Rev = rev
	return t, ok, err
}

// PutTemplate writes a template. The caller also counts up the namespace's PolicyRev, as for a policy.
func (tx *Tx) PutTemplate(ns kms.Namespace, t Template) error {
	return tx.put(templatePath(ns, t.Name), t)
}

// RemoveTemplate deletes a template, in the same way.
func (tx *Tx) RemoveTemplate(ns kms.Namespace, name string) error {
	return tx.remove(templatePath(ns, name))
}
