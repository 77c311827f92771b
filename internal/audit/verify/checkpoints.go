package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// checkpoints yields the checkpoints of an epoch in the order of their size: those of the file of all, the latest one, and anchors.
type checkpoints struct {
	e     *epoch
	path  string
	f     *os.File
	notes *tree.Notes
	ahead *due // the next of the file
	few   []*due
	back  *due // was given back

	last     uint64
	findings []Finding
	torn     string
}

func (e *epoch) checkpoints() *checkpoints {
	c := &checkpoints{e: e, path: filepath.Join(e.dir, checkpointsFile)}
	for _, a := range e.anchors {
		c.few = append(c.few, &due{Checkpoint: a.Checkpoint, file: e.dir, anchor: a})
	}
	if f, err := os.Open(c.path); err == nil {
		c.f, c.notes = f, tree.NewNotes(f)
	}
	latest := filepath.Join(e.dir, checkpointFile)
	if data, err := os.ReadFile(latest); err == nil {
		if len(data) > tree.MaxNote {
			data = data[:tree.MaxNote]
		}
		if d := c.read(latest, data); d != nil {
			at := 0
			for at < len(c.few) && c.few[at].Size < d.Size {
				at++
			}
			c.few = append(c.few[:at], append([]*due{d}, c.few[at:]...)...)
		}
	}
	return c
}

func (c *checkpoints) close() {
	if c.f != nil {
		_ = c.f.Close()
	}
}

func (c *checkpoints) wrong(file string, seq uint64, format string, args ...any) {
	if len(c.findings) < MaxFindings {
		c.findings = append(c.findings, Finding{File: file, Node: c.e.out.Node, Epoch: c.e.out.Epoch, Sequence: seq, What: fmt.Sprintf(format, args...)})
	}
}

// read takes a note apart; its signature is left to a worker.
func (c *checkpoints) read(file string, msg []byte) *due {
	got, err := tree.Unverified(msg)
	if err != nil {
		c.wrong(file, 0, "%v", err)
		return nil
	}
	if got.Origin != c.e.out.Origin {
		c.wrong(file, got.Size, "the checkpoint is of %q, not of %s", got.Origin, c.e.out.Origin)
		return nil
	}
	return &due{Checkpoint: got, file: file, signed: bytes.Clone(msg)}
}

func (c *checkpoints) unread(d *due) { c.back = d }

// next gives the next checkpoint, nil at the end.
func (c *checkpoints) next() (*due, error) {
	if d := c.back; d != nil {
		c.back = nil
		return d, nil
	}
	for c.ahead == nil && c.notes != nil {
		msg, err := c.notes.Next()
		if errors.Is(err, io.EOF) {
			c.notes = nil
			break
		}
		if errors.Is(err, tree.ErrCheckpoint) {
			c.notes = nil
			if c.e.newest {
				c.torn = fmt.Sprintf("%s ends with a note that is not whole", c.path)
			} else {
				c.wrong(c.path, c.last, "%v", err)
			}
			break
		}
		if err != nil {
			return nil, err
		}
		d := c.read(c.path, msg)
		if d == nil {
			continue
		}
		if d.Size < c.last {
			c.wrong(c.path, d.Size, "the checkpoints are out of order")
			continue
		}
		c.last, c.ahead = d.Size, d
	}
	if len(c.few) > 0 && (c.ahead == nil || c.few[0].Size < c.ahead.Size) {
		d := c.few[0]
		c.few = c.few[1:]
		return d, nil
	}
	d := c.ahead
	c.ahead = nil
	return d, nil
}
