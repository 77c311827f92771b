package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestNothingThatIsLeftOpensADestroyedKey keeps every table and log of a store as long as a key, a namespace and another key live, erases the first two,
// copies the whole directory between that and the end of the epoch, and then attacks: with all old files and with all that the server has left, no
// combination of rows opens what was destroyed. Before the epoch ended, the same attack succeeded; of the key that was kept, it succeeds to the end. LIF-10, LIF-11, X3
func TestNothingThatIsLeftOpensADestroyedKey(t *testing.T) {
	t.Parallel()
	d := openDoomed(t)
	d.copy("new")
	d.roll()
	d.copy("after a roll")
	d.roll() // after one, the server waits a minute before it begins another by itself
	d.destroy()
	d.until("erased")
	d.copy("erased") // between the erasure and the end of the epoch: the next start ends it
	d.roll()
	d.until("irrecoverable")
	d.copy("irrecoverable")
	d.p.stop()
	for _, at := range d.copies { // as a reader of backups would
		d.old.gather(t, filepath.Join(at, "store"))
	}
	d.old.gather(t, filepath.Join(d.dir, "store"))

	for name, one := range d.targets {
		for _, path := range partsOf(one.ns, one.id, 1) {
			values, kinds := d.old.found(path)
			if values == 0 || !slices.Contains(kinds, "table") || !slices.Contains(kinds, "log") {
				t.Errorf("%s: row %q was found %d times, in %v: want it in tables and in logs, or this proves nothing", name, path, values, kinds)
			}
		}
	}
	// The controls: with the epoch keys of their time, old files open everything, also just after the erasure.
	for _, when := range []string{"new", "after a roll", "erased"} {
		d.attack(when, d.copies[when], "doomed", "kept", "inside")
	}
	d.attack("irrecoverable", d.copies["irrecoverable"], "kept")
	d.attack("now", d.dir, "kept")
	d.restoreAll()
}

// doomed is a server with keys of which some are to be destroyed, and what was kept of its files.
type doomed struct {
	t        *testing.T
	dir      string
	p        *process
	operator string // token
	tenant   string // of whoever may do everything in the namespace "other"
	targets  map[string]target
	copies   map[string]string
	old      *salvage
}

// target is a key, and what was encrypted with it.
type target struct {
	ns     kms.Namespace
	id     kms.ID
	sealed []byte
}

// openDoomed starts a server with two keys in one namespace and one in another.
func openDoomed(t *testing.T) *doomed {
	t.Helper()
	d := &doomed{t: t, dir: t.TempDir(), targets: map[string]target{}, copies: map[string]string{}, old: newSalvage()}
	d.p = start(t, d.dir)
	tenant, operator, err := d.p.foreigner()
	if err != nil {
		t.Fatal(err)
	}
	d.tenant, d.operator = tenant.Secret, operator
	d.create("default", "doomed")
	d.create("default", "kept")
	d.create("other", "inside")
	return d
}

// in is a client of a namespace.
func (d *doomed) in(p *process, ns kms.Namespace) *client.Client {
	if ns == "other" {
		return p.as(d.tenant, "other")
	}
	return p.client()
}

func (d *doomed) create(ns kms.Namespace, name string) {
	d.t.Helper()
	c := d.in(d.p, ns)
	k, err := c.CreateKey(d.t.Context(), client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"})
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := c.Encrypt(d.t.Context(), client.EncryptInput{Key: name, Plaintext: []byte("of " + name)})
	if err != nil {
		d.t.Fatal(err)
	}
	id, ok := kms.ParseID(k.ID)
	if !ok {
		d.t.Fatalf("%q is no id", k.ID)
	}
	d.targets[name] = target{ns: ns, id: id, sealed: out.Ciphertext}
}

func (d *doomed) decrypts(p *process, name string) bool {
	one := d.targets[name]
	out, err := d.in(p, one.ns).Decrypt(d.t.Context(), client.DecryptInput{Ciphertext: one.sealed})
	return err == nil && string(out.Plaintext) == "of "+name
}

// copy keeps a copy of everything. The server is killed for it, so that logs are as they were; its next start writes them out into tables.
func (d *doomed) copy(when string) {
	d.t.Helper()
	d.p.kill()
	d.copies[when] = copiedDir(d.t, d.dir)
	d.p = start(d.t, d.dir)
	d.old.gather(d.t, filepath.Join(d.dir, "store"))
}

func (d *doomed) roll() {
	d.t.Helper()
	if _, err := d.p.client().RollEpoch(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	d.old.gather(d.t, filepath.Join(d.dir, "store"))
}

// destroy asks for the end of a key through the API, and of a namespace on the command line.
func (d *doomed) destroy() {
	d.t.Helper()
	ctx := d.t.Context()
	if _, err := d.p.client().AssessKey(ctx, "doomed"); err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.p.client().ScheduleKeyDestruction(ctx, "doomed", 2*time.Second, client.Reason("test")); err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, keyhold, "namespace", "destroy", "other", "--window", "2s", "--reason", "test", "--yes")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "KEYHOLD_ADDR=" + d.p.env["KEYHOLD_ADDR"], "KEYHOLD_CACERT=" + d.p.env["KEYHOLD_CACERT"],
		"KEYHOLD_TOKEN=" + d.tenant, "KEYHOLD_NAMESPACE=other"}
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	if d.decrypts(d.p, "doomed") || d.decrypts(d.p, "inside") {
		d.t.Error("what is about to be destroyed works")
	}
	d.old.gather(d.t, filepath.Join(d.dir, "store"))
}

