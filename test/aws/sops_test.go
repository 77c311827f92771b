package awstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// SOPS encrypts a file's values, lets an editor change them, rotates the file's key, moves it to another of ours, and decrypts: as an operator does it who
// has only dev.env. The binary is built from tools/go.mod.
func TestSOPS(t *testing.T) {
	sops := filepath.Join(scratch, "sops")
	if err := goBuild("tools", sops, "github.com/getsops/sops/v3/cmd/sops"); err != nil {
		t.Fatal(err)
	}
	first, second := symmetricKey(t), symmetricKey(t)
	dir := t.TempDir()
	env := dev.environ(t, "EDITOR="+filepath.Join(dir, "editor"), "SOPS_DISABLE_VERSION_CHECK=true")
	run := func(args ...string) command {
		return command{dir: dir, env: env, args: append([]string{sops}, args...)}
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write("secrets.yaml", "database:\n    user: app\n    password: correct horse\n", 0o600)
	write("editor", "#!/bin/sh\nsed -i 's/correct horse/battery staple/' \"$1\"\n", 0o700) //nolint:gosec // G306: an editor is run

	run("encrypt", "--kms", first, "--encryption-context", "app:billing,stage:test", "--in-place", "secrets.yaml").ok(t)
	sealed := read("secrets.yaml")
	if strings.Contains(sealed, "correct horse") || !strings.Contains(sealed, first) {
		t.Fatalf("encrypted to\n%s", sealed)
	}
	if plain := run("decrypt", "secrets.yaml").ok(t); !strings.Contains(plain, "password: correct horse") {
		t.Errorf("decrypted to\n%s", plain)
	}
	run("edit", "secrets.yaml").ok(t)
	if plain := run("decrypt", "--extract", `["database"]["password"]`, "secrets.yaml").ok(t); strings.TrimSpace(plain) != "battery staple" {
		t.Errorf("edited to %q", plain)
	}
	run("rotate", "--in-place", "secrets.yaml").ok(t)
	if rotated := read("secrets.yaml"); rotated == sealed {
		t.Error("the data key was not rotated")
	}
	// A second key joins, and the first goes: the file is the second's.
	run("rotate", "--in-place", "--add-kms", second, "secrets.yaml").ok(t)
	run("rotate", "--in-place", "--rm-kms", first, "secrets.yaml").ok(t)
	if _, err := sdk(t).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &first}); err != nil {
		t.Fatal(err)
	}
	if plain := run("decrypt", "secrets.yaml").ok(t); !strings.Contains(plain, "password: battery staple") {
		t.Errorf("decrypted to\n%s", plain)
	}
	// A changed context, a changed value, and a key that is disabled.
	write("changed.yaml", strings.Replace(read("secrets.yaml"), "ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA", 1), 0o600)
	run("decrypt", "changed.yaml").refused(t, "")
	if _, err := sdk(t).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &second}); err != nil {
		t.Fatal(err)
	}
	run("decrypt", "secrets.yaml").refused(t, "is disabled")
}
