// Package verify checks an audit log offline, with nothing but its files and a public key (docs/formats-audit.md, "Verification").
//
// It recomputes everything: checksums, the chain of batches, every leaf hash, every annex's commitment, the root at every checkpoint, the
// signatures, and the links between boot epochs. It streams, in memory that does not grow with the log, and uses all processors.
//
// What it cannot see without an anchor: that records were cut off behind the last checkpoint that somebody else holds. It says so.
// What it never checks is the MACs, whose key does not leave the server; the server does when it is unsealed.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Limits.
const (
	MaxFindings = 100 // of one report; further ones are counted
	maxKeys     = 100
	maxKeyFile  = 64 << 10 // bytes
)

// Keys are the public keys of a cluster's checkpoints, and of those who watch over them.
type Keys struct {
	Verifiers note.Verifiers
	Cluster   string
	Witnesses Witnesses // zero: none are asked for
}

// ParseKeys reads verifier keys, one a line: "keyhold.CLUSTER+HASH+KEY" (C2SP signed-note). Empty lines and lines that start with # are skipped.
func ParseKeys(text []byte) (Keys, error) {
	if len(text) > maxKeyFile {
		return Keys{}, fmt.Errorf("the key file has more than %d bytes", maxKeyFile)
	}
	var k Keys
	var all []note.Verifier
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return Keys{}, fmt.Errorf("a line of the key file is not a verifier key of the form name+hash+key: %w", err)
		}
		cluster, ok := strings.CutPrefix(v.Name(), audit.KeyName(""))
		if !ok || audit.CheckNode(cluster) != nil {
			return Keys{}, fmt.Errorf("the key is named %q, want keyhold.CLUSTER", v.Name())
		}
		if k.Cluster != "" && k.Cluster != cluster {
			return Keys{}, errors.New("the key file has keys of two clusters")
		}
		if len(all) == maxKeys {
			return Keys{}, fmt.Errorf("the key file has more than %d keys", maxKeys)
		}
		k.Cluster = cluster
		all = append(all, v)
	}
	if len(all) == 0 {
		return Keys{}, errors.New("the key file has no key")
	}
	k.Verifiers = note.VerifierList(all...)
	return k, nil
}

// Options say what is verified.
type Options struct {
	Dir     string // of all nodes, or of one node
	Keys    Keys
	Anchors []byte // checkpoints seen earlier: signed notes, one after the other
	Workers int    // 0: as many as there are processors
	// Progress is called now and then with the bytes read so far and in all. It may be nil.
	Progress func(done, total int64)
}

// Finding is one thing that is wrong.
type Finding struct {
	File     string `json:"file"`
	Node     string `json:"node,omitempty"`
	Epoch    uint64 `json:"epoch,omitempty"`
	Sequence uint64 `json:"sequence"`
	What     string `json:"what"`
}

func (f Finding) String() string {
	if f.Epoch == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.What)
	}
	return fmt.Sprintf("%s: epoch %d, record %d: %s", f.File, f.Epoch, f.Sequence, f.What)
}

// Epoch is what was verified of one boot epoch.
type Epoch struct {
	Node        string   `json:"node"`
	Epoch       uint64   `json:"epoch"`
	Origin      string   `json:"origin"`
	Records     uint64   `json:"records"`
	Batches     uint64   `json:"batches"`
	Segments    int      `json:"segments"`
	Checkpoints uint64   `json:"checkpoints"` // whose signature and root were verified
	Signed      uint64   `json:"signed"`      // records under the last of them
	Anchored    uint64   `json:"anchored"`    // records under the last anchor
	Unkeyed     uint64   `json:"unkeyed"`     // records written before unsealing
	Erased      uint64   `json:"erased"`      // records whose annex was blanked
	Retired     uint64   `json:"retired"`     // the oldest records, whose data was dropped: their hashes lead to the checkpoints
	Root        string   `json:"root"`
	Notes       []string `json:"notes,omitempty"`

	Cosigned []Cosigned `json:"cosigned,omitempty"` // by known witnesses: the newest of each

	root tree.Hash
}

// Report is the outcome.
type Report struct {
	Verified bool      `json:"verified"`
	Anchored bool      `json:"anchored"` // at least one anchor was held against the log, or a quorum of witnesses cosigned a checkpoint of it
	Kept     bool      `json:"kept"`     // at least one of the anchors that were passed was held against the log
	Cosigned bool      `json:"cosigned"` // a quorum of the known witnesses cosigned a checkpoint that fits the log
	Records  uint64    `json:"records"`
	Erased   uint64    `json:"erased"`
	Retired  uint64    `json:"retired"` // records whose data was dropped, of those above
	Tail     uint64    `json:"tail"`    // records of the newest boot epochs behind the last checkpoint: chained, not signed
	Epochs   []Epoch   `json:"epochs"`
	Findings []Finding `json:"findings"`
	More     uint64    `json:"more_findings"` // that are not listed
}

