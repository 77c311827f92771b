package vaultclients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debianPython is the interpreter that Debian's python3-hvac is installed for.
const debianPython = "/usr/bin/python3"

// script runs a script of this directory, which says "ok" when it comes to its end.
func script(t *testing.T, interpreter, path string, env ...string) {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, env...)
	p.dir = filepath.Dir(path)
	if out := p.ok(t, interpreter, path); strings.TrimSpace(out) != "ok" {
		t.Errorf("it said %q", out)
	}
}

// The packages of js/package-lock.json are installed by scripts/deps.sh. Node takes authorities from a variable of its own.
func TestNodeVault(t *testing.T) {
	server(t)
	if _, err := os.Stat("js/node_modules"); err != nil {
		t.Fatalf("scripts/deps.sh installs what this test needs: %v", err)
	}
	script(t, "node", "js/client.mjs", "NODE_EXTRA_CA_CERTS="+os.Getenv("VAULT_CACERT"))
}

func TestHvac(t *testing.T) {
	server(t)
	script(t, debianPython, "testdata/client.py")
}
