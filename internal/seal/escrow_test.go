package seal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret"
)

func escrowFile(t testing.TB, f *sealtest.Fixture, n uint32) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.Dirs.Escrow, seal.EscrowName(n)))
	ok(t, err)
	return data
}

func TestAnyRecipientBringsALostEpochBack(t *testing.T) {
	f := sealtest.New(t)
	want, row := f.Shred(t, []byte("p"))
	escrow := escrowFile(t, f, 1)
	c, err := seal.NewCollector(f.Config)
	ok(t, err)
	for _, s := range f.Shares[:2] {
		_, err := c.Add(s)
		ok(t, err)
	}
	custodians, err := c.Private()
	ok(t, err)
	file, err := f.Config.WithSeed(seal.KindKeyFile, f.Seed)
	ok(t, err)
	_, err = seal.OpenEscrow(f.Dirs, f.Config, file, escrow)
	wantCode(t, err, kms.CodeExists)
	for _, p := range []*seal.Private{custodians, file} {
		fresh := seal.Dirs{Shred: filepath.Join(t.TempDir(), "shred"), Escrow: filepath.Join(t.TempDir(), "escrow")}
		n, err := seal.OpenEscrow(fresh, f.Config, p, escrow)
		if err != nil || n != 1 {
			t.Fatalf("epoch %d: %v", n, err)
		}
		e, err := seal.OpenEpochs(fresh, f.Root, 1)
		ok(t, err)
		if got, err := e.OpenShred(row, []byte("p")); err != nil || !got.Equal(want) {
			t.Errorf("the shred secret does not open with the restored epoch: %v", err)
		}
	}
}

func TestEscrowFollowsRecipientsAndRotations(t *testing.T) {
	f := sealtest.New(t)
	before := escrowFile(t, f, 1)
	seed := secret.Random(32)
	e, err := seal.NewKeyFile(now, "late", seed)
	ok(t, err)
	f.Config, err = f.Root.AddRecipient(f.Config, e)
	ok(t, err)
	late, err := f.Config.WithSeed(seal.KindKeyFile, seed)
	ok(t, err)
	_, err = seal.CheckEscrow(f.Root, late, before)
	wantCode(t, err, kms.CodeNotFound)
	ok(t, f.Epochs.Escrow(f.Config))
	_, err = seal.CheckEscrow(f.Root, late, escrowFile(t, f, 1))
	ok(t, err)

	f.Config, f.Root, err = f.Root.BeginRotation(f.Config, now)
	ok(t, err)
	ok(t, f.Epochs.RewrapRoot(f.Root, f.Config))
	f.Config, f.Root, err = f.Root.FinishRotation(f.Config, f.Epochs.Left(f.Root))
	ok(t, err)
	_, err = seal.CheckEscrow(f.Root, late, escrowFile(t, f, 1))
	ok(t, err)
	_, err = seal.CheckEscrow(f.Root, late, before)
	wantCode(t, err, kms.CodeRecordDamaged) // the root generation that vouches for it is gone
}

func TestATamperedEscrowCopyIsNotInstalled(t *testing.T) {
	f, other := sealtest.New(t), sealtest.New(t)
	p, err := f.Config.WithSeed(seal.KindKeyFile, f.Seed)
	ok(t, err)
	data := escrowFile(t, f, 1)
	check := func(at int, bad []byte) {
		t.Helper()
		if _, err := seal.CheckEscrow(f.Root, p, bad); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Fatalf("byte %d: got %v, want CodeRecordDamaged", at, err)
		}
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		check(i, bad)
	}
	for i := 0; i < len(data); i += 41 {
		check(i, data[:i])
	}
	check(len(data), append(bytes.Clone(data), 0))
	// One that is in order, but made by somebody who knows the public keys and not the root: another cluster's.
	check(-1, escrowFile(t, other, 1))
	_, err = seal.CheckEscrow(f.Root.OfCluster(other.Cluster), p, data)
	wantCode(t, err, kms.CodeRecordDamaged)
}

func FuzzEscrow(f *testing.F) {
	f.Add([]byte(readVectors(f).Escrow))
	f.Add([]byte("KHES\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if body, ok := seal.EscrowForm(in); ok && body != len(in)-32 {
			t.Fatalf("the MAC covers %d of %d bytes", body, len(in))
		}
	})
}

func FuzzWrapped(f *testing.F) {
	fix := sealtest.New(f)
	shred, row := fix.Shred(f, []byte("p"))
	wrapped, err := fix.Root.WrapKEK(seal.NewKEK(), shred, []byte("p"))
	ok(f, err)
	file, err := os.ReadFile(filepath.Join(fix.Dirs.Shred, seal.EpochName(1)))
	ok(f, err)
	record, err := fix.Keychain.SealRecord(nil, 1, []byte("r"), []byte("p"))
	ok(f, err)
	for _, seed := range [][]byte{row, wrapped, file, record, fix.Blob, {1, 0, 0, 0, 1}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := fix.Epochs.OpenShred(in, []byte("q")); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("shred row: %v", err)
		}
		if _, err := fix.Root.UnwrapKEK(in, shred, []byte("q")); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("KEK: %v", err)
		}
		if _, _, err := fix.Keychain.OpenRecord(nil, in, []byte("q")); err == nil {
			t.Error("a record opens in another place")
		}
		if fix.Root.OpenFile(2, in) == nil {
			t.Error("an epoch's file opens as another epoch's")
		}
	})
}
