package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Config says where a node's log stands and what it needs from others.
type Config struct {
	Dir     string // holds a folder for each node
	Node    string // [a-z0-9][a-z0-9-]{0,62}
	Cluster string // the same form

	SegmentBytes int64 // 0: DefaultSegment
	ReserveBytes int64 // kept for administrative records on a full disk; 0: DefaultReserve; negative: none

	// Head reads the store's newest revision and its hash. It is called once for each batch, by the committer, from unsealing on, and
	// must not block on the disk or the network. nil: batches carry none.
	Head func() (kms.Rev, [32]byte)

	// Witnesses are whose cosignatures are kept; Quorum is how many of them make a checkpoint a witnessed one, 0: all.
	Witnesses []*tree.Witness
	Quorum    int

	// CompressAfter is the age at which a full segment is compressed; 0: DefaultCompressAfter; negative: never.
	CompressAfter time.Duration
	// Retention is the age at which the data of records is dropped, segment by segment, while their hashes stay; 0: never. MayDrop is asked before, with the last
	// record of a segment, whether it and all before it may go; it may be nil. Trusted is the time by which what cannot be undone is decided, or says that such
	// things must wait; nil: it is Now.
	Retention time.Duration
	MayDrop   func(last Position) bool
	Trusted   func() (now time.Time, ok bool)

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: silent
	FS     disk.FS          // nil: disk.OS{}

	unkept bool // tests run the keeper's rounds by hand

	// Detail goes into the StartServer record that opens the boot epoch.
	Detail string
	// SealAndRoll is an operator's order: a log that was altered is left as it is and a new epoch is begun, which says so in its first record.
	// Without it an altered log is refused with CodeLogAltered.
	SealAndRoll bool
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("audit: no folder is configured")
	}
	if err := CheckNode(c.Node); err != nil {
		return fmt.Errorf("audit: node: %w", err)
	}
	if err := CheckNode(c.Cluster); err != nil {
		return fmt.Errorf("audit: cluster: %w", err)
	}
	if err := c.checkQuorum(); err != nil {
		return err
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegment
	}
	if c.SegmentBytes < MinSegment || c.SegmentBytes > MaxSegment {
		return fmt.Errorf("audit: a segment of %d bytes: want %d to %d", c.SegmentBytes, MinSegment, MaxSegment)
	}
	c.SegmentBytes = segment.Padded(c.SegmentBytes)
	if c.ReserveBytes == 0 {
		c.ReserveBytes = DefaultReserve
	}
	c.ReserveBytes = segment.Padded(max(c.ReserveBytes, 0))
	if c.ReserveBytes > MaxSegment {
		return fmt.Errorf("audit: a reserve of %d bytes: want at most %d", c.ReserveBytes, MaxSegment)
	}
	if c.CompressAfter == 0 {
		c.CompressAfter = DefaultCompressAfter
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trusted == nil {
		c.Trusted = func() (time.Time, bool) { return c.Now(), true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = disk.OS{}
	}
	return nil
}

// Keys are the audit keys, which exist only while the server is unsealed. The log never sees the keys themselves.
type Keys struct {
	Epoch uint32 // of the MAC key in use
	// MAC is HMAC-SHA-256 under the MAC key of an epoch, of the 32-byte hash of a batch. It is asked for earlier epochs when the tail of an earlier
	// log is checked.
	MAC func(epoch uint32, msg []byte) ([32]byte, error)
	// Signer signs checkpoints; its name is KeyName(cluster).
	Signer note.Signer
	// Verifiers know the keys of this and of earlier checkpoints.
	Verifiers note.Verifiers
}

func (k *Keys) check(cluster string) error {
	if k.MAC == nil || k.Signer == nil || k.Verifiers == nil {
		return errors.New("audit: keys need a MAC, a signer and verifiers")
	}
	if got, want := k.Signer.Name(), KeyName(cluster); got != want {
		return fmt.Errorf("audit: the checkpoint key is named %q, want %q", got, want)
	}
	if _, err := k.Verifiers.Verifier(k.Signer.Name(), k.Signer.KeyHash()); err != nil {
		return fmt.Errorf("audit: the checkpoint key is not among the verifiers: %w", err)
	}
	return nil
}
