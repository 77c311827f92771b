package pebble

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

// pruneMax is how many feed rows one group removes at most.
const pruneMax = 512

// prune puts into the batch the removal of feed rows, and their tokens, that need not be kept. It waits until a
// number of them is due, so that most groups pay nothing.
func (c *committer) prune(now int64) error {
	retain := store.Rev(c.s.cfg.Retain)
	chunk := min(pruneMax, retain/4+1)
	held := c.at.head.Rev - c.at.floor
	if held < retain+chunk || (now < c.young && held < retainMost*retain) {
		return nil
	}
	last := min(c.at.head.Rev-retain, c.at.floor+pruneMax)
	// The view does not hold the rows of this group: they stay, even if the group is larger than what is retained.
	it, err := c.view.snap.NewIter(&pebble.IterOptions{LowerBound: feedKey(c.at.floor), UpperBound: feedKey(last + 1)})
	if err != nil {
		return fault(c.view, err)
	}
	defer it.Close()
	floor := c.at.floor
	for ok := it.First(); ok; ok = it.Next() {
		rev, err := feedRev(it.Key())
		if err != nil {
			return err
		}
		row, err := decodeFeed(rev, it.Value())
		if err != nil {
			return err
		}
		if until := row.time + int64(c.s.cfg.RetainFor); now < until && c.s.cfg.RetainFor > 0 &&
			c.at.head.Rev-rev < retainMost*retain {
			c.young = until
			break
		}
		if err := c.batch.Delete(it.Key(), nil); err != nil {
			return err
		}
		if row.token != (store.Token{}) {
			c.key = appendTokenKey(c.key[:0], row.token)
			if err := c.batch.Delete(c.key, nil); err != nil {
				return err
			}
		}
		floor = max(floor, rev)
	}
	if err := it.Error(); err != nil {
		return fault(c.view, err)
	}
	if floor == c.at.floor {
		return nil
	}
	c.at.floor = floor
	return c.batch.Set(keyFloor, binary.BigEndian.AppendUint64(nil, uint64(floor)), nil)
}
