package verify

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// The data of old records may have been dropped. Their leaf hashes stand in tiles, and what is checked is that these lead to the checkpoints; that the records
// were dropped by the server, and not by somebody else, is what a record in the log has to say.

// maxClaims bounds what one block tells of dropped records; the last ones say the most.
const maxClaims = 16

// leafRun is the number of leaf hashes in one block.
const leafRun = blockBytes / 2 / 32

// claim is what a record says about dropped records: those of an origin before a number, and all that is older.
type claim struct {
	origin string
	before uint64
	by     audit.Position
	why    string
}

// claims are the furthest ones, by origin.
type claims map[string]claim

func (c claims) add(n claim) {
	if n.before >= c[n.origin].before {
		c[n.origin] = n
	}
}

// claim notes what a RetireAudit record says.
func (b *block) claim(seq uint64, body []byte) {
	r, err := audit.DecodeBody(body)
	if err != nil || r.Action != kms.RetireAudit || r.Outcome != audit.OK || r.Prev == (audit.Link{}) {
		return
	}
	if len(b.claims) == maxClaims {
		b.claims = b.claims[1:]
	}
	b.claims = append(b.claims, claim{r.Prev.Origin, r.Prev.Size, audit.Position{Seq: seq}, r.Detail})
}

// account finds the record that tells of each epoch's dropped records.
func (c claims) account(rep *Report, node, dir string) {
	latest := uint64(0) // the newest epoch of which records were dropped: nothing of an older one need be left
	for origin := range c {
		if _, name, epoch, ok := audit.ParseOrigin(origin); ok && name == node {
			latest = max(latest, epoch)
		}
	}
	for i := range rep.Epochs {
		e := &rep.Epochs[i]
		if e.Node != node || e.Retired == 0 {
			continue
		}
		by, told := c[e.Origin]
		switch {
		case told && by.before >= e.Retired:
			e.Notes = append(e.Notes, "the data of records 0 to "+num(e.Retired-1)+" was dropped; the record "+by.by.String()+" tells of it ("+by.why+")")
		case e.Retired == e.Records && latest > e.Epoch:
			e.Notes = append(e.Notes, "the data of all records was dropped; a record that tells of a later epoch tells of it")
		default:
			rep.find(Finding{File: filepath.Join(dir, folderName(e.Epoch)), Node: node, Epoch: e.Epoch, Sequence: 0,
				What: "records 0 to " + num(e.Retired-1) + " are gone, and no record in the log tells that they were dropped"})
		}
	}
}

// leaves cuts the leaf hashes of dropped records into blocks.
func (c *cutter) leaves(ctx context.Context, to uint64) error {
	var data []byte
	from := uint64(0)
	flush := func() error {
		b := &block{file: c.e.dir, gone: true, data: data, from: from, next: c.next, done: make(chan struct{})}
		data, from = nil, c.next
		return c.give(ctx, b)
	}
	err := tree.Leaves(c.e.dir, 0, to, func(_ uint64, leaves []byte) error {
		data = append(data, leaves...)
		c.next += uint64(len(leaves) / 32) //nolint:gosec // G115: a length
		if len(data) < leafRun*32 {
			return nil
		}
		return flush()
	})
	if errors.Is(err, tree.ErrTile) {
		c.wrong(c.e.dir, "the hashes of dropped records are not there: %v", err)
		return nil
	}
	if err == nil && len(data) > 0 {
		err = flush()
	}
	return err
}

func num(n uint64) string { return strconv.FormatUint(n, 10) }
