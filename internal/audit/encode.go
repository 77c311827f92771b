package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// The encoding of a record, version 1 (docs/formats-audit.md, "Record"). Integers are big-endian; uvarint is that of
// encoding/binary in its shortest form. There is exactly one encoding of a record.
const (
	// ActionAt is where an encoded body has the action, one byte.
	ActionAt = fixedAt

	bodyVersion  = 1
	annexVersion = 1

	commitAt  = 1             // version u8, then the commitment
	fixedAt   = commitAt + 32 // action u8, outcome u8, dialect u8, method u8, scheme u8, presence u16
	idAt      = fixedAt + 7
	timeAt    = idAt + 16 // nanoseconds since 1970, i64
	aliasAt   = timeAt + 8
	variantAt = aliasAt + 16
	saltSize  = 16
)

// presence bits: a field that is empty is absent, and a field that is present is not empty.
const (
	hasCode = 1 << iota
	hasResource
	hasRequestID
	hasRequestUUID // the request id is a lower-case UUID, stored in 16 bytes; excludes hasRequestID
	hasContext
	hasItems
	hasReason
	hasDetail
	hasPrevChange
	isChange
	hasLink
	hasPolicies
	hasApproval
	hasVersions

	presenceEnd
)

// LeafHash is the RFC 6962 §2.1 leaf hash of an encoded body: SHA-256(0x00 ‖ body).
func LeafHash(body []byte) [32]byte {
	buf := make([]byte, 1, 1+512)
	return sha256.Sum256(append(buf, body...))
}

// LeafHash is the hash that stands for the record in the tree. It sets Commit unless the annex is erased.
func (r *Record) LeafHash() ([32]byte, error) {
	body, _, err := Encode(r)
	if err != nil {
		return [32]byte{}, err
	}
	return LeafHash(body), nil
}

// Encode gives the two parts of a record. It sets r.Commit unless r.Erased. A record that breaks a limit gives CodeTooLarge or
// CodeBadRequest.
func Encode(r *Record) (body, annex []byte, err error) {
	if annex, err = appendAnnex(nil, r); err != nil {
		return nil, nil, err
	}
	body, err = appendBody(make([]byte, 0, 256), r)
	return body, annex, err
}

// appendAnnex appends the annex and sets the record's commitment to it.
func appendAnnex(dst []byte, r *Record) ([]byte, error) {
	if r.Erased {
		return dst, nil
	}
	zone := r.Remote.Addr().Zone()
	switch {
	case len(r.Name) > MaxPerson:
		return dst, tooLong("name", len(r.Name), MaxPerson)
	case len(r.Home) > maxNamespace:
		return dst, tooLong("home namespace", len(r.Home), maxNamespace)
	case len(r.Credential) > MaxCredential:
		return dst, tooLong("credential", len(r.Credential), MaxCredential)
	case len(zone) > MaxZone:
		return dst, tooLong("address zone", len(zone), MaxZone)
	}
	start := len(dst)
	dst = append(dst, r.Salt[:]...)
	dst = append(dst, annexVersion)
	dst = appendString(dst, r.Name)
	dst = appendString(dst, string(r.Home))
	dst = appendString(dst, r.Credential)
	switch addr := r.Remote.Addr(); {
	case !r.Remote.IsValid():
		dst = append(dst, 0)
	case addr.Is4():
		a := addr.As4()
		dst = append(append(dst, 4), a[:]...)
		dst = binary.BigEndian.AppendUint16(dst, r.Remote.Port())
	default:
		a := addr.As16()
		dst = append(append(dst, 6), a[:]...)
		dst = binary.BigEndian.AppendUint16(dst, r.Remote.Port())
		dst = appendString(dst, zone)
	}
	r.Commit = sha256.Sum256(dst[start:])
	return dst, nil
}

// appendFrame appends a record as it stands in a segment.
func appendFrame(dst []byte, r *Record) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0) // segment.FrameSize bytes, filled in at the end
	// The body holds the commitment to the annex, so that the annex is encoded first.
	var room [MaxAnnex]byte
	annex, err := appendAnnex(room[:0], r)
	if err != nil {
		return dst[:start], err
	}
	bodyAt := len(dst)
	if dst, err = appendBody(dst, r); err != nil {
		return dst[:start], err
	}
	body := len(dst) - bodyAt
	dst = append(dst, annex...)
	segment.PutFrame(dst[start:], body)
	return dst, nil
}

