package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Files of an epoch's folder.
const (
	checkpointFile  = "checkpoint"
	checkpointsFile = "checkpoints"
	cosignedFile    = "cosigned"
)

// node verifies the boot epochs of one node, in order, and the links between them.
func node(ctx context.Context, o *Options, dir string, anchors map[string][]*anchor, rep *Report, p *progress) error {
	all, err := epochs(dir)
	if err != nil {
		return err
	}
	slices.Sort(all)
	name := nodeName(o.Keys.Cluster, dir, all)
	var before *Epoch
	claims := claims{}
	for i, n := range all {
		e := &epoch{
			o: o, rep: rep, progress: p, dir: filepath.Join(dir, folderName(n)), newest: i == len(all)-1,
			claims: claims, out: Epoch{Node: name, Epoch: n, Origin: audit.Origin(o.Keys.Cluster, name, n)},
		}
		e.anchors = anchors[e.out.Origin]
		if err := e.run(ctx); err != nil {
			return err
		}
		if e.out.Records == 0 && !e.broken {
			continue
		}
		e.link(before)
		e.out.Root = fmt.Sprintf("%x", e.out.root)
		rep.Epochs = append(rep.Epochs, e.out)
		rep.Records += e.out.Records
		rep.Erased += e.out.Erased
		rep.Retired += e.out.Retired
		before = &rep.Epochs[len(rep.Epochs)-1]
	}
	claims.account(rep, name, dir)
	if before != nil {
		rep.Tail += before.Records - min(before.Records, before.Signed)
	}
	return nil
}

func folderName(epoch uint64) string { return fmt.Sprintf("%010d", epoch) }

// nodeName is the name that the node's checkpoints give it; a log without one is taken to stand in a folder of the node's name.
func nodeName(cluster, dir string, all []uint64) string {
	for _, n := range slices.Backward(all) {
		f, err := os.Open(filepath.Join(dir, folderName(n), checkpointFile))
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(f, tree.MaxNote))
		_ = f.Close()
		if err != nil {
			continue
		}
		if c, err := tree.Unverified(data); err == nil {
			if of, name, epoch, ok := audit.ParseOrigin(c.Origin); ok && of == cluster && epoch == n {
				return name
			}
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return filepath.Base(dir)
	}
	return filepath.Base(abs)
}

// link compares an epoch's first record with the epoch before: it must name that epoch's origin, final size and root.
func (e *epoch) link(before *Epoch) {
	if e.out.Records == 0 {
		return
	}
	if e.first.Action != kms.StartServer {
		e.wrong(e.firstFile, 0, "the first record is %s, not StartServer", e.first.Action)
		return
	}
	if e.first.Code == kms.CodeLogAltered {
		e.note("began by an operator's order after an altered epoch: %s", e.first.Reason)
	}
	prev := e.first.Prev
	switch {
	case before == nil && prev == audit.Link{}:
	case before == nil:
		e.wrong(e.firstFile, 0, "it commits to %d records of %s, which is missing", prev.Size, prev.Origin)
	case prev == audit.Link{}:
		e.wrong(e.firstFile, 0, "it does not commit to the epoch before, %s", before.Origin)
	case prev.Origin != before.Origin:
		e.wrong(e.firstFile, 0, "it commits to %s as the epoch before, but the one that is there is %s", prev.Origin, before.Origin)
	case prev.Size != before.Records:
		e.wrong(e.firstFile, 0, "it commits to %d records of %s, but there are %d", prev.Size, prev.Origin, before.Records)
	case prev.Root != before.root:
		e.wrong(e.firstFile, 0, "it commits to other records of %s than those that are there", prev.Origin)
	}
}

// epoch is the verification of one boot epoch.
type epoch struct {
	o        *Options
	rep      *Report
	progress *progress
	dir      string
	newest   bool
	anchors  []*anchor
	claims   claims
	gone     *audit.Retired // nil: nothing was dropped
	out      Epoch

	broken    bool // the records behind a finding cannot be judged
	first     audit.Record
	firstFile string
}

func (e *epoch) wrong(file string, seq uint64, format string, args ...any) {
	e.rep.find(Finding{File: file, Node: e.out.Node, Epoch: e.out.Epoch, Sequence: seq, What: fmt.Sprintf(format, args...)})
}

// fatal is a finding behind which nothing can be judged.
func (e *epoch) fatal(file string, seq uint64, format string, args ...any) {
	e.broken = true
	e.wrong(file, seq, format, args...)
}

func (e *epoch) note(format string, args ...any) {
	const most = 20
	if len(e.out.Notes) < most {
		e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
	}
}

// damage tells whether an error speaks about the log and not about reading it.
func damage(err error) bool {
	for _, is := range []error{segment.ErrNotBatch, segment.ErrTruncated, segment.ErrChecksum, segment.ErrFrames, segment.ErrLeaves} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
