package aws

import "encoding/base64"

// A marker says where a list goes on: the list, by a letter, and the place in it. Whoever makes one up can go on from any place, in what it may list anyway:
// nothing is to be gained by it, so that it is not sealed.
const (
	markKeys      = 'k'
	markAliases   = 'a'
	markTags      = 't'
	markRotations = 'r'

	maxMarker = 1024 // bytes
)

// marker makes one; of the end of a list, none.
func marker(list byte, place string) string {
	if place == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte{list}, place...))
}

// readMarker reads the place that a marker of a list says.
func readMarker(list byte, m string) (string, error) {
	if m == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(m)
	if err != nil || len(m) > maxMarker || len(b) < 2 || b[0] != list {
		return "", badMarker()
	}
	return string(b[1:]), nil
}

func badMarker() *fault {
	return newFault("InvalidMarkerException", "The marker is not one that this operation gave.")
}
