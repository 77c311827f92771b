package faults

import (
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
	ctx, dir := t.Context(), t.TempDir()
	old := newSalvage()
	p := start(t, dir)
	tenant, operator, err := p.foreigner()
	if err != nil {
		t.Fatal(err)
	}
	// What is done in the tenant's namespace is done with the command line.
	inTenant := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, keyhold, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "KEYHOLD_ADDR=" + p.env["KEYHOLD_ADDR"], "KEYHOLD_CACERT=" + p.env["KEYHOLD_CACERT"],
			"KEYHOLD_TOKEN=" + tenant.Secret, "KEYHOLD_NAMESPACE=other"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	targets := map[string]target{}
	newTarget := func(c *client.Client, ns, name string) {
		k, err := c.CreateKey(ctx, client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Encrypt(ctx, client.EncryptInput{Key: name, Plaintext: []byte("of " + name)})
		if err != nil {
			t.Fatal(err)
		}
		id, ok := kms.ParseID(k.ID)
		if !ok {
			t.Fatal(k.ID)
		}
		targets[name] = target{ns: kms.Namespace(ns), id: id, sealed: out.Ciphertext}
	}
	newTarget(p.client(), "default", "doomed")
	newTarget(p.client(), "default", "kept")
	newTarget(p.as(tenant.Secret, "other"), "other", "inside")
	decrypts := func(p *process, name string) bool {
		c := p.client()
		if name == "inside" {
			c = p.as(tenant.Secret, "other")
		}
		out, err := c.Decrypt(ctx, client.DecryptInput{Ciphertext: targets[name].sealed})
		return err == nil && string(out.Plaintext) == "of "+name
	}
	// A copy is of a server that was killed, so that logs are as they were; the next start writes them out into tables.
	copies := map[string]string{}
	keep := func(when string) {
		p.kill()
		copies[when] = copiedDir(t, dir)
		old.gather(t, filepath.Join(dir, "store"))
		p = start(t, dir)
		old.gather(t, filepath.Join(dir, "store"))
	}
	roll := func() {
		if _, err := p.client().RollEpoch(ctx); err != nil {
			t.Fatal(err)
		}
		old.gather(t, filepath.Join(dir, "store"))
	}
	keep("new")
	roll()
	keep("after a roll")
	roll() // after one, the server waits a minute before it begins another by itself

	if _, err := p.client().AssessKey(ctx, "doomed"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client().ScheduleKeyDestruction(ctx, "doomed", 2*time.Second, client.Reason("test")); err != nil {
		t.Fatal(err)
	}
	if out, err := inTenant("namespace", "destroy", "other", "--window", "2s", "--reason", "test", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if decrypts(p, "doomed") || decrypts(p, "inside") {
		t.Error("what is about to be destroyed works")
	}
	old.gather(t, filepath.Join(dir, "store"))
	status := func() map[string]string {
		r, err := p.client().ReadReceipt(ctx, "doomed")
		if err != nil {
			t.Fatal(err)
		}
		n, err := p.as(operator, "other").ReadNamespaceReceipt(ctx, "other")
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"doomed": r.Destruction.State, "inside": n.Destruction.State}
	}
	until := func(state string) {
		for end := time.Now().Add(ready); ; time.Sleep(20 * time.Millisecond) {
			now := status()
			if now["doomed"] == state && now["inside"] == state {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("got %v want %s", now, state)
			}
		}
	}
	until("erased")
	keep("erased") // between the erasure and the end of the epoch: the next start ends it
	roll()
	until("irrecoverable")
	keep("irrecoverable")
	p.stop()
	old.gather(t, filepath.Join(dir, "store"))

	for _, at := range copies { // as a reader of backups would
		old.gather(t, filepath.Join(at, "store"))
	}
	for name, one := range targets {
		for _, path := range partsOf(one.ns, one.id, 1) {
			values, kinds := old.found(path)
			if values == 0 || !slices.Contains(kinds, "table") || !slices.Contains(kinds, "log") {
				t.Errorf("%s: row %q was found %d times, in %v: want it in tables and in logs, or this proves nothing", name, path, values, kinds)
			}
		}
	}
	// The controls: with the epoch keys of their time, old files open everything, also just after the erasure.
	for _, when := range []string{"new", "after a roll", "erased"} {
		v := openVault(t, copies[when])
		for name, one := range targets {
			if tried, err := old.attack(t, v, one.ns, one.id); err != nil {
				t.Errorf("control, %s, %s: %d combinations do not open it: %v", when, name, tried, err)
			}
		}
	}
	for _, when := range []string{"irrecoverable", "now"} {
		at := dir
		if when != "now" {
			at = copies[when]
		}
		v := openVault(t, at)
		for name, one := range targets {
			tried, err := old.attack(t, v, one.ns, one.id)
			if open := err == nil; open != (name == "kept") {
				t.Errorf("%s: after %d combinations %s is open: %v, want %v (%v)", when, tried, name, open, name == "kept", err)
			}
			t.Logf("%s, %s: %d combinations, %v", when, name, tried, err)
		}
	}
	// And the server itself, on every copy, beside what is left, with the consent to a restore, and (a server refuses more then) without.
	consents := [][]string{{"--accept-restore"}, nil}
	for when, at := range copies {
		for _, flags := range consents[:sized(1, 2)] {
			what := strings.Join(append([]string{when}, flags...), " ")
			for form, back := range map[string]string{"a backup without epoch keys": withEpochs(t, at, dir), "its store alone": withStore(t, at, dir)} {
				again, why := tryStart(t, back, flags...)
				if again == nil {
					if when == "irrecoverable" && (len(flags) > 0 || form != "its store alone") {
						t.Errorf("%s, %s: the server does not start: %s", what, form, why)
					}
					continue
				}
				if decrypts(again, "doomed") || decrypts(again, "inside") {
					t.Errorf("%s, %s: what was destroyed is back", what, form)
				}
				if !decrypts(again, "kept") {
					t.Errorf("%s, %s: the other key does not work", what, form)
				}
				again.kill()
			}
		}
	}
}

// target is a key, and what was encrypted with it.
type target struct {
	ns     kms.Namespace
	id     kms.ID
	sealed []byte
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
