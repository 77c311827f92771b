package providertest

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
)

// material: what is generated opens in its place, with its wrapping key and its check value, and in no other way.
func (o Options) material(t *testing.T, p provider.Provider) {
	for _, a := range o.Algorithms {
		if o.Small && slower(a) {
			continue
		}
		t.Run(a.String(), func(t *testing.T) {
			m := o.make(t, p, a)
			if len(m.Check) != 8 || m.Source == "" {
				t.Errorf("check value of %d bytes, source %q; want 8 bytes and a name", len(m.Check), m.Source)
			}
			if a.Facts().Asymmetric {
				parsePublic(t, m.Public)
				if sum := sha256.Sum256(m.Public); !bytes.Equal(m.Check, sum[:8]) {
					t.Errorf("check value got %x want %x", m.Check, sum[:8])
				}
			} else if m.Public != nil {
				t.Errorf("a symmetric key has a public part of %d bytes", len(m.Public))
			}
			o.onlyHere(t, p, m)
			if !a.Facts().Slow {
				again := o.make(t, p, a)
				if bytes.Equal(again.Check, m.Check) || bytes.Equal(again.Wrapped, m.Wrapped) {
					t.Error("two keys are the same")
				}
				_, err := p.Open(a, m.Wrapped, again.wrap, place, m.Check)
				wantCode(t, "another wrapping key", err, kms.CodeRecordDamaged)
			}
		})
	}
}

func (o Options) onlyHere(t *testing.T, p provider.Provider, m made) {
	open := func(wrapped, at, check []byte) error {
		h, err := p.Open(m.algorithm, wrapped, m.wrap, at, check)
		if err == nil {
			h.Close()
		}
		return err
	}
	_, err := p.Open(m.algorithm, m.Wrapped, wrapping(t), place, m.Check)
	wantCode(t, "wrong wrapping key", err, kms.CodeRecordDamaged)
	want := err.Error() // one error, not one code alone
	same := func(what string, err error) {
		t.Helper()
		wantCode(t, what, err, kms.CodeRecordDamaged)
		if err != nil && err.Error() != want {
			t.Errorf("%s: got %q want %q", what, err, want)
		}
	}

	for i, changed := range flips(m.Wrapped, o.Thorough) {
		if err := open(changed, place, m.Check); kms.CodeOf(err) != kms.CodeRecordDamaged || err.Error() != want {
			t.Fatalf("byte %d of the wrapped material changed: got %v want %s", i, err, want)
		}
	}
	for _, at := range [][]byte{append(bytes.Clone(place), '0'), place[:len(place)-1], []byte("key/another/1")} {
		same("place "+string(at), open(m.Wrapped, at, m.Check))
	}
	same("nothing", open(nil, place, m.Check))
	same("one byte short", open(m.Wrapped[:len(m.Wrapped)-1], place, m.Check))
	same("one byte more", open(append(bytes.Clone(m.Wrapped), 0), place, m.Check))
	same("far too long", open(append(bytes.Clone(m.Wrapped), make([]byte, 1<<16)...), place, m.Check))
	for _, b := range o.Algorithms {
		if b == m.algorithm {
			continue
		}
		_, err := p.Open(b, m.Wrapped, m.wrap, place, m.Check)
		same("opened as "+b.String(), err)
	}

	for i, changed := range flips(m.Check, true) {
		if err := open(m.Wrapped, place, changed); kms.CodeOf(err) != kms.CodeCheckValue {
			t.Fatalf("byte %d of the check value changed: got %v want %s", i, err, kms.CodeCheckValue)
		}
	}
	for _, check := range [][]byte{nil, {}, m.Check[:7], append(bytes.Clone(m.Check), 0)} {
		wantCode(t, "check value of another length", open(m.Wrapped, place, check), kms.CodeCheckValue)
	}

	_, err = p.Generate(provider.Spec{Algorithm: m.algorithm}, nil, place)
	wantCode(t, "generate without a wrapping key", err, kms.CodeInternal)
	_, err = p.Generate(provider.Spec{Algorithm: m.algorithm}, m.wrap, nil)
	wantCode(t, "generate without a place", err, kms.CodeInternal)
	_, err = p.Open(m.algorithm, m.Wrapped, nil, place, m.Check)
	wantCode(t, "open without a wrapping key", err, kms.CodeInternal)
	_, err = p.Open(m.algorithm, m.Wrapped, m.wrap, nil, m.Check)
	wantCode(t, "open without a place", err, kms.CodeInternal)
}

// lengths: an HMAC key is as long as was asked for, and no other key has a length to ask for.
func (o Options) lengths(t *testing.T, p provider.Provider) {
	for _, a := range o.Algorithms {
		for _, n := range []int{-1, 1, 15, 16, 64, 512, 513, 1 << 40} {
			if o.Small && slower(a) {
				continue
			}
			want := kms.CodeOf(kms.CheckSize(a, n))
			wrap := wrapping(t)
			g, err := p.Generate(provider.Spec{Algorithm: a, Bytes: n}, wrap, place)
			if kms.CodeOf(err) != want {
				t.Errorf("%s of %d bytes: got %v want %s", a, n, err, want)
			}
			if err != nil {
				continue
			}
			longer, err := p.Generate(provider.Spec{Algorithm: a, Bytes: n + 1}, wrap, place)
			if kms.CheckSize(a, n+1) == nil && (err != nil || len(longer.Wrapped) != len(g.Wrapped)+1) {
				t.Errorf("%s of %d bytes: wrapped in %d, one more in %d, %v", a, n, len(g.Wrapped), len(longer.Wrapped), err)
			}
			h, err := p.Open(a, g.Wrapped, wrap, place, g.Check)
			if err != nil {
				t.Errorf("%s of %d bytes does not open: %v", a, n, err)
				continue
			}
			if err := useOnce(h, a); err != nil {
				t.Errorf("%s of %d bytes: %v", a, n, err)
			}
			h.Close()
		}
	}
}