func (r *Report) find(f Finding) {
	if len(r.Findings) < MaxFindings {
		r.Findings = append(r.Findings, f)
		return
	}
	r.More++
}

// ErrNoLog says that a folder holds no audit log.
var ErrNoLog = errors.New("there is no audit log in this folder")

// Dir verifies the logs in a folder. An error says that it could not; what is wrong with the logs is in the report.
func Dir(ctx context.Context, o Options) (*Report, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	nodes, err := folders(o.Dir)
	if err != nil {
		return nil, err
	}
	anchors, err := o.anchors()
	if err != nil {
		return nil, err
	}
	rep := &Report{Findings: []Finding{}, Epochs: []Epoch{}}
	p := progress{call: o.Progress, total: total(nodes)}
	for _, dir := range nodes {
		if err := node(ctx, &o, dir, anchors, rep, &p); err != nil {
			return nil, err
		}
	}
	for origin, list := range anchors {
		_, name, epoch, _ := audit.ParseOrigin(origin)
		for i, a := range list {
			wrong := func(what string) {
				rep.find(Finding{File: o.Dir, Node: name, Epoch: epoch, Sequence: a.Size, What: what})
			}
			if i > 0 && list[i-1].Size == a.Size && list[i-1].Root != a.Root {
				wrong(fmt.Sprintf("SPLIT VIEW: %s and %s are of different histories of %d records of %s, and both are signed with the log's key: keep them, they prove it",
					(&due{anchor: list[i-1], by: list[i-1].by}).kind(), (&due{anchor: a, by: a.by}).kind(), a.Size, origin))
			}
			if a.used {
				rep.Kept = true
			} else if !a.judged {
				wrong(fmt.Sprintf("%s covers %d records of %s, which are not there", (&due{anchor: a, by: a.by}).kind(), a.Size, origin))
			}
		}
	}
	rep.Anchored = rep.Kept || rep.Cosigned
	slices.SortStableFunc(rep.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Sequence, b.Sequence))
	})
	rep.Verified = len(rep.Findings) == 0
	return rep, nil
}

// anchor is a checkpoint that somebody kept.
type anchor struct {
	tree.Checkpoint
	by     []Vouch
	used   bool // was held against the tree
	judged bool // its epoch is there; if the epoch is damaged before the anchor, that is the finding
}

func (o *Options) anchors() (map[string][]*anchor, error) {
	all := map[string][]*anchor{}
	notes := tree.NewNotes(strings.NewReader(strings.TrimRight(string(o.Anchors), "\n") + "\n\n"))
	if len(o.Anchors) == 0 {
		return all, nil
	}
	other := ""
	for {
		msg, err := notes.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("anchor: %w", err)
		}
		c, err := tree.Unverified(msg)
		if err != nil {
			return nil, fmt.Errorf("anchor: %w", err)
		}
		if cluster, _, _, ok := audit.ParseOrigin(c.Origin); !ok || cluster != o.Keys.Cluster {
			other = c.Origin // a witness's file has the checkpoints of all logs that it watches
			continue
		}
		if c, err = tree.Open(msg, o.Keys.Verifiers); err != nil {
			return nil, fmt.Errorf("anchor: %w", err)
		}
		by, err := o.Keys.Witnesses.vouch(msg)
		if err != nil {
			return nil, fmt.Errorf("anchor: %w", err)
		}
		all[c.Origin] = append(all[c.Origin], &anchor{Checkpoint: c, by: by})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("anchor: it is a checkpoint of %q, not of a log of cluster %s", other, o.Keys.Cluster)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b *anchor) int { return cmp.Compare(a.Size, b.Size) })
	}
	return all, nil
}

// folders finds the nodes' folders: dir itself, or those in it.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, ok := audit.ParseEpochFolder(e.Name()); ok {
			return []string{dir}, nil
		}
		path := filepath.Join(dir, e.Name())
		if epochs, err := epochs(path); err == nil && len(epochs) > 0 {
			nodes = append(nodes, path)
		}
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoLog)
	}
	return nodes, nil
}

func epochs(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if n, ok := audit.ParseEpochFolder(e.Name()); ok && e.IsDir() {
			all = append(all, n)
		}
	}
	return all, nil
}

func total(nodes []string) (sum int64) {
	for _, dir := range nodes {
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error { //nolint:errcheck // an estimate
			if err == nil && strings.HasSuffix(path, ".log") {
				if st, err := e.Info(); err == nil {
					sum += st.Size()
				}
			}
			return nil
		})
	}
	return sum
}

type progress struct {
	call        func(done, total int64)
	done, total int64
}

func (p *progress) add(n int64) {
	p.done += n
	if p.call != nil {
		p.call(min(p.done, p.total), p.total)
	}
}
