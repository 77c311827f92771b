// Package witness watches over logs: it cosigns a checkpoint only if it extends the one that it cosigned before (C2SP tlog-witness,
// tlog-cosignature), so that a log which it watches cannot show different pasts to different people, nor take back what it showed.
//
// Invariants:
//   - Of one origin it never cosigns a smaller tree after a larger one, nor two trees of which one does not start with the other: not through
//     requests at the same time, and not over restarts, as long as its folder survives. A witness that lost its folder must not go on under its
//     name and key.
//   - What it cosigned is durable before the cosignature leaves.
//   - A state that was changed by somebody else is refused at the start: each carries the witness's own cosignature.
//
// It keeps one checkpoint of each origin and no records, knows nobody who asks, and trusts the log's key for nothing but the
// origin: whoever holds that key can begin new origins below the key's name, but not go back on one. It refuses to hold its own private key, which
// arrives as a function.
package witness

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Limits.
const (
	MaxLogs    = 1000   // keys of logs
	MaxOrigins = 10_000 // trees, of all logs together
	maxRefused = 4 << 20
)

// Why a checkpoint is not cosigned.
var (
	ErrMalformed    = errors.New("this is not a request for a cosignature")
	ErrUnknown      = errors.New("no log of this origin is watched")
	ErrUnsigned     = errors.New("no known key of the log signed the checkpoint")
	ErrInconsistent = errors.New("the checkpoint does not extend the last one that was cosigned")
	ErrMismatch     = errors.New("another checkpoint of this size was cosigned")
	ErrFull         = errors.New("the witness keeps as many origins as it can")
)

// Conflict says that a proof does not begin at the checkpoint that was cosigned last.
type Conflict struct{ Size uint64 }

func (c *Conflict) Error() string {
	return fmt.Sprintf("the last checkpoint that was cosigned covers %d records", c.Size)
}

// Config says what a witness watches, and as whom.
type Config struct {
	Dir     string          // its own
	Logs    []note.Verifier // each is trusted for the origin of its name, and for those below it: NAME/…
	Witness *tree.Witness
	Sign    func(msg []byte) ([]byte, error) // Ed25519, under the key of Witness
	Now     func() time.Time                 // nil: time.Now
	Logger  *slog.Logger                     // nil: silent
}

// Witness is the state of a witness. It is safe for concurrent use.
type Witness struct {
	cfg     Config
	release func() error

	mu   sync.Mutex // from looking at a state to its being durable
	last map[string]tree.Checkpoint
}

// lockName is the lock's file in the folder, refusedName the file of what was refused although it was signed.
const (
	lockName    = "lock"
	refusedName = "refused"
	suffix      = ".checkpoint"
)

// Open reads the state of a witness, or begins a new one.
func Open(cfg Config) (*Witness, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Witness == nil || cfg.Sign == nil || len(cfg.Logs) == 0 || len(cfg.Logs) > MaxLogs {
		return nil, fmt.Errorf("a witness needs a key, and 1 to %d keys of logs", MaxLogs)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	release, err := disk.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("another witness uses %s: %w", cfg.Dir, err)
	}
	w := &Witness{cfg: cfg, release: release, last: map[string]tree.Checkpoint{}}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, release())
	}
	return w, nil
}

// Close lets go of the folder.
func (w *Witness) Close() error { return w.release() }

// load reads the states. One that the witness did not cosign itself stops it: it would vouch for what it never saw.
func (w *Witness) load() error {
	entries, err := os.ReadDir(w.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		path := filepath.Join(w.cfg.Dir, e.Name())
		msg, err := readNote(path)
		if err != nil {
			return err
		}
		c, err := tree.Unverified(msg)
		if err == nil && path != w.path(c.Origin) {
			err = errors.New("it is of another origin")
		}
		var by []tree.Cosignature
		if err == nil {
			by, err = tree.Cosignatures(msg, []*tree.Witness{w.cfg.Witness})
		}
		if err == nil && len(by) == 0 {
			err = errors.New("this witness did not cosign it")
		}
		if err != nil {
			return fmt.Errorf("the state %s cannot be used: %w", path, err)
		}
		if len(w.last) == MaxOrigins {
			return ErrFull
		}
		w.last[c.Origin] = c
	}
	return nil
}

func readNote(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(f, tree.MaxNote+1))
}

// path is the file of an origin's state. Origins are the logs' words, so that they do not become names of files.
func (w *Witness) path(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(w.cfg.Dir, hex.EncodeToString(sum[:])+suffix)
}

