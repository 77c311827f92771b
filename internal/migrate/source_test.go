package migrate_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/migrate"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

const sourceToken = "s.TheTokenOfTheSource"

// openbao answers as the OpenBao did that was captured. Of what cannot be captured (random texts are encrypted to try a key) another server of tests answers, which has the keys.
type openbao struct {
	*httptest.Server
	t      testing.TB
	keys   map[string]*vaulttest.Captured
	uses   *vaulttest.Server                             // nil: the token may not use the keys
	alter  func(key string, shown map[string]any)        // what is shown of a key; nil: nothing is altered
	first  func(http.ResponseWriter, *http.Request) bool // answers instead, if it likes
	denies string                                        // paths that begin so cannot be read, and the server says so when it is asked; empty: it does not say

	mu    sync.Mutex
	asked []string // methods and paths, without /v1/
}

func serveOpenBao(t testing.TB, uses *vaulttest.Server, names ...string) *openbao {
	t.Helper()
	o := &openbao{t: t, uses: uses, keys: map[string]*vaulttest.Captured{}}
	for _, k := range vaulttest.CapturedKeys(t, "../dialect/vault/testdata/openbao") {
		if len(names) > 0 && !slices.Contains(names, k.Name) {
			continue
		}
		o.keys[k.Name] = &k
		if uses != nil {
			uses.Restore(t, k.Name, k.Backup)
		}
	}
	o.Server = httptest.NewTLSServer(o)
	t.Cleanup(o.Close)
	return o
}

// end is the server as a source.
func (o *openbao) end(more ...func(*migrate.ServerConfig)) *migrate.Server {
	return reached(o.t, "the source", o.URL, sourceToken, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw}), more...)
}

// requests are those that had a prefix.
func (o *openbao) requests(prefix string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

func refuse(w http.ResponseWriter, status int, texts ...string) {
	b, _ := json.Marshal(map[string]any{"errors": texts}) //nolint:errchkjson // texts
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func (o *openbao) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	o.mu.Lock()
	o.asked = append(o.asked, r.Method+" "+path)
	o.mu.Unlock()
	if o.first != nil && o.first(w, r) {
		return
	}
	if r.Header.Get("X-Vault-Token") != sourceToken {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	if path == "sys/capabilities-self" && o.denies != "" {
		o.capabilities(w, r)
		return
	}
	path, ok := strings.CutPrefix(path, "transit/")
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", path))
		return
	}
	parts := strings.Split(path, "/")
	k := o.keys[parts[len(parts)-1]]
	switch {
	case path == "keys" && r.URL.Query().Get("list") == "true":
		var names []string
		for name := range o.keys {
			names = append(names, name)
		}
		o.answer(w, map[string]any{"keys": names})
	case k == nil:
		refuse(w, http.StatusNotFound)
	case parts[0] == "keys" && r.Method == http.MethodGet:
		var shown map[string]any
		if err := json.Unmarshal(k.Versions, &shown); err != nil {
			o.t.Error(err)
		}
		if o.alter != nil {
			o.alter(k.Name, shown)
		}
		o.answer(w, shown)
	case parts[0] == "backup" && r.Method == http.MethodGet:
		o.answer(w, map[string]any{"backup": k.Backup})
	case parts[0] == "export" && r.Method == http.MethodGet && len(parts) == 3:
		o.export(w, k, parts[1])
	case r.Method == http.MethodPost && o.uses != nil:
		body, _ := io.ReadAll(r.Body)
		a := o.uses.Ask(o.t, o.uses.User, r.Method, "transit/"+path, string(body))
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
	default:
		refuse(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	}
}

func (o *openbao) answer(w http.ResponseWriter, data any) {
	b, err := json.Marshal(map[string]any{"request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": "transit"})
	if err != nil {
		o.t.Error(err)
	}
	_, _ = w.Write(b)
}

func (o *openbao) capabilities(w http.ResponseWriter, r *http.Request) {
	var in struct{ Paths []string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		o.t.Error(err)
	}
	data := map[string][]string{"capabilities": {"read"}}
	for _, p := range in.Paths {
		data[p] = []string{"read", "update"}
		if strings.HasPrefix(p, o.denies) {
			data[p] = []string{"deny"}
		}
	}
	o.answer(w, data)
}

// export answers what was captured. Private keys in PEM are not kept with the samples: they are written anew from the backup.
func (o *openbao) export(w http.ResponseWriter, k *vaulttest.Captured, kind string) {
	if e, ok := k.Export[kind]; ok {
		o.answer(w, e)
		return
	}
	no, ok := k.Refused[kind]
	switch {
	case ok:
		refuse(w, no.Status, no.Errors...)
		return
	case kind == "public-key":
		refuse(w, http.StatusBadRequest, "not captured")
		return
	}
	b, err := transit.Parse([]byte(k.Backup))
	if err != nil {
		o.t.Error(err)
		return
	}
	defer b.Zero()
	keys := map[string]string{}
	for i := range b.Versions {
		v := &b.Versions[i]
		text, err := v.Text(b.Algorithm)
		if kind == "hmac-key" {
			text, err = v.MACText(), nil
		}
		if err != nil {
			o.t.Error(err)
		}
		keys[strconv.FormatUint(uint64(v.Number), 10)] = string(text.Wire(release.Wire{}))
	}
	o.answer(w, map[string]any{"keys": keys, "name": k.Name, "type": k.Type})
}
