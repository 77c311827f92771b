package native

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// The short path: single cryptographic requests in plain JSON are read, answered and erased without the protocol library.
// Its reader (scan.go) understands the JSON that every encoder writes, and no more: what it does not understand goes to the
// library's codec, whose word is final. So both paths answer and refuse alike by construction, and a fuzz test holds them to it.

// Limits of the short path, in bytes. Longer bodies go to the library.
const (
	leanBody = 256 << 10
	leanKept = 64 << 10 // of a buffer that is kept for other requests
)

// leanRequest is one request on the short path, with the buffers it was read into.
type leanRequest struct {
	body  []byte // as it came
	plain []byte // what its base64 held
	out   []byte // the answer

	key, scheme             string
	data, proof, aad        []byte // data: plaintext, ciphertext or message; proof: signature or MAC. They lie in plain
	context                 kms.Context
	version, length         uint32
	raw, digested, withheld bool

	// Room for the one item of the engine's input.
	encrypt [1]engine.EncryptItem
	decrypt [1]engine.DecryptItem
	sign    [1]engine.SignItem
	verify  [1]engine.VerifyItem
	mac     [1]engine.MACItem
	check   [1]engine.VerifyMACItem
}

var leanRequests = sync.Pool{New: func() any { return new(leanRequest) }}

// release erases the buffers, which held plaintexts, and keeps them for other requests.
func (q *leanRequest) release() {
	body, plain, out := erased(q.body), erased(q.plain), erased(q.out)
	*q = leanRequest{body: body, plain: plain, out: out}
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
	fields []leanField
	call   func(context.Context, *engine.Engine, *leanRequest, kms.Call) error // fills out
}

// serve answers a request, or tells that it is not one for the short path.
func (m *leanMethod) serve(h *handler, w http.ResponseWriter, r *http.Request, x *exchange, library http.Handler) bool {
	limit, ok := fit(r)
	if !ok {
		return false
	}
	q := leanRequests.Get().(*leanRequest) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer q.release()
	rest, err := q.read(r)
	if err != nil {
		h.refuse(w, r, kms.Errorf(kms.CodeCancelled, "the request's body ended before its time").Because(err))
		return true
	}
	if rest || !q.scan(m.fields) {
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
		err = m.call(ctx, h.engine, q, x.call)
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
func fit(r *http.Request) (time.Duration, bool) {
	h := r.Header
	if t := h["Content-Type"]; len(t) != 1 || t[0] != "application/json" || r.ContentLength > leanBody {
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
func (q *leanRequest) read(r *http.Request) (rest bool, err error) {
	b := q.body[:0]
	if n := int(r.ContentLength); n >= cap(b) {
		b = make([]byte, 0, n+1)
	} else if cap(b) == 0 {
		b = make([]byte, 0, 1024)
	}
	for {
		if len(b) > leanBody {
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
