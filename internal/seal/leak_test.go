package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func TestNoSecretIsInAnythingThatIsWritten(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	var err error
	f.Keychain, f.Blob, err = f.Keychain.RollAuditKeys(f.Root)
	ok(t, err)
	f.Config, f.Root, err = f.Root.BeginRotation(f.Config, now)
	ok(t, err)
	ok(t, f.Epochs.RewrapRoot(f.Root, f.Config))
	_, err = f.Epochs.Roll(f.Config, now)
	ok(t, err)
	private, err := f.Config.WithSeed(seal.KindKeyFile, f.Seed)
	ok(t, err)
	collector, err := seal.NewCollector(f.Config)
	ok(t, err)
	_, err = collector.Add(f.Shares[0])
	ok(t, err)

	secrets := seal.Secrets(f.Root, f.Keychain, f.Epochs, h.kek)
	if len(secrets) != 2+5+1+2+2 {
		t.Fatalf("%d secrets, want 12", len(secrets))
	}
	shred, err := f.Epochs.OpenShred(h.shredRow, namespacePlace)
	ok(t, err)
	for _, s := range []*secret.Bytes{shred, f.Seed} {
		secrets = append(secrets, s.Reveal(reveal.Key{}))
	}

	written := map[string][]byte{
		"configuration": f.Config.Bytes(), "keychain": f.Blob, "wrapped KEK": h.wrapped, "shred row": h.shredRow, "record": h.recordRaw,
	}
	for _, dir := range []string{f.Dirs.Shred, f.Dirs.Escrow} {
		ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			written[d.Name()], err = os.ReadFile(path)
			return err
		}))
	}
	if len(written) != 5+4 {
		t.Errorf("%d things written, want 9", len(written))
	}
	var log bytes.Buffer
	for _, v := range []any{f.Root, *f, f.Keychain, f.Epochs, h.kek, h, private, collector, f.Keychain.Signer(), f.Config, f.Shares} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		if _, isFixture := v.(sealtest.Fixture); !isFixture { // it has channels and functions of no encoding
			if b, err := json.Marshal(v); err == nil {
				log.Write(b)
			}
		}
	}
	written["printed"] = log.Bytes()

	for name, data := range written {
		for i, s := range secrets {
			for at := 0; at+8 <= len(s); at += 4 {
				part := s[at : at+8]
				decimal := fmt.Sprint(part)
				for _, form := range [][]byte{part, []byte(hex.EncodeToString(part)), []byte(base64.RawStdEncoding.EncodeToString(part[:6])), []byte(decimal[1 : len(decimal)-1])} {
					if bytes.Contains(data, form) {
						t.Fatalf("secret %d stands in: %s", i, name)
					}
				}
			}
		}
	}
}
