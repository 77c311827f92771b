package audit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// Position is where a record stands: the node that wrote it, the node's boot epoch and the record's number in that epoch,
// which is its index in the epoch's tree. It is also the id of a decision.
type Position struct {
	Node  string
	Epoch uint64 // counted from 1
	Seq   uint64 // counted from 0
}

// Limits of the form.
const (
	maxNode      = 63
	epochDigits  = 6
	maxPosition  = maxNode + 2 + 20 + 20
	maxEpoch     = 9_999_999_999 // ten digits: the name of a folder
	folderDigits = 10
)

// String is NODE-EPOCH-SEQ, with an epoch of six digits or more: n1-000012-3456.
func (p Position) String() string {
	b := make([]byte, 0, maxPosition)
	b = append(b, p.Node...)
	b = append(b, '-')
	e := strconv.FormatUint(p.Epoch, 10)
	for range epochDigits - len(e) {
		b = append(b, '0')
	}
	b = append(b, e...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, p.Seq, 10))
}

// IsZero tells whether the position names nothing.
func (p Position) IsZero() bool { return p == Position{} }

// Before tells whether p was written before q on the same node.
func (p Position) Before(q Position) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

// ParsePosition reads the form that String writes, and no other.
func ParsePosition(s string) (Position, error) {
	bad := func() (Position, error) {
		if len(s) > maxPosition {
			s = s[:maxPosition] + "…"
		}
		return Position{}, kms.Errorf(kms.CodeBadRequest, "%q is not the position of an audit record: want NODE-EPOCH-NUMBER, for example n1-000012-3456", s)
	}
	if len(s) > maxPosition {
		return bad()
	}
	rest, seq, ok := cutLast(s)
	if !ok {
		return bad()
	}
	node, epoch, ok := cutLast(rest)
	if !ok || CheckNode(node) != nil || len(epoch) < epochDigits {
		return bad()
	}
	var p Position
	var err error
	if p.Epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return bad()
	}
	if p.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return bad()
	}
	p.Node = node
	if p.Epoch == 0 || p.Epoch > maxEpoch || p.String() != s {
		return bad()
	}
	return p, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// CheckNode checks the name of a node or cluster: [a-z0-9][a-z0-9-]{0,62}.
func CheckNode(s string) error {
	if _, err := kms.ParseNamespace(s); err != nil {
		return fmt.Errorf("%q is not a node's or cluster's name: want 1 to 63 of a-z, 0-9 and '-'", s)
	}
	return nil
}

// Origin is the name of an epoch's log in checkpoints (C2SP tlog-checkpoint).
func Origin(cluster, node string, epoch uint64) string {
	return fmt.Sprintf("%s/%s/%d", KeyName(cluster), node, epoch)
}

// KeyName is the name of a cluster's checkpoint key (C2SP signed-note).
func KeyName(cluster string) string { return "keyhold." + cluster }

// ParseOrigin takes an origin apart.
func ParseOrigin(s string) (cluster, node string, epoch uint64, ok bool) {
	rest, found := strings.CutPrefix(s, "keyhold.")
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 3 || CheckNode(parts[0]) != nil || CheckNode(parts[1]) != nil {
		return "", "", 0, false
	}
	epoch, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || epoch == 0 || epoch > maxEpoch || strconv.FormatUint(epoch, 10) != parts[2] {
		return "", "", 0, false
	}
	return parts[0], parts[1], epoch, true
}

// epochFolder is the name of an epoch's folder.
func epochFolder(epoch uint64) string { return fmt.Sprintf("%0*d", folderDigits, epoch) }

// ParseEpochFolder reads the name of an epoch's folder.
func ParseEpochFolder(name string) (uint64, bool) {
	if len(name) != folderDigits {
		return 0, false
	}
	epoch, err := strconv.ParseUint(name, 10, 64)
	return epoch, err == nil && epoch > 0
}
