package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit/verify"
)

type receiptJSON struct {
	Verified      bool           `json:"verified"`
	Destroyed     string         `json:"destroyed"` // "key" or "namespace"
	Namespace     string         `json:"namespace"`
	Key           string         `json:"key,omitempty"`
	Name          string         `json:"name,omitempty"`
	Versions      uint64         `json:"versions,omitempty"`
	Requested     string         `json:"requested,omitempty"`
	RequestedBy   string         `json:"requested_by,omitempty"`
	ApprovedBy    []string       `json:"approved_by,omitempty"`
	Reason        string         `json:"reason,omitempty"`
	Assessment    string         `json:"assessment_sha256,omitempty"`
	Erased        string         `json:"erased"`
	LastEpoch     uint32         `json:"last_epoch"`
	Irrecoverable string         `json:"irrecoverable"`
	Position      string         `json:"position"`
	Origin        string         `json:"origin"`
	Size          uint64         `json:"checkpoint_size"`
	Cosigned      []verify.Vouch `json:"cosigned,omitempty"`
}

// receipt checks the receipt of a destruction.
func receipt(path string, keys verify.Keys, o *options, out, errs io.Writer) int {
	text, err := readAll(path)
	if err != nil {
		fmt.Fprintf(errs, "keyhold-verify: read the receipt: %v\n", err)
		return wrongUsage
	}
	d, err := verify.Receipt(text, keys)
	if err != nil {
		return refused(path, err, o, out)
	}
	j := receiptJSON{
		Verified: true, Destroyed: d.What, Namespace: string(d.Namespace), Name: d.Name, Versions: d.VersionsAll,
		RequestedBy: d.RequestedBy, ApprovedBy: d.ApprovedBy, Reason: d.Reason, Assessment: d.Assessment,
		Erased: d.Erased.Format(time.RFC3339Nano), LastEpoch: d.Epoch, Irrecoverable: d.Irrecoverable.Format(time.RFC3339Nano),
		Position: d.Position, Origin: d.Proven.Checkpoint.Origin, Size: d.Proven.Checkpoint.Size, Cosigned: d.Proven.Cosigned,
	}
	if !d.Key.IsZero() {
		j.Key = d.Key.String()
	}
	if !d.Requested.IsZero() {
		j.Requested = d.Requested.Format(time.RFC3339Nano)
	}
	if o.format == "json" {
		if err := encode(out, j); err != nil {
			return notVerified
		}
		return verified
	}
	if o.quiet {
		return verified
	}
	what := "namespace " + j.Namespace
	if j.Key != "" {
		what = fmt.Sprintf("key %s (%s) of namespace %s, %d versions", strconv.Quote(j.Name), j.Key, j.Namespace, j.Versions)
	}
	for _, line := range [][2]string{
		{"destroyed", what}, {"requested", j.Requested}, {"by", j.RequestedBy}, {"approved", strings.Join(j.ApprovedBy, ", ")}, {"reason", j.Reason},
		{"erased", j.Erased}, {"final", fmt.Sprintf("%s: epoch keys up to %d are destroyed", j.Irrecoverable, j.LastEpoch)},
		{"record", j.Position}, {"cosigned", verify.Names(j.Cosigned)},
	} {
		if line[1] != "" {
			fmt.Fprintf(out, "%-10s %s\n", line[0], clean(line[1]))
		}
	}
	fmt.Fprintf(out, "verified: the log's key signed this receipt, and the record of the destruction is one of the %d records of %s that the checkpoint signs\n", j.Size, clean(j.Origin))
	return verified
}
