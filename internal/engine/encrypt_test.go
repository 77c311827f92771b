package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// What a batch's items share is none of their outcomes: each has its own text, context and version, whatever the one before had.
func TestItemsOfABatchAreApart(t *testing.T) {
	w := newWorld(t)
	for _, a := range []kms.Algorithm{kms.AES256GCM, kms.XChaCha20Poly1305, kms.AES256SIV, kms.RSA2048} {
		t.Run(a.String(), func(t *testing.T) {
			k := w.create(a.String(), a, kms.EncryptDecrypt)
			ref := kms.RefTo(k.ID)
			var ciphertexts [3][]engine.EncryptedItem // of each version
			var texts []engine.EncryptItem
			for i := range 40 {
				it := engine.EncryptItem{Plaintext: bytes.Repeat([]byte{byte(i)}, i)}
				switch i % 4 {
				case 1:
					it.Context = kms.Context{"n": fmt.Sprint(i / 8)}
				case 2:
					it.AAD = []byte{byte(i)}
				}
				texts = append(texts, it)
			}
			for n := range ciphertexts {
				if n > 0 {
					if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: ref}); err != nil {
						t.Fatal(err)
					}
				}
				out, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: ref, Items: texts})
				if err != nil || out.Version != uint32(n+1) {
					t.Fatalf("version %d, %v", out.Version, err)
				}
				ciphertexts[n] = out.Items
			}
			if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: ref, Version: 2}); err != nil {
				t.Fatal(err)
			}
			// The versions take turns, in runs of two; every seventh item has the context of none.
			var in []engine.DecryptItem
			for i, text := range texts {
				it := engine.DecryptItem{Ciphertext: ciphertexts[i/2%3][i].Ciphertext, Context: text.Context, AAD: text.AAD}
				if i%7 == 6 {
					it.Context, it.AAD = nil, []byte("other")
				}
				in = append(in, it)
			}
			opened, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: ref, Items: in})
			if err != nil {
				t.Fatal(err)
			}
			for i, it := range opened.Items {
				version := i/2%3 + 1
				switch {
				case version == 2 && it.Err == nil, i%7 == 6 && it.Err == nil:
					t.Errorf("item %d of version %d: opened", i, version)
				case version == 2 || i%7 == 6:
				case it.Err != nil || it.Version != uint32(version) || !bytes.Equal(it.Plaintext.Wire(release.Wire{}), texts[i].Plaintext):
					t.Errorf("item %d of version %d: got %x of version %d, %v", i, version, it.Plaintext.Wire(release.Wire{}), it.Version, it.Err)
				}
			}
		})
	}
}
