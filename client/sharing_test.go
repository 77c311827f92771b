package client_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

func TestSecretsAreSharedWithOthers(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	create(t, admin, "agree", "x25519", "")
	create(t, admin, "kem", "x-wing", "")
	create(t, admin, "new", "aes-256-gcm", "")
	theirs, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := x509.MarshalPKIXPublicKey(theirs.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	pub, err := user.GetPublicKey(t.Context(), "agree", 0)
	if err != nil || pub.Usage != "agree" {
		t.Fatalf("got %+v, %v", pub, err)
	}
	ours, err := x509.ParsePKIXPublicKey(pub.DER)
	if err != nil {
		t.Fatal(err)
	}
	want, err := theirs.ECDH(ours.(*ecdh.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	z, err := user.DeriveSharedSecret(t.Context(), client.DeriveSharedSecretInput{Key: "agree", PeerPublicKey: peer})
	if err != nil || !bytes.Equal(z.Secret, want) || z.Scheme != "ecdh" || z.Version != 1 {
		t.Errorf("got %d bytes by %s, %v", len(z.Secret), z.Scheme, err)
	}
	derived, err := user.DeriveSharedSecret(t.Context(), client.DeriveSharedSecretInput{Key: "agree", PeerPublicKey: peer, KDF: "hkdf-sha-256", Salt: []byte("s"), Info: []byte("i"), Length: 64})
	if err != nil || len(derived.Secret) != 64 {
		t.Errorf("derived: got %d bytes, %v", len(derived.Secret), err)
	}
	if _, err := user.DeriveSharedSecret(t.Context(), client.DeriveSharedSecretInput{Key: "agree", PeerPublicKey: peer, KDF: "md5"}); client.CodeOf(err) != client.CodeBadRequest {
		t.Errorf("another kdf: got %v", err)
	}
	capsule, err := user.Encapsulate(t.Context(), client.EncapsulateInput{Key: "kem"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := user.Decapsulate(t.Context(), client.DecapsulateInput{Key: "kem", Ciphertext: capsule.Ciphertext, Version: capsule.Version})
	if err != nil || !bytes.Equal(opened.Secret, capsule.Secret) || len(opened.Secret) != 32 || capsule.Scheme != "x-wing" {
		t.Errorf("got %d bytes, %v", len(opened.Secret), err)
	}
	pair, err := user.GenerateDataKeyPair(t.Context(), client.GenerateDataKeyPairInput{Key: "new", Algorithm: "ecdsa-p256", Context: client.Context{"device": "17"}})
	if err != nil || pair.Algorithm != "ecdsa-p256" || len(pair.PublicKey) == 0 {
		t.Fatalf("got %+v, %v", pair, err)
	}
	kept, err := user.Decrypt(t.Context(), client.DecryptInput{Ciphertext: pair.PrivateKeyCiphertext, Context: client.Context{"device": "17"}})
	if err != nil || !bytes.Equal(kept.Plaintext, pair.PrivateKey) {
		t.Errorf("the kept private key: %v", err)
	}
	pair, err = user.GenerateDataKeyPair(t.Context(), client.GenerateDataKeyPairInput{Key: "new", Algorithm: "rsa-2048", WithoutPlaintext: true})
	if err != nil || len(pair.PrivateKey) != 0 {
		t.Errorf("without plaintext: got %d bytes, %v", len(pair.PrivateKey), err)
	}
	if _, err := user.GenerateDataKeyPair(t.Context(), client.GenerateDataKeyPairInput{Key: "new", Algorithm: "rsa-1024"}); err == nil {
		t.Error("rsa-1024 was made")
	}
}

func TestMaterialIsWrappedForOthers(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	create(t, admin, "kek", "aes-256-kw", "")
	create(t, admin, "other", "aes-128-kw", "")
	material := bytes.Repeat([]byte{9}, 32)
	one, err := user.WrapKey(t.Context(), client.WrapKeyInput{Key: "kek", Material: material})
	if err != nil || len(one.Wrapped) != 40 || one.Scheme != "aes-kwp" {
		t.Fatalf("got %+v, %v", one, err)
	}
	if back, err := user.UnwrapKey(t.Context(), client.UnwrapKeyInput{Key: "kek", Wrapped: one.Wrapped}); err != nil || !bytes.Equal(back.Material, material) {
		t.Errorf("got %d bytes, %v", len(back.Material), err)
	}
	many, err := user.WrapKeyBatch(t.Context(), []client.WrapKeyInput{
		{Key: "kek", Material: material}, {Key: "other", Material: material, Scheme: "aes-kw"}, {Key: "other", Material: material[:7], Scheme: "aes-kw"}, {Key: "nosuch", Material: material},
	})
	if err != nil || many[0].Err != nil || many[1].Err != nil || client.CodeOf(many[2].Err) != client.CodeBadRequest || client.CodeOf(many[3].Err) != client.CodeKeyNotFound {
		t.Fatalf("got %+v, %v", many, err)
	}
	back, err := user.UnwrapKeyBatch(t.Context(), []client.UnwrapKeyInput{
		{Key: "other", Wrapped: many[1].Value.Wrapped, Scheme: "aes-kw"}, {Key: "kek", Wrapped: many[0].Value.Wrapped}, {Key: "kek", Wrapped: many[1].Value.Wrapped},
	})
	if err != nil || !bytes.Equal(back[0].Value.Material, material) || !bytes.Equal(back[1].Value.Material, material) || client.CodeOf(back[2].Err) != client.CodeDecryptFailed {
		t.Fatalf("got %+v, %v", back, err)
	}
}

func TestTextsKeepTheirForm(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	create(t, admin, "cards", "aes-256-ff1", "")
	in := client.FormatInput{Key: "cards", Text: "4111 1111 1111 1111", Tweak: []byte("shop"), PreserveOthers: true}
	one, err := user.EncryptFormat(t.Context(), in)
	if err != nil || len(one.Text) != len(in.Text) || one.Text == in.Text || one.Scheme != "ff1" {
		t.Fatalf("got %+v, %v", one, err)
	}
	// Items with different alphabets are different operations; their order is kept.
	var items []client.FormatInput
	for i := range 300 {
		it := client.FormatInput{Key: "cards", Text: fmt.Sprintf("%08d", i), Tweak: fmt.Append(nil, i)}
		if i%2 == 1 {
			it.Alphabet = "alphanumeric"
		}
		items = append(items, it)
	}
	items[7].Text = "short"
	sealed, err := user.EncryptFormatBatch(t.Context(), items)
	if err != nil || len(sealed) != len(items) {
		t.Fatalf("got %d answers, %v", len(sealed), err)
	}
	for i, r := range sealed {
		if i == 7 {
			continue
		}
		if r.Err != nil {
			t.Fatalf("item %d: %v", i, r.Err)
		}
		items[i].Text = r.Value.Text
	}
	opened, err := user.DecryptFormatBatch(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range opened {
		if want := fmt.Sprintf("%08d", i); i != 7 && (r.Err != nil || r.Value.Text != want) {
			t.Errorf("item %d: got %q, %v, want %q", i, r.Value.Text, r.Err, want)
		}
	}
	records := 0
	for r, err := range as(t, s, s.Auditor).ListRecords(t.Context(), client.AuditFilter{Action: "EncryptFormat", Outcome: "ok"}) {
		if err != nil {
			t.Fatal(err)
		}
		if records++; records <= 2 && len(r.Items) != 150 {
			t.Errorf("a record with %d items, want 150", len(r.Items))
		}
	}
	if records != 3 {
		t.Errorf("%d records, want 3: two of the batch, one of the single text", records)
	}
	in.Text = one.Text
	if got, err := user.DecryptFormat(t.Context(), in); err != nil || got.Text != "4111 1111 1111 1111" {
		t.Errorf("got %q, %v", got.Text, err)
	}
	if _, err := admin.RotateKey(t.Context(), "cards"); err != nil {
		t.Fatal(err)
	}
	if _, err := user.DecryptFormat(t.Context(), in); client.CodeOf(err) != client.CodeBadRequest {
		t.Errorf("without a version: got %v", err)
	}
	in.Version = one.Version
	if got, err := user.DecryptFormat(t.Context(), in); err != nil || got.Text != "4111 1111 1111 1111" {
		t.Errorf("got %q, %v", got.Text, err)
	}
}

func TestAKeySaysHowLongItIsAndWhatItLeaks(t *testing.T) {
	s := nativetest.Open(t)
	admin := as(t, s, s.Admin)
	k, err := admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "mac", Algorithm: "hmac-sha-256", Bytes: 64})
	if err != nil || k.Bytes != 64 || k.Leaks != "" {
		t.Errorf("got %+v, %v", k, err)
	}
	if k, err = admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "short", Algorithm: "hmac-sha-384"}); err != nil || k.Bytes != 48 {
		t.Errorf("got %+v, %v", k, err)
	}
	if k, err = admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "siv", Algorithm: "aes-256-siv"}); err != nil || k.Bytes != 0 || k.Leaks == "" {
		t.Errorf("got %+v, %v", k, err)
	}
	if _, err = admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "wrong", Algorithm: "aes-256-gcm", Bytes: 16}); client.CodeOf(err) != client.CodeBadRequest {
		t.Errorf("got %v", err)
	}
}
