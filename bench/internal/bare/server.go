package bare

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	prefix  = "v1:" // of what is given out as text
	maxBody = 1 << 20
	mount   = "/v1/transit/"
)

// Server answers the transit API of Vault in shape: method, path, and the fields that the operations of the bench need.
type Server struct {
	keys  *keys
	audit *Log // nil: none
}

// New makes a server; a nil log makes it one that records nothing.
func New(audit *Log) *Server { return &Server{newKeys(), audit} }

type request struct {
	Type       string `json:"type"`
	Plaintext  []byte `json:"plaintext"`
	Input      []byte `json:"input"`
	Ciphertext string `json:"ciphertext"`
	Signature  string `json:"signature"`
	Bits       int    `json:"bits"`
	KeySize    int    `json:"key_size"`
	Batch      []item `json:"batch_input"`
}

type item struct {
	Plaintext []byte `json:"plaintext"`
}

type answer struct {
	Data data `json:"data"`
}

type data struct {
	Ciphertext string           `json:"ciphertext,omitempty"`
	Plaintext  []byte           `json:"plaintext,omitempty"`
	HMAC       string           `json:"hmac,omitempty"`
	Signature  string           `json:"signature,omitempty"`
	Valid      *bool            `json:"valid,omitempty"`
	Version    int              `json:"key_version,omitempty"`
	Name       string           `json:"name,omitempty"`
	Type       string           `json:"type,omitempty"`
	Keys       map[string]int64 `json:"keys,omitempty"`
	Batch      []data           `json:"batch_results,omitempty"`
}

var contentType = []string{"application/json"}

// ServeHTTP does the work of one request, records it, and answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb, name := split(r.URL.Path)
	out, err := s.perform(r, verb, name)
	if s.audit != nil {
		err = errors.Join(err, s.audit.Append(verb, name, r.RemoteAddr, err == nil))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = contentType
	_, _ = w.Write(out)
}

// split finds verb and key in paths like /v1/transit/encrypt/NAME, /v1/transit/datakey/plaintext/NAME, /v1/transit/sign/NAME/sha2-256.
func split(path string) (verb, name string) {
	path, _ = strings.CutPrefix(path, mount)
	verb, name, _ = strings.Cut(path, "/")
	if verb == "datakey" {
		_, name, _ = strings.Cut(name, "/")
	}
	name, _, _ = strings.Cut(name, "/")
	return verb, name
}

func (s *Server) perform(r *http.Request, verb, name string) ([]byte, error) {
	var q request
	if n := r.ContentLength; n > 0 {
		if n > maxBody {
			return nil, errBad
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
	}
	var a answer
	if verb == "keys" && r.Method != http.MethodGet {
		if err := s.keys.create(name, q.Type); err != nil {
			return nil, err
		}
		a.Data = data{Name: name, Type: q.Type}
		return json.Marshal(&a)
	}
	k, err := s.keys.find(name)
	if err != nil {
		return nil, err
	}
	if a.Data, err = k.use(verb, name, &q); err != nil {
		return nil, err
	}
	return json.Marshal(&a)
}

func (k *key) use(verb, name string, q *request) (d data, err error) {
	var b []byte
	switch verb {
	case "keys":
		return data{Name: name, Type: k.kind, Keys: map[string]int64{"1": 1}}, nil
	case "encrypt":
		if len(q.Batch) > 0 {
			return k.batch(q.Batch)
		}
		b, err = k.encrypt(q.Plaintext)
		return data{Ciphertext: text(b), Version: 1}, err
	case "decrypt":
		if b, err = untext(q.Ciphertext); err == nil {
			d.Plaintext, err = k.decrypt(b)
		}
		return d, err
	case "datakey":
		fresh := random(32)
		b, err = k.encrypt(fresh)
		return data{Plaintext: fresh, Ciphertext: text(b), Version: 1}, err
	case "hmac":
		b, err = k.sum(q.Input)
		return data{HMAC: text(b)}, err
	case "sign":
		b, err = k.sign(q.Input)
		return data{Signature: text(b), Version: 1}, err
	case "verify":
		b, err = untext(q.Signature)
		valid := err == nil && k.verify(q.Input, b)
		return data{Valid: &valid}, err
	}
	return d, errBad
}

func (k *key) batch(items []item) (d data, err error) {
	d.Batch = make([]data, len(items))
	for i := range items {
		b, err := k.encrypt(items[i].Plaintext)
		if err != nil {
			return d, err
		}
		d.Batch[i] = data{Ciphertext: text(b), Version: 1}
	}
	return d, nil
}

func text(b []byte) string {
	out := make([]byte, 0, len(prefix)+base64.StdEncoding.EncodedLen(len(b)))
	return string(base64.StdEncoding.AppendEncode(append(out, prefix...), b))
}

func untext(s string) ([]byte, error) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return nil, errBad
	}
	return base64.StdEncoding.DecodeString(s)
}

// Serve serves h on a loopback address with a certificate made for the purpose (ECDSA P-256), until it fails. ready is told the URL.
func Serve(addr string, h http.Handler, ready func(url string)) error {
	cert, err := certificate(time.Now())
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return errors.Join(errors.New("only a loopback address is served: "+addr), l.Close())
	}
	ready("https://" + l.Addr().String())
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}} // no time limits: they cost
	return s.ServeTLS(l, "", "")
}

func certificate(now time.Time) (tls.Certificate, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &k.PublicKey, k)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}, err
}
