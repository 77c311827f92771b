package providertest

import (
	"bytes"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

var elsewhere = []byte("key/0192f000-0000-7000-8000-00000000002b/1")

// transport is one that the profile permits, with the kind of key that it is for.
func (o Options) transport() (kms.Transport, kms.Algorithm) {
	if o.Profile == kms.ProfileFIPS {
		return kms.RSAAESSHA256, kms.RSA3072
	}
	return kms.HPKEP256, kms.ECDHP256
}

// transfer: what is exported for an import comes in as the same key, at another place; nothing else comes in.
func (o Options) transfer(t *testing.T, p provider.Provider) {
	by, key := o.transport()
	door := o.make(t, p, key)
	var info []byte
	if by.Facts().Info {
		info = []byte("for one import")
	}
	to := provider.Receiver{Transport: by, Public: door.Public, Info: info}
	for _, a := range o.Algorithms {
		if slower(a) && !o.Thorough || a.Facts().SlowSign {
			continue
		}
		m := o.make(t, p, a)
		out, err := p.Export(provider.Sealed{Algorithm: a, Wrapped: m.Wrapped, Wrap: m.wrap, Place: place, Check: m.Check}, to)
		if a == kms.XWing { // there is no standard form of its private key
			wantCode(t, "export of "+a.String(), err, kms.CodeAlgorithm)
			continue
		}
		if err != nil {
			t.Errorf("export of %s: %v", a, because(err))
			continue
		}
		parcel := provider.Parcel{Transport: by, Info: info, Bytes: out.Bytes}
		wrap := wrapping(t)
		in, err := p.Import(provider.Spec{Algorithm: a}, door.Handle, parcel, wrap, elsewhere)
		if err != nil {
			t.Errorf("import of %s: %v", a, because(err))
			continue
		}
		if !bytes.Equal(in.Check, m.Check) || !bytes.Equal(in.Public, m.Public) || in.Source != "" || !bytes.Equal(in.KCV.CMAC, out.KCV.CMAC) {
			t.Errorf("%s: another key came in: check value %x, want %x", a, in.Check, m.Check)
		}
		h, err := p.Open(a, in.Wrapped, wrap, elsewhere, in.Check)
		if err != nil {
			t.Errorf("%s does not open where it came in: %v", a, because(err))
			continue
		}
		h.Close()
		if _, err := p.Open(a, in.Wrapped, wrap, place, in.Check); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("%s opens where it does not belong: %v", a, err)
		}
		o.refuses(t, p, a, door, parcel, wrap)
	}
	o.weak(t, p, door)
}

// refuses: a parcel that was changed, is for another import, or holds another kind of key.
func (o Options) refuses(t *testing.T, p provider.Provider, a kms.Algorithm, door made, parcel provider.Parcel, wrap *box.Key) {
	changed := parcel
	changed.Bytes = bytes.Clone(parcel.Bytes)
	changed.Bytes[len(changed.Bytes)-1] ^= 1
	_, err := p.Import(provider.Spec{Algorithm: a}, door.Handle, changed, wrap, elsewhere)
	wantCode(t, a.String()+" in a changed parcel", err, kms.CodeDecryptFailed)
	other := parcel
	if parcel.Transport.Facts().Info {
		other.Info = []byte("for another import")
		_, err = p.Import(provider.Spec{Algorithm: a}, door.Handle, other, wrap, elsewhere)
		wantCode(t, a.String()+" for another import", err, kms.CodeDecryptFailed)
	}
	want := kms.AES128Wrap
	if a.Facts().Bits == 128 || a.Facts().MaxBytes > 0 {
		want = kms.ECDSAP384
	}
	if a != want {
		_, err = p.Import(provider.Spec{Algorithm: want}, door.Handle, parcel, wrap, elsewhere)
		wantCode(t, a.String()+" as "+want.String(), err, kms.CodeKeyFile)
	}
	other.Transport = kms.TransportKWP
	_, err = p.Import(provider.Spec{Algorithm: kms.AES256GCM}, door.Handle, other, wrap, elsewhere)
	wantCode(t, "a transport that the key is not for", err, kms.CodeAlgorithm)
}

// weak: keys that no random source made, and transports that the profile refuses.
func (o Options) weak(t *testing.T, p provider.Provider, door made) {
	by, _ := o.transport()
	public, err := transport.ParsePublic(door.Public)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"zeros": make([]byte, 32), "ones": bytes.Repeat([]byte{0xff}, 32), "a byte too many": make([]byte, 33), "nothing like a key": []byte("x")} {
		parcel, err := transport.Seal(by, public.Key, nil, secret.Copy(key))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []kms.Algorithm{kms.AES256GCM, kms.ECDSAP256} {
			_, err = p.Import(provider.Spec{Algorithm: a}, door.Handle, provider.Parcel{Transport: by, Bytes: parcel}, wrapping(t), elsewhere)
			wantCode(t, name+" as "+a.String(), err, kms.CodeKeyFile)
		}
	}
	if o.Profile == kms.ProfileFIPS {
		for _, tr := range []kms.Transport{kms.OAEPSHA1, kms.RSAAESSHA1, kms.HPKEMLKEM768X25519, kms.HPKEP256} {
			_, err := p.Import(provider.Spec{Algorithm: kms.AES256GCM}, door.Handle, provider.Parcel{Transport: tr, Bytes: []byte("x")}, wrapping(t), elsewhere)
			wantCode(t, tr.String(), err, kms.CodeProfile)
		}
	}
	wrap, k := wrapping(t), o.make(t, p, kms.AES256GCM)
	_, err = p.Export(provider.Sealed{Algorithm: kms.AES256GCM, Wrapped: k.Wrapped, Wrap: wrap, Place: place, Check: k.Check}, provider.Receiver{Transport: by, Public: door.Public})
	wantCode(t, "export of what does not open", err, kms.CodeRecordDamaged)
	_, err = p.Export(provider.Sealed{Algorithm: kms.AES256GCM, Wrapped: k.Wrapped, Wrap: k.wrap, Place: place, Check: k.Check}, provider.Receiver{Transport: by, Public: []byte("no key")})
	wantCode(t, "export to what is no key", err, kms.CodeBadRequest)
}
