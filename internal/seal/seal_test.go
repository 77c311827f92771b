package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)

var namespacePlace = seal.Place{Kind: seal.PlaceNamespace, Namespace: "default"}.Bytes()

func wantCode(t *testing.T, err error, want kms.Code) {
	t.Helper()
	var e *kms.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("got error %v, want code %s", err, want)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hierarchy is something wrapped at every level below the root.
type hierarchy struct {
	kek       *seal.KEK
	wrapped   []byte
	shredRow  []byte
	recordRaw []byte
}

func build(t *testing.T, f *sealtest.Fixture) hierarchy {
	t.Helper()
	shred, row := f.Shred(t, namespacePlace)
	h := hierarchy{kek: seal.NewKEK(), shredRow: row}
	var err error
	h.wrapped, err = f.Root.WrapKEK(h.kek, shred, namespacePlace)
	ok(t, err)
	h.recordRaw, err = f.Keychain.SealRecord(nil, 7, []byte("a record"), []byte("its place"))
	ok(t, err)
	return h
}

func (h hierarchy) check(t *testing.T, f *sealtest.Fixture) {
	t.Helper()
	shred, err := f.Epochs.OpenShred(h.shredRow, namespacePlace)
	ok(t, err)
	kek, err := f.Root.UnwrapKEK(h.wrapped, shred, namespacePlace)
	ok(t, err)
	if got, want := kek.Check(), h.kek.Check(); got != want {
		t.Errorf("check value of the KEK: got %x, want %x", got, want)
	}
	logical, plain, err := f.Keychain.OpenRecord(nil, h.recordRaw, []byte("its place"))
	if err != nil || logical != 7 || string(plain) != "a record" {
		t.Errorf("record: got %d %q %v", logical, plain, err)
	}
}

func TestEverythingOpensAgainAfterARestart(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	before := f.Keychain
	f.Reopen(t)
	h.check(t, f)
	if got, want := f.Keychain.Index([]byte("a"), []byte("b")), before.Index([]byte("a"), []byte("b")); got != want {
		t.Errorf("index: got %x, want %x", got, want)
	}
	if got, want := f.Keychain.Alias("svc/orders"), before.Alias("svc/orders"); got != want {
		t.Errorf("alias: got %x, want %x", got, want)
	}
	if f.Keychain.PublicKey() != before.PublicKey() || f.Keychain.Serial() != before.Serial() {
		t.Error("the keychain is another one after opening")
	}
	if !f.Config.Development() || f.Config.Cluster() != f.Cluster {
		t.Error("the configuration lost its cluster or its mark")
	}
}

func TestEveryRecipientOpensTheRootByItself(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	c, err := seal.NewCollector(f.Config)
	ok(t, err)
	for _, i := range []int{2, 0} {
		_, err := c.Add(f.Shares[i])
		ok(t, err)
	}
	f.Root, err = c.Open()
	ok(t, err)
	h.check(t, f)
	if got := c.Progress().Given; len(got) != 0 {
		t.Errorf("the collector keeps shares %v after opening", got)
	}
}

func TestFewerThanTwoRecipientsAreRefused(t *testing.T) {
	f := sealtest.New(t)
	one, err := seal.NewKeyFile(now, "only", secret.Random(32))
	ok(t, err)
	_, _, err = seal.Init(seal.InitParams{Cluster: f.Cluster, Now: now, Recipients: []seal.Enrolment{one}})
	wantCode(t, err, kms.CodeBadRequest)
	_, _, err = seal.Init(seal.InitParams{Cluster: f.Cluster, Now: now, Recipients: nil})
	wantCode(t, err, kms.CodeBadRequest)
	_, err = f.Root.RemoveRecipient(f.Config, f.Config.Recipients()[0].ID)
	wantCode(t, err, kms.CodeBadRequest)
}

func TestACopyOfASecretIsNoSecondRecipient(t *testing.T) {
	f := sealtest.New(t)
	again, err := seal.NewKeyFile(now, "a copy", f.Seed)
	ok(t, err)
	_, err = f.Root.AddRecipient(f.Config, again)
	wantCode(t, err, kms.CodeExists)
}

func TestRecipientsComeAndGo(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	seed := secret.Random(32)
	e, err := seal.NewKeyFile(now, "offline", seed)
	ok(t, err)
	old := f.Config
	f.Config, err = f.Root.AddRecipient(old, e)
	ok(t, err)
	if got, want := f.Config.Serial(), old.Serial()+1; got != want || len(old.Recipients()) != 2 {
		t.Errorf("serial %d, want %d; the old configuration has %d recipients", got, want, len(old.Recipients()))
	}
	private, err := f.Config.WithSeed(seal.KindKeyFile, seed)
	ok(t, err)
	if private.Recipient() != e.ID() {
		t.Errorf("recipient %s, want %s", private.Recipient(), e.ID())
	}
	ok(t, f.Config.VerifyRecipient(private))
	f.Root, err = f.Config.Open(private)
	ok(t, err)
	h.check(t, f)

	f.Config, err = f.Root.RemoveRecipient(f.Config, e.ID())
	ok(t, err)
	wantCode(t, f.Config.VerifyRecipient(private), kms.CodeWrongShares)
	_, err = f.Config.WithSeed(seal.KindKeyFile, seed)
	wantCode(t, err, kms.CodeWrongShares)
	_, err = f.Root.RemoveRecipient(f.Config, e.ID())
	wantCode(t, err, kms.CodeNotFound)
}

func TestRecipientsHaveALimit(t *testing.T) {
	f := sealtest.New(t)
	c := f.Config
	for i := len(c.Recipients()); i <= seal.MaxRecipients; i++ {
		e, err := seal.NewSeeded(now, seal.KindTPM, fmt.Sprintf("%02d%s", i, strings.Repeat("x", seal.MaxLabel-2)), make([]byte, seal.MaxParams), secret.Random(32))
		ok(t, err)
		next, err := f.Root.AddRecipient(c, e)
		if i == seal.MaxRecipients {
			wantCode(t, err, kms.CodeTooLarge)
			break
		}
		ok(t, err)
		c = next
	}
	c, _, err := f.Root.BeginRotation(c, now)
	ok(t, err)
	if n := len(c.Bytes()); n > 64<<10 {
		t.Errorf("the largest configuration has %d bytes: it does not fit into a store value", n)
	}
	_, err = seal.ParseConfig(c.Bytes())
	ok(t, err)
}

func TestBadRecipientsAreRefused(t *testing.T) {
	for name, make := range map[string]func() error{
		"no label":      func() error { _, err := seal.NewKeyFile(now, "", secret.Random(32)); return err },
		"long label":    func() error { _, err := seal.NewKeyFile(now, strings.Repeat("x", 65), secret.Random(32)); return err },
		"control label": func() error { _, err := seal.NewKeyFile(now, "a\x1b[2J", secret.Random(32)); return err },
		"short seed":    func() error { _, err := seal.NewKeyFile(now, "x", secret.Random(16)); return err },
		"no seed":       func() error { _, err := seal.NewKeyFile(now, "x", nil); return err },
		"one share":     func() error { _, _, err := seal.NewShares(now, "x", 1, 3); return err },
		"k above n":     func() error { _, _, err := seal.NewShares(now, "x", 4, 3); return err },
		"256 shares":    func() error { _, _, err := seal.NewShares(now, "x", 2, 256); return err },
		"short phrase": func() error {
			_, err := seal.NewPassphrase(now, "x", secret.Copy([]byte("too short")), kms.ProfileFIPS)
			return err
		},
		"long params": func() error {
			_, err := seal.NewSeeded(now, seal.KindTPM, "x", bytes.Repeat([]byte{1}, 1025), secret.Random(32))
			return err
		},
		"false params": func() error {
			_, err := seal.NewSeeded(now, seal.KindShares, "x", []byte{1}, secret.Random(32))
			return err
		},
		"no such kind": func() error { _, err := seal.NewSeeded(now, 0, "x", nil, secret.Random(32)); return err },
		"keyfile params": func() error {
			_, err := seal.NewSeeded(now, seal.KindKeyFile, "x", []byte{1}, secret.Random(32))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, make(), kms.CodeBadRequest) })
	}
}

func TestPassphrases(t *testing.T) {
	for _, profile := range kms.AllProfiles() {
		t.Run(profile.String(), func(t *testing.T) {
			f := sealtest.New(t)
			phrase := secret.Copy([]byte("correct horse battery staple"))
			e, err := seal.NewPassphrase(now, "phrase", phrase, profile)
			ok(t, err)
			c, err := f.Root.AddRecipient(f.Config, e)
			ok(t, err)
			p, err := c.WithPassphrase(phrase, profile)
			ok(t, err)
			ok(t, c.VerifyRecipient(p))
			_, err = c.WithPassphrase(secret.Copy([]byte("incorrect horse battery")), profile)
			wantCode(t, err, kms.CodeWrongShares)
			_, err = f.Config.WithPassphrase(phrase, profile)
			wantCode(t, err, kms.CodeNotFound)
		})
	}
}
