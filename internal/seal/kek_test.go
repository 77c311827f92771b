package seal_test

import (
	"bytes"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret"
)

func TestAKEKNeedsRootShredSecretAndPlace(t *testing.T) {
	f, other := sealtest.New(t), sealtest.New(t)
	shred, elsewhere := seal.NewShredSecret(), seal.Place{Kind: seal.PlaceNamespace, Namespace: "other"}.Bytes()
	kek := seal.NewKEK()
	wrapped, err := f.Root.WrapKEK(kek, shred, namespacePlace)
	ok(t, err)
	if len(wrapped) != 121 {
		t.Errorf("a wrapped KEK has %d bytes, want 121", len(wrapped))
	}
	got, err := f.Root.UnwrapKEK(wrapped, shred, namespacePlace)
	ok(t, err)
	if got.Check() != kek.Check() || kek.Check() == seal.NewKEK().Check() {
		t.Error("check values do not tell KEKs apart")
	}
	try := func(what string, r *seal.Root, w []byte, s *secret.Bytes, place []byte) {
		t.Helper()
		_, err := r.UnwrapKEK(w, s, place)
		if kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("%s: got %v, want CodeRecordDamaged", what, err)
		}
	}
	try("another shred secret", f.Root, wrapped, seal.NewShredSecret(), namespacePlace)
	try("an erased shred secret", f.Root, wrapped, secret.Take(nil), namespacePlace)
	try("no shred secret", f.Root, wrapped, nil, namespacePlace)
	try("another place", f.Root, wrapped, shred, elsewhere)
	try("another root", other.Root, wrapped, shred, namespacePlace)
	try("another cluster", f.Root.OfCluster(other.Cluster), wrapped, shred, namespacePlace)
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		try("flipped byte", f.Root, bad, shred, namespacePlace)
		try("cut", f.Root, wrapped[:i], shred, namespacePlace)
	}
	shred.Zero()
	_, err = f.Root.WrapKEK(kek, shred, namespacePlace)
	wantCode(t, err, kms.CodeInternal)
	_, err = kek.Wrapping(shred, namespacePlace)
	wantCode(t, err, kms.CodeInternal)
	kek.Zero()
	_, err = f.Root.WrapKEK(kek, seal.NewShredSecret(), namespacePlace)
	wantCode(t, err, kms.CodeInternal)
	_, err = kek.Wrapping(seal.NewShredSecret(), namespacePlace)
	wantCode(t, err, kms.CodeInternal)
	if kek.Check() != [8]byte{} {
		t.Error("an erased KEK has a check value")
	}
}

func TestAWrappingKeyIsOneOfKEKShredSecretAndPlace(t *testing.T) {
	kek, shred := seal.NewKEK(), seal.NewShredSecret()
	place := seal.Place{Kind: seal.PlaceVersion, Namespace: "default", Key: kms.ID{1}, Version: 1}
	w, err := kek.Wrapping(shred, place.Bytes())
	ok(t, err)
	sealed, err := w.Seal(nil, box.Material, nil, []byte("material"), nil)
	ok(t, err)
	open := func(k *seal.KEK, s *secret.Bytes, p seal.Place) error {
		w, err := k.Wrapping(s, p.Bytes())
		ok(t, err)
		_, err = w.Open(nil, box.Material, nil, sealed, nil)
		return err
	}
	ok(t, open(kek, shred, place))
	version, namespace, kind := place, place, place
	version.Version, namespace.Namespace, kind.Kind = 2, "defaul", seal.PlaceSecret
	for name, err := range map[string]error{
		"KEK": open(seal.NewKEK(), shred, place), "shred secret": open(kek, seal.NewShredSecret(), place),
		"version": open(kek, shred, version), "namespace": open(kek, shred, namespace), "kind": open(kek, shred, kind),
	} {
		if err == nil {
			t.Errorf("material opens with another %s", name)
		}
	}
}
