package vaultclients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// SOPS encrypts a file's values, lets an editor change them, rotates the file's key, moves it to another of ours, and decrypts. The binary is built from
// what test/aws/tools pins.
func TestSOPS(t *testing.T) {
	server(t)
	sops := filepath.Join(t.TempDir(), "sops")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", sops, "github.com/getsops/sops/v3/cmd/sops")
	build.Dir = "../aws/tools"
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build sops: %v\n%s", err, text)
	}
	first, second := os.Getenv("VAULT_ADDR")+"/v1/transit/keys/first", os.Getenv("VAULT_ADDR")+"/v1/transit/keys/second"
	p := newProgram(t, "SOPS_DISABLE_VERSION_CHECK=true")
	p.env = append(p.env, "EDITOR="+filepath.Join(p.dir, "editor"))
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write("secrets.yaml", "database:\n    user: app\n    password: correct horse\n", 0o600)
	write("editor", "#!/bin/sh\nsed -i 's/correct horse/battery staple/' \"$1\"\n", 0o700) //nolint:gosec // G306: an editor is run

	p.ok(t, sops, "encrypt", "--hc-vault-transit", first, "--in-place", "secrets.yaml")
	sealed := read("secrets.yaml")
	if strings.Contains(sealed, "correct horse") || !strings.Contains(sealed, "key_name: first") || !strings.Contains(sealed, "vault:v1:") {
		t.Fatalf("encrypted to\n%s", sealed)
	}
	if plain := p.ok(t, sops, "decrypt", "secrets.yaml"); !strings.Contains(plain, "password: correct horse") {
		t.Errorf("decrypted to\n%s", plain)
	}
	p.ok(t, sops, "edit", "secrets.yaml")
	if plain := p.ok(t, sops, "decrypt", "--extract", `["database"]["password"]`, "secrets.yaml"); strings.TrimSpace(plain) != "battery staple" {
		t.Errorf("edited to %q", plain)
	}
	// Our key is rotated, then the file's: the old version opens it, the new one seals it.
	c := client(t)
	if _, err := c.Logical().Write("transit/keys/first/rotate", nil); err != nil {
		t.Fatal(err)
	}
	p.ok(t, sops, "rotate", "--in-place", "secrets.yaml")
	if rotated := read("secrets.yaml"); !strings.Contains(rotated, "vault:v2:") {
		t.Errorf("rotated to\n%s", rotated)
	}
	// A second key joins, and the first goes: the file is the second's.
	p.ok(t, sops, "rotate", "--in-place", "--add-hc-vault-transit", second, "secrets.yaml")
	p.ok(t, sops, "rotate", "--in-place", "--rm-hc-vault-transit", first, "secrets.yaml")
	if _, err := c.Logical().Delete("transit/keys/first/soft-delete"); err != nil {
		t.Fatal(err)
	}
	if plain := p.ok(t, sops, "decrypt", "secrets.yaml"); !strings.Contains(plain, "password: battery staple") {
		t.Errorf("decrypted to\n%s", plain)
	}
	// A changed value, and a key that is deleted.
	write("changed.yaml", strings.Replace(read("secrets.yaml"), "ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA", 1), 0o600)
	p.refused(t, "", sops, "decrypt", "changed.yaml")
	if _, err := c.Logical().Delete("transit/keys/second/soft-delete"); err != nil {
		t.Fatal(err)
	}
	p.refused(t, "KH1502", sops, "decrypt", "secrets.yaml")
}