// until waits for a state of both destructions.
func (d *doomed) until(state string) {
	d.t.Helper()
	ctx := d.t.Context()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(ready); ; <-tick.C {
		k, err := d.p.client().ReadReceipt(ctx, "doomed")
		if err != nil {
			d.t.Fatal(err)
		}
		n, err := d.p.as(d.operator, "other").ReadNamespaceReceipt(ctx, "other")
		if err != nil {
			d.t.Fatal(err)
		}
		if k.Destruction.State == state && n.Destruction.State == state {
			return
		}
		if time.Now().After(end) {
			d.t.Fatalf("the key is %s and the namespace %s, want %s", k.Destruction.State, n.Destruction.State, state)
		}
	}
}

// attack tries every combination of old rows with what a data directory has left, and wants exactly some of the keys to open.
func (d *doomed) attack(when, dir string, open ...string) {
	d.t.Helper()
	v := openVault(d.t, dir)
	for name, one := range d.targets {
		tried, err := d.old.attack(d.t, v, one.ns, one.id)
		if got, want := err == nil, slices.Contains(open, name); got != want {
			d.t.Errorf("%s: after %d combinations %s is open: %v, want %v (%v)", when, tried, name, got, want, err)
		}
		d.t.Logf("%s, %s: %d combinations, %v", when, name, tried, err)
	}
}

// restoreAll puts every copy back beside what is left, with the operators' consent to a restore, and in a long run also without: then a server refuses more.
func (d *doomed) restoreAll() {
	d.t.Helper()
	consents := [][]string{{"--accept-restore"}, nil}
	for when, at := range d.copies {
		for _, flags := range consents[:sized(1, 2)] {
			// Of the last copy both forms start: the epoch is that of now. The store alone is behind its log, and takes consent.
			d.restore(fmt.Sprintln(when, "without epoch keys", flags), withEpochs(d.t, at, d.dir), flags, when == "irrecoverable")
			d.restore(fmt.Sprintln(when, "the store alone", flags), withStore(d.t, at, d.dir), flags, when == "irrecoverable" && flags != nil)
		}
	}
}

// restore starts a server on a restored directory. That it does not start is an answer, too, where it may.
func (d *doomed) restore(what, dir string, flags []string, must bool) {
	d.t.Helper()
	what = strings.TrimSpace(what)
	back, why := tryStart(d.t, dir, flags...)
	if back == nil {
		if must {
			d.t.Errorf("%s: the server does not start: %s", what, why)
		}
		return
	}
	defer back.kill()
	if d.decrypts(back, "doomed") || d.decrypts(back, "inside") {
		d.t.Errorf("%s: what was destroyed is back", what)
	}
	if !d.decrypts(back, "kept") {
		d.t.Errorf("%s: the other key does not work", what)
	}
}

// withStore is a data directory as it is now with the store of a copy.
func withStore(t *testing.T, backup, now string) string {
	t.Helper()
	to := copiedDir(t, now)
	if err := os.RemoveAll(filepath.Join(to, "store")); err != nil {
		t.Fatal(err)
	}
	copyInto(t, filepath.Join(to, "store"), filepath.Join(backup, "store"))
	return to
}
