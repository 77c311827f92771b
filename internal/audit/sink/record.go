package sink

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
)

// Record is an audit record in the JSON form that the command line and the client library have too (docs/formats-audit.md, "JSON").
type Record struct {
	Position       string    `json:"position"`
	ID             string    `json:"id"`
	Time           time.Time `json:"time"`
	Action         string    `json:"action"`
	Outcome        string    `json:"outcome"`
	Code           string    `json:"code,omitempty"`
	Dialect        string    `json:"dialect"`
	Method         string    `json:"method"`
	Principal      string    `json:"principal,omitempty"`
	PrincipalAlias []byte    `json:"principal_alias,omitempty"`
	Home           string    `json:"home,omitempty"`
	Credential     string    `json:"credential,omitempty"`
	Remote         string    `json:"remote,omitempty"`
	Namespace      string    `json:"namespace"`
	Keys           []KeyUse  `json:"keys,omitempty"`
	Resource       string    `json:"resource,omitempty"`
	Scheme         string    `json:"scheme,omitempty"`
	RequestID      string    `json:"request_id,omitempty"`
	PolicyRevision uint64    `json:"policy_revision,omitempty"`
	Policies       []string  `json:"policies,omitempty"`
	ContextDigest  []byte    `json:"context_digest,omitempty"`
	Items          []Item    `json:"items,omitempty"`
	ItemVersions   []Run     `json:"item_versions,omitempty"`
	Bytes          uint64    `json:"bytes,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	Detail         string    `json:"detail,omitempty"`
	Change         bool      `json:"change,omitempty"`
	Erased         bool      `json:"erased,omitempty"`
	Approval       string    `json:"approval,omitempty"`
	Approvers      [][]byte  `json:"approvers,omitempty"` // aliases
}

// KeyUse names a key version that an operation touched.
type KeyUse struct {
	KeyID    string `json:"key_id"`
	Version  uint32 `json:"version,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
}

// Item is the outcome of one item of a batch.
type Item struct {
	Code  string `json:"code,omitempty"`
	Bytes uint32 `json:"bytes"`
}

// Run is a number of consecutive items of a batch that used the same version of the record's first key.
type Run struct {
	Items   uint32 `json:"items"`
	Version uint32 `json:"version,omitempty"`
}

// recordOf gives the JSON form. It shares memory with the entry.
func recordOf(e *audit.Entry) Record {
	r := Record{
		Position: e.Position.String(), ID: textOf(e.ID.IsZero(), e.ID), Time: e.Time, Action: e.Action.String(), Outcome: e.Outcome.String(),
		Code: textOf(e.Code == 0, e.Code), Dialect: e.Dialect.String(), Method: e.Method.String(), Principal: e.Name, PrincipalAlias: e.Alias[:],
		Home: string(e.Home), Credential: e.Credential, Remote: textOf(!e.Remote.IsValid(), e.Remote), Namespace: string(e.Namespace),
		Resource: e.Resource, Scheme: textOf(e.Scheme == 0, e.Scheme), RequestID: e.RequestID, PolicyRevision: uint64(e.PolicyRev),
		Policies: e.Policies, Bytes: e.Bytes, Reason: e.Reason, Detail: e.Detail, Change: e.Change, Erased: e.Erased,
		Approval: textOf(e.Approval.IsZero(), e.Approval),
	}
	if e.Context != [32]byte{} {
		r.ContextDigest = e.Context[:]
	}
	for _, k := range e.Keys {
		r.Keys = append(r.Keys, KeyUse{KeyID: k.Key.String(), Version: k.Version, Revision: uint64(k.Rev)})
	}
	for i := range e.Approvers {
		r.Approvers = append(r.Approvers, e.Approvers[i][:])
	}
	for _, i := range e.Items {
		r.Items = append(r.Items, Item{Code: textOf(i.Code == 0, i.Code), Bytes: i.Bytes})
	}
	for _, v := range e.Versions {
		r.ItemVersions = append(r.ItemVersions, Run(v))
	}
	return r
}

func textOf(none bool, v fmt.Stringer) string {
	if none {
		return ""
	}
	return v.String()
}

// encode is a value's JSON on one line, without its end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // what reads it is no browser
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode an audit record: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// field is one field of a record for receivers that have names and values instead of JSON.
type field struct {
	name   string
	text   string
	number uint64
	counts bool // it is number
}

// fields lists what a record has, under the names of its JSON. Keys, policies and versions of items are repeated, items are counted.
func (r *Record) fields() []field {
	all := make([]field, 0, 32)
	text := func(name, value string) {
		if value != "" {
			all = append(all, field{name: name, text: value})
		}
	}
	number := func(name string, n uint64) {
		if n != 0 {
			all = append(all, field{name: name, number: n, counts: true, text: strconv.FormatUint(n, 10)})
		}
	}
	flag := func(name string, set bool) {
		if set {
			text(name, "true")
		}
	}
	text("position", r.Position)
	text("id", r.ID)
	text("action", r.Action)
	text("outcome", r.Outcome)
	text("code", r.Code)
	text("dialect", r.Dialect)
	text("method", r.Method)
	text("principal", r.Principal)
	text("principal_alias", base64.StdEncoding.EncodeToString(r.PrincipalAlias))
	text("home", r.Home)
	text("credential", r.Credential)
	text("remote", r.Remote)
	text("namespace", r.Namespace)
	for _, k := range r.Keys {
		text("key", fmt.Sprintf("%s/%d/%d", k.KeyID, k.Version, k.Revision))
	}
	for _, n := range r.versions() {
		number("item_version", uint64(n))
	}
	text("resource", r.Resource)
	text("scheme", r.Scheme)
	text("request_id", r.RequestID)
	number("policy_revision", r.PolicyRevision)
	for _, p := range r.Policies {
		text("policy", p)
	}
	text("context_digest", base64.StdEncoding.EncodeToString(r.ContextDigest))
	number("items", uint64(len(r.Items)))
	number("bytes", r.Bytes)
	text("reason", r.Reason)
	text("detail", r.Detail)
	flag("change", r.Change)
	flag("erased", r.Erased)
	text("approval", r.Approval)
	for _, alias := range r.Approvers {
		text("approver", base64.StdEncoding.EncodeToString(alias))
	}
	return all
}

// versions are those that items of the batch used, each once, lowest first; none if all of them used the one that the key has.
func (r *Record) versions() []uint32 {
	var all []uint32
	for _, v := range r.ItemVersions {
		all = append(all, v.Version)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// severity is how loud an outcome is, in the numbers of syslog (RFC 5424 §6.2.1).
func severity(o audit.Outcome) int {
	switch o {
	case audit.Failed:
		return 3 // error
	case audit.Denied, audit.Refused, audit.Withheld:
		return 4 // warning
	}
	return 6 // informational
}
