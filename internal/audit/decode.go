package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// The errors of decoding. They concern bytes on disk, not a request.
var (
	ErrMalformed = errors.New("audit: not a record")
	ErrAnnex     = errors.New("audit: the annex is not the one that the record commits to")
)

// AnnexState says what became of a record's annex.
type AnnexState uint8

// The states of an annex.
const (
	AnnexIntact  AnnexState = iota + 1
	AnnexErased             // blanked: every byte is zero
	AnnexAltered            // neither what the record commits to nor blank
)

// CommitOf is the commitment in an encoded body, without decoding the rest. The body must be one that Decode accepts or
// at least 33 bytes long.
func CommitOf(body []byte) [32]byte { return [32]byte(body[commitAt:fixedAt]) }

// CheckAnnex compares an annex with the commitment in its record's body.
func CheckAnnex(body, annex []byte) AnnexState {
	if len(body) < fixedAt {
		return AnnexAltered
	}
	if sha256.Sum256(annex) == CommitOf(body) {
		return AnnexIntact
	}
	for _, b := range annex {
		if b != 0 {
			return AnnexAltered
		}
	}
	return AnnexErased
}

// timeOf is the time in an encoded body of minBody bytes or more, in nanoseconds since 1970.
func timeOf(body []byte) int64 { return int64(binary.BigEndian.Uint64(body[timeAt:])) } //nolint:gosec // G115: a bit pattern

// Decode reads a record from its two parts and checks the annex against the body. An annex of zeros (or of no bytes) gives a
// record with Erased set. Errors: ErrMalformed, ErrAnnex. The record shares no memory with its input.
func Decode(body, annex []byte) (Record, error) {
	var r Record
	if err := decode(&r, body, annex); err != nil {
		return Record{}, err
	}
	return r, nil
}

// decode is Decode into an empty record: it is large, and many are read in a row. What it holds after an error is nothing to go by.
func decode(r *Record, body, annex []byte) error {
	if err := decodeBody(r, body); err != nil {
		return err
	}
	switch CheckAnnex(body, annex) {
	case AnnexErased:
		r.Erased = true
		return nil
	case AnnexAltered:
		return ErrAnnex
	}
	return decodeAnnex(r, annex)
}

// DecodeBody reads the part that the leaf hash covers. The only error is ErrMalformed.
func DecodeBody(body []byte) (Record, error) {
	var r Record
	if err := decodeBody(&r, body); err != nil {
		return Record{}, err
	}
	return r, nil
}

func decodeBody(r *Record, body []byte) error {
	if len(body) < minBody || len(body) > MaxBody || body[0] != bodyVersion {
		return ErrMalformed
	}
	r.Commit = CommitOf(body)
	r.Action = kms.Action(body[fixedAt])
	r.Outcome = Outcome(body[fixedAt+1])
	r.Dialect = kms.Dialect(body[fixedAt+2])
	r.Method = kms.AuthMethod(body[fixedAt+3])
	r.Scheme = kms.Scheme(body[fixedAt+4])
	r.ID = kms.ID(body[idAt:timeAt])
	r.Alias = [16]byte(body[aliasAt:variantAt])
	has := binary.BigEndian.Uint16(body[fixedAt+5:])
	r.Time = time.Unix(0, int64(binary.BigEndian.Uint64(body[timeAt:]))).UTC() //nolint:gosec // G115: checked next
	if r.Time.Before(firstTime) || r.Time.After(lastTime) || has >= presenceEnd {
		return ErrMalformed
	}
	d := reader{b: body[variantAt:]}
	r.Namespace = kms.Namespace(d.string(maxNamespace))
	if n := int(d.byte(MaxKeys)); n > 0 {
		r.Keys = make([]KeyUse, n)
		for i := range r.Keys {
			d.copy(r.Keys[i].Key[:])
			r.Keys[i].Version = uint32(d.uvarint(1<<32 - 1)) //nolint:gosec // G115: bounded by the argument
			r.Keys[i].Rev = kms.Rev(d.uvarint(1<<64 - 1))
		}
	}
	r.Bytes = d.uvarint(1<<64 - 1)
	r.PolicyRev = kms.Rev(d.uvarint(1<<64 - 1))
	d.optional(r, has)
	if d.bad || len(d.b) != 0 {
		return ErrMalformed
	}
	return nil
}

