package soft

import (
	"fmt"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

func makeRandom(p *Provider, _ kms.Algorithm, bytes int) (*secret.Bytes, []byte, error) {
	b := make([]byte, bytes)
	if err := p.random.fill(b); err != nil {
		return nil, nil, err
	}
	return secret.Take(b), nil, nil
}

func parseAES(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	return parseBox(a, s, box.NewKey)
}
func parseChaCha(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	return parseBox(a, s, box.NewChaChaKey)
}
func parseXChaCha(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	return parseBox(a, s, box.NewXChaChaKey)
}

func parseBox(a kms.Algorithm, s *secret.Bytes, of func(*secret.Bytes) (*box.Key, error)) (*key, error) {
	if err := wantBytes(s, a.Facts().Bits/8); err != nil {
		return nil, err
	}
	k, err := of(s)
	if err != nil {
		s.Zero()
		return nil, err
	}
	return &key{box: k.Hot(), raw: s, plain: new(layoutCipher), sum: transport.CheckSecret(a, s)}, nil
}

// parseRaw takes a key as it is: of any length that the algorithm table permits for HMAC, of the algorithm's length for others.
func parseRaw(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	if f, n := a.Facts(), s.Len(); f.MinBytes == 0 || n < f.MinBytes || n > f.MaxBytes {
		if err := wantBytes(s, f.Bits/8); err != nil {
			return nil, err
		}
	}
	return &key{raw: s, sum: transport.CheckSecret(a, s)}, nil
}

func wantBytes(s *secret.Bytes, n int) error {
	if got := s.Len(); got != n {
		s.Zero()
		return fmt.Errorf("the material has %d bytes, want %d", got, n)
	}
	return nil
}
