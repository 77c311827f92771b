package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Retired tells that the data of an epoch's oldest records was dropped, by which record, and holds what the rest is checked from
// (docs/formats-audit.md, "Retired records"). The leaf hashes of what is gone stand in the tiles.
type Retired struct {
	Origin string
	Next   uint64       // number of the first record whose data is left
	Root   tree.Hash    // of the tree over the records before it
	Chain  segment.Hash // of the last batch before it
	First  []byte       // encoded body of record 0, which links to the epoch before
	Record Position     // of the newest record that told of dropping
	Rule   string       // by which it was done
}

// Names and limits of the file.
const (
	retiredName   = "retired"
	retiredHeader = "keyhold/audit/retired/v1"
	maxRetired    = 128 << 10 // bytes
	maxRule       = 200       // bytes
)

// ErrRetired says that a file is not one that tells of retired records.
var ErrRetired = errors.New("audit: the file that tells of retired records is damaged")

// Text is the file.
func (r *Retired) Text() []byte {
	b64 := base64.StdEncoding.EncodeToString
	return []byte(strings.Join([]string{
		retiredHeader, r.Origin, strconv.FormatUint(r.Next, 10), b64(r.Root[:]), b64(r.Chain[:]), b64(r.First), r.Record.String(), r.Rule, "",
	}, "\n"))
}

// ParseRetired reads what Text writes, and no other form. The only error is ErrRetired.
func ParseRetired(text []byte) (*Retired, error) {
	bad := func(what string) (*Retired, error) { return nil, fmt.Errorf("%w: %s", ErrRetired, what) }
	if len(text) > maxRetired {
		return bad("it is too long")
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 9 || lines[0] != retiredHeader || lines[8] != "" || len(lines[7]) > maxRule {
		return bad("it does not have its lines")
	}
	r := &Retired{Origin: lines[1], Rule: lines[7]}
	_, node, epoch, ok := ParseOrigin(r.Origin)
	if !ok {
		return bad("its origin")
	}
	var err error
	if r.Next, err = strconv.ParseUint(lines[2], 10, 62); err != nil || r.Next == 0 {
		return bad("its number")
	}
	if r.Record, err = ParsePosition(lines[6]); err != nil || r.Record.Node != node || r.Record.Epoch < epoch {
		return bad("the record that tells of it")
	}
	var part [3][]byte
	for i := range part {
		if part[i], err = base64.StdEncoding.Strict().DecodeString(lines[3+i]); err != nil || i < 2 && len(part[i]) != len(r.Root) {
			return bad("a hash")
		}
	}
	r.Root, r.Chain, r.First = tree.Hash(part[0]), segment.Hash(part[1]), part[2]
	if _, err := DecodeBody(r.First); err != nil {
		return bad("the first record")
	}
	if string(r.Text()) != string(text) {
		return bad("its form")
	}
	return r, nil
}

// ReadRetired tells what was dropped of the epoch in a folder; nil: nothing. Errors: ErrRetired, and those of reading.
func ReadRetired(dir string) (*Retired, error) {
	text, err := readSmall(filepath.Join(dir, retiredName), maxRetired)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was dropped
	}
	if err != nil {
		return nil, err
	}
	return ParseRetired(text)
}

// LiveSegments lists the segments of an epoch, without those whose records were dropped, should one still be there. It also gives what was dropped, and those
// files.
func LiveSegments(dir string) (live []segment.File, gone *Retired, left []segment.File, err error) {
	if gone, err = ReadRetired(dir); err != nil {
		return nil, nil, nil, err
	}
	if live, _, err = segment.List(dir); err != nil || gone == nil {
		return live, gone, nil, err
	}
	n := 0
	for n < len(live) && live[n].First < gone.Next {
		n++
	}
	return live[n:], gone, live[:n], nil
}

// segments is LiveSegments of an epoch that is being recovered.
func (p *past) segments() ([]segment.File, *Retired, error) {
	files, gone, _, err := LiveSegments(p.dir)
	if err == nil && gone != nil && gone.Origin != p.origin {
		err = fmt.Errorf("%w: it is of %s", ErrRetired, gone.Origin)
	}
	if errors.Is(err, ErrRetired) {
		return nil, nil, p.altersAt(retiredName, 0, "%v", err)
	}
	return files, gone, err
}
