//go:build slow

package vaultclients

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vaultapi "github.com/hashicorp/vault/api"
)

// cluster is a Ceph of one monitor and one OSD in memory, with a gateway that speaks S3 and encrypts by the development server's transit. Debian's
// packages ceph-mon, ceph-osd, ceph-common and radosgw have the programs; none of them is a service here.
type cluster struct {
	program
	dir, conf string
	s3        string // the gateway's URL
}

// port is free now. Ceph wants to be told one.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was sent
	_, p, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// daemon starts a program and stops it with the test; what it says is shown if the test fails.
func (c *cluster) daemon(t *testing.T, args ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(c.dir, filepath.Base(args[0])+".out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // stopped below
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.env, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close() //nolint:errcheck // a test's
		if b, err := os.ReadFile(out.Name()); err == nil && t.Failed() {
			t.Logf("%s said:\n%s", args[0], b[max(0, len(b)-4000):])
		}
	})
}

// eventually repeats a command until it succeeds.
func (c *cluster) eventually(t *testing.T, args ...string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		out, problem, ok := c.run(t, args...)
		if ok {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still fails: %s%s", strings.Join(args, " "), out, problem)
		}
	}
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{program: newProgram(t)}
	c.dir = c.program.dir
	c.conf = filepath.Join(c.dir, "ceph.conf")
	token := filepath.Join(c.dir, "token")
	if err := os.WriteFile(token, []byte(os.Getenv("VAULT_TOKEN")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"mon", "osd", "rgw"} {
		if err := os.Mkdir(filepath.Join(c.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const fsid = "7c1b6d2e-4f0b-4c51-9f4f-0a3d1d0c7f11"
	mon, gate := port(t), port(t)
	conf := fmt.Sprintf(`[global]
fsid = %[1]s
mon host = v1:127.0.0.1:%[2]s
ms bind msgr1 = true
ms bind msgr2 = false
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd class update on start = false
osd crush update on start = false
osd objectstore = memstore
memstore device bytes = 1073741824
mon data = %[3]s/mon
osd data = %[3]s/osd
rgw data = %[3]s/rgw
run dir = %[3]s
pid file =
admin socket =
log file = /dev/null
mon cluster log file = /dev/null
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:%[4]s
rgw crypt require ssl = false
rgw crypt s3 kms backend = vault
rgw crypt vault auth = token
rgw crypt vault token file = %[5]s
rgw crypt vault addr = %[6]s
rgw crypt vault prefix = /v1/transit
rgw crypt vault secret engine = transit
rgw crypt vault ssl cacert = %[7]s
`, fsid, mon, c.dir, gate, token, os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_CACERT"))
	if err := os.WriteFile(c.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = append(c.env, "CEPH_CONF="+c.conf, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "AWS_ACCESS_KEY_ID=storage", "AWS_SECRET_ACCESS_KEY=for-this-test-alone", "AWS_DEFAULT_REGION=us-east-1")
	c.ok(t, "monmaptool", "--create", "--addv", "a", "v1:127.0.0.1:"+mon, "--fsid", fsid, "monmap")
	c.ok(t, "ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
	c.daemon(t, "/usr/bin/ceph-mon", "-f", "-i", "a", "--public-addr", "127.0.0.1:"+mon)
	const osd = "0d5f4a39-6f57-4f5e-8d43-3a3f1b0c9f02"
	if got := strings.TrimSpace(c.eventually(t, "ceph", "--connect-timeout", "5", "osd", "create", osd)); got != "0" {
		t.Fatalf("the first OSD has number %q", got)
	}
	c.ok(t, "ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
	c.daemon(t, "/usr/bin/ceph-osd", "-f", "-i", "0")
	// Without authentication a client may send a command before it knows the cluster, and is refused: it asks again. The OSD would not.
	c.eventually(t, "ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
	for end := time.Now().Add(patience); !strings.Contains(c.eventually(t, "ceph", "osd", "stat"), "1 up"); time.Sleep(time.Second) {
		if time.Now().After(end) {
			t.Fatal("the OSD did not come up")
		}
	}
	c.eventually(t, "radosgw-admin", "user", "create", "--uid", "storage", "--display-name", "Storage", "--access-key", "storage", "--secret", "for-this-test-alone")
	c.daemon(t, "/usr/bin/radosgw", "-f", "-n", "client.rgw")
	c.s3 = "http://127.0.0.1:" + gate
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		if resp, err := http.Get(c.s3); err == nil { //nolint:noctx // asked again
			resp.Body.Close() //nolint:errcheck // not read
			return c
		}
		if time.Now().After(end) {
			t.Fatal("the gateway did not become ready")
		}
	}
}

func (c *cluster) aws(args ...string) []string {
	return append([]string{"/usr/bin/aws", "--endpoint-url", c.s3, "s3api"}, args...)
}

// TestRadosGateway stores objects that Ceph encrypts with data keys of ours (SSE-KMS), reads them back, and finds nothing readable once the key
// may not be used.
func TestRadosGateway(t *testing.T) {
	server(t)
	v, err := vaultapi.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"objects", "derived"} {
		if _, err := v.Logical().Write("transit/keys/"+name, map[string]any{"type": "aes256-gcm96", "derived": name == "derived"}); err != nil {
			t.Fatal(err)
		}
	}
	c := startCluster(t)
	c.ok(t, c.aws("create-bucket", "--bucket", "objects")...)
	whole := random(3<<20 + 17)
	in, out := filepath.Join(c.dir, "in"), filepath.Join(c.dir, "out")
	if err := os.WriteFile(in, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"objects", "derived"} {
		c.ok(t, c.aws("put-object", "--bucket", "objects", "--key", key, "--body", in, "--server-side-encryption", "aws:kms", "--ssekms-key-id", key)...)
		if said := c.ok(t, c.aws("get-object", "--bucket", "objects", "--key", key, out)...); !strings.Contains(said, `"SSEKMSKeyId": "`+key+`"`) {
			t.Errorf("the object does not name its key: %s", said)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: the object came back changed (%v)", key, err)
		}
	}
	// What lies in the pool is not the object.
	names := strings.Fields(c.ok(t, "rados", "-p", "default.rgw.buckets.data", "ls"))
	if len(names) == 0 {
		t.Fatal("nothing lies in the pool")
	}
	for _, n := range names {
		c.ok(t, "rados", "-p", "default.rgw.buckets.data", "get", n, out)
		if got, err := os.ReadFile(out); err != nil || len(got) > 64 && bytes.Contains(whole, got[:64]) {
			t.Errorf("%s lies there as it is (%v)", n, err)
		}
	}
	// A key that was rotated opens what it made before; one that is not there makes nothing.
	if _, err := v.Logical().Write("transit/keys/objects/rotate", nil); err != nil {
		t.Fatal(err)
	}
	c.ok(t, c.aws("get-object", "--bucket", "objects", "--key", "objects", out)...)
	c.refused(t, "", c.aws("put-object", "--bucket", "objects", "--key", "x", "--body", in, "--server-side-encryption", "aws:kms", "--ssekms-key-id", "nobody-made-it")...)
	// Versions that may no longer be used open nothing.
	if _, err := v.Logical().Write("transit/keys/objects/config", map[string]any{"min_decryption_version": 2}); err != nil {
		t.Fatal(err)
	}
	c.refused(t, "", c.aws("get-object", "--bucket", "objects", "--key", "objects", out)...)
	c.ok(t, c.aws("get-object", "--bucket", "objects", "--key", "derived", out)...)
}
