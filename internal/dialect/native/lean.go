package native

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// The short path: cryptographic requests in plain JSON, single or in batches, are read, answered and erased without the
// protocol library. Its reader (scan.go) understands the JSON that every encoder writes, and no more: what it does not
// understand goes to the library's codec, whose word is final. So both paths answer and refuse alike by construction, and a
// fuzz test holds them to it.

// Limits of the short path, in bytes. Longer bodies go to the library.
const (
	leanBody  = 256 << 10  // of a single request
	leanBatch = MaxMessage // of a batch
	leanKept  = 256 << 10  // of a buffer that is kept for other requests
	leanTexts = 64         // strings in a list
)

// leanRequest is one request on the short path, with the buffers it was read into.
type leanRequest struct {
	body  []byte // as it came
	plain []byte // what its base64 held
	out   []byte // the answer

	key     string       // of a batch: for items that name none
	items   []leanItem   // of a single request: one
	results []leanResult // of each item
}

// leanItem is one item as it was read.
type leanItem struct {
	key, scheme             string
	data, proof, aad        []byte // data: plaintext, ciphertext or message; proof: signature or MAC. They lie in the request's plain
	context                 kms.Context
	version, length         uint32
	raw, digested, withheld bool
	usage, description      string // of a new key; key, scheme and context are its name, algorithm and labels
	aliases                 []string
}

// leanResult is what came of one item.
type leanResult struct {
	plain   secret.Released
	data    []byte // ciphertext, signature or MAC
	key     kms.ID
	version uint32
	scheme  kms.Scheme
	failed  *keyholdv1.ErrorDetail // nil: it succeeded
}

var leanRequests = sync.Pool{New: func() any { return new(leanRequest) }}

// release erases what was released and the buffers, which held plaintexts, and keeps them for other requests.
func (q *leanRequest) release() {
	for i := range q.results {
		q.results[i].plain.Zero()
	}
	clear(q.results)
	clear(q.items)
	*q = leanRequest{body: erased(q.body), plain: erased(q.plain), out: erased(q.out), items: q.items[:0], results: q.results[:0]}
	leanRequests.Put(q)
}

func erased(b []byte) []byte {
	clear(b)
	if cap(b) > leanKept {
		return nil
	}
	return b[:0]
}

// leanMethod is one method on the short path.
type leanMethod struct {
	*leanOperation
	batch bool
}

// most is how long a body may be, in bytes.
func (m *leanMethod) most() int64 {
	if m.batch {
		return leanBatch
	}
	return leanBody
}

// serve answers a request, or tells that it is not one for the short path.
func (m *leanMethod) serve(h *handler, w http.ResponseWriter, r *http.Request, x *exchange, library http.Handler) bool {
	limit, ok := fit(r, m.most())
	if !ok {
		return false
	}
	q := leanRequests.Get().(*leanRequest) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer q.release()
	rest, err := q.read(r, m.most())
	if err != nil {
		h.refuse(w, r, kms.Errorf(kms.CodeCancelled, "the request's body ended before its time").Because(err))
		return true
	}
	if rest || !q.scan(m) {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(q.body), r.Body))
		h.byLibrary(w, r, x, library)
		return true
	}
	ctx := r.Context()
	if limit >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err = ctx.Err() // the time limit may be over already
	if err == nil {
		err = m.answer(ctx, h.engine, q, x.call)
	}
	if err != nil {
		h.refuse(w, r, err)
		return true
	}
	head := w.Header()
	head["Content-Type"] = leanType
	if len(q.out) > 2048 { // net/http counts shorter ones itself
		head["Content-Length"] = []string{strconv.Itoa(len(q.out))}
	}
	_, _ = w.Write(q.out) // a caller that is gone cannot be told
	return true
}

var leanType = []string{"application/json"}

// fit tells whether a request is for the short path, and its time limit: negative for none.
func fit(r *http.Request, most int64) (time.Duration, bool) {
	h := r.Header
	if t := h["Content-Type"]; len(t) != 1 || t[0] != "application/json" || r.ContentLength > most {
		return 0, false
	}
	if len(h["Content-Encoding"]) > 0 {
		return 0, false
	}
	if v := h["Connect-Protocol-Version"]; len(v) > 0 && (len(v) != 1 || v[0] != "1") {
		return 0, false
	}
	v := h["Connect-Timeout-Ms"]
	if len(v) == 0 {
		return -1, true
	}
	if len(v) != 1 || len(v[0]) == 0 || len(v[0]) > 10 {
		return 0, false
	}
	ms, err := strconv.ParseUint(v[0], 10, 63)
	return time.Duration(ms) * time.Millisecond, err == nil //nolint:gosec // G115: at most ten digits
}

// read reads the body; rest tells that it is longer than the short path takes.
func (q *leanRequest) read(r *http.Request, most int64) (rest bool, err error) {
	b := q.body[:0]
	if n := int(r.ContentLength); n >= cap(b) {
		b = make([]byte, 0, n+1)
	} else if cap(b) == 0 {
		b = make([]byte, 0, 1024)
	}
	for {
		if int64(len(b)) > most {
			q.body = b
			return true, nil
		}
		if len(b) == cap(b) {
			grown := make([]byte, len(b), 2*cap(b))
			copy(grown, b)
			clear(b)
			b = grown
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			q.body = b
			if err == io.EOF { //nolint:errorlint // io.Reader returns EOF itself
				err = nil
			}
			return false, err
		}
	}
}
