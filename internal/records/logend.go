package records

import (
	"context"
	"time"
)

// LogEnd is the newest signed checkpoint of a node's audit log, kept where the log's files are not.
type LogEnd struct {
	Note []byte    `json:"note"`
	Time time.Time `json:"time"`
}

func logEndPath(node string) []byte { return append([]byte{byte(kindLogEnd)}, node...) }

// LogEnd reads the end of a node's log; its note is empty if there is none.
func (r *Records) LogEnd(ctx context.Context, node string) (LogEnd, error) {
	m, _, err := load[LogEnd](ctx, r, logEndPath(node))
	return m, err
}

// PutLogEnd writes the end of a node's log.
func (tx *Tx) PutLogEnd(node string, m LogEnd) error { return tx.put(logEndPath(node), m) }
