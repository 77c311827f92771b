package migrate

import (
	"bytes"
	"context"
	"encoding/pem"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxKeys is how many keys a mount may have.
const maxKeys = 100_000

// names lists the keys of the mount.
func (s *Server) names(ctx context.Context) ([]string, error) {
	a, err := s.call(ctx, http.MethodGet, s.transit("keys")+"?list=true", nil)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	if a.status == http.StatusNotFound && a.refusal().text == "" {
		return nil, nil // no keys: a mount that there is not has a text
	}
	var l struct {
		Keys []string `json:"keys"`
	}
	if err := into(a, &l); err != nil {
		return nil, err
	}
	if len(l.Keys) > maxKeys {
		return nil, a.stays("lists more than %d keys", maxKeys)
	}
	return l.Keys, nil
}

// described is what a server says of a key.
type described struct {
	Type          string                    `json:"type"`
	Latest        int64                     `json:"latest_version"`
	MinAvailable  int64                     `json:"min_available_version"`
	MinDecryption int64                     `json:"min_decryption_version"`
	MinEncryption int64                     `json:"min_encryption_version"`
	Derived       bool                      `json:"derived"`
	KDF           string                    `json:"kdf"`
	Convergent    bool                      `json:"convergent_encryption"`
	Form          int64                     `json:"convergent_encryption_version"`
	Exportable    bool                      `json:"exportable"`
	Plaintext     bool                      `json:"allow_plaintext_backup"`
	Deletable     bool                      `json:"deletion_allowed"`
	Deleted       bool                      `json:"soft_deleted"`
	Imported      bool                      `json:"imported_key"`
	Rotates       bool                      `json:"imported_key_allow_rotation"`
	Every         jsontext.Value            `json:"auto_rotate_period"`
	Keys          map[string]jsontext.Value `json:"keys"`

	every    time.Duration
	versions map[uint32]seen
}

// seen is what is shown of a version.
type seen struct {
	created time.Time // zero: not shown
	public  string    // PEM, or base64; empty: symmetric, or not shown
	chain   [][]byte  // certificates, DER
}

// describe reads a key. A refusal of status 404 without a text: there is none of that name.
func (s *Server) describe(ctx context.Context, name string) (*described, error) {
	a, err := s.call(ctx, http.MethodGet, s.transit("keys", name), nil)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	var d described
	if err := into(a, &d); err != nil {
		return nil, err
	}
	if !d.read() {
		return nil, a.stays("is not of its form: it describes no key that there can be")
	}
	return &d, nil
}

// read checks the numbers, and reads what has several forms.
func (d *described) read() bool {
	for _, n := range []int64{d.MinAvailable, d.MinDecryption, d.MinEncryption, d.Latest} {
		if n < 0 || n > math.MaxInt32 || n > d.Latest {
			return false
		}
	}
	if d.Latest == 0 || int64(len(d.Keys)) > d.Latest {
		return false
	}
	var ok bool
	if d.every, ok = period(d.Every); !ok {
		return false
	}
	d.versions = make(map[uint32]seen, len(d.Keys))
	for number, raw := range d.Keys {
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || n == 0 || int64(n) > d.Latest { //nolint:gosec // G115: of 31 bits
			return false
		}
		v, ok := d.version(raw)
		if !ok {
			return false
		}
		d.versions[uint32(n)] = v
	}
	return true
}

// version reads one member of keys: seconds since 1970 of symmetric keys, an object of others.
func (d *described) version(raw jsontext.Value) (seen, bool) {
	if raw.Kind() == '0' {
		var at int64
		if json.Unmarshal(raw, &at) != nil || at < 0 || at > 253402300799 { // the end of the year 9999
			return seen{}, false
		}
		return seen{created: time.Unix(at, 0).UTC()}, true
	}
	var v struct {
		Created time.Time `json:"creation_time"`
		Public  string    `json:"public_key"`
		Chain   string    `json:"certificate_chain"`
	}
	if json.Unmarshal(raw, &v) != nil {
		return seen{}, false
	}
	chain, ok := certificates(v.Chain)
	return seen{created: v.Created.UTC(), public: strings.TrimSpace(v.Public), chain: chain}, ok
}

// maxChain is how many certificates a chain may have: more than any that is used.
const maxChain = 16

// certificates reads PEM, one after the other. What they say is for the target to check.
func certificates(text string) (chain [][]byte, ok bool) {
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(chain) == maxChain {
			return nil, false
		}
		chain = append(chain, block.Bytes)
	}
	return chain, true
}

// period reads a time between rotations: seconds, or in older versions a text like 24h0m0s.
func period(raw jsontext.Value) (time.Duration, bool) {
	switch {
	case len(raw) == 0:
		return 0, true
	case raw.Kind() == '"':
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return 0, false
		}
		every, err := time.ParseDuration(text)
		return every, err == nil && every >= 0
	}
	var n int64
	if json.Unmarshal(raw, &n) != nil || n < 0 || n > math.MaxInt64/int64(time.Second) {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// first is the least version that the server still uses.
func (d *described) first() uint32 { return uint32(max(d.MinAvailable, d.MinDecryption, 1)) } //nolint:gosec // G115: checked

// kept is the least version that there still is.
func (d *described) kept() uint32 { return uint32(max(d.MinAvailable, 1)) } //nolint:gosec // G115: checked

func (d *described) latest() uint32 { return uint32(d.Latest) } //nolint:gosec // G115: checked
