package awstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// node runs a script of js/ with the packages that js/package-lock.json pins, which scripts/deps.sh has installed there.
func node(t *testing.T, script string) {
	t.Helper()
	dir, err := filepath.Abs("js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("scripts/deps.sh installs what this test needs: %v", err)
	}
	out := command{dir: dir, env: dev.environ(t), args: []string{"node", script}}.ok(t)
	if strings.TrimSpace(out) != "ok" {
		t.Errorf("%s said %q", script, out)
	}
}

func TestJavaScriptSDK(t *testing.T) { node(t, "kms.mjs") }

func TestEncryptionSDKForJavaScript(t *testing.T) { node(t, "encryption-sdk.mjs") }
