package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

var update = flag.Bool("update", false, "make testdata/vectors.json anew")

// hexBytes is written in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

// vectors hold one of every format, made once: what was written by an earlier version, or with an earlier Go, must open.
// The secrets in it protect nothing else.
type vectors struct {
	Comment    string   `json:"comment"`
	Seed       hexBytes `json:"key_file_seed"`
	Passphrase string   `json:"passphrase"`
	Shares     []string `json:"shares_2_of_3"`

	Cluster      kms.ID   `json:"cluster"`
	Config       hexBytes `json:"seal_configuration"`
	Fingerprints []string `json:"fingerprints"`
	RootChecks   []string `json:"root_check_values"`

	Keychain     hexBytes `json:"keychain"`
	Index        hexBytes `json:"index_of_a_and_b"`
	Alias        hexBytes `json:"alias_of_svc_orders"`
	MAC          hexBytes `json:"mac_of_abc_under_epoch_1"`
	Verifier     string   `json:"audit_verifier_key"`
	Endorsements []string `json:"audit_key_endorsements"`
	Record       hexBytes `json:"record"` // logical version 42, plaintext "plaintext", associated data "associated data"

	Place    hexBytes `json:"place"` // namespace KEK of "default"
	ShredRow hexBytes `json:"shred_row"`
	KEK      hexBytes `json:"wrapped_kek"`
	KEKCheck hexBytes `json:"kek_check_value"`
	Wrapped  hexBytes `json:"material_under_the_kek"` // box label Material, no header, plaintext "material", over the same place and shred secret
	Epoch    hexBytes `json:"epoch_file"`
	Escrow   hexBytes `json:"escrow_file"`
}

var vectorsFile = filepath.Join("testdata", "vectors.json")

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	raw, err := os.ReadFile(vectorsFile)
	ok(t, err)
	ok(t, json.Unmarshal(raw, &v))
	return v
}

func TestVectors(t *testing.T) {
	if *update {
		raw, err := json.MarshalIndent(makeVectors(t), "", "\t")
		ok(t, err)
		ok(t, os.WriteFile(vectorsFile, append(raw, '\n'), 0o644)) //nolint:gosec // G306: test data
	}
	v := readVectors(t)
	config, err := seal.ParseConfig(v.Config)
	ok(t, err)
	if config.Cluster() != v.Cluster || config.Development() || !bytes.Equal(config.Bytes(), v.Config) {
		t.Error("the configuration reads differently")
	}
	var fingerprints, checks []string
	for _, r := range config.Recipients() {
		fingerprints = append(fingerprints, r.Fingerprint())
	}
	for _, g := range config.Generations() {
		checks = append(checks, hex.EncodeToString(g.Check[:]))
	}
	if !slices.Equal(fingerprints, v.Fingerprints) || !slices.Equal(checks, v.RootChecks) {
		t.Errorf("got fingerprints %v and check values %v", fingerprints, checks)
	}

	collector, err := seal.NewCollector(config)
	ok(t, err)
	for _, s := range v.Shares[1:] {
		_, err = collector.Add(secret.Copy([]byte(s)))
		ok(t, err)
	}
	custodians, err := collector.Private()
	ok(t, err)
	file, err := config.WithSeed(seal.KindKeyFile, secret.Copy(v.Seed))
	ok(t, err)
	phrase, err := config.WithPassphrase(secret.Copy([]byte(v.Passphrase)), kms.ProfileFIPS)
	ok(t, err)
	for _, p := range []*seal.Private{custodians, file, phrase} {
		root, err := config.Open(p)
		ok(t, err)
		v.check(t, root)
		dirs := seal.Dirs{Shred: filepath.Join(t.TempDir(), "shred"), Escrow: filepath.Join(t.TempDir(), "escrow")}
		_, err = seal.OpenEscrow(dirs, config, p, v.Escrow)
		ok(t, err)
		v.checkEpoch(t, root, dirs)
	}
}

func (v vectors) check(t *testing.T, root *seal.Root) {
	t.Helper()
	k, err := seal.OpenKeychain(root, v.Keychain)
	ok(t, err)
	index, alias := k.Index([]byte("a"), []byte("b")), k.Alias("svc/orders")
	mac, err := k.MAC(1, []byte("abc"))
	ok(t, err)
	endorsements, err := k.Endorsements()
	ok(t, err)
	if !bytes.Equal(index[:], v.Index) || !bytes.Equal(alias[:], v.Alias) || !bytes.Equal(mac[:], v.MAC) || k.PublicKey() != v.Verifier ||
		len(endorsements) != 1 || string(endorsements[0]) != v.Endorsements[0] {
		t.Error("the keychain makes other hashes, MACs or keys")
	}
	logical, plain, err := k.OpenRecord(nil, v.Record, []byte("associated data"))
	if err != nil || logical != 42 || string(plain) != "plaintext" {
		t.Errorf("record: %d %q %v", logical, plain, err)
	}
	ok(t, root.OpenFile(1, v.Epoch))
}

