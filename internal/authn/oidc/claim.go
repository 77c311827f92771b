package oidc

import "encoding/json"

// claim is a claim that is text, true or false, or a list of texts; any other is empty, and equals nothing.
type claim []string

// UnmarshalJSON reads a claim.
func (c *claim) UnmarshalJSON(b []byte) error {
	var one string
	var flag bool
	var many []string
	switch {
	case json.Unmarshal(b, &one) == nil && b[0] == '"':
		*c = claim{one}
	case json.Unmarshal(b, &flag) == nil && b[0] != 'n':
		*c = claim{map[bool]string{true: "true", false: "false"}[flag]}
	case json.Unmarshal(b, &many) == nil:
		*c = many
	default:
		*c = nil
	}
	return nil
}
