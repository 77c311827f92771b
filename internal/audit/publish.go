package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// The publisher's measures.
const (
	feedBatches = 256 // batches that may wait for the tree before the committer waits for it
	signEvery   = time.Second
)

// publisher grows the tree behind the committer and signs checkpoints. It is never in the way of a record: the tree is memory and unsynced
// files, and signing happens on a goroutine of its own.
type publisher struct {
	l     *Log
	feed  chan []byte // leaf hashes of a batch
	ask   chan struct{}
	now   chan demand   // asks for a checkpoint at once
	over  chan struct{} // closed when the tree has everything
	ended chan struct{} // closed when the last checkpoint is signed

	keys atomic.Pointer[Keys]

	mu     sync.Mutex // guards the fields below
	grown  sync.Cond  // the tree grew
	tree   *tree.Tree
	signed tree.Checkpoint
	note   []byte
	fresh  chan struct{} // closed and replaced at each checkpoint
	at     time.Time     // of the newest checkpoint

	cosigned cosigned

	length int64 // of the checkpoints file; the signing goroutine's own
	err    error // why the last checkpoint could not be written; read after the goroutines ended
}

func (p *publisher) init(l *Log) {
	p.l = l
	p.feed = make(chan []byte, feedBatches)
	p.ask = make(chan struct{}, 1)
	p.over = make(chan struct{})
	p.now = make(chan demand)
	p.ended = make(chan struct{})
	p.fresh = make(chan struct{})
	p.grown.L = &p.mu
	p.tree = tree.New(l.home)
}

// add hands over the leaf hashes of an acknowledged batch. The committer alone calls it.
func (p *publisher) add(leaves []byte) { p.feed <- leaves }

func (p *publisher) finish() { close(p.feed) }

// grow appends to the tree.
func (p *publisher) grow() {
	defer close(p.over)
	warned := false
	for leaves := range p.feed {
		p.mu.Lock()
		for i := 0; i < len(leaves); i += 32 {
			p.tree.Append(tree.Hash(leaves[i:]))
		}
		err := p.tree.TileError()
		p.grown.Broadcast()
		p.mu.Unlock()
		if err != nil && !warned {
			warned = true
			p.l.cfg.Logger.Warn("audit tile not written; it will be rebuilt when needed", "error", err)
		}
		leafPool.Put(&leaves)
		p.request()
	}
}

func (p *publisher) request() {
	select {
	case p.ask <- struct{}{}:
	default:
	}
}

// publish signs a checkpoint at most once a second while the tree grows, and one at the end.
func (p *publisher) publish() {
	defer close(p.ended)
	timer := time.NewTimer(signEvery)
	timer.Stop()
	armed := false
	for {
		select {
		case <-p.over:
			timer.Stop()
			if err := p.sign(true); err != nil {
				p.err = err
			}
			return
		case q := <-p.now:
			err := p.sign(false)
			if q.forget {
				p.keys.Store(nil)
			}
			q.done <- err
		case <-p.ask:
			if !armed {
				armed = true
				timer.Reset(max(0, signEvery-time.Since(p.last())))
			}
		case <-timer.C:
			armed = false
			if err := p.sign(false); err != nil {
				p.l.cfg.Logger.Warn("audit checkpoint not written", "error", err)
				armed = true
				timer.Reset(signEvery)
			}
		}
	}
}

// demand asks for a checkpoint at once. With forget it is the last one under the present keys: nothing is signing with them when it is done.
type demand struct {
	forget bool
	done   chan error
}

// cover signs a checkpoint over the first n records at once.
func (p *publisher) cover(n uint64, forget bool) error {
	p.reach(n) // whatever was acknowledged reaches the tree, even while the log closes
	q := demand{forget, make(chan error, 1)}
	select {
	case p.now <- q:
		return <-q.done
	case <-p.ended:
		return nil // the last one covers everything
	}
}

func (p *publisher) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *publisher) covered() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signed.Size
}

// sign makes a checkpoint of the tree as it is, if it grew and the keys are there. The final one is synced, with the tiles of the edge beside it.
func (p *publisher) sign(final bool) error {
	p.mu.Lock()
	c := tree.Checkpoint{Origin: p.l.origin, Size: p.tree.Size(), Root: p.tree.Root()}
	grew := c.Size > p.signed.Size
	var edge error
	if final {
		edge = p.tree.WriteEdge()
	}
	p.mu.Unlock()
	if edge != nil {
		p.l.cfg.Logger.Warn("audit tile not written; it will be rebuilt when needed", "error", edge)
	}
	k := p.keys.Load()
	if k == nil || !grew {
		return nil
	}
	msg, err := c.Sign(k.Signer)
	if err != nil {
		return err
	}
	if _, err := tree.Open(msg, k.Verifiers); err != nil { // a key that failed, or was erased meanwhile, publishes nothing
		return fmt.Errorf("check checkpoint: %w", err)
	}
	if p.length, err = writeCheckpoint(p.l.home, msg, p.length, final); err != nil {
		return err
	}
	p.mu.Lock()
	p.signed, p.note, p.at = c, msg, time.Now()
	close(p.fresh)
	p.fresh = make(chan struct{})
	p.mu.Unlock()
	return nil
}

// writeCheckpoint appends a note to the file of all checkpoints at a length and makes it the latest one. It gives the new length. What a
// failed attempt left behind the old length is overwritten by the next.
func writeCheckpoint(dir string, msg []byte, length int64, sync bool) (int64, error) {
	fail := func(err error) (int64, error) { return length, fmt.Errorf("write checkpoint: %w", err) }
	all, err := os.OpenFile(filepath.Join(dir, checkpointsName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	if err = all.Truncate(length); err == nil {
		_, err = all.WriteAt(append(msg[:len(msg):len(msg)], '\n'), length)
	}
	if err == nil && sync {
		err = all.Sync()
	}
	if err = errors.Join(err, all.Close()); err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, checkpointName)
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(msg)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil && sync {
		var d *os.File
		if d, err = os.Open(dir); err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
	}
	if err != nil {
		_ = os.Remove(temp)
		return fail(err)
	}
	return length + int64(len(msg)) + 1, nil
}