func appendBody(dst []byte, r *Record) ([]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = append(dst, bodyVersion)
	dst = append(dst, r.Commit[:]...)
	dst = append(dst, byte(r.Action), byte(r.Outcome), byte(r.Dialect), byte(r.Method), byte(r.Scheme), 0, 0)
	dst = append(dst, r.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Time.UnixNano())) //nolint:gosec // G115: check bounds the time
	dst = append(dst, r.Alias[:]...)

	dst = appendString(dst, string(r.Namespace))
	dst = append(dst, byte(len(r.Keys)))
	for i := range r.Keys {
		k := &r.Keys[i]
		dst = append(dst, k.Key[:]...)
		dst = binary.AppendUvarint(dst, uint64(k.Version))
		dst = binary.AppendUvarint(dst, uint64(k.Rev))
	}
	dst = binary.AppendUvarint(dst, r.Bytes)
	dst = binary.AppendUvarint(dst, uint64(r.PolicyRev))

	var has uint16
	if r.Code != 0 {
		has |= hasCode
		dst = binary.BigEndian.AppendUint16(dst, uint16(r.Code))
	}
	if r.Resource != "" {
		has |= hasResource
		dst = appendString(dst, r.Resource)
	}
	if id, ok := packUUID(r.RequestID); ok {
		has |= hasRequestUUID
		dst = append(dst, id[:]...)
	} else if r.RequestID != "" {
		has |= hasRequestID
		dst = appendString(dst, r.RequestID)
	}
	if r.Context != ([32]byte{}) {
		has |= hasContext
		dst = append(dst, r.Context[:]...)
	}
	if len(r.Items) > 0 {
		has |= hasItems
		dst = binary.AppendUvarint(dst, uint64(len(r.Items)))
		for _, it := range r.Items {
			dst = binary.AppendUvarint(dst, uint64(it.Code))
			dst = binary.AppendUvarint(dst, uint64(it.Bytes))
		}
	}
	if r.Reason != "" {
		has |= hasReason
		dst = appendString(dst, r.Reason)
	}
	if r.Detail != "" {
		has |= hasDetail
		dst = appendString(dst, r.Detail)
	}
	if r.PrevChange != ([32]byte{}) {
		has |= hasPrevChange
		dst = append(dst, r.PrevChange[:]...)
	}
	if r.Change {
		has |= isChange
	}
	if r.Prev != (Link{}) {
		has |= hasLink
		dst = appendString(dst, r.Prev.Origin)
		dst = binary.AppendUvarint(dst, r.Prev.Size)
		dst = append(dst, r.Prev.Root[:]...)
	}
	if len(r.Policies) > 0 {
		has |= hasPolicies
		dst = append(dst, byte(len(r.Policies)))
		for _, p := range r.Policies {
			dst = appendString(dst, p)
		}
	}
	if !r.Approval.IsZero() {
		has |= hasApproval
		dst = append(dst, r.Approval[:]...)
		dst = append(dst, byte(len(r.Approvers)))
		for i := range r.Approvers {
			dst = append(dst, r.Approvers[i][:]...)
		}
	}
	if len(r.Versions) > 0 {
		has |= hasVersions
		dst = binary.AppendUvarint(dst, uint64(len(r.Versions)))
		for _, v := range r.Versions {
			dst = binary.AppendUvarint(dst, uint64(v.Items))
			dst = binary.AppendUvarint(dst, uint64(v.Version))
		}
	}
	binary.BigEndian.PutUint16(dst[start+fixedAt+5:], has)
	if n := len(dst) - start; n > MaxBody {
		return dst[:start], tooLong("record", n, MaxBody)
	}
	return dst, nil
}

// The times that an audit record can carry.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Unix(1<<33, 0) // the year 2242: nanoseconds fit 63 bits
)

// check holds the record against the limits.
func (r *Record) check() error {
	switch {
	case r.Time.Before(firstTime) || r.Time.After(lastTime):
		return kms.Errorf(kms.CodeBadRequest, "an audit record needs a time between 1970 and 2242")
	case len(r.Namespace) > maxNamespace:
		return tooLong("namespace", len(r.Namespace), maxNamespace)
	case len(r.Keys) > MaxKeys:
		return tooLong("list of keys", len(r.Keys), MaxKeys)
	case len(r.Resource) > MaxResource:
		return tooLong("resource", len(r.Resource), MaxResource)
	case len(r.RequestID) > MaxRequestID:
		return tooLong("request id", len(r.RequestID), MaxRequestID)
	case len(r.Policies) > MaxPolicies:
		return tooLong("list of policies", len(r.Policies), MaxPolicies)
	case len(r.Items) > MaxItems:
		return tooLong("list of items", len(r.Items), MaxItems)
	case len(r.Reason) > MaxReason:
		return tooLong("reason", len(r.Reason), MaxReason)
	case len(r.Detail) > MaxDetail:
		return tooLong("detail", len(r.Detail), MaxDetail)
	case len(r.Approvers) > MaxApprovers:
		return tooLong("list of approvers", len(r.Approvers), MaxApprovers)
	case r.Approval.IsZero() != (len(r.Approvers) == 0):
		return kms.Errorf(kms.CodeBadRequest, "an audit record names an approval and its approvers, or neither")
	case !r.covers():
		return kms.Errorf(kms.CodeBadRequest, "an audit record tells the version of each item of a batch, or of none")
	case len(r.Prev.Origin) > MaxOrigin:
		return tooLong("origin", len(r.Prev.Origin), MaxOrigin)
	}
	for _, p := range r.Policies {
		if len(p) > MaxPolicyID {
			return tooLong("policy id", len(p), MaxPolicyID)
		}
	}
	return nil
}

// covers tells whether the runs of versions, if there are any, are of all items and in their one form.
func (r *Record) covers() bool {
	if r.Versions == nil {
		return true
	}
	if len(r.Versions) < minRuns || len(r.Keys) == 0 {
		return false
	}
	items := uint64(0)
	for i, v := range r.Versions {
		if v.Items == 0 || i > 0 && v.Version == r.Versions[i-1].Version {
			return false
		}
		items += uint64(v.Items)
	}
	return items == uint64(len(r.Items))
}

func tooLong(what string, got, most int) error {
	return kms.Errorf(kms.CodeTooLarge, "the audit record's %s has a length of %d, the limit is %d", what, got, most)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// packUUID tells whether a request id has the one form that is stored in 16 bytes.
func packUUID(s string) (kms.ID, bool) {
	if len(s) != 36 {
		return kms.ID{}, false
	}
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'F' {
			return kms.ID{}, false
		}
	}
	return kms.ParseID(s)
}
