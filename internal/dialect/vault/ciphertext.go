package vault

import (
	"bytes"
	"net/http"
	"strconv"
)

// prefix begins every ciphertext, signature and MAC; the version and a colon follow.
const prefix = "vault:v"

// versionOf splits "vault:vN:…" into N and what follows. What is signed or encrypted is called what.
func versionOf(s []byte, what string) (uint32, []byte, *fault) {
	bad := func(why string) (uint32, []byte, *fault) {
		return 0, nil, newFault(http.StatusBadRequest, "invalid "+what+": "+why)
	}
	rest, ok := bytes.CutPrefix(s, []byte(prefix))
	if !ok {
		return bad("no prefix")
	}
	number, rest, ok := bytes.Cut(rest, []byte(":"))
	if !ok || bytes.IndexByte(rest, ':') >= 0 {
		return bad("wrong number of fields")
	}
	n, err := strconv.ParseUint(string(number), 10, 31)
	if err != nil || n == 0 {
		return bad("version number could not be decoded")
	}
	return uint32(n), rest, nil
}

// versioned reads a member that holds "vault:vN:" and base64.
func (x *exchange) versioned(f fields, name, what string) (n uint32, b []byte, _ *fault) {
	raw := f.raw(name)
	if raw == nil || len(raw) == 2 {
		return 0, nil, nil
	}
	if raw[0] != '"' {
		return 0, nil, badField(name)
	}
	b, bad := x.unquoted(raw, func(s []byte) ([]byte, *fault) {
		version, rest, bad := versionOf(s, what)
		if bad != nil {
			return nil, bad
		}
		n = version
		b, bad := x.decode(rest)
		if bad != nil {
			return nil, newFault(http.StatusBadRequest, "invalid "+what+": could not decode base64")
		}
		return b, nil
	})
	return n, b, bad
}