// optional reads the fields whose presence bit is set.
func (d *reader) optional(r *Record, has uint16) {
	if has&hasCode != 0 {
		var b [2]byte
		d.copy(b[:])
		r.Code = kms.Code(binary.BigEndian.Uint16(b[:]))
		d.must(r.Code != 0)
	}
	if has&hasResource != 0 {
		r.Resource = d.text(MaxResource)
	}
	d.must(has&hasRequestID == 0 || has&hasRequestUUID == 0)
	if has&hasRequestUUID != 0 {
		var id kms.ID
		d.copy(id[:])
		r.RequestID = id.String()
	}
	if has&hasRequestID != 0 {
		r.RequestID = d.text(MaxRequestID)
		_, packs := packUUID(r.RequestID)
		d.must(!packs)
	}
	if has&hasContext != 0 {
		d.digest(&r.Context)
	}
	if has&hasItems != 0 {
		n := d.uvarint(MaxItems)
		d.must(n > 0 && n*2 <= uint64(len(d.b))) // an item has two bytes at least: no allocation beyond the input's size
		if !d.bad {
			r.Items = make([]Item, n)
		}
		for i := range r.Items {
			r.Items[i].Code = kms.Code(d.uvarint(1<<16 - 1)) //nolint:gosec // G115: bounded by the argument
			r.Items[i].Bytes = uint32(d.uvarint(1<<32 - 1))  //nolint:gosec // G115: bounded by the argument
		}
	}
	if has&hasReason != 0 {
		r.Reason = d.text(MaxReason)
	}
	if has&hasDetail != 0 {
		r.Detail = d.text(MaxDetail)
	}
	if has&hasPrevChange != 0 {
		d.digest(&r.PrevChange)
	}
	r.Change = has&isChange != 0
	if has&hasLink != 0 {
		r.Prev.Origin = d.string(MaxOrigin)
		r.Prev.Size = d.uvarint(1<<64 - 1)
		d.copy(r.Prev.Root[:])
		d.must(r.Prev != Link{})
	}
	if has&hasPolicies != 0 {
		n := int(d.byte(MaxPolicies))
		d.must(n > 0)
		for range n {
			r.Policies = append(r.Policies, d.string(MaxPolicyID))
		}
	}
	if has&hasApproval != 0 {
		d.copy(r.Approval[:])
		n := int(d.byte(MaxApprovers))
		d.must(n > 0 && !r.Approval.IsZero())
		for range n {
			var alias [16]byte
			d.copy(alias[:])
			r.Approvers = append(r.Approvers, alias)
		}
	}
	if has&hasVersions != 0 {
		n := d.uvarint(uint64(len(r.Items)))
		d.must(n >= minRuns && n*2 <= uint64(len(d.b))) // a run has two bytes at least
		if !d.bad {
			r.Versions = make([]Run, n)
		}
		for i := range r.Versions {
			r.Versions[i].Items = uint32(d.uvarint(MaxItems))    //nolint:gosec // G115: bounded by the argument
			r.Versions[i].Version = uint32(d.uvarint(1<<32 - 1)) //nolint:gosec // G115: bounded by the argument
		}
		d.must(r.covers())
	}
}

func decodeAnnex(r *Record, annex []byte) error {
	if len(annex) < saltSize+1 || len(annex) > MaxAnnex || annex[saltSize] != annexVersion {
		return ErrMalformed
	}
	copy(r.Salt[:], annex)
	d := reader{b: annex[saltSize+1:]}
	r.Name = d.string(MaxPerson)
	r.Home = kms.Namespace(d.string(maxNamespace))
	r.Credential = d.string(MaxCredential)
	var port [2]byte
	switch d.byte(6) {
	case 0:
	case 4:
		var a [4]byte
		d.copy(a[:])
		d.copy(port[:])
		r.Remote = netip.AddrPortFrom(netip.AddrFrom4(a), binary.BigEndian.Uint16(port[:]))
	case 6:
		var a [16]byte
		d.copy(a[:])
		d.copy(port[:])
		zone := d.string(MaxZone)
		addr := netip.AddrFrom16(a).WithZone(zone)
		d.must(addr.Zone() == zone) // an IPv4-mapped address has no zone
		r.Remote = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port[:]))
	default:
		d.bad = true
	}
	if d.bad || len(d.b) != 0 {
		return ErrMalformed
	}
	return nil
}

// reader takes fields from the front of a slice. After the first fault it yields zeros.
type reader struct {
	b   []byte
	bad bool
}

func (d *reader) must(ok bool) {
	if !ok {
		d.bad = true
		d.b = nil
	}
}

func (d *reader) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.must(false)
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *reader) copy(dst []byte) { copy(dst, d.take(len(dst))) }

// digest reads a hash that is absent when it is zero.
func (d *reader) digest(dst *[32]byte) {
	d.copy(dst[:])
	d.must(*dst != [32]byte{})
}

func (d *reader) byte(most byte) byte {
	p := d.take(1)
	if p == nil {
		return 0
	}
	d.must(p[0] <= most)
	return p[0]
}

// uvarint reads a number in its shortest form.
func (d *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > most || n > 1 && d.b[n-1] == 0 {
		d.must(false)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *reader) string(most int) string {
	return string(d.take(int(d.uvarint(uint64(most))))) //nolint:gosec // G115: bounded by most
}

// text reads a string that is absent when it is empty.
func (d *reader) text(most int) string {
	s := d.string(most)
	d.must(s != "")
	return s
}
