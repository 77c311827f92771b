package memory

import (
	"crypto/rand"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// bring imports a key of 32 bytes by each transport, and answers what came in. Those of "imported …" are not used afterwards: nothing of them stays in
// memory. The key that wraps for two of the transports is used for that, and may be cached.
func (s *running) bring(t *testing.T) (all []planted) {
	t.Helper()
	shared := random()
	s.importKey(t, "wrapping", "aes-256-kw", kms.HPKEMLKEM768X25519, nil, shared)
	all = append(all, planted{"imported wrapping key", shared, place{cached: true}})
	for _, tr := range kms.AllTransports() {
		material := random()
		s.importKey(t, "by-"+tr.String(), "aes-256-gcm", tr, shared, material)
		all = append(all, planted{"imported by " + tr.String(), material, place{}})
	}
	return all
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	return b
}

func (s *running) importKey(t *testing.T, name, algorithm string, tr kms.Transport, shared, material []byte) {
	t.Helper()
	ctx := t.Context()
	_, err := s.client.CreateKey(ctx, client.CreateKeyInput{Name: name, Algorithm: algorithm, Import: true})
	ok(t, err)
	in := client.CreateImportTokenInput{Key: name, Transport: tr.String()}
	if tr.Symmetric() {
		in.WrappingKey = "wrapping"
	}
	token, err := s.client.CreateImportToken(ctx, in)
	ok(t, err)
	var under any = transport.Wrap(shared)
	if !tr.Symmetric() {
		public, err := transport.ParsePublic(token.PublicKey)
		ok(t, err)
		under = public.Key
	}
	parcel, err := transport.Seal(tr, under, token.Info, secret.Copy(material))
	ok(t, err)
	_, err = s.client.ImportKeyMaterial(ctx, client.ImportKeyMaterialInput{Key: name, TokenID: token.TokenID, WrappingKey: in.WrappingKey, WrappedMaterial: parcel})
	ok(t, err)
}
