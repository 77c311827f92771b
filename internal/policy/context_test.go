package policy

import "github.com/cedar-policy/cedar-go/types"

// context is the whole context of a request, as for a statement that reads everything.
func (q *Request) context() types.Record {
	v := verdict{q: *q}
	return v.context(true)
}
