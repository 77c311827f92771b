package awstest

import (
	"path/filepath"
	"strings"
	"testing"
)

// debianPython is the interpreter that Debian's python3-boto3 is installed for.
const debianPython = "/usr/bin/python3"

func TestBoto3(t *testing.T) {
	script, err := filepath.Abs("testdata/client.py")
	if err != nil {
		t.Fatal(err)
	}
	out := command{dir: t.TempDir(), env: dev.environ(t), args: []string{debianPython, script}}.ok(t)
	if strings.TrimSpace(out) != "ok" {
		t.Errorf("it said %q", out)
	}
}
