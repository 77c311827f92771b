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

// checkpoints yields the checkpoints of an epoch in the order of their size: those of the file of all, those of the file of cosigned ones, the latest
// one, and anchors.
type checkpoints struct {
	e     *epoch
	files []*notesFile
	few   []*due
	back  *due // was given back

	findings []Finding
	torn     []string
}

// notesFile is a file of notes in the order of their sizes.
type notesFile struct {
	path  string
	f     *os.File
	notes *tree.Notes // nil: at its end
	ahead *due        // the next one
	last  uint64
}

func (e *epoch) checkpoints() *checkpoints {
	c := &checkpoints{e: e}
	for _, a := range e.anchors {
		c.few = append(c.few, &due{Checkpoint: a.Checkpoint, file: e.dir, anchor: a, by: a.by})
	}
	for _, name := range []string{checkpointsFile, cosignedFile} {
		path := filepath.Join(e.dir, name)
		if f, err := os.Open(path); err == nil {
			c.files = append(c.files, &notesFile{path: path, f: f, notes: tree.NewNotes(f)})
		}
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
	for _, f := range c.files {
		_ = f.f.Close()
	}
}

func (c *checkpoints) wrong(file string, seq uint64, format string, args ...any) {
	if len(c.findings) < MaxFindings {
		c.findings = append(c.findings, Finding{File: file, Node: c.e.out.Node, Epoch: c.e.out.Epoch, Sequence: seq, What: fmt.Sprintf(format, args...)})
	}
}

// read takes a note apart; its signatures are left to a worker.
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
	var least **due
	for _, f := range c.files {
		if err := c.look(f); err != nil {
			return nil, err
		}
		if f.ahead != nil && (least == nil || f.ahead.Size < (*least).Size) {
			least = &f.ahead
		}
	}
	if len(c.few) > 0 && (least == nil || c.few[0].Size < (*least).Size) {
		d := c.few[0]
		c.few = c.few[1:]
		return d, nil
	}
	if least == nil {
		return nil, nil //nolint:nilnil // the end
	}
	d := *least
	*least = nil
	return d, nil
}

// look reads the next note of a file.
func (c *checkpoints) look(f *notesFile) error {
	for f.ahead == nil && f.notes != nil {
		msg, err := f.notes.Next()
		switch {
		case errors.Is(err, io.EOF):
			f.notes = nil
			return nil
		case errors.Is(err, tree.ErrCheckpoint):
			f.notes = nil
			if c.e.newest || filepath.Base(f.path) == cosignedFile { // which is not synced: a power cut can tear it
				c.torn = append(c.torn, fmt.Sprintf("%s ends with a note that is not whole", f.path))
			} else {
				c.wrong(f.path, f.last, "%v", err)
			}
			return nil
		case err != nil:
			return err
		}
		d := c.read(f.path, msg)
		if d == nil {
			continue
		}
		if d.Size < f.last {
			c.wrong(f.path, d.Size, "the checkpoints are out of order")
			continue
		}
		f.last, f.ahead = d.Size, d
	}
	return nil
}

// due is a checkpoint to be held against the tree.
type due struct {
	tree.Checkpoint
	file   string
	signed []byte // the note; nil: its signatures were verified
	anchor *anchor
	bad    error      // of the signatures
	by     []Vouch    // who cosigned it
	part   tree.Range // the block's records before the checkpoint
}

// check verifies the signatures: the log's own, and those of known witnesses.
func (d *due) check(k *Keys) {
	if d.signed == nil {
		return
	}
	if _, d.bad = tree.Open(d.signed, k.Verifiers); d.bad == nil {
		d.by, d.bad = k.Witnesses.vouch(d.signed)
	}
}

// kind says whose checkpoint it is.
func (d *due) kind() string {
	kind := "a checkpoint"
	if d.anchor != nil {
		kind = "the anchor"
	}
	if len(d.by) > 0 {
		kind += " that " + Names(d.by) + " cosigned"
	}
	return kind
}

// Cosigned is the newest checkpoint of an epoch that a witness cosigned, and that fits the records.
type Cosigned struct {
	Vouch
	Records uint64 `json:"records"`
}

// held notes a checkpoint that fits the records.
func (e *epoch) held(d *due) {
	for _, v := range d.by {
		at := 0
		for at < len(e.out.Cosigned) && e.out.Cosigned[at].Witness != v.Witness {
			at++
		}
		if at == len(e.out.Cosigned) {
			e.out.Cosigned = append(e.out.Cosigned, Cosigned{})
		}
		e.out.Cosigned[at] = Cosigned{v, d.Size}
	}
	vouched := e.o.Keys.Witnesses.met(d.by)
	if vouched {
		e.rep.Cosigned = true
	}
	if d.anchor != nil || vouched {
		e.out.Anchored = max(e.out.Anchored, d.Size)
	}
	if d.anchor == nil {
		e.out.Checkpoints++
		e.out.Signed = max(e.out.Signed, d.Size)
	}
}
