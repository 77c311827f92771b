package vault

import (
	"context"
	"encoding/pem"
	"net/http"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

var chainRoutes = []route{
	except("at most 10 certificates in 16 KiB; each is read, and none is verified", route{method: "POST", pattern: "transit/keys/{name}/set-certificate", grants: may(canUpdate, kms.UpdateKey), run: (*exchange).SetCertificate}),
}

// Limits of a chain in PEM: those of the engine's, with room for what PEM adds.
const (
	maxChainPEM    = 32 << 10
	maxChainBlocks = 64
)

// SetCertificate puts certificates beside a version.
func (x *exchange) SetCertificate(ctx context.Context) *fault {
	text, f := x.in.text("certificate_chain")
	if f != nil {
		return f
	}
	n, f := x.in.version("version")
	if f != nil {
		return f
	}
	chain, f := chainOf(text)
	if f != nil {
		return f
	}
	name := x.place.names[0]
	_, err := x.engine.SetChain(ctx, x.call, engine.ChainInput{Key: x.place.ref(name), Version: n, Chain: chain})
	if err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "key with name '"+clip(name)+"' not found")
	}
	x.status = http.StatusNoContent
	return nil
}

// chainOf reads certificates in PEM (RFC 7468 §5), one after the other.
func chainOf(text string) (chain [][]byte, _ *fault) {
	if len(text) > maxChainPEM {
		return nil, newFault(http.StatusRequestEntityTooLarge, "the certificate chain is too long")
	}
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		block, after := pem.Decode(rest)
		switch {
		case block == nil || len(chain) == maxChainBlocks:
			return nil, newFault(http.StatusBadRequest, "the certificate chain is not PEM")
		case block.Type != "CERTIFICATE":
			return nil, newFault(http.StatusBadRequest, "the certificate chain has a block that is no certificate: "+clip(block.Type))
		}
		chain = append(chain, block.Bytes)
		rest = []byte(strings.TrimSpace(string(after)))
	}
	if len(chain) == 0 {
		return nil, newFault(http.StatusBadRequest, "missing certificate_chain")
	}
	return chain, nil
}

// certificates are those of a version in PEM; none is the empty text.
func certificates(chain [][]byte) string {
	var b strings.Builder
	for _, der := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return b.String()
}
