package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// TemplateInfo is what keys of one kind are made by. Zero fields say nothing: whoever makes a key does.
type TemplateInfo struct {
	Name        string // [a-z0-9][a-z0-9-]{0,62}
	Description string
	Class       string        // classification of the data that its keys protect
	Default     bool          // it is the template of its class: naming the class is enough
	Algorithm   kms.Algorithm `json:",omitzero"`
	Usage       kms.Usage     `json:",omitzero"`
	Bytes       int           `json:",omitzero"`
	Period      kms.Period

	Freeze             bool
	ProcessDeactivated bool
	Exportable         bool
	Labels             map[string]string // of its keys, beside those that a request adds
	Required           []string          // metadata that its keys must carry: "description", "class", or names of labels
	Locked             []string          // what a request cannot say otherwise: fields of LockableFields
	Window             kms.Seconds       // before destruction, where none is asked for; 0: the server's default
	MinWindow          kms.Seconds       // the shortest one that can be asked for; 0: the server's

	Changed time.Time `json:",omitzero"` // of what is stored, as are the next two
	By      string    `json:",omitzero"`
	Rev     kms.Rev   `json:",omitzero"`
}

// PutTemplateInput stores a template of the call's namespace.
type PutTemplateInput struct {
	Template TemplateInfo
	New      bool // refuse with CodeExists if there is one of that name
}

// TemplateInput names a template.
type TemplateInput struct{ Name string }

// TemplateOutput is one template.
type TemplateOutput struct{ Template TemplateInfo }

// TemplatesOutput is one page.
type TemplatesOutput struct {
	Templates []TemplateInfo
	Next      string
}
