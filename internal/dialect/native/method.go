package native

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
)

// files hold the services.
var files = []protoreflect.FileDescriptor{
	keyholdv1.File_keyhold_v1_key_proto, keyholdv1.File_keyhold_v1_crypto_proto, keyholdv1.File_keyhold_v1_admin_proto,
	keyholdv1.File_keyhold_v1_audit_proto, keyholdv1.File_keyhold_v1_operator_proto,
	keyholdv1.File_keyhold_v1_usage_proto,
	keyholdv1.File_keyhold_v1_datakey_proto,
	keyholdv1.File_keyhold_v1_transfer_proto,
	keyholdv1.File_keyhold_v1_approval_proto,
	keyholdv1.File_keyhold_v1_destruction_proto,
	keyholdv1.File_keyhold_v1_inventory_proto,
}

// methodsOf lists the paths of a service's methods.
func methodsOf(service protoreflect.Name) []string {
	var all []string
	for _, f := range files {
		if s := f.Services().ByName(service); s != nil {
			for i := range s.Methods().Len() {
				all = append(all, "/"+string(s.FullName())+"/"+string(s.Methods().Get(i).Name()))
			}
		}
	}
	return all
}

// unknownMethod refuses a path that no method has, with the nearest that there is. It is answered to strangers too, so it
// compares with the few names of one level only.
func unknownMethod(path string) error {
	e := kms.Errorf(kms.CodeNotFound, "%q is not a method of this API", clip(path))
	e.Next = "docs/api.md lists the methods"
	rest, _ := strings.CutPrefix(path, "/keyhold.v1.")
	service, method, _ := strings.Cut(rest, "/")
	if known := methodsOf(protoreflect.Name(service)); len(known) > 0 {
		for i, name := range known {
			known[i] = name[strings.LastIndexByte(name, '/')+1:]
		}
		if near := nearest(method, known); near != "" {
			e.Next = "did you mean /keyhold.v1." + service + "/" + near + "?"
		}
		return e
	}
	var services []string
	for _, f := range files {
		services = append(services, string(f.Services().Get(0).Name()))
	}
	if near := nearest(service, services); near != "" {
		e.Next = "did you mean /keyhold.v1." + near + "/" + clip(method) + "?"
	}
	return e
}

// nearest finds the name that is most like one that is not known: at most a third of it may differ. "" is none.
func nearest(unknown string, names []string) string {
	const longest = 64 // the comparison takes time in the product of the lengths
	if len(unknown) > longest {
		return ""
	}
	best, least := "", len(unknown)/3+1
	for _, n := range names {
		if d := distance(strings.ToLower(unknown), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of single-byte changes from one text to another (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// clip shortens a stranger's text before it goes into a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
