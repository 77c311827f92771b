package audit

import (
	"errors"

	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// Expect holds a checkpoint of this node that was kept outside the log's files against them. Call it before Keyed, since from then on
// checkpoints are signed over what is there: whoever removed the checkpoints and rewrote what they covered would be confirmed. A log that is behind
// the checkpoint, or differs from it, gives CodeLogAltered, unless an operator ordered to go on, which is recorded.
func (l *Log) Expect(msg []byte) error {
	c, err := tree.Unverified(msg)
	if err != nil {
		return failure("read the checkpoint that was kept", err)
	}
	cluster, node, epoch, ok := ParseOrigin(c.Origin)
	if !ok || cluster != l.cfg.Cluster || node != l.cfg.Node {
		return nil // of another node
	}
	if l.past != nil && l.past.altered != nil && epoch == l.past.epoch {
		return nil // given up already: the first record tells
	}
	p := &past{epoch: epoch, origin: c.Origin, size: c.Size, root: c.Root}
	if epoch > l.epoch {
		return l.judge(p, p.altersAt(checkpointName, 0, "a checkpoint of boot epoch %d was kept, and the log is at epoch %d", epoch, l.epoch))
	}
	err = l.Holds(c)
	if damaged(err) && !errors.As(err, new(*alteration)) {
		err = p.altersAt(checkpointName, c.Size, "what the checkpoint that was kept covers cannot be read: %v", err)
	}
	if err == nil {
		return nil
	}
	var known *kms.Error
	if errors.As(err, &known) {
		return err
	}
	return l.judge(p, err)
}

// Node is the name of the node whose log it is.
func (l *Log) Node() string { return l.cfg.Node }