// trusted are the keys of an origin.
func (w *Witness) trusted(origin string) []note.Verifier {
	var all []note.Verifier
	for _, v := range w.cfg.Logs {
		if rest, ok := strings.CutPrefix(origin, v.Name()); ok && (rest == "" || rest[0] == '/') {
			all = append(all, v)
		}
	}
	return all
}

// Add cosigns a checkpoint that extends the last one of its origin, and answers the signature line. Errors: ErrMalformed, ErrUnknown, ErrUnsigned,
// Conflict, ErrInconsistent, ErrMismatch, ErrFull; any other is the witness's own trouble.
func (w *Witness) Add(text []byte) (line string, err error) {
	x, err := tree.ParseExtension(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c, err := tree.Unverified(x.Checkpoint)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	keys := w.trusted(c.Origin)
	if len(keys) == 0 {
		return "", ErrUnknown
	}
	signed, err := tree.Open(x.Checkpoint, note.VerifierList(keys...))
	if err != nil || signed != c {
		return "", errors.Join(ErrUnsigned, err)
	}
	if x.Old > c.Size {
		return "", fmt.Errorf("%w: the old size is larger than the new one", ErrMalformed)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.last[c.Origin]
	if !known {
		last = tree.Checkpoint{Origin: c.Origin, Root: tree.EmptyRoot()}
	}
	switch {
	case x.Old != last.Size:
		return "", &Conflict{last.Size}
	case c.Size == last.Size && c.Root != last.Root:
		w.refuse(text, last, "another tree of the same size")
		return "", ErrMismatch
	case !extends(x, last, c):
		w.refuse(text, last, "it does not extend the last one")
		return "", ErrInconsistent
	case !known && len(w.last) >= MaxOrigins:
		return "", ErrFull
	}
	body, _, _ := bytes.Cut(x.Checkpoint, []byte("\n\n"))
	line, err = w.cfg.Witness.Cosign(string(body)+"\n", w.cfg.Now(), w.cfg.Sign)
	if err != nil {
		return "", err
	}
	if known && c == last {
		return line, nil
	}
	if err := w.keep(c, keys, x.Checkpoint, line); err != nil {
		return "", fmt.Errorf("keep the checkpoint: %w", err)
	}
	w.last[c.Origin] = c
	return line, nil
}

// extends verifies the proof. There is none from an empty tree, nor from a tree to itself.
func extends(x *tree.Extension, last, c tree.Checkpoint) bool {
	if last.Size == 0 || last.Size == c.Size {
		return len(x.Hashes) == 0
	}
	return tree.CheckExtension(x.Hashes, last.Size, last.Root, c.Size, c.Root) == nil
}

// keep makes a state durable: the log's own signatures and the cosignature, so that the file is evidence by itself.
func (w *Witness) keep(c tree.Checkpoint, keys []note.Verifier, msg []byte, line string) error {
	n, err := note.Open(msg, note.VerifierList(keys...))
	if err != nil {
		return err
	}
	out := c.Text()
	if n.Text != out { // extension lines belong to what is signed
		out = n.Text
	}
	out += "\n"
	for _, s := range n.Sigs {
		out += "— " + s.Name + " " + s.Base64 + "\n"
	}
	return replace(w.path(c.Origin), []byte(out+line))
}

// replace writes a file whole or not at all: aside, synced, renamed, and the folder synced.
func replace(path string, data []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// refuse keeps what the log signed and should not have: it is proof of its misbehaviour (C2SP tlog-witness, add-checkpoint).
func (w *Witness) refuse(text []byte, last tree.Checkpoint, why string) {
	w.cfg.Logger.Error("checkpoint_refused", "origin", last.Origin, "size", last.Size, "why", why)
	f, err := os.OpenFile(filepath.Join(w.cfg.Dir, refusedName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil && st.Size() < maxRefused {
			_, err = f.Write(append(bytes.Clone(text), '\n'))
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		w.cfg.Logger.Error("refused_checkpoint_not_kept", "error", err)
	}
}

// WriteCheckpoints writes the newest checkpoint of every origin, with the witness's cosignature, each followed by an empty line: anchors, for
// whoever verifies one of the logs.
func (w *Witness) WriteCheckpoints(to io.Writer) error {
	w.mu.Lock()
	var origins []string
	for o := range w.last {
		origins = append(origins, o)
	}
	w.mu.Unlock()
	slices.SortFunc(origins, cmp.Compare)
	for _, o := range origins {
		msg, err := readNote(w.path(o))
		if err != nil {
			return err
		}
		if _, err := to.Write(append(msg, '\n')); err != nil {
			return err
		}
	}
	return nil
}
