package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
)

func TestARecordIsBoundToItsPlaceAndItsHeader(t *testing.T) {
	f := sealtest.New(t)
	k := f.Keychain
	sealed, err := k.SealRecord([]byte("before"), 1<<40+5, []byte("plain"), []byte("place"))
	ok(t, err)
	sealed, had := bytes.CutPrefix(sealed, []byte("before"))
	if !had || len(sealed) != seal.RecordOverhead+5 || seal.RecordOverhead != 97 {
		t.Fatalf("sealed record has %d bytes, want 97 more than its content", len(sealed))
	}
	logical, plain, err := k.OpenRecord([]byte("dst"), sealed, []byte("place"))
	if err != nil || logical != 1<<40+5 || string(plain) != "dstplain" {
		t.Fatalf("got %d %q %v", logical, plain, err)
	}
	if e, is := seal.RecordEpoch(sealed); !is || e != 1 {
		t.Errorf("epoch %d %v, want 1", e, is)
	}
	check := func(what string, sealed, aad []byte) {
		t.Helper()
		if logical, plain, err := k.OpenRecord(nil, sealed, aad); !errors.Is(err, seal.ErrRecord) || plain != nil || logical != 0 {
			t.Errorf("%s: got %d %q %v, want ErrRecord", what, logical, plain, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x10
		check("flipped byte", bad, []byte("place"))
		check("cut", sealed[:i], []byte("place"))
	}
	check("another place", sealed, []byte("elsewhere"))
	check("no place", sealed, nil)
	check("more bytes", append(bytes.Clone(sealed), 0), []byte("place"))
}

// Two keychains have a store key of epoch 1 each: a record of one never opens with the other's (package box commits).
func TestASealedRecordOpensUnderOneKeyOnly(t *testing.T) {
	f, other := sealtest.New(t), sealtest.New(t)
	sealed, err := f.Keychain.SealRecord(nil, 1, []byte("x"), nil)
	ok(t, err)
	if _, _, err := other.Keychain.OpenRecord(nil, sealed, nil); !errors.Is(err, seal.ErrRecord) {
		t.Errorf("under another key: got %v, want ErrRecord", err)
	}
}

func TestStoreKeysComeAndGo(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	first := f.Keychain
	var err error
	f.Keychain, f.Blob, err = first.AddStoreKey(f.Root)
	ok(t, err)
	if first.StoreEpoch() != 1 || f.Keychain.StoreEpoch() != 2 || f.Keychain.Serial() != first.Serial()+1 {
		t.Errorf("epochs %d and %d, serial %d", first.StoreEpoch(), f.Keychain.StoreEpoch(), f.Keychain.Serial())
	}
	h.check(t, f)
	f.Reopen(t)
	h.check(t, f)
	sealed, err := f.Keychain.SealRecord(nil, 1, []byte("new"), nil)
	ok(t, err)
	if e, _ := seal.RecordEpoch(sealed); e != 2 {
		t.Errorf("a new record is under store key %d, want 2", e)
	}
	if _, _, err := first.OpenRecord(nil, sealed, nil); !errors.Is(err, seal.ErrRecord) {
		t.Errorf("the keychain before: got %v, want ErrRecord", err)
	}
	_, _, err = f.Keychain.RetireStoreKey(f.Root, 2, 0)
	wantCode(t, err, kms.CodeConflict)
	_, _, err = f.Keychain.RetireStoreKey(f.Root, 1, 3)
	wantCode(t, err, kms.CodeConflict)
	_, _, err = f.Keychain.RetireStoreKey(f.Root, 9, 0)
	wantCode(t, err, kms.CodeNotFound)
	f.Keychain, f.Blob, err = f.Keychain.RetireStoreKey(f.Root, 1, 0)
	ok(t, err)
	f.Reopen(t)
	if got := f.Keychain.StoreEpochs(); len(got) != 1 || got[0] != 2 {
		t.Errorf("store keys %v, want [2]", got)
	}
	if _, _, err := f.Keychain.OpenRecord(nil, h.recordRaw, []byte("its place")); !errors.Is(err, seal.ErrRecord) {
		t.Errorf("under a retired key: got %v, want ErrRecord", err)
	}
}

func TestKeysHaveALimit(t *testing.T) {
	f := sealtest.New(t)
	k, blob := f.Keychain, f.Blob
	var err error
	for i := 1; i < seal.MaxStoreKeys; i++ {
		k, blob, err = k.AddStoreKey(f.Root)
		ok(t, err)
	}
	_, _, err = k.AddStoreKey(f.Root)
	wantCode(t, err, kms.CodeTooLarge)
	for i := 1; i < seal.MaxAuditKeys; i++ {
		k, blob, err = k.RollAuditKeys(f.Root)
		ok(t, err)
	}
	_, _, err = k.RollAuditKeys(f.Root)
	wantCode(t, err, kms.CodeTooLarge)
	if len(blob) > 64<<10 {
		t.Errorf("the largest keychain has %d bytes: it does not fit into a store value", len(blob))
	}
	_, err = seal.OpenKeychain(f.Root, blob)
	ok(t, err)
}

func TestTheOldAuditKeyEndorsesTheNewOne(t *testing.T) {
	f := sealtest.New(t)
	pinned := f.Keychain.PublicKey()
	mac, err := f.Keychain.MAC(1, []byte("a "), []byte("batch"))
	ok(t, err)
	old := f.Keychain
	for range 3 {
		f.Keychain, f.Blob, err = f.Keychain.RollAuditKeys(f.Root)
		ok(t, err)
	}
	f.Reopen(t)
	ok(t, f.Keychain.VerifyMAC(1, mac[:], []byte("a batch")))
	wantCode(t, f.Keychain.VerifyMAC(4, mac[:], []byte("a batch")), kms.CodeBadMAC)
	wantCode(t, f.Keychain.VerifyMAC(1, mac[:16], []byte("a batch")), kms.CodeBadMAC)
	wantCode(t, f.Keychain.VerifyMAC(5, mac[:], []byte("a batch")), kms.CodeNotFound)

	// A verifier that pinned the first key follows the endorsements to the last one.
	endorsements, err := f.Keychain.Endorsements()
	ok(t, err)
	keys, err := f.Keychain.PublicKeys()
	ok(t, err)
	if len(endorsements) != 3 || len(keys) != 4 || keys[0] != pinned || keys[3] != f.Keychain.PublicKey() {
		t.Fatalf("%d endorsements, %d keys", len(endorsements), len(keys))
	}
	for i, e := range endorsements {
		v, err := note.NewVerifier(pinned)
		ok(t, err)
		n, err := note.Open(e, note.VerifierList(v))
		ok(t, err)
		lines := bytes.Split([]byte(n.Text), []byte("\n"))
		if string(lines[0]) != "keyhold audit key v1" || string(lines[1]) != "keyhold."+f.Cluster.String() {
			t.Errorf("endorsement %d says %q", i, n.Text)
		}
		pinned = string(lines[3])
	}
	if pinned != f.Keychain.PublicKey() {
		t.Errorf("the endorsements lead to %s, want %s", pinned, f.Keychain.PublicKey())
	}

	// The signer is that key; the old one signs only as long as its keychain is in memory.
	signed, err := note.Sign(&note.Note{Text: "checkpoint\n"}, f.Keychain.Signer())
	ok(t, err)
	v, err := note.NewVerifier(pinned)
	ok(t, err)
	_, err = note.Open(signed, note.VerifierList(v))
	ok(t, err)
	old.Zero()
	if _, err := note.Sign(&note.Note{Text: "checkpoint\n"}, old.Signer()); err == nil {
		t.Error("an erased keychain signs")
	}
	_, _, err = old.RollAuditKeys(f.Root)
	wantCode(t, err, kms.CodeSealed)
	_, _, err = old.AddStoreKey(f.Root)
	wantCode(t, err, kms.CodeSealed)
	_, err = old.SealRecord(nil, 1, nil, nil)
	if err == nil {
		t.Error("an erased keychain seals records")
	}
}

func TestHashesTellPartsAndUsesApart(t *testing.T) {
	f, other := sealtest.New(t), sealtest.New(t)
	k := f.Keychain
	seen := map[[16]byte]string{}
	for name, h := range map[string][16]byte{
		"index a b": k.Index([]byte("a"), []byte("b")), "index ab": k.Index([]byte("ab")), "index ab ''": k.Index([]byte("ab"), nil),
		"index": k.Index(), "alias ab": k.Alias("ab"), "alias a": k.Alias("a"), "other cluster": other.Keychain.Index([]byte("ab")),
	} {
		if have, is := seen[h]; is {
			t.Errorf("%s and %s have the same hash", name, have)
		}
		seen[h] = name
	}
}

func TestATamperedKeychainNeverOpens(t *testing.T) {
	f, other := sealtest.New(t), sealtest.New(t)
	for i := range f.Blob {
		bad := bytes.Clone(f.Blob)
		bad[i] ^= 1
		_, err := seal.OpenKeychain(f.Root, bad)
		wantCode(t, err, kms.CodeRecordDamaged)
		_, err = seal.OpenKeychain(f.Root, f.Blob[:i])
		wantCode(t, err, kms.CodeRecordDamaged)
	}
	_, err := seal.OpenKeychain(other.Root, f.Blob)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = seal.OpenKeychain(f.Root.OfCluster(other.Cluster), f.Blob)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = seal.OpenKeychain(f.Root, make([]byte, 65<<10))
	wantCode(t, err, kms.CodeRecordDamaged)
}

func FuzzKeychain(f *testing.F) {
	fix := sealtest.New(f)
	_, blob, err := fix.Keychain.RollAuditKeys(fix.Root)
	ok(f, err)
	f.Add(seal.KeychainPlain(fix.Root, fix.Blob))
	f.Add(seal.KeychainPlain(fix.Root, blob))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, ok := seal.KeychainForm(in); ok && !bytes.Equal(out, in) {
			t.Fatal("what parsed is written differently")
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	f := sealtest.New(b)
	plain, aad := make([]byte, 512), make([]byte, 96)
	sealed, err := f.Keychain.SealRecord(nil, 1, plain, aad)
	ok(b, err)
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Keychain.SealRecord(nil, 1, plain, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := f.Keychain.OpenRecord(nil, sealed, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Keychain.Index(aad)
		}
	})
}
