package seal_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
)

// stride is how far apart the tampered bytes are in formats of thousands of bytes: every one in the long run.
func stride() int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return 1
	}
	return 23
}

func TestATamperedConfigurationNeverOpens(t *testing.T) {
	f := sealtest.New(t)
	private, err := f.Config.WithSeed(seal.KindKeyFile, f.Seed)
	ok(t, err)
	raw := f.Config.Bytes()
	check := func(at int, bad []byte) {
		t.Helper()
		c, err := seal.ParseConfig(bad)
		if err == nil {
			_, err = c.Open(private)
		}
		// A damaged id of the opener's own entry reads as not being a recipient.
		if code := kms.CodeOf(err); code != kms.CodeRecordDamaged && code != kms.CodeWrongShares {
			t.Fatalf("byte %d: got %v, want CodeRecordDamaged", at, err)
		}
	}
	for i := range raw {
		if i > 150 && i < len(raw)-64 && i%stride() != 0 {
			continue
		}
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		check(i, bad)
	}
	for i := 0; i < len(raw); i += 97 {
		check(i, raw[:i])
	}
	check(len(raw), append(bytes.Clone(raw), 0))
}

func TestNothingIsSealedToARecipientThatWasSlippedIn(t *testing.T) {
	f := sealtest.New(t)
	// The public key of another cluster's recipient in place of ours, everything else as it was.
	foreign := sealtest.New(t)
	raw := f.Config.Bytes()
	own, theirs := f.Config.Recipients()[1].Public, foreign.Config.Recipients()[1].Public
	at := bytes.Index(raw, own)
	copy(raw[at:], theirs)
	bad, err := seal.ParseConfig(raw)
	ok(t, err)
	_, _, err = f.Root.BeginRotation(bad, now)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = f.Epochs.Roll(bad, now)
	wantCode(t, err, kms.CodeRecordDamaged)
	wantCode(t, f.Epochs.Escrow(bad), kms.CodeRecordDamaged)
	_, err = f.Root.RemoveRecipient(bad, bad.Recipients()[0].ID)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = f.Epochs.Roll(foreign.Config, now)
	wantCode(t, err, kms.CodeRecordDamaged)
	if got := f.Epochs.Current(); got != 1 {
		t.Errorf("a refused roll made epoch %d", got)
	}
}

func TestARecipientOfAnotherClusterDoesNotOpen(t *testing.T) {
	f, foreign := sealtest.New(t), sealtest.New(t)
	private, err := foreign.Config.WithSeed(seal.KindKeyFile, foreign.Seed)
	ok(t, err)
	_, err = f.Config.Open(private)
	wantCode(t, err, kms.CodeWrongShares)
	_, err = f.Config.WithSeed(seal.KindKeyFile, foreign.Seed)
	wantCode(t, err, kms.CodeWrongShares)
	_, err = f.Config.WithSeed(seal.KindPKCS11, foreign.Seed)
	wantCode(t, err, kms.CodeNotFound)
	private.Zero()
	wantCode(t, foreign.Config.VerifyRecipient(private), kms.CodeWrongShares)
}

func TestAnErasedRootDoesNothing(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	f.Root.Zero()
	_, _, err := f.Root.BeginRotation(f.Config, now)
	wantCode(t, err, kms.CodeSealed)
	_, _, err = seal.NewKeychain(f.Root)
	wantCode(t, err, kms.CodeSealed)
	_, err = seal.OpenKeychain(f.Root, f.Blob)
	wantCode(t, err, kms.CodeSealed)
	_, err = f.Root.WrapKEK(h.kek, seal.NewShredSecret(), namespacePlace)
	wantCode(t, err, kms.CodeSealed)
	_, err = f.Root.UnwrapKEK(h.wrapped, seal.NewShredSecret(), namespacePlace)
	wantCode(t, err, kms.CodeSealed)
	_, err = f.Epochs.Roll(f.Config, now)
	wantCode(t, err, kms.CodeSealed)
	_, err = seal.OpenEpochs(f.Dirs, f.Root, 0)
	wantCode(t, err, kms.CodeSealed)
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(readVectors(f).Config))
	f.Add([]byte("KHSC\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := seal.ParseConfig(in)
		if err != nil {
			if kms.CodeOf(err) != kms.CodeRecordDamaged {
				t.Fatalf("got %v, want CodeRecordDamaged", err)
			}
			return
		}
		if !bytes.Equal(c.Bytes(), in) {
			t.Fatal("what parsed is written differently")
		}
	})
}
