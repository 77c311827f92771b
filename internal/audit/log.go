package audit

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Files beside the segments.
const (
	lockName        = "lock"
	reserveName     = "reserve"
	spareName       = "spare"
	checkpointName  = "checkpoint"
	checkpointsName = "checkpoints"
)

// Log is a node's log in its present boot epoch. It is safe for concurrent use.
type Log struct {
	cfg     Config
	node    string // folder of the node
	home    string // folder of the epoch
	epoch   uint64
	origin  string
	tag     segment.Tag
	release func() error

	// What an earlier boot left: set by Open, read by Keyed and LastHead.
	past *past
	head Head

	mu      sync.Mutex // guards the fields up to the next blank line
	work    sync.Cond  // there is a record, a probe is due, or the log closes
	room    sync.Cond  // the batch was taken
	cur     *batch
	gather  gathering
	fault   *fault
	probe   bool
	closing bool

	// The committer's own.
	seg    *active
	tried  attempts
	next   uint64       // number of the next record
	prev   segment.Hash // of the last batch
	spares [][]byte     // buffers for batches

	durable  atomic.Uint64 // records that are acknowledged
	keys     atomic.Pointer[Keys]
	keying   sync.RWMutex // held for reading from the sealing of a batch to its acknowledgement, for writing while keys come
	keyedMu  sync.Mutex   // held by Keyed and Unkeyed
	vetted   bool         // guarded by keyedMu: the tail of the past was checked
	newest   atomic.Pointer[Head]
	fill     filler
	pub      publisher
	shelf    shelf
	catalog  catalog
	lookup   lookup
	keep     keeper
	counters counters
	done     sync.WaitGroup
	once     sync.Once
	closeErr error
}

// Head is the store's newest revision as the log knows it.
type Head struct {
	Rev  kms.Rev
	Hash [32]byte
	At   time.Time // when it was logged; zero: never
}

