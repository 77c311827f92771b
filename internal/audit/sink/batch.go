package sink

import (
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
)

// batch is what is delivered at once: records of one boot epoch, in order. It does not change once delivery was tried, so that its key
// names the same records each time.
type batch struct {
	origin  string
	entries []audit.Entry
	records []Record
	lines   [][]byte    // JSON of the records
	size    int         // bytes of lines
	upTo    audit.Entry // where the log was read to: the last record, or a later one that is not for this sink
	begun   time.Time
	closed  bool // nothing is added any more
}

func (b *batch) first() audit.Position { return b.entries[0].Position }
func (b *batch) last() audit.Position  { return b.entries[len(b.entries)-1].Position }

// key tells deliveries of the same records apart from others: origin, and the numbers of the first and the last record.
func (b *batch) key() string {
	return fmt.Sprintf("%s/%d-%d", b.origin, b.first().Seq, b.last().Seq)
}

// body is newline-delimited JSON: a record a line.
func (b *batch) body() []byte {
	all := make([]byte, 0, b.size+len(b.lines))
	for _, line := range b.lines {
		all = append(append(all, line...), '\n')
	}
	return all
}
