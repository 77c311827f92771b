// Command vaultish answers two requests of Vault's transit API, POST /v1/transit/keys/NAME and POST /v1/transit/encrypt/NAME, from the real
// engine: real tokens, policy, keys and a durable audit trail behind Keyhold's own listener. It shows that the path carries such a
// dialect at the cost of the native one. It is an instrument, not a dialect: everything else of that API is refused.
//
// It makes a new development store in -data and prints its URL and a token when it is ready.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/server"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

func main() {
	data := flag.String("data", "", "directory to make the store in")
	listen := flag.String("listen", "127.0.0.1:0", "loopback address")
	flag.Parse()
	if err := run(context.Background(), *data, *listen, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vaultish:", err)
		os.Exit(1)
	}
}

// run assembles a server as internal/node does, and serves until it is told to stop.
func run(ctx context.Context, dir, listen string, out io.Writer) error {
	server.TuneMemory(os.Getenv)
	set, err := config.Load("", nil, config.Override{Name: "data_dir", Value: dir}, config.Override{Name: "listen", Value: listen}, config.Override{Name: "local_socket", Value: "off"})
	if err != nil {
		return err
	}
	st, err := pebble.Open(pebble.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return err
	}
	defer st.Close()
	cluster := kms.NewID(time.Now(), [10]byte{})
	log, err := audit.Open(audit.Config{Dir: set.Audit.Dir, Node: "n1", Cluster: cluster.String(), SegmentBytes: set.Audit.SegmentBytes, ReserveBytes: set.Audit.ReserveBytes,
		Head: func() (kms.Rev, [32]byte) {
			h, err := st.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		}})
	if err != nil {
		return err
	}
	defer log.Close()
	provider, err := soft.New(soft.Config{})
	if err != nil {
		return err
	}
	metrics := server.NewMetrics("bench")
	e, err := engine.New(engine.Config{Cluster: cluster, Store: st, Log: log, Provider: provider, Dev: true, Observe: metrics.Observe,
		ShredDir: filepath.Join(dir, "shred"), EscrowDir: filepath.Join(dir, "escrow")})
	if err != nil {
		return err
	}
	defer e.Close(context.WithoutCancel(ctx))
	auth := authn.New(authn.Config{Identities: identities{e.Identities()}})
	s, err := server.New(server.Config{Settings: set, Authn: auth, Metrics: metrics, Mounts: []server.Mount{{Name: "vaultish", At: []string{mount}, Handler: &handler{e, auth}}},
		Condition: func(context.Context) server.Condition { return server.Condition{Initialised: true, Dev: true} }})
	if err != nil {
		return err
	}
	token, err := open(ctx, e)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Fprintf(out, "https://%s\n%s\n", s.Addresses()[0], token)
	return s.Run(ctx)
}

// open initialises and unseals the engine, and makes a token that may make and use keys.
func open(ctx context.Context, e *engine.Engine) (string, error) {
	if err := e.Start(ctx); err != nil {
		return "", err
	}
	by := kms.Call{Namespace: kms.SystemNamespace, Principal: &kms.Principal{Name: "uid:0", Namespace: kms.SystemNamespace, Method: kms.AuthLocal}}
	seed := secret.Random(32)
	if _, err := e.Init(ctx, by, engine.InitInput{Shares: 2, Threshold: 2, KeyFile: seed, Dev: true}); err != nil {
		return "", err
	}
	if _, err := e.Unseal(ctx, by, engine.UnsealInput{KeyFile: seed}); err != nil {
		return "", err
	}
	by = kms.Call{Namespace: kms.DefaultNamespace, Principal: &kms.Principal{Name: "bench", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthSystem}}
	out, err := e.CreateToken(ctx, by, engine.CreateTokenInput{Principal: "bench", Roles: []kms.Role{kms.RoleAdmin, kms.RoleUser}})
	return string(out.Token.Wire(release.Wire{})), err
}

type identities struct{ of engine.Identities }

func (i identities) Token(ctx context.Context, id kms.ID) (authn.Identity, error) {
	got, err := i.of.Token(ctx, id)
	return authn.Identity(got), err
}

