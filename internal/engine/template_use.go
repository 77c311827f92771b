package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// lockable are the fields that a template can lock. Each tells whether the template says it.
var lockable = map[string]func(*TemplateInfo) bool{
	"algorithm":           func(t *TemplateInfo) bool { return t.Algorithm != 0 },
	"usage":               func(t *TemplateInfo) bool { return t.Usage != 0 },
	"bytes":               func(t *TemplateInfo) bool { return t.Bytes != 0 },
	"cryptoperiod":        func(t *TemplateInfo) bool { return !t.Period.IsZero() },
	"labels":              func(t *TemplateInfo) bool { return len(t.Labels) > 0 },
	"class":               func(t *TemplateInfo) bool { return t.Class != "" },
	"freeze":              func(*TemplateInfo) bool { return true },
	"process-deactivated": func(*TemplateInfo) bool { return true },
	"exportable":          func(*TemplateInfo) bool { return true },
}

func lockNames() string { return strings.Join(slices.Sorted(maps.Keys(lockable)), ", ") }

// plan is what a new key will be: what its request says, and what its template says of the rest.
type plan struct {
	template           *records.Template // nil: none
	algorithm          kms.Algorithm
	usage              kms.Usage
	bytes              int
	class              string
	labels             map[string]string
	period             kms.Period
	freeze             bool
	processDeactivated bool
	exportable         bool
}

// planKey makes the plan. It is never nil: what is wrong with it is told once the caller is known to be allowed.
func (w *work) planKey(in *CreateKeyInput) (*plan, error) {
	p := &plan{algorithm: in.Algorithm, usage: in.Usage, bytes: in.Bytes, class: in.Class, labels: in.Labels}
	t, err := w.templateFor(in)
	if t == nil {
		p.period, p.freeze, p.processDeactivated, p.exportable = or(in.Period, kms.Period{}), in.Freeze, in.ProcessDeactivated, in.Exportable
		if err == nil && in.Algorithm == 0 {
			err = kms.Errorf(kms.CodeBadRequest, "the request names no algorithm, and no template that has one")
		}
		return p, err
	}
	p.template = t
	var differs []string // fields that the request says otherwise
	take := func(field string, other bool) {
		if other {
			differs = append(differs, field)
		}
	}
	take("algorithm", in.Algorithm != 0 && in.Algorithm != t.Algorithm)
	take("usage", in.Usage != 0 && in.Usage != t.Usage)
	take("bytes", in.Bytes != 0 && in.Bytes != t.Bytes)
	take("cryptoperiod", in.Period != nil && *in.Period != t.Period)
	take("class", in.Class != "" && in.Class != t.Class)
	take("freeze", in.Freeze && !t.Freeze)
	take("process-deactivated", in.ProcessDeactivated && !t.ProcessDeactivated)
	take("exportable", in.Exportable && !t.Exportable)
	for name, value := range t.Labels {
		if said, ok := in.Labels[name]; ok && said != value {
			take("labels", true)
		}
	}
	if p.algorithm == 0 {
		p.algorithm = t.Algorithm
	}
	if p.algorithm == t.Algorithm { // usage and length of another algorithm are its own
		if p.usage == 0 {
			p.usage = t.Usage
		}
		if p.bytes == 0 && !in.Import { // what is imported has its own
			p.bytes = t.Bytes
		}
	}
	if p.class == "" {
		p.class = t.Class
	}
	p.labels = maps.Clone(t.Labels)
	if p.labels == nil {
		p.labels = map[string]string{}
	}
	maps.Copy(p.labels, in.Labels)
	p.period, p.freeze = or(in.Period, t.Period), in.Freeze || t.Freeze
	p.processDeactivated, p.exportable = in.ProcessDeactivated || t.ProcessDeactivated, in.Exportable || t.Exportable
	for _, f := range differs {
		if slices.Contains(t.Locked, f) {
			return p, kms.Errorf(kms.CodeBadRequest, "template %q locks the %s of its keys, and the request says it otherwise", t.Name, f)
		}
	}
	if p.algorithm == 0 {
		return p, kms.Errorf(kms.CodeBadRequest, "neither the request nor the template %q names an algorithm", t.Name)
	}
	return p, kms.CheckLabels(p.labels)
}

