package kms

import "slices"

// MaxRequired is how many metadata a namespace or template can require of its keys.
const MaxRequired = 32

// The metadata of a key that are fields. All other names are those of labels: owner and purpose are customary ones.
const (
	MetaDescription = "description"
	MetaClass       = "class"
	MetaTemplate    = "template"

	LabelOwner   = "owner"
	LabelPurpose = "purpose"
)

// CheckClass checks the name of a classification of data, or of a template: [a-z0-9][a-z0-9-]{0,62}.
func CheckClass(s string) error {
	if _, err := ParseNamespace(s); err != nil {
		return Errorf(CodeBadName, "%q is not a name of a data class or template: want 1 to 63 of a-z, 0-9 and '-', not starting with '-'", clip(s))
	}
	return nil
}

// CheckRequired checks a list of metadata that keys must carry.
func CheckRequired(names []string) error {
	if len(names) > MaxRequired {
		return Errorf(CodeTooLarge, "%d required metadata are more than the %d there can be", len(names), MaxRequired)
	}
	for i, n := range names {
		if n == "" || len(n) > MaxLabelKey {
			return Errorf(CodeBadRequest, "required metadata %q: want description, class, template, or the name of a label of 1 to %d bytes", clip(n), MaxLabelKey)
		}
		if slices.Contains(names[:i], n) {
			return Errorf(CodeBadRequest, "required metadata %q is named twice", clip(n))
		}
	}
	return nil
}

// Missing tells which of the required metadata a key does not say, in their order. What is empty is not said.
func (k *Key) Missing(required []string) (missing []string) {
	for _, name := range required {
		said := k.Labels[name]
		switch name {
		case MetaDescription:
			said = k.Description
		case MetaClass:
			said = k.Class
		case MetaTemplate:
			said = k.Template
		}
		if said == "" {
			missing = append(missing, name)
		}
	}
	return missing
}
