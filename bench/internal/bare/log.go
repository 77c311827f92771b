package bare

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Mode is what a log promises when Append returns.
type Mode string

// The modes.
const (
	Unsynced Mode = "unsynced" // the record is with the kernel
	Durable  Mode = "durable"  // it is on stable storage: records that come together share one fdatasync
)

// extent is how much of the file is filled with zeros at a time, in bytes: to overwrite zeros changes nothing in the file system, so that
// a sync has less to write. A product would do it ahead of need.
const extent = 64 << 20

// Log is a log of JSON lines of about 360 bytes, each of which has the hash of the one before: as little as an audit trail can be.
type Log struct {
	file *os.File
	mode Mode

	mu   sync.Mutex // guards what follows
	seq  uint64
	last [sha256.Size]byte
	next *group
	work *sync.Cond // next is not empty, or the log is closed
	shut bool

	// Of the committer alone.
	at, size int64
	syncs    uint64
	done     chan struct{}
}

// group is what one sync makes durable.
type group struct {
	b    []byte
	done chan struct{}
	err  error
}

// Open makes a log in a new file.
func Open(path string, mode Mode) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Log{file: f, mode: mode, done: make(chan struct{})}
	l.work = sync.NewCond(&l.mu)
	l.next = newGroup(nil)
	switch mode {
	case Durable:
		if err := l.extend(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		go l.commit()
	case Unsynced:
		close(l.done)
	default:
		return nil, errors.Join(fmt.Errorf("there is no mode %q", mode), f.Close())
	}
	return l, nil
}

func newGroup(b []byte) *group { return &group{b: b[:0], done: make(chan struct{})} }

// Append records one operation.
func (l *Log) Append(verb, key, remote string, ok bool) error {
	l.mu.Lock()
	g := l.next
	start := len(g.b)
	l.seq++
	g.b = l.record(g.b, verb, key, remote, ok)
	l.last = sha256.Sum256(g.b[start:])
	g.b = append(g.b, '\n')
	if l.mode == Unsynced {
		_, err := l.file.Write(g.b)
		g.b = g.b[:0]
		l.mu.Unlock()
		return err
	}
	if start == 0 {
		l.work.Signal()
	}
	l.mu.Unlock()
	<-g.done
	return g.err
}

func (l *Log) record(b []byte, verb, key, remote string, ok bool) []byte {
	b = time.Now().UTC().AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = strconv.AppendUint(append(b, `","sequence":`...), l.seq, 10)
	b = append(b, `,"request":"018f4b4e-0000-7000-8000-000000000000","who":"app-1","method":"mtls","policy":"app-crypto","operation":`...)
	b = strconv.AppendQuote(b, verb)
	b = strconv.AppendQuote(append(b, `,"key":`...), key)
	b = strconv.AppendQuote(append(b, `,"version":1,"remote":`...), remote)
	b = strconv.AppendBool(append(b, `,"dialect":"vault-transit","decision":"allow","ok":`...), ok)
	b = hex.AppendEncode(append(b, `,"previous":"`...), l.last[:])
	return append(b, `"}`...)
}

// commit writes and syncs one group after the other. While it waits for the disk, the next one gathers.
func (l *Log) commit() {
	defer close(l.done)
	var spare []byte
	for {
		l.mu.Lock()
		for len(l.next.b) == 0 && !l.shut {
			l.work.Wait()
		}
		g := l.next
		if len(g.b) == 0 {
			l.mu.Unlock()
			return
		}
		l.next = newGroup(spare)
		l.mu.Unlock()
		g.err = l.write(g.b)
		close(g.done)
		spare = g.b
	}
}

func (l *Log) write(b []byte) error {
	if l.at+int64(len(b)) > l.size {
		if err := l.extend(); err != nil {
			return err
		}
	}
	if _, err := l.file.WriteAt(b, l.at); err != nil {
		return err
	}
	l.at += int64(len(b))
	l.syncs++
	return syscall.Fdatasync(int(l.file.Fd()))
}

func (l *Log) extend() error {
	zeros := make([]byte, 1<<20)
	for end := l.size + extent; l.size < end; l.size += int64(len(zeros)) {
		if _, err := l.file.WriteAt(zeros, l.size); err != nil {
			return err
		}
	}
	return l.file.Sync()
}

// Close ends the log when what was appended is written, and answers how many syncs there were.
func (l *Log) Close() (syncs uint64, err error) {
	l.mu.Lock()
	l.shut = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.done
	return l.syncs, l.file.Close()
}