// or is what a request says, or what else is.
func or[T any](said *T, otherwise T) T {
	if said != nil {
		return *said
	}
	return otherwise
}

// templateFor finds the template of a request: the one that it names, or that of the class. A class needs none.
func (w *work) templateFor(in *CreateKeyInput) (*records.Template, error) {
	switch {
	case in.Template != "":
		t := w.rules.templates[in.Template]
		if t == nil {
			return nil, noTemplate(in.Template)
		}
		return t, nil
	case in.Class != "":
		t := w.rules.templates.ofClass(in.Class)
		if t == nil && in.Algorithm == 0 {
			return nil, kms.Errorf(kms.CodeNotFound, "class %q has no template of its own in this namespace: name a template, or an algorithm", in.Class)
		}
		return t, nil
	}
	return nil, nil
}

// planStands makes it a condition of the transaction that what the plan was made by is in force.
func (w *work) planStands(tx *records.Tx, p *plan) error {
	if w.rules == nil || p.template == nil && len(w.rules.ns.Required) == 0 {
		return nil // nothing was asked: a requirement that comes now is for the next key
	}
	return w.rulesStand(tx)
}

// metadata names what a key of this namespace, and of its template if it has one, must say of itself.
func (w *work) metadata(t *records.Template) []string {
	all := w.rules.ns.Required
	if t == nil || len(t.Required) == 0 {
		return all
	}
	all = slices.Clone(all)
	for _, name := range t.Required {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// wantMetadata refuses a key that does not say what it must (SP 800-57 part 1 rev. 5 §6.2.3).
func (w *work) wantMetadata(k *kms.Key, t *records.Template) error {
	if missing := k.Missing(w.metadata(t)); len(missing) > 0 {
		return lacking(k.Name, missing)
	}
	return nil
}

func lacking(name string, missing []string) error {
	return kms.Errorf(kms.CodeMetadata, "key %q does not say its %s", name, strings.Join(missing, ", "))
}

// keepsMetadata refuses a change that takes away what a key must say, or changes what its template locks. What was missing before may
// stay so: a key from before a requirement can be changed in other ways.
func (w *work) keepsMetadata(was, k *kms.Key) error {
	t := w.rules.templates[k.Template]
	required := w.metadata(t)
	before := was.Missing(required)
	missing := slices.DeleteFunc(k.Missing(required), func(name string) bool { return slices.Contains(before, name) })
	if len(missing) > 0 {
		return lacking(k.Name, missing)
	}
	if t == nil {
		return nil
	}
	for _, f := range []struct {
		name    string
		changed bool
	}{{"class", k.Class != was.Class}, {"freeze", k.Freeze != was.Freeze}, {"process-deactivated", k.ProcessDeactivated != was.ProcessDeactivated}} {
		if f.changed && slices.Contains(t.Locked, f.name) {
			return kms.Errorf(kms.CodeBadRequest, "template %q locks the %s of its keys", t.Name, f.name)
		}
	}
	if slices.Contains(t.Locked, "labels") {
		for name := range t.Labels {
			if k.Labels[name] != was.Labels[name] {
				return kms.Errorf(kms.CodeBadRequest, "template %q locks the label %q of its keys", t.Name, name)
			}
		}
	}
	return nil
}

// window is how long a key waits for its destruction: what was asked for, or its template's default, and not less than that allows.
func (w *work) window(k *kms.Key, asked time.Duration) (time.Duration, error) {
	t := w.rules.templates[k.Template]
	if t == nil {
		return asked, nil
	}
	least := t.MinWindow.Duration()
	if asked == 0 {
		if asked = t.Window.Duration(); asked == 0 {
			return max(least, lifecycle.DefaultWindow), nil
		}
	}
	if asked < least {
		return 0, kms.Errorf(kms.CodeWindow, "a window of %s was asked for: template %q wants at least %s", asked, t.Name, least)
	}
	return asked, nil
}
