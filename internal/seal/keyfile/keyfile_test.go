package keyfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

func TestASeedComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	want, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != int64(fileSize) {
		t.Errorf("mode %v, size %d, want -rw------- and %d (%v)", info.Mode(), info.Size(), fileSize, err)
	}
	got, err := Read(path)
	if err != nil || !got.Equal(want) {
		t.Errorf("the seed that was read differs: %v", err)
	}
	if _, err := Create(path); kms.CodeOf(err) != kms.CodeExists {
		t.Errorf("over an existing file: got %v, want CodeExists", err)
	}
	if got, err := Read(path); err != nil || !got.Equal(want) {
		t.Errorf("a refused Create changed the file: %v", err)
	}
}

func TestUnsafeFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte(header), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, encode(secret.Random(SeedSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]kms.Code{
		filepath.Join(dir, "absent"): kms.CodeNotFound, dir: kms.CodeBadSetting, link: kms.CodeBadSetting,
		short: kms.CodeBadSetting, open: kms.CodeBadSetting,
	} {
		if _, err := Read(p); kms.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %s", filepath.Base(p), err, want)
		}
	}
	if _, err := Create(filepath.Join(dir, "no", "such", "directory")); kms.CodeOf(err) != kms.CodeBadSetting {
		t.Errorf("into a missing directory: got %v, want CodeBadSetting", err)
	}
}

func TestDamageIsFound(t *testing.T) {
	text := encode(secret.Random(SeedSize))
	for i := range text {
		bad := append([]byte(nil), text...)
		bad[i] ^= 1
		if _, ok := Decode(bad); ok {
			t.Errorf("byte %d flipped: still a key file", i)
		}
		if _, ok := Decode(text[:i]); ok {
			t.Errorf("cut at %d: still a key file", i)
		}
	}
	if _, ok := Decode(append(text, '\n')); ok {
		t.Error("with a byte more: still a key file")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(secret.Take(make([]byte, SeedSize))))
	f.Add([]byte(header))
	f.Fuzz(func(t *testing.T, in []byte) {
		seed, ok := Decode(in)
		if !ok {
			return
		}
		if again, ok := Decode(encode(seed)); !ok || !again.Equal(seed) {
			t.Fatal("what was read does not come back")
		}
	})
}
