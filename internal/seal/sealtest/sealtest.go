// Package sealtest sets up a real root of trust in a temporary directory, for the tests of other packages. Nothing in it
// is a fake: two recipients (custodian shares 2 of 3, a key file's seed), a root key, a keychain and epoch KEKs on disk.
package sealtest

import (
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// The share set of a fixture.
const (
	Threshold = 2
	Shares    = 3
)

// Fixture is an open root of trust. Everything in it is erased when the test ends.
type Fixture struct {
	Cluster  kms.ID
	Config   *seal.Config
	Root     *seal.Root
	Keychain *seal.Keychain
	Blob     []byte // of the keychain
	Epochs   *seal.Epochs
	Dirs     seal.Dirs
	Shares   []*secret.Bytes // texts of the custodian shares
	Seed     *secret.Bytes   // of the key file
	Now      time.Time       // of its making
}

// New sets a fixture up, in some milliseconds.
func New(t testing.TB) *Fixture {
	t.Helper()
	f := &Fixture{Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seed: secret.Random(seal.SeedSize)}
	var random [10]byte
	rand.Read(random[:]) //nolint:errcheck // never fails since Go 1.24
	f.Cluster = kms.NewID(f.Now, random)
	custodians, parts, err := seal.NewShares(f.Now, "custodians", Threshold, Shares)
	must(t, err)
	for _, p := range parts {
		text, err := p.Text()
		must(t, err)
		f.Shares = append(f.Shares, secret.Take(text.Wire(release.Wire{})))
		p.Zero()
	}
	file, err := seal.NewKeyFile(f.Now, "key file", f.Seed)
	must(t, err)
	f.Config, f.Root, err = seal.Init(seal.InitParams{Cluster: f.Cluster, Development: true, Now: f.Now, Recipients: []seal.Enrolment{custodians, file}})
	must(t, err)
	f.Keychain, f.Blob, err = seal.NewKeychain(f.Root)
	must(t, err)
	dir := t.TempDir()
	f.Dirs = seal.Dirs{Shred: filepath.Join(dir, "shred"), Escrow: filepath.Join(dir, "escrow")}
	f.Epochs, err = seal.CreateEpochs(f.Dirs, f.Root, f.Config, f.Now)
	must(t, err)
	t.Cleanup(func() {
		f.Epochs.Zero()
		f.Keychain.Zero()
		f.Root.Zero()
	})
	return f
}

// Reopen opens everything again, as a server does after a restart, from the configuration's and the keychain's bytes and
// the key file's seed. The fixture's own values are replaced, not erased.
func (f *Fixture) Reopen(t testing.TB) {
	t.Helper()
	var err error
	f.Config, err = seal.ParseConfig(f.Config.Bytes())
	must(t, err)
	private, err := f.Config.WithSeed(seal.KindKeyFile, f.Seed)
	must(t, err)
	defer private.Zero()
	f.Root, err = f.Config.Open(private)
	must(t, err)
	f.Keychain, err = seal.OpenKeychain(f.Root, f.Blob)
	must(t, err)
	f.Epochs, err = seal.OpenEpochs(f.Dirs, f.Root, 0)
	must(t, err)
}

// Shred makes a shred secret for a place, and its row.
func (f *Fixture) Shred(t testing.TB, place []byte) (*secret.Bytes, []byte) {
	t.Helper()
	s := seal.NewShredSecret()
	row, err := f.Epochs.WrapShred(s, place)
	must(t, err)
	return s, row
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("root of trust for the test: %v", err)
	}
}