func (i identities) Certificate(ctx context.Context, subject string) (authn.Identity, error) {
	got, err := i.of.Certificate(ctx, subject)
	return authn.Identity(got), err
}

func (i identities) AccessKey(ctx context.Context, id string) (authn.Identity, error) {
	got, err := i.of.AccessKey(ctx, id)
	return authn.Identity(got), err
}

func (i identities) Session(ctx context.Context, token string) (authn.Identity, error) {
	got, err := i.of.Session(ctx, token)
	return authn.Identity(got), err
}

const (
	mount   = "/v1/transit/"
	maxBody = 256 << 10
)

type handler struct {
	engine *engine.Engine
	authn  *authn.Authenticator
}

// exchange has the buffers of one request. They held plaintext: they are erased before they serve another.
type exchange struct {
	body, plain, out []byte
	items            [1]engine.EncryptItem
}

var exchanges = sync.Pool{New: func() any {
	return &exchange{body: make([]byte, 0, 8<<10), plain: make([]byte, 0, 8<<10), out: make([]byte, 0, 8<<10)}
}}

func (x *exchange) release() {
	clear(x.body)
	clear(x.plain)
	clear(x.out)
	x.items[0] = engine.EncryptItem{}
	exchanges.Put(x)
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	defer x.release()
	if err := h.serve(x, r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = contentType
	_, _ = w.Write(x.out)
}

var contentType = []string{"application/json"}

func (h *handler) serve(x *exchange, r *http.Request) error {
	c := kms.Call{Dialect: kms.DialectVault}
	c.Remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	if id := r.Header[server.RequestIDHeader]; len(id) == 1 {
		c.RequestID = id[0]
	}
	token := r.Header["X-Vault-Token"]
	if len(token) != 1 || r.Method != http.MethodPost || r.ContentLength < 0 || r.ContentLength > maxBody {
		return errors.New("want a POST request with a token, of a known length")
	}
	var err error
	if c.Principal, err = h.authn.Token(r.Context(), token[0], c.Remote); err != nil {
		return err
	}
	c.Namespace = c.Principal.Namespace
	verb, name, _ := strings.Cut(r.URL.Path[len(mount):], "/")
	switch verb {
	case "encrypt":
		return h.encrypt(r, c, name, x)
	case "keys":
		_, err := h.engine.CreateKey(r.Context(), c, engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM})
		x.out = append(x.out[:0], `{"data":{}}`...)
		return err
	}
	return errors.New("there is no such request here")
}

func (h *handler) encrypt(r *http.Request, c kms.Call, name string, x *exchange) error {
	x.body = append(x.body[:0], make([]byte, r.ContentLength)...)
	if _, err := io.ReadFull(r.Body, x.body); err != nil {
		return err
	}
	if err := x.decode(); err != nil {
		return err
	}
	x.items[0].Plaintext = x.plain
	got, err := h.engine.Encrypt(r.Context(), c, engine.EncryptInput{Key: kms.Ref(name), Items: x.items[:]})
	if err != nil {
		return err
	}
	b := append(x.out[:0], `{"request_id":"`...)
	b = append(b, c.RequestID...)
	b = append(b, `","lease_id":"","renewable":false,"lease_duration":0,"data":{"ciphertext":"vault:v`...)
	b = append(strconv.AppendUint(b, uint64(got.Version), 10), ':')
	b = base64.StdEncoding.AppendEncode(b, got.Items[0].Ciphertext)
	b = strconv.AppendUint(append(b, `","key_version":`...), uint64(got.Version), 10)
	x.out = append(b, `},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"transit"}`...)
	return nil
}

// decode finds the plaintext in the one form that encoders write; anything else is the general decoder's.
func (x *exchange) decode() (err error) {
	text, ok := bytes.CutPrefix(x.body, []byte(`{"plaintext":"`))
	if text, ok2 := bytes.CutSuffix(text, []byte(`"}`)); ok && ok2 && bytes.IndexByte(text, '\\') < 0 {
		x.plain, err = base64.StdEncoding.AppendDecode(x.plain[:0], text)
		return err
	}
	var q struct{ Plaintext []byte }
	if err := json.Unmarshal(x.body, &q); err != nil {
		return err
	}
	x.plain = append(x.plain[:0], q.Plaintext...)
	return nil
}
