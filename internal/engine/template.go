package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// maxTemplates is how many templates a namespace can have: they are held with its rules.
const maxTemplates = 256

// The descriptors of templates.
var (
	putTemplate = change[PutTemplateInput, TemplateOutput]{
		name:  kms.PutTemplate,
		check: checkTemplate,
		do:    doPutTemplate,
	}
	getTemplate = op[TemplateInput, TemplateOutput]{
		name:  kms.ReadTemplate,
		check: func(in *TemplateInput) error { return kms.CheckClass(in.Name) },
		do: func(ctx context.Context, w *work, in *TemplateInput) (TemplateOutput, error) {
			w.rec.Resource = in.Name
			t, err := w.o.records.Template(ctx, w.call.Namespace, in.Name)
			if err == nil && t.Rev == 0 {
				err = noTemplate(in.Name)
			}
			return TemplateOutput{templateInfo(&t)}, err
		},
	}
	listTemplates = op[PageInput, TemplatesOutput]{
		name:  kms.ReadTemplate,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do: func(ctx context.Context, w *work, in *PageInput) (TemplatesOutput, error) {
			page, next, err := w.o.records.Templates(ctx, w.call.Namespace, clipTo(in.Page, kms.MaxName), in.Limit)
			out := TemplatesOutput{Next: next}
			for i := range page {
				out.Templates = append(out.Templates, templateInfo(&page[i]))
			}
			return out, err
		},
	}
	deleteTemplate = change[TemplateInput, TemplateOutput]{
		name:  kms.DeleteTemplate,
		check: func(in *TemplateInput) error { return kms.CheckClass(in.Name) },
		do:    doDeleteTemplate,
	}
)

// PutTemplate stores a template, new or in place of the one of that name. Keys that were made by it stay as they are.
func (e *Engine) PutTemplate(ctx context.Context, c kms.Call, in PutTemplateInput) (TemplateOutput, error) {
	return alter(ctx, e, c, &putTemplate, &in)
}

// GetTemplate answers a template.
func (e *Engine) GetTemplate(ctx context.Context, c kms.Call, in TemplateInput) (TemplateOutput, error) {
	return use(ctx, e, c, &getTemplate, &in)
}

// ListTemplates pages through the templates by name.
func (e *Engine) ListTemplates(ctx context.Context, c kms.Call, in PageInput) (TemplatesOutput, error) {
	return use(ctx, e, c, &listTemplates, &in)
}

// DeleteTemplate removes a template. Keys that were made by it stay, under its name.
func (e *Engine) DeleteTemplate(ctx context.Context, c kms.Call, in TemplateInput) (TemplateOutput, error) {
	return alter(ctx, e, c, &deleteTemplate, &in)
}

// templates are those of a namespace, by name. They are part of its rules: one snapshot.
type templates map[string]*records.Template

// ofClass is the template of a class; nil: it has none.
func (all templates) ofClass(class string) *records.Template {
	for _, t := range all {
		if t.Default && t.Class == class {
			return t
		}
	}
	return nil
}

func (b *rulebook) templates(ctx context.Context, ns kms.Namespace) (templates, error) {
	var all templates
	for after := ""; ; {
		page, next, err := b.records.Templates(ctx, ns, after, maxTemplates)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if all == nil {
				all = templates{}
			}
			all[page[i].Name] = &page[i]
		}
		if next == "" {
			return all, nil
		}
		after = next
	}
}

func noTemplate(name string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no template %q in this namespace", name)
}

func checkTemplate(in *PutTemplateInput) error {
	t := &in.Template
	if err := kms.CheckClass(t.Name); err != nil {
		return err
	}
	if t.Class != "" {
		if err := kms.CheckClass(t.Class); err != nil {
			return err
		}
	}
	if t.Default && t.Class == "" {
		return kms.Errorf(kms.CodeBadRequest, "template %s is to be that of its class, and names no class", t.Name)
	}
	if len(t.Description) > kms.MaxDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(t.Description), kms.MaxDescription)
	}
	if err := checkTemplateKey(t); err != nil {
		return err
	}
	if err := checkPeriod(t.Period); err != nil {
		return err
	}
	if err := kms.CheckLabels(t.Labels); err != nil {
		return err
	}
	if err := kms.CheckRequired(t.Required); err != nil {
		return err
	}
	for i, f := range t.Locked {
		if lock := lockable[f]; lock == nil {
			return kms.Errorf(kms.CodeBadRequest, "%q cannot be locked: want one of %s", clipTo(f, 64), lockNames())
		} else if !lock(t) {
			return kms.Errorf(kms.CodeBadRequest, "%s is locked, and template %s does not say it", f, t.Name)
		}
		if slices.Contains(t.Locked[:i], f) {
			return kms.Errorf(kms.CodeBadRequest, "%s is locked twice", f)
		}
	}
	return checkWindows(t)
}

// checkTemplateKey checks what a template says of algorithm, usage and length. The profile is asked when a key is made.
func checkTemplateKey(t *TemplateInfo) error {
	if t.Algorithm == 0 {
		if t.Usage != 0 || t.Bytes != 0 {
			return kms.Errorf(kms.CodeBadRequest, "template %s has a usage or a length and no algorithm", t.Name)
		}
		return nil
	}
	if t.Usage != 0 && !slices.Contains(t.Algorithm.Usages(), t.Usage) {
		return kms.Errorf(kms.CodeUsage, "%s keys cannot %s", t.Algorithm, t.Usage)
	}
	return kms.CheckSize(t.Algorithm, t.Bytes)
}

