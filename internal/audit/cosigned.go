package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// cosignedName is the file of the checkpoints that witnesses cosigned, in the order of their sizes, each followed by an empty line.
const cosignedName = "cosigned"

// backEpochs bounds how far back a witnessed checkpoint is looked for.
const backEpochs = 64

// cosigned is what witnesses vouched for.
type cosigned struct {
	mu        sync.Mutex // guards the fields below
	newest    point      // of the present epoch
	witnessed point      // of the newest epoch that has one
	looked    bool       // the earlier epochs were looked at
	length    int64      // of the present epoch's file
}

// Published is the newest signed checkpoint of the present boot epoch as the log signed it, nil if there is none, and a channel that is closed
// when there is a newer one.
func (l *Log) Published() (msg []byte, newer <-chan struct{}) {
	l.pub.mu.Lock()
	defer l.pub.mu.Unlock()
	return l.pub.note, l.pub.fresh
}

// Ended is the last checkpoint of the boot epoch before this one, nil if there is none.
func (l *Log) Ended() []byte {
	if l.past == nil {
		return nil
	}
	msg, c, ok := newestNote(l.past.dir)
	if !ok || c.Origin != l.past.origin || c.Size != l.past.size {
		return nil
	}
	return msg
}

// Cosigned takes a checkpoint that this log published and that witnesses cosigned since. It answers how many of the known witnesses did.
// Of one epoch, sizes never descend; the last note of a size has all its cosignatures.
func (l *Log) Cosigned(msg []byte) (int, error) {
	c, err := tree.Unverified(msg)
	if err != nil {
		return 0, err
	}
	epoch, err := l.epochOf(c.Origin)
	if err != nil {
		return 0, err
	}
	by, err := tree.Cosignatures(msg, l.cfg.Witnesses)
	if err != nil {
		return 0, err
	}
	if len(by) == 0 {
		return 0, errors.New("no known witness cosigned the checkpoint")
	}
	p := point{c, epoch, bytes.Clone(msg)}
	l.pub.cosigned.mu.Lock()
	defer l.pub.cosigned.mu.Unlock()
	if err := l.keepCosigned(p); err != nil {
		return 0, fmt.Errorf("write cosigned checkpoint: %w", err)
	}
	if epoch == l.epoch {
		l.pub.cosigned.newest = p
	}
	if w := &l.pub.cosigned.witnessed; len(by) >= l.quorum() && (epoch > w.epoch || epoch == w.epoch && c.Size >= w.Size) {
		*w = p
	}
	return len(by), nil
}

// quorum is how many cosignatures make a checkpoint a witnessed one.
func (l *Log) quorum() int {
	if l.cfg.Quorum == 0 {
		return len(l.cfg.Witnesses)
	}
	return l.cfg.Quorum
}

// keepCosigned appends a note to its epoch's file. What a failed attempt left is overwritten by the next. It is not synced: who loses it asks again.
func (l *Log) keepCosigned(p point) error {
	f, err := os.OpenFile(filepath.Join(l.node, epochFolder(p.epoch), cosignedName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	length, last := l.pub.cosigned.length, l.pub.cosigned.newest.Size
	if p.epoch != l.epoch {
		length, last = endOfNotes(f)
	}
	if p.Size < last {
		return errors.Join(fmt.Errorf("it covers %d records, the one before %d", p.Size, last), f.Close())
	}
	if err = f.Truncate(length); err == nil {
		_, err = f.WriteAt(append(p.note[:len(p.note):len(p.note)], '\n'), length)
	}
	if err = errors.Join(err, f.Close()); err == nil && p.epoch == l.epoch {
		l.pub.cosigned.length = length + int64(len(p.note)) + 1
	}
	return err
}

// endOfNotes is where the last whole note of a file ends, and its size.
func endOfNotes(f io.Reader) (end int64, size uint64) {
	notes := tree.NewNotes(f)
	for {
		msg, err := notes.Next()
		if err != nil {
			return notes.End(), size
		}
		if c, err := tree.Unverified(msg); err == nil {
			size = c.Size
		}
	}
}

// Witnessed is the newest checkpoint that a quorum of the configured witnesses cosigned, nil if there is none.
func (l *Log) Witnessed() []byte {
	l.pub.cosigned.mu.Lock()
	defer l.pub.cosigned.mu.Unlock()
	for e := l.epoch - 1; !l.pub.cosigned.looked && len(l.cfg.Witnesses) > 0 && e > l.pub.cosigned.witnessed.epoch && l.epoch-e <= backEpochs; e-- {
		if p, ok := l.cosignedBefore(e); ok {
			l.pub.cosigned.witnessed = p
		}
	}
	l.pub.cosigned.looked = true
	return l.pub.cosigned.witnessed.note
}

// cosignedBefore is the last checkpoint of an earlier epoch that a quorum cosigned.
func (l *Log) cosignedBefore(epoch uint64) (p point, ok bool) {
	f, err := os.Open(filepath.Join(l.node, epochFolder(epoch), cosignedName))
	if err != nil {
		return p, false
	}
	defer f.Close() //nolint:errcheck // read only
	notes := tree.NewNotes(lastNotes(f))
	for {
		msg, err := notes.Next()
		if err != nil {
			return p, ok
		}
		c, err := tree.Unverified(msg)
		if err != nil {
			return p, ok
		}
		if by, err := tree.Cosignatures(msg, l.cfg.Witnesses); err == nil && len(by) >= max(1, l.quorum()) {
			p, ok = point{c, epoch, bytes.Clone(msg)}, true
		}
	}
}

// vouched is the newest checkpoint of an epoch that a quorum of witnesses cosigned.
func (l *Log) vouched(epoch uint64) (point, bool) {
	if len(l.cfg.Witnesses) == 0 {
		return point{}, false
	}
	l.pub.cosigned.mu.Lock()
	w := l.pub.cosigned.witnessed
	l.pub.cosigned.mu.Unlock()
	if w.epoch == epoch || epoch == l.epoch {
		return w, w.epoch == epoch
	}
	return l.cosignedBefore(epoch)
}

// withCosignatures is a checkpoint of the present epoch with the cosignatures that came for it.
func (l *Log) withCosignatures(c tree.Checkpoint, msg []byte) []byte {
	l.pub.cosigned.mu.Lock()
	defer l.pub.cosigned.mu.Unlock()
	if p := &l.pub.cosigned.newest; p.note != nil && p.Checkpoint == c {
		return p.note
	}
	return msg
}

// checkQuorum checks the policy of a configuration.
func (c *Config) checkQuorum() error {
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return fmt.Errorf("audit: a quorum of %d cosignatures of %d witnesses", c.Quorum, len(c.Witnesses))
	}
	return nil
}

// The states of a witness.
const (
	WitnessWaiting  = "waiting"  // nothing was sent to it yet
	WitnessOK       = "ok"       // it cosigned what it was sent last
	WitnessFailing  = "failing"  // it does not answer, or not as it should
	WitnessRefusing = "refusing" // it saw another history of the log
)

// WitnessStates are all of them.
func WitnessStates() []string {
	return []string{WitnessWaiting, WitnessOK, WitnessFailing, WitnessRefusing}
}

// WitnessState is how it stands with one witness.
type WitnessState struct {
	Name    string
	URL     string
	State   string
	Origin  string // of the newest checkpoint that it cosigned
	Size    uint64
	At      time.Time // when it cosigned that
	Problem string
	Failed  uint64 // requests without a cosignature, since the start
}
