package vault

import (
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// defaultMount is where transit is unless the configuration says otherwise: its keys have no prefix.
const defaultMount = "transit"

// maxSegments of a path; the longest route has six, and a mount may be nested.
const maxSegments = 24

// place is what a path means.
type place struct {
	path      string // without /v1/, cleaned
	namespace kms.Namespace
	group     string     // the first segment of a route's pattern: "transit", "secret", "sys" or "auth"
	mount     string     // of transit, of secrets, or of logins
	kind      login.Type // of a mount of logins
	rest      []string
	names     [3]string // what stands for the variables of the route that was found
}

// locate cleans a path, which has to begin with /v1/, and finds what it is about. Empty segments count for nothing.
func (h *handler) locate(path string) (place, *fault) {
	path, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return place{}, noRoute(path)
	}
	segments, clean := make([]string, 0, 8), true
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			clean = false
			continue
		}
		if len(segments) == maxSegments || s == "." || s == ".." {
			return place{path: clip(path)}, nil
		}
		segments = append(segments, s)
	}
	p := place{path: path}
	if !clean {
		p.path = strings.Join(segments, "/")
	}
	if h.enter(&p, segments) || len(segments) < 2 {
		return p, nil
	}
	if ns, err := kms.ParseNamespace(segments[0]); err == nil && h.enter(&p, segments[1:]) {
		p.namespace = ns
	}
	return p, nil
}

// enter finds the group of routes that segments begin with.
func (h *handler) enter(p *place, segments []string) bool {
	if len(segments) == 0 {
		return false
	}
	if s := segments[0]; s == "sys" || s == authGroup {
		p.group, p.rest = s, segments[1:]
		return true
	}
	for _, m := range h.mounts {
		if rest, ok := below(segments, m); ok {
			p.group, p.mount, p.rest = defaultMount, m, rest
			return true
		}
	}
	for _, m := range h.kv {
		if rest, ok := below(segments, m); ok {
			p.group, p.mount, p.rest = kvGroup, m, rest
			return true
		}
	}
	return false
}

// below are the segments behind those of a mount.
func below(segments []string, mount string) ([]string, bool) {
	if segments[0] == mount { // nearly always
		return segments[1:], true
	}
	parts := strings.Split(mount, "/")
	if len(segments) < len(parts) || !slices.Equal(segments[:len(parts)], parts) {
		return nil, false
	}
	return segments[len(parts):], true
}

// find finds the route of a method; allowed: the path has another method.
func (h *handler) find(p *place, method string) (found *route, allowed bool) {
	if len(p.rest) == 0 {
		return nil, false
	}
	for _, r := range h.index[p.group][p.rest[0]] {
		names, ok := r.match(p.rest)
		switch {
		case !ok:
		case r.method == method || method == "HEAD" && r.open && r.method == "GET":
			p.names = names
			return r, true
		default:
			allowed = true
		}
	}
	return nil, allowed
}

// ref is the key that a name of the mount stands for.
func (p *place) ref(name string) kms.Ref { return kms.Ref(p.keyName(name)) }

func (p *place) keyName(name string) string {
	if p.mount == "" || p.mount == defaultMount {
		return name
	}
	return p.mount + "/" + name
}

// clip shortens a stranger's text before it goes into a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