// maxPeriod bounds a cryptoperiod.
const maxPeriod = 100 * 366 * 24 * time.Hour

func checkWindows(t *TemplateInfo) error {
	for _, s := range []kms.Seconds{t.Window, t.MinWindow} {
		if s < 0 || s > kms.Seconds(lifecycle.MaxWindow/time.Second) {
			return kms.Errorf(kms.CodeWindow, "a destruction window of %d seconds: want at most %s", s, lifecycle.MaxWindow)
		}
	}
	if t.Window != 0 && t.Window < t.MinWindow {
		return kms.Errorf(kms.CodeBadRequest, "the destruction window of %s is below the shortest one, %s", t.Window.Duration(), t.MinWindow.Duration())
	}
	return nil
}

// checkPeriod checks the form of a cryptoperiod.
func checkPeriod(p kms.Period) error {
	const most = kms.Seconds(maxPeriod / time.Second)
	if p.Every < 0 || p.Jitter < 0 || p.Every > most || p.Jitter > p.Every && p.Jitter != 0 && p.Calendar == "" {
		return kms.Errorf(kms.CodeBadRequest, "a cryptoperiod of %s with a jitter of %s: want at most a hundred years, and less jitter than that",
			p.Every.Duration(), p.Jitter.Duration())
	}
	return nil
}

func templateInfo(t *records.Template) TemplateInfo {
	return TemplateInfo{
		Name: t.Name, Description: t.Description, Class: t.Class, Default: t.Default, Algorithm: t.Algorithm, Usage: t.Usage, Bytes: t.Bytes, Period: t.Period,
		Freeze: t.Freeze, ProcessDeactivated: t.ProcessDeactivated, Exportable: t.Exportable, Labels: t.Labels, Required: t.Required, Locked: t.Locked,
		Window: t.Window, MinWindow: t.MinWindow, Changed: t.Changed, By: t.By, Rev: t.Rev,
	}
}

func templateRecord(t *TemplateInfo) records.Template {
	return records.Template{
		Name: t.Name, Description: t.Description, Class: t.Class, Default: t.Default, Algorithm: t.Algorithm, Usage: t.Usage, Bytes: t.Bytes, Period: t.Period,
		Freeze: t.Freeze, ProcessDeactivated: t.ProcessDeactivated, Exportable: t.Exportable, Labels: maps.Clone(t.Labels), Required: t.Required, Locked: t.Locked,
		Window: t.Window, MinWindow: t.MinWindow,
	}
}

func doPutTemplate(_ context.Context, w *work, tx *records.Tx, in *PutTemplateInput) (TemplateOutput, error) {
	if err := w.rulesStand(tx); err != nil { // other templates count
		return TemplateOutput{}, err
	}
	t := templateRecord(&in.Template)
	w.rec.Resource = t.Name
	was, there, err := tx.Template(w.call.Namespace, t.Name)
	if err != nil {
		return TemplateOutput{}, err
	}
	all := w.rules.templates
	switch other := all.ofClass(t.Class); {
	case there && in.New:
		return TemplateOutput{}, kms.Errorf(kms.CodeExists, "the template %q exists already", t.Name)
	case !there && len(all) >= maxTemplates:
		return TemplateOutput{}, kms.Errorf(kms.CodeTooLarge, "namespace %q has %d templates, as many as there can be", w.call.Namespace, len(all))
	case t.Default && other != nil && other.Name != t.Name:
		return TemplateOutput{}, kms.Errorf(kms.CodeExists, "the template of class %s is %q: a class has one", t.Class, other.Name)
	}
	t.Changed, t.By = w.now.UTC(), w.call.Principal.Name
	return TemplateOutput{templateInfo(&t)}, w.putRules(tx, was.Change, func(leaf [32]byte) error {
		t.Change = leaf
		return tx.PutTemplate(w.call.Namespace, t)
	})
}

func doDeleteTemplate(_ context.Context, w *work, tx *records.Tx, in *TemplateInput) (TemplateOutput, error) {
	was, there, err := tx.Template(w.call.Namespace, in.Name)
	if err != nil {
		return TemplateOutput{}, err
	}
	w.rec.Resource = in.Name
	if !there {
		return TemplateOutput{}, noTemplate(in.Name)
	}
	return TemplateOutput{templateInfo(&was)}, w.putRules(tx, was.Change, func([32]byte) error {
		return tx.RemoveTemplate(w.call.Namespace, in.Name)
	})
}

// rulesStand makes it a condition that the namespace's rules, its templates and required metadata among them, are those that admitted the
// call. If they are not, admission starts again with those in force.
func (w *work) rulesStand(tx *records.Tx) error {
	n, _, err := tx.Namespace(w.call.Namespace)
	if err != nil || n.Rev == w.rules.ns.Rev {
		return err
	}
	w.o.rules.rules.Forget(w.call.Namespace)
	return errStale
}
