package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Template is what keys of one kind are made by. What it does not say, the request for a key does. Its JSON form is stable, and can be put again.
type Template struct {
	Name               string            `json:"name"`
	Description        string            `json:"description,omitempty"`
	DataClass          string            `json:"data_class,omitempty"`       // classification of the data that its keys protect
	DefaultOfClass     bool              `json:"default_of_class,omitempty"` // it is the template of its class
	Algorithm          string            `json:"algorithm,omitempty"`
	Usage              string            `json:"usage,omitempty"`
	Bytes              uint32            `json:"bytes,omitempty"`
	Cryptoperiod       Cryptoperiod      `json:"cryptoperiod,omitzero"`
	Freeze             bool              `json:"freeze,omitempty"`
	ProcessDeactivated bool              `json:"process_deactivated,omitempty"`
	Exportable         bool              `json:"exportable,omitempty"`
	Labels             map[string]string `json:"labels,omitempty"`
	Required           []string          `json:"required,omitempty"` // metadata that its keys must carry
	Locked             []string          `json:"locked,omitempty"`   // what a request cannot say otherwise

	DestructionWindowSeconds        int64 `json:"destruction_window_seconds,omitempty"`
	MinimumDestructionWindowSeconds int64 `json:"minimum_destruction_window_seconds,omitempty"`

	ChangedAt time.Time `json:"changed_at,omitzero"` // these three are the server's to say
	ChangedBy string    `json:"changed_by,omitempty"`
	Revision  uint64    `json:"revision,omitempty"`
}

// PutTemplate stores a template, new or in place of the one of that name; with onlyNew it is refused if there is one.
func (c *Client) PutTemplate(ctx context.Context, t Template, onlyNew bool, options ...Option) (Template, error) {
	return templateOf(invoke(ctx, c, c.inventory.PutTemplate, &keyholdv1.PutTemplateRequest{Template: templateMessage(t), OnlyNew: onlyNew}, changes, options))
}

// GetTemplate answers a template.
func (c *Client) GetTemplate(ctx context.Context, name string, options ...Option) (Template, error) {
	return templateOf(invoke(ctx, c, c.inventory.GetTemplate, &keyholdv1.GetTemplateRequest{Name: name}, reads, options))
}

// DeleteTemplate removes a template. Keys that were made by it stay.
func (c *Client) DeleteTemplate(ctx context.Context, name string, options ...Option) (Template, error) {
	return templateOf(invoke(ctx, c, c.inventory.DeleteTemplate, &keyholdv1.DeleteTemplateRequest{Name: name}, changes, options))
}

// ListTemplates goes through the templates by name.
func (c *Client) ListTemplates(ctx context.Context, options ...Option) iter.Seq2[Template, error] {
	return pages(func(token string) ([]Template, string, error) {
		res, err := invoke(ctx, c, c.inventory.ListTemplates, &keyholdv1.ListTemplatesRequest{PageToken: token}, reads, options)
		return each(res.GetTemplates(), toTemplate), res.GetNextPageToken(), err
	})
}

func templateOf(res *keyholdv1.TemplateResponse, err error) (Template, error) {
	return toTemplate(res.GetTemplate()), err
}

func toTemplate(t *keyholdv1.Template) Template {
	return Template{
		Name: t.GetName(), Description: t.GetDescription(), DataClass: t.GetDataClass(), DefaultOfClass: t.GetDefaultOfClass(),
		Algorithm: t.GetAlgorithm(), Usage: t.GetUsage(), Bytes: t.GetBytes(), Cryptoperiod: toPeriod(t.GetCryptoperiod()),
		Freeze: t.GetFreeze(), ProcessDeactivated: t.GetProcessDeactivated(), Exportable: t.GetExportable(),
		Labels: t.GetLabels(), Required: t.GetRequired(), Locked: t.GetLocked(),
		DestructionWindowSeconds: t.GetDestructionWindow().GetSeconds(), MinimumDestructionWindowSeconds: t.GetMinimumDestructionWindow().GetSeconds(),
		ChangedAt: timeOf(t.GetChangedAt()), ChangedBy: t.GetChangedBy(), Revision: t.GetRevision(),
	}
}

func templateMessage(t Template) *keyholdv1.Template {
	return &keyholdv1.Template{
		Name: t.Name, Description: t.Description, DataClass: t.DataClass, DefaultOfClass: t.DefaultOfClass, Algorithm: t.Algorithm, Usage: t.Usage, Bytes: t.Bytes,
		Cryptoperiod: periodMessage(t.Cryptoperiod), Freeze: t.Freeze, ProcessDeactivated: t.ProcessDeactivated, Exportable: t.Exportable,
		Labels: t.Labels, Required: t.Required, Locked: t.Locked,
		DestructionWindow: seconds(t.DestructionWindowSeconds), MinimumDestructionWindow: seconds(t.MinimumDestructionWindowSeconds),
	}
}

// periodMessage is a cryptoperiod for the wire; one without any limit is not set.
func periodMessage(p Cryptoperiod) *keyholdv1.Cryptoperiod {
	if p == (Cryptoperiod{}) {
		return nil
	}
	return &keyholdv1.Cryptoperiod{Every: seconds(p.EverySeconds), Jitter: seconds(p.JitterSeconds), Calendar: p.Calendar, Operations: p.Operations, Bytes: p.Bytes}
}

// seconds is a duration for the wire; 0 is not set.
func seconds(n int64) *durationpb.Duration {
	if n == 0 {
		return nil
	}
	return &durationpb.Duration{Seconds: n}
}
