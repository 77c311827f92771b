package sink

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// receiver is an HTTPS server that keeps what it is sent.
type receiver struct {
	*httptest.Server
	ca *authority

	mu      sync.Mutex
	records map[string]int // by origin and position: how often
	keys    map[string][]byte
	heads   []http.Header
	answer  func(n int, w http.ResponseWriter) bool // of the nth request; false: the ordinary answer
	n       int
	take    func(t *testing.T, r *receiver, req *http.Request, body []byte)
}

func newReceiver(t *testing.T, take func(t *testing.T, r *receiver, req *http.Request, body []byte)) *receiver {
	t.Helper()
	r := &receiver{records: make(map[string]int), keys: make(map[string][]byte), ca: newAuthority(t), take: take}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the client hung up
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		if r.answer != nil && r.answer(r.n, w) {
			return
		}
		r.heads = append(r.heads, req.Header)
		r.take(t, r, req, body)
		w.WriteHeader(http.StatusOK)
	}))
	r.Server.TLS = r.ca.server(t)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// webhooks checks the signature and takes the lines.
func webhooks(t *testing.T, r *receiver, req *http.Request, body []byte) {
	want, _ := sign([]byte(req.Header.Get(headerTimestamp) + "." + string(body)))
	hexed, _ := strings.CutPrefix(req.Header.Get(headerSignature), "v1=")
	if got, err := hex.DecodeString(hexed); err != nil || !hmac.Equal(got, want) {
		t.Errorf("the signature %q is not that of the body", req.Header.Get(headerSignature))
	}
	key := req.Header.Get(headerKey)
	if before, again := r.keys[key]; again && !bytes.Equal(before, body) {
		t.Errorf("the key %s came with two bodies", key)
	}
	r.keys[key] = body
	for text := range bytes.Lines(body) {
		var rec Record
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&rec); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		r.records[req.Header.Get(headerOrigin)+" "+rec.Position]++
	}
}

// count is how many records there are, and how many of them came more than once.
func (r *receiver) count() (records, twice int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range maps.Values(r.records) {
		if n > 1 {
			twice++
		}
	}
	return len(r.records), twice
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func (r *receiver) header(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, h := range r.heads {
		all = append(all, h.Get(name))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *receiver) webhook(name string) Sink {
	return Sink{Name: name, Kind: Webhook, URL: r.URL + "/hook", CAFile: r.ca.file("ca.pem"), Sign: sign}
}
