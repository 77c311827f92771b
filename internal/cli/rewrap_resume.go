package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// What a run that can be resumed keeps beside its result.
const (
	partSuffix     = ".part"
	progressSuffix = ".progress"
	progressFormat = 1
	maxProgress    = 4 << 20 // bytes of a progress file: a thousand failures with what they say
	rewrapSave     = 16      // batches between two of its writings
)

// rewrapProgress is a progress file: how far a stream is, and what was read and written up to there. What is behind that in OUT.part does not count.
type rewrapProgress struct {
	Format     int          `json:"format"`
	Key        string       `json:"key_id"`
	Version    uint32       `json:"version"` // that ciphertexts are moved to
	Field      string       `json:"field,omitempty"`
	Read       int64        `json:"read"` // bytes
	ReadSum    string       `json:"read_sha256"`
	Written    int64        `json:"written"` // bytes
	WrittenSum string       `json:"written_sha256"`
	Report     rewrapReport `json:"report"`
}

// resumable is a stream whose place is kept. It writes to the part.
type resumable struct {
	s             *rewrapStream
	in            *os.File
	part          *os.File
	path          string // of the progress file
	read, written hash.Hash
	at            rewrapProgress // as of the last whole batch
	wrote         int64
	unsaved       int // batches
}

// resume re-wraps a file to out, from where an earlier run stopped.
func (s *rewrapStream) resume(ctx context.Context, in *os.File, out string) error {
	for _, path := range []string{out, out + partSuffix} {
		if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
			return refusal(kms.CodeBadRequest, "name a file", "%s is not a file", path)
		}
	}
	part, err := os.OpenFile(filepath.Clean(out+partSuffix), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer part.Close() //nolint:errcheck // what counts of it was synced
	r := &resumable{s: s, in: in, part: part, path: out + progressSuffix}
	if err := r.find(); err != nil {
		return err
	}
	s.after = r.step
	if err := s.copy(ctx, in, r); err != nil {
		return errors.Join(err, r.save())
	}
	if err := part.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", part.Name(), err)
	}
	if err := os.Rename(part.Name(), out); err != nil {
		return err
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(out)
}

// find goes to where an earlier run stopped, if there was one, and to the beginning otherwise.
func (r *resumable) find() error {
	r.read, r.written = sha256.New(), sha256.New()
	r.at = rewrapProgress{Format: progressFormat, Key: r.s.id, Version: r.s.version, Field: strings.Join(r.s.field, "."), Report: r.s.report}
	r.note()
	was, err := r.earlier()
	if err != nil {
		return err
	}
	if was == nil {
		return r.part.Truncate(0)
	}
	if err := r.same("the file that is read", r.in, r.read, was.Read, was.ReadSum); err != nil {
		return err
	}
	if err := r.same("what was written", r.part, r.written, was.Written, was.WrittenSum); err != nil {
		return err
	}
	if err := r.part.Truncate(was.Written); err != nil {
		return err
	}
	r.at, r.wrote = *was, was.Written
	r.s.report, r.s.read = was.Report, uint64(was.Read) //nolint:gosec // G115: checked
	if r.s.report.Moved == nil {
		r.s.report.Moved = map[uint32]uint64{}
	}
	fmt.Fprintf(r.s.app.stderr, "going on behind line %d\n", was.Report.Lines)
	return nil
}

// earlier reads the progress file. nil: there is none, or it is of an older primary version, and the work begins anew.
func (r *resumable) earlier() (*rewrapProgress, error) {
	text, err := readSmall(r.path, maxProgress)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, err
	}
	var was rewrapProgress
	switch err := json.Unmarshal(text, &was); {
	case err != nil || was.Read < 0 || was.Written < 0:
		return nil, r.other("it cannot be read")
	case was.Format != progressFormat:
		return nil, r.other(fmt.Sprintf("it has format %d, and this program knows %d", was.Format, progressFormat))
	case was.Key != r.at.Key || was.Field != r.at.Field:
		return nil, r.other("it is of another key or field")
	case was.Version != r.at.Version:
		fmt.Fprintf(r.s.app.stderr, "the key was rotated since the run that is resumed: beginning anew\n")
		return nil, nil //nolint:nilnil // none that counts
	}
	return &was, nil
}

// same reads what an earlier run had read or written, and refuses if it is not that any more.
func (r *resumable) same(what string, f *os.File, sum hash.Hash, n int64, want string) error {
	if _, err := io.CopyN(sum, f, n); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != want {
		return r.other(what + " is not as it was")
	}
	return nil
}

func (r *resumable) other(why string) error {
	return refusal(kms.CodeConflict, "remove "+r.path+" to begin anew", "%s does not fit: %s", r.path, why)
}

// Write writes to the part.
func (r *resumable) Write(b []byte) (int, error) {
	n, err := r.part.Write(b)
	r.written.Write(b[:n])
	r.wrote += int64(n)
	return n, err
}

// step is told of a batch that is written, with its lines as they were read.
func (r *resumable) step(lines [][]byte) error {
	for _, line := range lines {
		r.read.Write(line)
		r.at.Read += int64(len(line))
	}
	r.at.Written = r.wrote
	r.at.Report = r.s.report
	r.at.Report.Moved = maps.Clone(r.s.report.Moved)
	r.note()
	if r.unsaved++; r.unsaved < rewrapSave {
		return nil
	}
	return r.save()
}

// note takes the sums of what was read and written.
func (r *resumable) note() {
	r.at.ReadSum, r.at.WrittenSum = hex.EncodeToString(r.read.Sum(nil)), hex.EncodeToString(r.written.Sum(nil))
}

// save writes the progress file: first what it says is written.
func (r *resumable) save() error {
	r.unsaved = 0
	if err := r.part.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", r.part.Name(), err)
	}
	text, err := json.Marshal(&r.at)
	if err != nil {
		return err
	}
	return writeFile(r.path, append(text, '\n'), 0o600)
}
