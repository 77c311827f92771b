package native

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// The answer is written as the codec writes it: fields that are empty or 0 are left out. Nothing that is written needs
// escaping (base64, ids and names of schemes), but for the errors of a batch's items, which the codec writes.

// leanTail is room for all of a result but its bytes, generously.
const leanTail = 256

// write writes what came of an item that succeeded; output is the name of its data.
func (q *leanRequest) write(output string, r *leanResult) {
	q.room(leanTail)
	q.out = append(q.out, '{')
	q.bytes("plaintext", r.plain.Wire(release.Wire{}))
	q.bytes(output, r.data)
	q.id(r.key)
	q.version32(r.version)
	q.schemed(r.scheme)
	q.out = append(q.out, '}')
}

// writeAll writes the answer to a batch.
func (q *leanRequest) writeAll(output string) error {
	q.text(`{"items":[`)
	for i := range q.results {
		r := &q.results[i]
		if i > 0 {
			q.text(",")
		}
		if r.failed == nil {
			q.text(`{"ok":`)
			q.write(output, r)
			q.text("}")
			continue
		}
		why, err := strictJSON{"json"}.Marshal(r.failed)
		if err != nil {
			return err
		}
		q.text(`{"error":`)
		q.room(len(why))
		q.out = append(q.out, why...)
		q.text("}")
	}
	q.text("]}")
	return nil
}

// room grows the answer by itself, so that what append would leave behind is erased.
func (q *leanRequest) room(n int) {
	if cap(q.out)-len(q.out) >= n {
		return
	}
	grown := make([]byte, len(q.out), 2*len(q.out)+n)
	copy(grown, q.out)
	clear(q.out)
	q.out = grown
}

func (q *leanRequest) text(t string) {
	q.room(len(t))
	q.out = append(q.out, t...)
}

func (q *leanRequest) name(n string) {
	if q.out[len(q.out)-1] != '{' {
		q.out = append(q.out, ',')
	}
	q.out = append(q.out, '"')
	q.out = append(q.out, n...)
	q.out = append(q.out, '"', ':')
}

func (q *leanRequest) bytes(name string, b []byte) {
	if len(b) == 0 {
		return
	}
	q.room(base64.StdEncoding.EncodedLen(len(b)) + leanTail)
	q.name(name)
	q.out = append(q.out, '"')
	q.out = base64.StdEncoding.AppendEncode(q.out, b)
	q.out = append(q.out, '"')
}

func (q *leanRequest) schemed(used kms.Scheme) {
	s := schemeText(used)
	if s == "" {
		return
	}
	q.name("scheme")
	q.out = append(q.out, '"')
	q.out = append(q.out, s...)
	q.out = append(q.out, '"')
}

// id writes a key's id as kms.ID.String does, without a string of its own.
func (q *leanRequest) id(id kms.ID) {
	if id.IsZero() {
		return
	}
	q.name("keyId")
	q.out = append(q.out, '"')
	q.out = hex.AppendEncode(q.out, id[:4])
	for _, part := range [...][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		q.out = hex.AppendEncode(append(q.out, '-'), part)
	}
	q.out = append(q.out, '"')
}

func (q *leanRequest) version32(n uint32) {
	if n == 0 {
		return
	}
	q.name("version")
	q.out = strconv.AppendUint(q.out, uint64(n), 10)
}