func (v vectors) checkEpoch(t *testing.T, root *seal.Root, dirs seal.Dirs) {
	t.Helper()
	e, err := seal.OpenEpochs(dirs, root, 1)
	ok(t, err)
	if !bytes.Equal(v.Place, namespacePlace) {
		t.Errorf("place: got %x, want %x", namespacePlace, v.Place)
	}
	shred, err := e.OpenShred(v.ShredRow, v.Place)
	ok(t, err)
	kek, err := root.UnwrapKEK(v.KEK, shred, v.Place)
	ok(t, err)
	if check := kek.Check(); !bytes.Equal(check[:], v.KEKCheck) {
		t.Errorf("check value of the KEK: got %x, want %x", check, v.KEKCheck)
	}
	w, err := kek.Wrapping(shred, v.Place)
	ok(t, err)
	if got, err := w.Open(nil, "keyhold/material/v1", nil, v.Wrapped, nil); err != nil || string(got) != "material" {
		t.Errorf("material under the KEK: %q %v", got, err)
	}
}

func makeVectors(t *testing.T) *vectors {
	t.Helper()
	v := &vectors{Comment: "Test vectors: these secrets protect nothing.", Passphrase: "correct horse battery staple", Place: namespacePlace}
	for i := range 32 {
		v.Seed = append(v.Seed, byte(i))
		v.Cluster[i/2] = byte(i)
	}
	custodians, parts, err := seal.NewShares(now, "custodians", 2, 3)
	ok(t, err)
	for _, p := range parts {
		text, err := p.Text()
		ok(t, err)
		v.Shares = append(v.Shares, string(text.Wire(release.Wire{})))
	}
	file, err := seal.NewKeyFile(now, "key file", secret.Copy(v.Seed))
	ok(t, err)
	phrase, err := seal.NewPassphrase(now, "passphrase", secret.Copy([]byte(v.Passphrase)), kms.ProfileFIPS)
	ok(t, err)
	config, root, err := seal.Init(seal.InitParams{Cluster: v.Cluster, Now: now, Recipients: []seal.Enrolment{custodians, file, phrase}})
	ok(t, err)
	v.Config = config.Bytes()
	for _, r := range config.Recipients() {
		v.Fingerprints = append(v.Fingerprints, r.Fingerprint())
	}
	for _, g := range config.Generations() {
		v.RootChecks = append(v.RootChecks, hex.EncodeToString(g.Check[:]))
	}
	k, _, err := seal.NewKeychain(root)
	ok(t, err)
	k, v.Keychain, err = k.RollAuditKeys(root)
	ok(t, err)
	index, alias := k.Index([]byte("a"), []byte("b")), k.Alias("svc/orders")
	mac, err := k.MAC(1, []byte("abc"))
	ok(t, err)
	v.Index, v.Alias, v.MAC, v.Verifier = index[:], alias[:], mac[:], k.PublicKey()
	endorsements, err := k.Endorsements()
	ok(t, err)
	v.Endorsements = []string{string(endorsements[0])}
	v.Record, err = k.SealRecord(nil, 42, []byte("plaintext"), []byte("associated data"))
	ok(t, err)
	dirs := seal.Dirs{Shred: filepath.Join(t.TempDir(), "shred"), Escrow: filepath.Join(t.TempDir(), "escrow")}
	e, err := seal.CreateEpochs(dirs, root, config, now)
	ok(t, err)
	shred, kek := seal.NewShredSecret(), seal.NewKEK()
	v.ShredRow, err = e.WrapShred(shred, v.Place)
	ok(t, err)
	v.KEK, err = root.WrapKEK(kek, shred, v.Place)
	ok(t, err)
	check := kek.Check()
	v.KEKCheck = check[:]
	w, err := kek.Wrapping(shred, v.Place)
	ok(t, err)
	v.Wrapped, err = w.Seal(nil, "keyhold/material/v1", nil, []byte("material"), nil)
	ok(t, err)
	v.Epoch, err = os.ReadFile(filepath.Join(dirs.Shred, seal.EpochName(1)))
	ok(t, err)
	v.Escrow, err = os.ReadFile(filepath.Join(dirs.Escrow, seal.EscrowName(1)))
	ok(t, err)
	return v
}
