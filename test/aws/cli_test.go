package awstest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debianCLI is Debian's AWS CLI, version 2.9: older than the environment's variables for endpoints, so that it must be told by an option.
const debianCLI = "/usr/bin/aws"

// awsCLI is a user at a terminal.
type awsCLI struct {
	t   *testing.T
	dir string
	env []string
}

func newCLI(t *testing.T) awsCLI { return awsCLI{t, t.TempDir(), dev.environ(t)} }

func (c awsCLI) command(args ...string) command {
	return command{dir: c.dir, env: c.env, args: append([]string{debianCLI, "--endpoint-url", dev.env["AWS_ENDPOINT_URL_KMS"], "kms"}, args...)}
}

// text runs a command and gives one value of its answer.
func (c awsCLI) text(query string, args ...string) string {
	c.t.Helper()
	return strings.TrimSpace(c.command(append(args, "--output", "text", "--query", query)...).ok(c.t))
}

func (c awsCLI) write(name string, b []byte) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// A file is encrypted and decrypted as the CLI's own manual shows it.
func TestAWSCLIEncryptsAFile(t *testing.T) {
	c := newCLI(t)
	key := c.text("KeyMetadata.KeyId", "create-key", "--description", "from the command line", "--tags", "TagKey=team,TagValue=ops")
	c.command("create-alias", "--alias-name", "alias/cli/"+key, "--target-key-id", key).ok(t)
	plain := make([]byte, 4096)
	_, _ = rand.Read(plain)
	c.write("plain", plain)
	blob := c.text("CiphertextBlob", "encrypt", "--key-id", "alias/cli/"+key, "--plaintext", "fileb://plain", "--encryption-context", "order=17,team=ops")
	sealed, err := base64.StdEncoding.DecodeString(blob)
	if err != nil {
		t.Fatal(err)
	}
	if const6144 := 6144; len(sealed) > const6144 || bytes.Contains(sealed, plain[:16]) {
		t.Errorf("%d bytes of ciphertext", len(sealed))
	}
	c.write("sealed", sealed)
	// The ciphertext names its key.
	opened := c.text("Plaintext", "decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "team=ops,order=17")
	if got, err := base64.StdEncoding.DecodeString(opened); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("decrypted %d bytes, %v", len(got), err)
	}
	c.command("decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "order=18").refused(t, "(InvalidCiphertextException)")
	c.command("decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "team=ops,order=17", "--key-id", "alias/none").refused(t, "(NotFoundException)")
	c.command("disable-key", "--key-id", key).ok(t)
	c.command("decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "team=ops,order=17").refused(t, "(DisabledException)")
	c.command("enable-key", "--key-id", key).ok(t)
	c.command("schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7").ok(t)
	c.command("decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "team=ops,order=17").refused(t, "(KMSInvalidStateException)")
	c.command("cancel-key-deletion", "--key-id", key).ok(t)
	if state := c.text("KeyMetadata.KeyState", "describe-key", "--key-id", key); state != "Disabled" {
		t.Errorf("after cancelling: %s", state)
	}
}

// The CLI walks pages by itself.
func TestAWSCLIWalksPages(t *testing.T) {
	c := newCLI(t)
	want := map[string]bool{}
	for range 3 {
		want[c.text("KeyMetadata.KeyId", "create-key")] = true
	}
	var list struct {
		Keys []struct {
			KeyID string `json:"KeyId"`
		}
	}
	if err := json.Unmarshal([]byte(c.command("list-keys", "--page-size", "2").ok(t)), &list); err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Keys {
		delete(want, k.KeyID)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v of %d", want, len(list.Keys))
	}
}

// What the user is told who has no credentials, or wrong ones, or does not trust the server.
func TestAWSCLIRefusals(t *testing.T) {
	c := newCLI(t)
	wrong := c.command("list-keys")
	wrong.env = append(wrong.env, "AWS_SECRET_ACCESS_KEY=wrong")
	wrong.refused(t, "(InvalidSignatureException)")
	unknown := c.command("list-keys")
	unknown.env = append(unknown.env, "AWS_ACCESS_KEY_ID=AKIAABCDEFGHIJKLMNOP")
	unknown.refused(t, "(UnrecognizedClientException)")
	distrustful := c.command("list-keys")
	distrustful.env = append(distrustful.env, "AWS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt")
	distrustful.refused(t, "SSL validation failed")
	nobody := c.command("create-key")
	key := dev.accessKey(t, "cli-nobody")
	nobody.env = append(nobody.env, "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
	nobody.refused(t, "(AccessDeniedException)")
}