// Open recovers what the last boot left and begins a new boot epoch. The first record of the epoch, StartServer, is durable when it returns.
//
// Errors: CodeLogAltered if what an earlier boot acknowledged is damaged or gone; CodeDiskFull; CodeAuditUnavailable.
func Open(cfg Config) (*Log, error) {
	if err := cfg.complete(); err != nil {
		return nil, kms.Errorf(kms.CodeBadSetting, "the audit log's settings are wrong").Because(err)
	}
	l := &Log{cfg: cfg, node: filepath.Join(cfg.Dir, cfg.Node)}
	if err := cfg.FS.Mkdir(l.node); err != nil {
		return nil, failure("make the audit log's folder", err)
	}
	release, err := disk.Lock(filepath.Join(l.node, lockName))
	if err != nil {
		return nil, kms.Errorf(kms.CodeAuditUnavailable, "the audit log's folder cannot be locked: another server may be using it").Because(err)
	}
	l.release = release
	if err := l.begin(); err != nil {
		_ = release()
		return nil, err
	}
	if err := l.start(); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// begin recovers the past and readies the new epoch's folder and first segment.
func (l *Log) begin() error {
	epochs, err := listEpochs(l.node)
	if err != nil {
		return failure("list boot epochs", err)
	}
	for _, e := range slices.Backward(epochs) {
		p, err := l.recover(e)
		if err != nil {
			return err
		}
		if p.size == 0 && p.altered == nil { // nothing was acknowledged in it: use it again
			if err := l.discard(e); err != nil {
				return failure("clear an empty boot epoch", err)
			}
			continue
		}
		l.past = p
		break
	}
	l.epoch = 1
	if l.past != nil {
		l.epoch = l.past.epoch + 1
	}
	if l.epoch > maxEpoch {
		return kms.Errorf(kms.CodeAuditUnavailable, "the audit log has reached its last boot epoch")
	}
	if l.head, err = l.findHead(epochs); err != nil {
		return failure("read the newest store head", err)
	}
	rand.Read(l.tag[:]) //nolint:errcheck // never fails since Go 1.24
	l.origin = Origin(l.cfg.Cluster, l.cfg.Node, l.epoch)
	l.home = filepath.Join(l.node, epochFolder(l.epoch))
	l.prev = segment.Seed(l.origin)
	if err := l.cfg.FS.Mkdir(l.home); err != nil {
		return failure("make the boot epoch's folder", err)
	}
	return nil
}

// start runs the log and writes the epoch's first record.
func (l *Log) start() error {
	l.cur = newBatch(nil)
	l.gather.open()
	l.work.L, l.room.L = &l.mu, &l.mu
	l.shelf.init()
	l.fill.init(l)
	l.keep.init(l)
	l.pub.init(l)
	l.done.Go(l.run)
	l.done.Go(l.fill.run)
	l.done.Go(l.pub.grow)
	l.done.Go(l.pub.publish)
	if !l.cfg.unkept {
		l.done.Go(l.keep.run)
	}
	_, err := l.Append(l.startRecord())
	return err
}

func (l *Log) startRecord() *Record {
	now := l.cfg.Now()
	var random [10]byte
	rand.Read(random[:]) //nolint:errcheck // never fails since Go 1.24
	r := &Record{
		ID: kms.NewID(now, random), Time: now, Action: kms.StartServer, Outcome: OK,
		Method: kms.AuthSystem, Namespace: kms.SystemNamespace, Resource: l.cfg.Node,
		Detail: clip(l.cfg.Detail, MaxDetail),
	}
	if p := l.past; p != nil {
		r.Prev = Link{Origin: p.origin, Size: p.size, Root: p.root}
		if p.altered != nil {
			r.Outcome, r.Code = Failed, kms.CodeLogAltered
			r.Reason = clip("sealed and rolled by an operator's order: "+p.altered.Error(), MaxReason)
		}
	}
	return r
}

func clip(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

// Epoch is the present boot epoch.
func (l *Log) Epoch() uint64 { return l.epoch }

// Origin is the name of the present epoch's tree.
func (l *Log) Origin() string { return l.origin }

// Size is the number of acknowledged records of this boot epoch.
func (l *Log) Size() uint64 { return l.durable.Load() }

// LastHead is the newest store head that was logged: by this boot or, until it is unsealed, by an earlier one. A store whose head is
// behind it was put back. Compare before calling Keyed, since from then on batches carry the store's present head.
func (l *Log) LastHead() (Head, bool) {
	if h := l.newest.Load(); h != nil {
		return *h, true
	}
	return l.head, !l.head.At.IsZero()
}

// Close waits for the records that are under way, signs the last checkpoint and closes the files.
func (l *Log) Close() error {
	l.once.Do(func() {
		l.mu.Lock()
		l.closing = true
		if l.fault != nil {
			l.fault.stop()
		}
		l.work.Broadcast()
		l.room.Broadcast()
		l.mu.Unlock()
		l.fill.stop()
		l.keep.stop()
		l.done.Wait() // the committer ends, then closes the feed, which ends the tree, which ends the publisher
		l.closeErr = l.pub.err
		if l.seg != nil {
			l.fill.seal(l.seg)
		}
		if err := l.release(); err != nil && l.closeErr == nil {
			l.closeErr = failure("unlock the audit log's folder", err)
		}
	})
	return l.closeErr
}

// listEpochs gives the boot epochs of a node's folder in order.
func listEpochs(node string) ([]uint64, error) {
	entries, err := os.ReadDir(node)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if n, ok := ParseEpochFolder(e.Name()); ok && e.IsDir() {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// discard removes what an epoch without records left.
func (l *Log) discard(epoch uint64) error {
	dir := filepath.Join(l.node, epochFolder(epoch))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := l.cfg.FS.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return l.cfg.FS.SyncDir(dir)
}

// failure turns an error of the disk into one that a caller may learn.
func failure(what string, err error) *kms.Error {
	if disk.Full(err) {
		return kms.Errorf(kms.CodeDiskFull, "there is no space for the audit log").Because(fmt.Errorf("%s: %w", what, err))
	}
	return kms.Errorf(kms.CodeAuditUnavailable, "the audit log cannot be written").Because(fmt.Errorf("%s: %w", what, err))
}
