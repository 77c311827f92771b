package vault

import (
	"context"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// maxRandom is the most bytes that one request answers, as in transit.
const maxRandom = 128 << 10

// format reads how bytes are to be written.
func (x *exchange) format(otherwise string) (hexadecimal bool, _ *fault) {
	s, f := x.in.text("format")
	if f != nil {
		return false, f
	}
	if s == "" {
		s = otherwise
	}
	if s != "hex" && s != "base64" {
		return false, newFault(http.StatusBadRequest, `unsupported encoding format "`+clip(s)+`"; must be "hex" or "base64"`)
	}
	return s == "hex", nil
}

// Random answers random bytes. Every source is the server's own.
func (x *exchange) Random(ctx context.Context) *fault {
	n, f := x.in.number("bytes")
	if f != nil {
		return f
	}
	source, f := x.in.text("source")
	if f != nil {
		return f
	}
	for _, name := range x.place.names[:2] { // /random/SOURCE/BYTES, or one of them
		if size, err := strconv.Atoi(name); err == nil {
			n = size
		} else if name != "" {
			source = name
		}
	}
	switch source {
	case "", "platform", "seal", "all":
	default:
		return newFault(http.StatusBadRequest, `unsupported entropy source "`+clip(source)+`"; must be "platform" or "seal", or "all"`)
	}
	if n == 0 && !x.in.has("bytes") {
		n = 32
	}
	if n < 1 {
		return newFault(http.StatusBadRequest, `"bytes" cannot be less than 1`)
	}
	if n > min(maxRandom, engine.MaxRandom) {
		return newFault(http.StatusBadRequest, `"bytes" should be less than `+strconv.Itoa(min(maxRandom, engine.MaxRandom)))
	}
	hexadecimal, f := x.format("base64")
	if f != nil {
		return f
	}
	out, err := x.engine.GenerateRandom(ctx, x.call, engine.RandomInput{Bytes: n})
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	if hexadecimal {
		x.e.out = append(x.e.out, out.Bytes)
		x.e.name("random_bytes")
		x.e.room(2*n + slack)
		x.e.b = append(hex.AppendEncode(append(x.e.b, '"'), out.Bytes.Wire(release.Wire{})), '"')
	} else {
		x.e.released("random_bytes", out.Bytes)
	}
	x.e.close()
	return nil
}

var digests = map[string]func() hash.Hash{
	"sha2-224": sha256.New224, "sha2-256": sha256.New, "sha2-384": sha512.New384, "sha2-512": sha512.New,
	"sha3-224": func() hash.Hash { return sha3.New224() }, "sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-384": func() hash.Hash { return sha3.New384() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

// Hash answers a digest. No key has to do with it: the engine only looks at who asks.
func (x *exchange) Hash(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	name, f := x.in.text("algorithm")
	if f != nil {
		return f
	}
	if x.place.names[0] != "" {
		name = x.place.names[0]
	}
	if name == "" {
		name = "sha2-256"
	}
	make, ok := digests[name]
	if !ok {
		return newFault(http.StatusBadRequest, "unsupported algorithm "+clip(name))
	}
	if !x.in.has("input") {
		return newFault(http.StatusBadRequest, "missing input")
	}
	in, f := x.blob(x.in, "input")
	if f != nil {
		return f
	}
	hexadecimal, f := x.format("hex")
	if f != nil {
		return f
	}
	h := make()
	_, _ = h.Write(in) // never fails
	sum := h.Sum(nil)
	text := base64.StdEncoding.EncodeToString(sum)
	if hexadecimal {
		text = hex.EncodeToString(sum)
	}
	x.e.open()
	x.e.text("sum", text)
	x.e.close()
	return nil
}
